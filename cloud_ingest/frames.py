"""Frames: what a map shows at one time, a number per cell and column, summed over SKUs.

Columns instead of rows, because tens of thousands of cells travel and are read many times faster so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from cloud_ingest import feed
from cloud_ingest.cuts import DAY_S
from cloud_ingest.facts import engine, reading
from cloud_ingest.release import days_of
from cloud_ingest.rows import SCHEMA, Scope

COLUMNS = ("sold", "demand", "demand_low", "demand_high", "lost", "in_stock", "observed", "stores", "reporting",
           "complete_to", "skus", "unknown")
MOST = 50_000
"""Of one answer: so many cells times windows; more windows than one are cut off."""
# One SKU keeps its interval; the ends of several add up to no interval. Rows of silent shops alone hold no facts.
_TOTALS = """
SELECT cell, start, sum(sold) AS sold, sum(demand) AS demand,
       CASE WHEN count(*) = 1 THEN max(demand_low) END AS demand_low,
       CASE WHEN count(*) = 1 THEN max(demand_high) END AS demand_high, sum(lost) AS lost, sum(in_stock) AS in_stock,
       sum(observed) AS observed, max(stores_expected) AS stores, max(stores_reporting) AS reporting,
       min(complete_to) AS complete_to, count(*) AS skus, count(*) - count(demand) AS unknown
FROM found WHERE observed > 0 OR sold > 0 OR put_back > 0 OR restocked > 0 GROUP BY cell, start
"""
_FRAMES = f"""
WITH seen AS ({_TOTALS}), cells AS (SELECT cell FROM every UNION SELECT cell FROM found)
SELECT cell, {', '.join(f'round({name}, 4) AS {name}' for name in COLUMNS)} FROM (
    SELECT cells.cell, starts.start, coalesce(seen.stores, every.stores) AS stores,
           coalesce(seen.reporting, 0) AS reporting, seen.* EXCLUDE (cell, start, stores, reporting)
    FROM cells CROSS JOIN (SELECT unnest($starts) AS start) AS starts
    LEFT JOIN every ON every.cell = cells.cell
    LEFT JOIN seen ON seen.cell = cells.cell AND seen.start = starts.start)
ORDER BY start, cell
"""  # noqa: S608  # constants
# The resolution is one of the grid's; SQLite takes `cell` from the row that has the greatest `since`.
_EVERY = """
SELECT here.cell, count(*)
FROM (SELECT store, r{r} AS cell, max(since) FROM place WHERE since < :end GROUP BY store) AS here
JOIN store ON store.id = here.store
WHERE store.removed IS NULL OR store.removed > :start
GROUP BY 1
"""
_UNNAMED = """
UNION SELECT DISTINCT sku, sku, '' FROM latest WHERE sku NOT IN (SELECT id FROM sku UNION SELECT old FROM renamed)
"""
_SHOPS = pa.schema([("cell", pa.string()), ("stores", pa.int32())])


@dataclass(frozen=True, slots=True)
class Asked:
    """Which frames: `count` windows from `start` on (Unix seconds, None for the newest); of one SKU, None for all."""

    resolution: int = 8
    window_s: int = 900
    start: int | None = None
    sku: str | None = None
    count: int = 1


def read_frames(db: Path, scope: Scope, asked: Asked, now: float) -> dict[str, Any]:
    """The `cells`, and in `frames` for each window its `start` and, under `columns`, a value of each for each cell.

    Beside them the `first` and `latest` window that there are. Units are summed over SKUs, `demand` over those whose
    demand is known, None where none is; `unknown` counts the others. A cell with shops but without facts has None
    everywhere but in `stores` and `reporting`; public frames hold only cells of which something is published.
    """
    window_s = asked.window_s
    first, latest = _ends(db, scope, window_s, now)
    told = {"window_s": window_s, "first": first, "latest": latest, "scope": scope,
            "revision": feed.revision(db, scope)}
    start = latest if asked.start is None else asked.start // window_s * window_s
    begin = start or 0
    shops = _shops(db, asked.resolution, begin, window_s) if scope == "operator" else _SHOPS.empty_table()
    count = min(asked.count, max(1, MOST // max(1, len(shops))))
    query = feed.Query(db, scope, asked.resolution, window_s, skus=None if asked.sku is None else (asked.sku,),
                       since=begin, until=begin + count * window_s)
    found = pa.concat_tables([SCHEMA.empty_table(), *feed.tables(query)])
    starts = [begin + number * window_s for number in range(count)]
    with engine() as duck:
        table = _columns(duck, found, shops, starts)
    cells = len(table) // count
    frames = [{"start": None if start is None else at, "columns": {
        name: table.column(name).slice(number * cells, cells).to_pylist() for name in COLUMNS}}
        for number, at in enumerate(starts)]
    return told | {"cells": table.column("cell").slice(0, cells).to_pylist(), "frames": frames}


def _ends(db: Path, scope: Scope, window_s: int, now: float) -> tuple[int | None, int | None]:
    """The starts of the first and the newest window that have facts or are published; None where none are."""
    if scope == "public":
        days = days_of(db)
        first, latest = (days[0] * DAY_S, days[-1] * DAY_S + DAY_S - 1) if days else (None, None)
    else:
        latest = feed.latest_window(db, now, window_s)
        with reading(db) as source:
            (first,) = source.execute("SELECT min(window) FROM flow").fetchone()
    if first is None or latest is None:
        return None, None
    return first // window_s * window_s, latest // window_s * window_s


def _shops(db: Path, resolution: int, start: int, window_s: int) -> pa.Table:
    with reading(db) as source:
        found = source.execute(_EVERY.format(r=resolution), {"start": start, "end": start + window_s}).fetchall()
    return pa.table([[cell for cell, _ in found], [count for _, count in found]], schema=_SHOPS)


def _columns(duck: duckdb.DuckDBPyConnection, found: pa.Table, shops: pa.Table, starts: list[int]) -> pa.Table:
    """One row for each window and cell, in this order."""
    duck.register("found", found)
    duck.register("every", shops)
    return duck.sql(_FRAMES, params={"starts": starts}).to_arrow_table()


def read_catalogue(db: Path, scope: Scope) -> list[dict[str, str]]:
    """The catalogue's SKUs with `sku`, `name` and `category`; for the operator those without a name as well."""
    more = _UNNAMED if scope == "operator" else ""
    with reading(db) as source:
        found = source.execute(f"SELECT id, name, category FROM sku {more} ORDER BY 2, 1")  # noqa: S608  # constants
        return [dict(zip(("sku", "name", "category"), row, strict=True)) for row in found]
