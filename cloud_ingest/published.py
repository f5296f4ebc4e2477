"""Reading what was published: the public feed's rows, each the sum over the releases it is in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow as pa

from cloud_ingest.area import EVERYWHERE, Area, within
from cloud_ingest.cells import complete
from cloud_ingest.cuts import DAY_S
from cloud_ingest.estimate.parameters import read_parameters
from cloud_ingest.facts import engine, reading
from cloud_ingest.model import parameters_of
from cloud_ingest.release import LENGTHS, State, days_of, files_of

_ALWAYS = ("sold", "in_stock", "observed")
_MAYBE = ("put_back", "restocked", "lost", "variance", "silent")
# A release in which a value is withheld, or one hour of a day, makes the sum unknown rather than too small.
_WHOLE = ", ".join(f"CASE WHEN count(*) = count({name}) THEN sum({name}) END AS {name}" for name in _MAYBE)
_SUMS = ", ".join(f"sum({name}) AS {name}" for name in _ALWAYS)
_QUERY = f"""
WITH told AS (
    SELECT * REPLACE (coalesce((SELECT renamed.sku FROM renamed WHERE renamed.old = here.sku), here.sku) AS sku)
    FROM read_parquet($files, hive_partitioning = false) AS here
    WHERE window_s = $base AND resolution = $resolution AND start >= $since AND start < $until
      AND ($cells IS NULL OR id IN (SELECT unnest($cells)))
), base AS (
    SELECT id, sku, start, {_SUMS}, {_WHOLE}, max_by(stores_expected, revision) AS stores_expected,
           max_by(stores_reporting, revision) AS stores_reporting, max_by(complete_to, revision) AS complete_to,
           max(revision) AS revision, max_by(withheld_stores, -revision) AS withheld_stores
    FROM told WHERE $sku IS NULL OR sku IN (SELECT unnest($sku)) GROUP BY id, sku, start
), longer AS (
SELECT printf('%x', id) AS cell, sku, start - start % $window AS start, $window AS window_s,
       count(*) * $base AS covered_s, {_SUMS}, {_WHOLE}, max(stores_expected) AS stores_expected,
       max(stores_reporting) AS stores_reporting, min(complete_to) AS complete_to, max(revision) AS revision,
       max(withheld_stores) AS withheld_stores
FROM base GROUP BY id, sku, start - start % $window)
SELECT *, concat_ws(' ', CASE WHEN put_back IS NULL THEN 'put_back' END,
                    CASE WHEN restocked IS NULL THEN 'restocked' END, CASE WHEN lost IS NULL THEN 'lost'
                    WHEN variance IS NULL THEN 'demand_low demand_high' END,
                    CASE WHEN silent IS NULL THEN 'silent' END) AS withheld
FROM longer ORDER BY start DESC, cell, sku
"""  # noqa: S608  # constants


# Not from the registry, which may move a shop: what was published of its old place stays, and of a new one nothing is.
_CELLS = """
SELECT DISTINCT id FROM read_parquet($files, hive_partitioning = false)
WHERE window_s = $base AND resolution = $resolution ORDER BY id
"""


def tables(db: Path, state: State, resolution: int, window_s: int, skus: list[str] | None, since: int,
           until: int, area: Area = EVERYWHERE) -> Iterator[pa.Table]:
    """Tables of the feed's SCHEMA, newest first, of whole windows within `since` .. `until` (Unix seconds)."""
    step = max(window_s, DAY_S // window_s * window_s)
    base = max(length for length in LENGTHS if window_s % length == 0)
    dates = days_of(db)
    parts = {number for date in dates for number in range(date * DAY_S // step, -(-(date + 1) * DAY_S // step))}
    parameters = parameters_of(db) if state.common is None else msgspec.structs.replace(
        read_parameters(), common=state.common, whole=state.whole)
    with reading(db) as source:
        renamed = source.execute("SELECT old, sku FROM renamed").fetchall()
    for number in sorted(parts, reverse=True):
        begin, end = max(since, number * step), min(until, (number + 1) * step)
        files = [file for date in dates if begin < (date + 1) * DAY_S and date * DAY_S < end
                 for file in files_of(db, "rows", date, state)]
        if not files or begin >= end:
            continue
        of_it = {"files": files, "base": base, "resolution": resolution}
        with engine() as duck:
            cells = None if area == EVERYWHERE else within(
                area, [cell for (cell,) in duck.execute(_CELLS, of_it).fetchall()], resolution)
            if cells == []:
                continue
            given = of_it | {"window": window_s, "sku": skus, "cells": cells, "since": begin, "until": end}
            duck.execute("CREATE TABLE renamed (old VARCHAR, sku VARCHAR)")
            if renamed:
                duck.executemany("INSERT INTO renamed VALUES (?, ?)", renamed)
            yield complete(duck.sql(_QUERY, params=given).to_arrow_table(), parameters)
