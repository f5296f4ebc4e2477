"""The one place where the feed asks for estimates: what each series lost, and what silent ones would have sold.

`learn` teaches `cloud_ingest.estimate` the last weeks and keeps the model beside the database, `<database>.model.npz`;
publishing does it once a day. From then on `add` estimates each day (of UTC) as a whole, late facts included. Before
the first lesson a series that was in stock for a part of a window is taken to have sold on evenly, at most MOST times
as much, and nothing is said about silent ones.

    estimated  flow with units `lost` and their `variance`; null where not known
    quiet      store, sku, win and units `silent`, where a series of a shop that is open sent nothing
"""

from __future__ import annotations

import contextlib
import sqlite3
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import duckdb
import msgspec
import numpy as np
import pyarrow as pa

from cloud_ingest.demand import MOST
from cloud_ingest.estimate import estimator, levels, posterior, profile
from cloud_ingest.estimate.calibrate import calibrate
from cloud_ingest.estimate.local import Flow, to_windows
from cloud_ingest.estimate.parameters import Parameters, read_parameters
from cloud_ingest.estimate.rows import Floats, Ints, Series, Windows, by_day, join
from edge.errors import StoreError
from edge.wire import WINDOW_S

DAY_S = 86_400
CALIBRATE_DAYS = 14
LEARNED = ("prior_units", "prior_share", "noise", "spread", "common", "whole")
"""The parameters that are learned with the model; the others are the shipped ones."""
SLOTS = DAY_S // WINDOW_S
T = TypeVar("T")
SIMPLE = f"""
CREATE OR REPLACE VIEW estimated AS
SELECT *, CASE WHEN in_stock > 0 AND observed > 0 THEN sold * (least({MOST}, greatest(1, observed / in_stock)) - 1)
          END AS lost, CAST(NULL AS DOUBLE) AS variance
FROM flow
"""  # noqa: S608  # a constant
NO_QUIET = ("CREATE OR REPLACE TABLE quiet AS SELECT '' AS store, '' AS sku, CAST(0 AS BIGINT) AS win, "
            "CAST(0 AS DOUBLE) AS silent WHERE false")
