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

# Written with a resolution of the grid, a length that was checked, counts and the numbers' type; every other value is
# a parameter. A number is as narrow as it can be, and what stands in it is cast first: wide sums cost a fifth more.
_WHERE = "CAST({newest} - {time} // {window} AS {type}) * CAST({cells} AS {type}) + CAST(here.cell AS {type})"
_KEY = "({where}) * CAST({skus} AS {type}) + CAST(item.code AS {type})"
_STOOD = "JOIN here ON here.store = {facts}.store AND {facts}.win >= here.since AND {facts}.win < here.until"
_SUMS = """
SELECT {key} AS key, sum(f.sold) AS sold, sum(f.put_back) AS put_back, sum(f.restocked) AS restocked,
       sum(f.in_stock * coalesce(opened.part, 1)) AS in_stock, sum(f.observed * coalesce(opened.part, 1)) AS observed,
       sum(f.lost) AS lost, {variance} AS variance, max(f.rev) AS revision
FROM estimated AS f {stood} JOIN item ON item.told = f.sku
LEFT JOIN opened ON opened.schedule = here.schedule AND opened.win = f.win
GROUP BY key
"""
_SILENT = """
SELECT {key} AS key, sum(f.silent) AS silent FROM quiet AS f {stood} JOIN item ON item.told = f.sku GROUP BY key
"""
_HEARD = """
SELECT key, count(*) AS stores
FROM (SELECT DISTINCT {where} AS key, here.number FROM (SELECT DISTINCT store, win FROM estimated) AS f {stood})
GROUP BY key
"""
_EXPECTED = """
SELECT {where} AS key, count(DISTINCT here.number) AS stores,
       CASE WHEN count(*) = count(progress.complete_to) THEN min(progress.complete_to) END AS complete_to
FROM here JOIN (SELECT DISTINCT win - win % {window} AS start FROM span) AS starts
     ON here.since < starts.start + {window} AND here.until > starts.start
LEFT JOIN (SELECT schedule, win - win % {window} AS start, max(part) AS part FROM opened GROUP BY ALL) AS hours
     ON hours.schedule = here.schedule AND hours.start = starts.start
LEFT JOIN progress ON progress.store = here.store
WHERE coalesce(hours.part, 1) > 0
GROUP BY key
"""
_HERE = """
CREATE OR REPLACE TABLE here AS
SELECT store, since, until, schedule, r{r} AS id, CAST(dense_rank() OVER (ORDER BY r{r}) - 1 AS UINTEGER) AS cell,
       CAST(dense_rank() OVER (ORDER BY store) - 1 AS UINTEGER) AS number
FROM place WHERE {area}
"""
_ITEM = """
CREATE OR REPLACE TABLE item AS
SELECT told, sku, CAST(dense_rank() OVER (ORDER BY sku) - 1 AS UINTEGER) AS code
FROM (SELECT every.sku AS told, coalesce(renamed.sku, every.sku) AS sku
      FROM (SELECT sku FROM estimated UNION SELECT sku FROM quiet) AS every
      LEFT JOIN renamed ON renamed.old = every.sku)
WHERE {some}
"""
_FROM_FACTS = ("sold", "put_back", "restocked", "in_stock", "observed", "revision")
_ESTIMATED = ("lost", "variance")


@dataclass(frozen=True, slots=True, eq=False)
class _Key:
    """What the parts of a row's number stand for; `given` fills the questions."""

    cells: Ints
    skus: pa.Array
    window_s: int
    newest: int
    given: dict[str, str | int]

    def ask(self, duck: duckdb.DuckDBPyConnection, query: str, time: str = "f.win") -> pa.Table:
        """The answer to one of the questions above, sorted by `key`; `time` is the column with the moment."""
        where = _WHERE.format(time=time, **self.given)
        found = duck.sql(query.format(where=where, key=_KEY.format(where=where, **self.given),
                                      stood=_STOOD.format(facts="f"), **self.given)).to_arrow_table()
        return found.take(np.argsort(found.column("key").to_numpy()))  # a tenth of what the engine's own sort costs


