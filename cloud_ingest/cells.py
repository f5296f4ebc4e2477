"""Cells: the facts of `cloud_ingest.facts` added up per H3 cell, SKU and window, with nothing withheld.

Every resolution is a column of the registry, a coarser cell always the finer one's parent, so rows of a coarser cell
are the sums of finer ones. A store stands in the cell it was in at the time of the facts.

Rows are grouped and sorted by one number, the place of (window, cell, SKU) with the newest window first: names come
back to it afterwards, which costs a third of grouping by names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from cloud_ingest import estimates
from cloud_ingest.estimate.parameters import Parameters
from cloud_ingest.estimate.rows import Floats, Ints
from cloud_ingest.rows import SCHEMA

# Written with a resolution of the grid, a length that was checked and counts; every other value is a parameter.
_WHERE = "({newest} - {time} // {window}) * {cells} + rank.cell"
_SUMS = """
SELECT ({where}) * {skus} + item.code AS key, sum(placed.sold) AS sold, sum(placed.put_back) AS put_back,
       sum(placed.restocked) AS restocked, sum(placed.in_stock) AS in_stock, sum(placed.observed) AS observed,
       sum(placed.lost) AS lost, {variance} AS variance, max(placed.rev) AS revision
FROM placed JOIN rank USING (shop) JOIN item USING (sku)
GROUP BY key ORDER BY key
"""
_SILENT = """
SELECT ({where}) * {skus} + item.code AS key, sum(quiet.silent) AS silent
FROM quiet JOIN place ON place.store = quiet.store AND quiet.win >= place.since AND quiet.win < place.until
JOIN rank USING (shop) LEFT JOIN renamed ON renamed.old = quiet.sku
JOIN item ON item.sku = coalesce(renamed.sku, quiet.sku)
GROUP BY key ORDER BY key
"""
_HEARD = """
SELECT key // {stores} AS key, count(*) AS stores
FROM (SELECT DISTINCT ({where}) * {stores} + rank.number AS key FROM placed JOIN rank USING (shop))
GROUP BY ALL ORDER BY key
"""
_EXPECTED = """
SELECT {where} AS key, count(DISTINCT rank.number) AS stores,
       CASE WHEN count(*) = count(progress.complete_to) THEN min(progress.complete_to) END AS complete_to
FROM place JOIN rank USING (shop) JOIN (SELECT DISTINCT win - win % {window} AS start FROM span) AS starts
     ON place.since < starts.start + {window} AND place.until > starts.start
LEFT JOIN (SELECT schedule, win - win % {window} AS start, max(part) AS part FROM opened GROUP BY ALL) AS hours
     ON hours.schedule = place.schedule AND hours.start = starts.start
LEFT JOIN progress ON progress.store = place.store
WHERE coalesce(hours.part, 1) > 0
GROUP BY ALL ORDER BY key
"""
_RANK = """
CREATE OR REPLACE TABLE rank AS
SELECT shop, dense_rank() OVER (ORDER BY r{r}) - 1 AS cell, dense_rank() OVER (ORDER BY store) - 1 AS number
FROM place WHERE {area}
"""
_ITEM = """
CREATE OR REPLACE TABLE item AS
SELECT sku, row_number() OVER (ORDER BY sku) - 1 AS code
FROM (SELECT DISTINCT coalesce(renamed.sku, every.sku) AS sku
      FROM (SELECT DISTINCT sku FROM flow) AS every LEFT JOIN renamed ON renamed.old = every.sku)
WHERE {some}
"""


@dataclass(frozen=True, slots=True, eq=False)
class _Key:
    """What the parts of a row's number stand for; `given` fills the questions."""

    cells: Ints
    skus: pa.Array
    window_s: int
    newest: int
    given: dict[str, str | int]

    def ask(self, duck: duckdb.DuckDBPyConnection, query: str, time: str) -> pa.Table:
        """The answer to one of the questions above; `time` is the column with the moment."""
        return duck.sql(query.format(where=_WHERE.format(time=time, **self.given), **self.given)).to_arrow_table()