_SEEN = f"""
SELECT known.number, place.tz, flow.win, coalesce(opened.part, 1) * {WINDOW_S} AS opened, flow.sold,
       flow.in_stock * coalesce(opened.part, 1) AS in_stock, flow.observed * coalesce(opened.part, 1) AS observed
FROM flow JOIN known USING (store, sku)
JOIN place ON place.store = flow.store AND flow.win >= place.since AND flow.win < place.until
LEFT JOIN opened ON opened.schedule = place.schedule AND opened.win = flow.win
"""  # noqa: S608  # a constant
# Windows in which an open shop sent nothing on a series, as far as anybody has sent: silence has rows, too.
_QUIET = f"""
SELECT known.number, place.tz, span.win, coalesce(opened.part, 1) * {WINDOW_S} AS opened, 0.0 AS sold, 0.0 AS in_stock,
       0.0 AS observed
FROM known JOIN place USING (store)
JOIN span ON span.win >= place.since AND span.win < place.until AND span.win <= (SELECT max(win) FROM flow)
LEFT JOIN opened ON opened.schedule = place.schedule AND opened.win = span.win
ANTI JOIN flow ON flow.store = known.store AND flow.sku = known.sku AND flow.win = span.win
WHERE coalesce(opened.part, 1) > 0
"""  # noqa: S608  # a constant
_ESTIMATED = """
CREATE OR REPLACE VIEW estimated AS
SELECT flow.*, found.lost, found.variance FROM flow LEFT JOIN found USING (store, sku, win)
"""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A model with the names behind its numbers: `pairs` are the series, as (store, SKU)."""

    pairs: list[tuple[str, str]]
    skus: list[str]
    categories: list[str]
    roots: list[int]
    model: estimator.Model


def model_file(source: sqlite3.Connection) -> Path:
    """Where the model of an open database lies."""
    database = Path(source.execute("PRAGMA database_list").fetchone()[2])
    return database.with_name(f"{database.name}.model.npz")


def add(duck: duckdb.DuckDBPyConnection, source: sqlite3.Connection) -> None:
    """Make `estimated` and `quiet` from `flow` and the registry, whole days of UTC."""
    known = load(model_file(source))
    duck.execute(NO_QUIET)
    if known is None or not duck.execute("SELECT 1 FROM flow LIMIT 1").fetchall():
        duck.execute(SIMPLE)
        return
    known = _with_new(duck, known, dict(source.execute("SELECT id, category FROM sku")))
    table = duck.sql(f"{_SEEN} UNION ALL {_QUIET} ORDER BY win, number").to_arrow_table()
    days = _column(table, "win").astype(np.int64) // DAY_S
    edges = [0, *(np.flatnonzero(np.diff(days)) + 1), len(days)]
    parts = [_estimate(table.slice(begin, end - begin), known) for begin, end in pairwise(edges)]
    duck.register("incoming", pa.concat_tables(parts))
    duck.execute("CREATE OR REPLACE TABLE found AS SELECT store, sku, win, lost, variance FROM incoming JOIN known "
                 "USING (number) WHERE observed > 0 OR sold > 0")
    duck.execute("CREATE OR REPLACE TABLE quiet AS SELECT store, sku, win, silent FROM incoming JOIN known "
                 "USING (number) WHERE silent > 0")
    duck.unregister("incoming")
    duck.execute(_ESTIMATED)


def modelled(duck: duckdb.DuckDBPyConnection) -> bool:
    """Whether `estimated` knows variances."""
    return duck.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'found'").fetchall() != []


def parameters_of(db: Path) -> Parameters:
    """The parameters that were learned beside a database; the shipped ones before that."""
    path = db.with_name(f"{db.name}.model.npz")
    if not path.exists():
        return read_parameters()
    with _opening(path), np.load(path, allow_pickle=False) as file:
        return _learned(file)


def interval(lost: Floats, variance: Floats, parameters: Parameters | None = None) -> tuple[Floats, Floats]:
    """The 80% interval of what a cell lost, with what its series have in common; not a number where not known.

    `parameters` are those of `parameters_of`, or the shipped ones.
    """
    chosen = parameters or read_parameters()
    known = np.isfinite(variance)
    part = np.where(known, lost, 0.0)
    low, high = posterior.interval(part, np.where(known, variance, 0.0) + chosen.common * part * part,
                                   whole=chosen.whole)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def learn(duck: duckdb.DuckDBPyConnection, source: sqlite3.Connection, target: Path) -> int:
    """Teach the model the loaded flow and keep it in `target`; returns the number of series."""
    known = _with_new(duck, None, dict(source.execute("SELECT id, category FROM sku")))
    if not known.pairs:
        return 0
    history = list(by_day(_windows(duck.sql(_SEEN).to_arrow_table())))
    model = estimator.learn(history, known.model.series, SLOTS, known.model.parameters)
    found = calibrate(history[-CALIBRATE_DAYS:], model)
    model = replace(model, parameters=msgspec.structs.replace(
        model.parameters, **{name: getattr(found, name) for name in LEARNED}))
    _save(target, replace(known, model=model))
    return len(known.pairs)


def _column(table: pa.Table, name: str) -> Floats:
    return np.asarray(table.column(name).to_numpy(), dtype=np.float64)


def _windows(table: pa.Table) -> Windows:
    """The rows of _SEEN or _QUIET on the wall clocks of their shops."""
    zones = table.column("tz").to_numpy(zero_copy_only=False)
    parts = []
    for tz in np.unique(zones):
        some = table.filter(pa.array(zones == tz))
        number, start = (_column(some, name).astype(np.intp) for name in ("number", "win"))
        parts.append(to_windows(Flow(number, start, *(_column(some, name) for name in (
            "sold", "in_stock", "observed", "opened"))), str(tz), WINDOW_S))
    return join(parts)


def _estimate(table: pa.Table, known: Known) -> pa.Table:
    """Lost and silent units of each row of one day of UTC.

    A day's windows err together: the day's variance is shared out by what each lost, so that windows add up to it.
    """
    order = np.argsort(table.column("tz").to_numpy(zero_copy_only=False), kind="stable")
    table = table.take(pa.array(order))  # as `_windows` puts them
    windows = _windows(table)
    lost, silent, variance = (np.zeros(len(table)) for _ in range(3))
    for local in np.unique(windows.day):
        rows = np.flatnonzero(windows.day == local)
        part = windows.of(rows)
        day = estimator.estimate_day(part, known.model)
        mine = estimator.by_window(part, known.model, day)
        whole = np.searchsorted(day.days.series, part.series)
        total = day.estimates.lost[whole]
        lost[rows], silent[rows] = mine.lost, mine.silent
        variance[rows] = day.estimates.variance[whole] * np.divide(mine.lost, total, out=np.zeros_like(total),
                                                                   where=total > 0)
    return pa.table({"number": table.column("number"), "win": table.column("win"), "sold": table.column("sold"),
                     "observed": table.column("observed"), "lost": lost, "silent": silent, "variance": variance})


def _with_new(duck: duckdb.DuckDBPyConnection, known: Known | None, category_of: dict[str, str]) -> Known:
    """The model with those series of `flow` that it does not know, as series without a past; makes `known`."""
    pairs = [] if known is None else list(known.pairs)
    there = set(pairs)
    pairs += [pair for pair in duck.execute("SELECT DISTINCT store, sku FROM flow ORDER BY 1, 2").fetchall()
              if pair not in there]
    duck.register("incoming", pa.table({"number": np.arange(len(pairs)), "store": pa.array(
        [store for store, _ in pairs], pa.string()), "sku": pa.array([sku for _, sku in pairs], pa.string())}))
    duck.execute("CREATE OR REPLACE TABLE known AS SELECT * FROM incoming")
    duck.unregister("incoming")
    skus = _appended([] if known is None else known.skus, (sku for _, sku in pairs))
    categories = _appended([] if known is None else known.categories, (category_of.get(sku, "") for sku in skus))
    root_of = dict(duck.execute("SELECT store, max_by(r5, since) FROM place GROUP BY store").fetchall())
    roots = _appended([] if known is None else known.roots, (root_of.get(store, 0) for store, _ in pairs))
    series = Series(*(_numbers(names, every) for names, every in (
        ([store for store, _ in pairs], list(dict.fromkeys(store for store, _ in pairs))),
        ([sku for _, sku in pairs], skus), ([root_of.get(store, 0) for store, _ in pairs], roots),
        ([category_of.get(sku, "") for sku in skus], categories))))
    model = _grown(None if known is None else known.model, series, len(categories))
    return Known(pairs, skus, categories, roots, model)


def _appended(names: list[T], more: Iterable[T]) -> list[T]:
    return list(dict.fromkeys([*names, *more]))


def _numbers(names: list[T], every: list[T]) -> Ints:
    place = {name: number for number, name in enumerate(every)}
    return np.array([place[name] for name in names], dtype=np.intp)


def _grown(model: estimator.Model | None, series: Series, categories: int) -> estimator.Model:
    """The model with room for all series: a new SKU sells like the mean of all, a new category too."""
    if model is None:
        empty = profile.Profiles(np.empty((0, 2, SLOTS)), np.zeros(7, dtype=bool), np.empty((0, 7)))
        return estimator.Model(series, empty, levels.no_levels(series), read_parameters())
    share, factor = model.profiles.share, model.profiles.factor
    more, wider = series.category.size - len(share), categories - len(factor)
    profiles = profile.Profiles(np.concatenate([share, np.repeat(share.mean(0, keepdims=True), more, 0)]),
                                model.profiles.busy,
                                np.concatenate([factor, np.repeat(factor.mean(0, keepdims=True), wider, 0)]))
    new = np.zeros(series.store.size - model.levels.sold.size)
    return estimator.Model(series, profiles, levels.Levels(np.concatenate([model.levels.sold, new]),
                                                           np.concatenate([model.levels.seen, new])), model.parameters)


def _save(target: Path, known: Known) -> None:
    model = known.model
    columns = {"stores": np.array([store for store, _ in known.pairs]), "pair_skus": np.array(
        [sku for _, sku in known.pairs]), "skus": np.array(known.skus), "categories": np.array(known.categories),
        "roots": np.array(known.roots, dtype=np.uint64), "share": model.profiles.share, "busy": model.profiles.busy,
        "factor": model.profiles.factor, "sold": model.levels.sold, "seen": model.levels.seen,
        "store": model.series.store, "sku": model.series.sku, "region": model.series.region,
        "category": model.series.category,
        "learned": np.array([getattr(model.parameters, name) for name in LEARNED])}
    beside = target.with_name(f".{target.name}.new.npz")
    np.savez_compressed(beside, allow_pickle=False, **columns)
    beside.replace(target)


def load(path: Path) -> Known | None:
    """The model in a file; None where nothing was learned yet, StoreError where the file is no model."""
    if not path.exists():
        return None
    with _opening(path):
        with np.load(path, allow_pickle=False) as file:
            found = dict(file)
        model = estimator.Model(
            Series(*(found[name] for name in ("store", "sku", "region", "category"))),
            profile.Profiles(found["share"], found["busy"], found["factor"]),
            levels.Levels(found["sold"], found["seen"]), _learned(found))
        pairs = list(zip(found["stores"].tolist(), found["pair_skus"].tolist(), strict=True))
        return Known(pairs, found["skus"].tolist(), found["categories"].tolist(), found["roots"].tolist(), model)


def _learned(found: Mapping[str, Floats]) -> Parameters:
    """A model that was kept without them has the shipped ones."""
    if "learned" not in found:
        return read_parameters()
    values = zip(LEARNED, found["learned"].tolist(), strict=True)
    return msgspec.structs.replace(read_parameters(), **dict(values))


@contextlib.contextmanager
def _opening(path: Path) -> Iterator[None]:
    """StoreError where what is done with a model's file shows that it is none."""
    try:
        yield
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise StoreError(str(path), f"is no model: {error}",
                         "delete it; the next `feed publish` learns it anew") from error