def combine(duck: duckdb.DuckDBPyConnection, resolution: int, window_s: int, skus: Iterable[str] | None = None,
            cells: Iterable[int] | None = None, parameters: Parameters | None = None) -> pa.Table:
    """The rows of the loaded facts, newest first; only of the cells and SKUs that are given.

    Where all shops of a cell are silent on a SKU there is a row, too: with `silent` units, no demand, and revision 0.
    `parameters` are the estimator's, for the intervals; see `model.parameters_of`.
    """
    key = _prepare(duck, resolution, window_s, skus, cells)
    if key is None:
        return SCHEMA.empty_table()
    sums = key.ask(duck, _SUMS)
    silent = key.ask(duck, _SILENT)
    heard, quiet = (table.column("key").to_numpy().astype(np.int64) for table in (sums, silent))
    number = heard if not len(quiet) else np.union1d(heard, quiet)
    place = number // len(key.skus)
    columns = {
        "cell": _taken(pa.array([f"{cell:x}" for cell in key.cells.tolist()], pa.string()), place % len(key.cells)),
        "sku": _taken(key.skus, number % len(key.skus)),
        "start": (key.newest - place // len(key.cells)) * window_s,
        "window_s": np.full(len(number), window_s), "covered_s": np.full(len(number), window_s),
        "silent": _found(silent, "silent", number), **_added_up(sums, number), **_counted(duck, key, place)}
    return complete(pa.table(columns), parameters)


def _added_up(sums: pa.Table, number: Ints) -> dict[str, pa.Array]:
    """The sums at each number: nothing, and nothing known of what was lost, where nobody sent anything."""
    if len(sums) == len(number):
        return {name: sums.column(name) for name in (*_FROM_FACTS, *_ESTIMATED)}
    return {**{name: _found(sums, name, number).fill_null(0) for name in _FROM_FACTS},
            **{name: _found(sums, name, number) for name in _ESTIMATED}}


def counts(duck: duckdb.DuckDBPyConnection, resolution: int, window_s: int) -> pa.Table:
    """`id`, `start`, `stores_expected`, `stores_reporting` and `complete_to` of the cells that were heard of."""
    key = _prepare(duck, resolution, window_s, None, None)
    place = np.empty(0, dtype=np.int64) if key is None else \
        key.ask(duck, _HEARD).column("key").to_numpy().astype(np.int64)
    names = {"id": pa.array([], pa.uint64()), "start": place} if key is None else {
        "id": pa.array(key.cells[place % len(key.cells)], pa.uint64()),
        "start": (key.newest - place // len(key.cells)) * window_s}
    counted = _counted(duck, key, place) if key is not None else {
        "stores_expected": place, "stores_reporting": place, "complete_to": place.astype(float)}
    return pa.table({**names, **counted})


def _prepare(duck: duckdb.DuckDBPyConnection, resolution: int, window_s: int, skus: Iterable[str] | None,
             cells: Iterable[int] | None) -> _Key | None:
    """Make `here` and `item`; None where no cell or no SKU is left."""
    if cells is not None:
        duck.register("incoming", pa.table({"id": pa.array(list(cells), pa.uint64())}))
        duck.execute("CREATE OR REPLACE TABLE wanted AS SELECT * FROM incoming")
        duck.unregister("incoming")
    area = "true" if cells is None else f"r{resolution} IN (SELECT id FROM wanted)"  # noqa: S608
    duck.execute(_HERE.format(r=resolution, area=area))
    duck.execute(_ITEM.format(some="true" if skus is None else "sku IN (SELECT unnest($1))"),
                 None if skus is None else [list(skus)])
    ids = duck.sql("SELECT DISTINCT id FROM here ORDER BY 1").to_arrow_table().column("id").to_numpy().astype(np.int64)
    names = duck.sql("SELECT DISTINCT sku FROM item ORDER BY 1").to_arrow_table().column("sku").combine_chunks()
    ((oldest, newest),) = duck.execute("SELECT min(win), max(win) FROM span").fetchall()
    if not len(ids) or not len(names) or newest is None:
        return None
    windows = newest // window_s - oldest // window_s + 1
    given: dict[str, str | int] = {
        "window": window_s, "cells": len(ids), "skus": len(names), "newest": newest // window_s,
        "variance": "sum(f.variance)" if estimates.modelled(duck) else "CAST(NULL AS DOUBLE)",
        "type": "UINTEGER" if windows * len(ids) * len(names) < 2**32 else "UBIGINT"}
    return _Key(ids, names, window_s, newest // window_s, given)


def _counted(duck: duckdb.DuckDBPyConnection, key: _Key, place: Ints) -> dict[str, pa.Array]:
    """Who was expected and heard, and how complete it is, at each place of (window, cell); `place` is sorted."""
    first = np.flatnonzero(np.diff(place, prepend=-1))
    often = np.diff(first, append=len(place))
    back = pa.array(np.repeat(np.arange(len(first), dtype=np.int32), often))
    once = place[first]
    heard = key.ask(duck, _HEARD)
    expected = key.ask(duck, _EXPECTED, "starts.start")
    return {"stores_reporting": _found(heard, "stores", once).fill_null(0).take(back),
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