def combine(duck: duckdb.DuckDBPyConnection, resolution: int, window_s: int, skus: Iterable[str] | None = None,
            cells: Iterable[int] | None = None, parameters: Parameters | None = None) -> pa.Table:
    """The rows of the loaded facts, newest first; only of the cells and SKUs that are given.

    `parameters` are the estimator's, for the intervals; see `estimates.parameters_of`.
    """
    key = _prepare(duck, resolution, window_s, skus, cells)
    if key is None:
        return SCHEMA.empty_table()
    sums = key.ask(duck, _SUMS, "placed.win")
    number = sums.column("key").to_numpy()
    place = number // len(key.skus)
    silent = key.ask(duck, _SILENT, "quiet.win")
    columns = {
        "cell": _taken(pa.array([f"{cell:x}" for cell in key.cells.tolist()], pa.string()), place % len(key.cells)),
        "sku": _taken(key.skus, number % len(key.skus)),
        "start": (key.newest - place // len(key.cells)) * window_s,
        "window_s": np.full(len(sums), window_s), "covered_s": np.full(len(sums), window_s),
        "silent": _found(silent, "silent", number),
        **{name: sums.column(name) for name in ("sold", "put_back", "restocked", "in_stock", "observed", "lost",
                                                "variance", "revision")},
        **_counted(duck, key, place)}
    return complete(pa.table(columns), parameters)


def counts(duck: duckdb.DuckDBPyConnection, resolution: int, window_s: int) -> pa.Table:
    """`id`, `start`, `stores_expected`, `stores_reporting` and `complete_to` of the cells that were heard of."""
    key = _prepare(duck, resolution, window_s, None, None)
    place = np.empty(0, dtype=np.int64) if key is None else \
        key.ask(duck, _HEARD, "placed.win").column("key").to_numpy()
    names = {"id": pa.array([], pa.uint64()), "start": place} if key is None else {
        "id": pa.array(key.cells[place % len(key.cells)], pa.uint64()),
        "start": (key.newest - place // len(key.cells)) * window_s}
    counted = _counted(duck, key, place) if key is not None else {
        "stores_expected": place, "stores_reporting": place, "complete_to": place.astype(float)}
    return pa.table({**names, **counted})


def _prepare(duck: duckdb.DuckDBPyConnection, resolution: int, window_s: int, skus: Iterable[str] | None,
             cells: Iterable[int] | None) -> _Key | None:
    """Make `rank` and `item`; None where no cell or no SKU is left."""
    if cells is not None:
        duck.register("incoming", pa.table({"id": pa.array(list(cells), pa.uint64())}))
        duck.execute("CREATE OR REPLACE TABLE wanted AS SELECT * FROM incoming")
        duck.unregister("incoming")
    area = "true" if cells is None else f"r{resolution} IN (SELECT id FROM wanted)"  # noqa: S608
    duck.execute(_RANK.format(r=resolution, area=area))
    duck.execute(_ITEM.format(some="true" if skus is None else "sku IN (SELECT unnest($1))"),
                 None if skus is None else [list(skus)])
    every = duck.sql(f"SELECT DISTINCT r{resolution} AS id FROM place JOIN rank USING (shop) ORDER BY 1")  # noqa: S608
    ids = every.to_arrow_table().column("id").to_numpy().astype(np.int64)
    names = duck.sql("SELECT sku FROM item ORDER BY code").to_arrow_table().column("sku").combine_chunks()
    ((newest, stores),) = duck.execute("SELECT (SELECT max(win) FROM span), (SELECT max(number) + 1 FROM rank)"
                                       ).fetchall()
    if not len(ids) or not len(names) or newest is None:
        return None
    variance = "sum(placed.variance)" if estimates.modelled(duck) else "CAST(NULL AS DOUBLE)"
    given: dict[str, str | int] = {"window": window_s, "cells": len(ids), "skus": len(names), "stores": stores,
                                   "newest": newest // window_s, "variance": variance}
    return _Key(ids, names, window_s, newest // window_s, given)


def _counted(duck: duckdb.DuckDBPyConnection, key: _Key, place: Ints) -> dict[str, pa.Array]:
    """Who was expected and heard, and how complete it is, at each place of (window, cell); `place` is sorted."""
    first = np.flatnonzero(np.diff(place, prepend=-1))
    often = np.diff(first, append=len(place))
    back = pa.array(np.repeat(np.arange(len(first), dtype=np.int32), often))
    once = place[first]
    heard = key.ask(duck, _HEARD, "placed.win")
    expected = key.ask(duck, _EXPECTED, "starts.start")
    return {"stores_reporting": _found(heard, "stores", once).take(back),
            "stores_expected": _found(expected, "stores", once).fill_null(0).take(back),
            "complete_to": _found(expected, "complete_to", once).take(back)}


def _found(table: pa.Table, name: str, keys: Ints) -> pa.Array:
    """The values of a table that is sorted by `key`; null where it has none."""
    there = table.column("key").to_numpy()
    if not len(there):
        return pa.nulls(len(keys), table.schema.field(name).type)
    at = np.minimum(np.searchsorted(there, keys), len(there) - 1)
    return table.column(name).combine_chunks().take(pa.array(at, mask=there[at] != keys))


def _taken(names: pa.Array, numbers: Ints) -> pa.Array:
    return names.take(pa.array(numbers.astype(np.int32)))


def complete(sums: pa.Table, parameters: Parameters | None = None) -> pa.Table:
    """A table of SCHEMA from one that has the sums, the counts and the place; what it lacks is null."""
    sold, in_stock, observed = (sums.column(name).to_numpy() for name in ("sold", "in_stock", "observed"))
    share = np.divide(np.minimum(in_stock, observed), observed, out=np.zeros_like(observed), where=observed > 0)
    made = {"in_stock_share": pa.array(share, mask=observed <= 0), **_demand(sold, sums, parameters)}
    plain = {"withheld": pa.nulls(len(sums), pa.string()).fill_null(""),
             "withheld_stores": pa.array(np.zeros(len(sums), dtype=np.int32))}
    names = set(sums.column_names)
    return pa.table([made[field.name] if field.name in made else sums.column(field.name).cast(field.type)
                     if field.name in names else plain.get(field.name, pa.nulls(len(sums), field.type))
                     for field in SCHEMA], schema=SCHEMA)


def _demand(sold: Floats, sums: pa.Table, parameters: Parameters | None) -> dict[str, pa.Array]:
    """What was wanted, and its interval where there is one."""
    lost, variance = sums.column("lost"), sums.column("variance")
    unknown = lost.is_null().to_numpy()
    units = np.nan_to_num(lost.to_numpy())
    found = {"demand": pa.array(sold + units, mask=unknown)}
    if variance.null_count < len(variance):
        low, high = estimates.interval(units, variance.to_numpy(), parameters)
        found |= {name: pa.array(sold + end, mask=unknown | np.isnan(end))
                  for name, end in (("demand_low", low), ("demand_high", high))}
    return found
