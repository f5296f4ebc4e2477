"""The learned model beside the database, `<database>.model.npz`: kept, read, and grown by series it has not met."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cloud_ingest.estimate import estimator, levels, profile
from cloud_ingest.estimate.parameters import Parameters, read_parameters
from cloud_ingest.estimate.rows import Floats, Ints, Series
from edge.errors import StoreError
from edge.wire import WINDOW_S

SLOTS = 86_400 // WINDOW_S
LEARNED = ("prior_units", "prior_share", "noise", "spread", "common", "whole")
"""The parameters that are learned with the model; the others are the shipped ones."""
NAMES = ("stores", "pair_skus", "skus", "categories")
_NO_NAMES = pa.array([], pa.string())
_ROOTS = """
SELECT coalesce(root, 0) AS root FROM known
LEFT JOIN (SELECT store, max_by(r5, since) AS root FROM place GROUP BY store) USING (store) ORDER BY number
"""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A model with the names behind its numbers: `stores` and `pair_skus` are the series' names, in their order.

    `digest` tells a model from another; it is empty before it was kept.
    """

    stores: pa.Array
    pair_skus: pa.Array
    skus: pa.Array
    categories: pa.Array
    model: estimator.Model
    digest: str = ""


def nothing() -> Known:
    """Before the first lesson."""
    names = np.array([], dtype=np.intp)
    series = Series(names, names, names, names)
    empty = profile.Profiles(np.empty((0, 2, SLOTS)), np.zeros(7, dtype=bool), np.empty((0, 7)))
    return Known(_NO_NAMES, _NO_NAMES, _NO_NAMES, _NO_NAMES,
                 estimator.Model(series, empty, levels.no_levels(series), read_parameters()))


def file_of(source: sqlite3.Connection) -> Path:
    """The file of an open database."""
    return Path(source.execute("PRAGMA database_list").fetchone()[2])


def model_file(source: sqlite3.Connection) -> Path:
    """Where the model of an open database lies."""
    database = file_of(source)
    return database.with_name(f"{database.name}.model.npz")


def parameters_of(db: Path) -> Parameters:
    """The parameters that were learned beside a database; the shipped ones before that."""
    known = load(db.with_name(f"{db.name}.model.npz"))
    return read_parameters() if known is None else known.model.parameters


def with_new(duck: duckdb.DuckDBPyConnection, known: Known, pairs: str, category_of: dict[str, str]) -> Known:
    """The model with those series of the query `pairs` that it does not know, as series without a past.

    Makes `known`: number, store, sku. A new SKU sells like the mean of all, a new category too.
    """
    register(duck, "known", known)
    new = duck.sql(f"SELECT store, sku FROM ({pairs}) ANTI JOIN known USING (store, sku) ORDER BY 1, 2"  # noqa: S608  # own queries
                   ).to_arrow_table()
    if len(new):
        known = replace(known, stores=_joined(known.stores, new.column("store")),
                        pair_skus=_joined(known.pair_skus, new.column("sku")))
        register(duck, "known", known)
    skus = _appended(known.skus, known.pair_skus)
    of_skus = pa.array([category_of.get(sku, "") for sku in skus.to_pylist()], pa.string())
    categories = _appended(known.categories, of_skus)
    roots = duck.sql(_ROOTS).to_arrow_table().column("root").to_numpy()
    regions = np.unique(roots, return_inverse=True)[1].astype(np.intp)
    series = Series(_numbers(known.stores.dictionary_encode().indices), _numbers(pc.index_in(known.pair_skus, skus)),
                    regions, _numbers(pc.index_in(of_skus, categories)))
    return replace(known, skus=skus, categories=categories, model=_grown(known.model, series, len(categories)))


def register(duck: duckdb.DuckDBPyConnection, name: str, known: Known) -> None:
    """Make a table of the series: number, store, sku."""
    duck.register("incoming", pa.table({"number": np.arange(len(known.stores), dtype=np.int32), "store": known.stores,
                                        "sku": known.pair_skus}))
    duck.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM incoming")  # noqa: S608  # own names
    duck.unregister("incoming")


def _joined(names: pa.Array, more: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays([names, more.cast(pa.string()).combine_chunks()])


def _appended(names: pa.Array, more: pa.Array) -> pa.Array:
    return pa.concat_arrays([names, more]).unique()


def _numbers(codes: pa.Array) -> Ints:
    return np.asarray(codes.to_numpy(), dtype=np.intp)


def _grown(model: estimator.Model, series: Series, categories: int) -> estimator.Model:
    """The model with room for all series."""
    profiles = model.profiles
    more = np.zeros(series.store.size - model.levels.sold.size)
    grown = profile.Profiles(_more(profiles.share, series.category.size), profiles.busy,
                             _more(profiles.factor, categories))
    return estimator.Model(series, grown, levels.Levels(np.concatenate([model.levels.sold, more]),
                                                        np.concatenate([model.levels.seen, more])), model.parameters)


def _more(table: Floats, rows: int) -> Floats:
    """The table with as many rows, those that are new like the mean of the others."""
    if len(table) == rows or not len(table):
        return table
    return np.concatenate([table, np.repeat(table.mean(0, keepdims=True), rows - len(table), 0)])


def save(target: Path, known: Known) -> None:
    """Keep a model in the place of the one before."""
    model = known.model
    columns = {name: np.array(getattr(known, name).to_pylist(), dtype=np.str_)
               for name in NAMES}
    beside = target.with_name(f".{target.name}.new.npz")
    np.savez_compressed(beside, allow_pickle=False, **columns, share=model.profiles.share, busy=model.profiles.busy,
                        factor=model.profiles.factor, sold=model.levels.sold, seen=model.levels.seen,
                        learned=np.array([getattr(model.parameters, name) for name in LEARNED]))
    beside.replace(target)


def load(path: Path) -> Known | None:
    """The model in a file; None where nothing was learned yet, StoreError where the file is no model."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return _load(path, (found.st_ino, found.st_mtime_ns, found.st_size))


@lru_cache(maxsize=2)
def _load(path: Path, _file: tuple[int, int, int]) -> Known:
    """A server asks for the same model again and again; a new one is a new file."""
    with _opening(path):
        with np.load(path, allow_pickle=False) as file:
            found = dict(file)
        stores, pair_skus, skus, categories = (pa.array(found[name].tolist(), pa.string()) for name in NAMES)
        # The series are numbered as the registry has them now: see `with_new`.
        model = estimator.Model(nothing().model.series,
                                profile.Profiles(found["share"], found["busy"], found["factor"]),
                                levels.Levels(found["sold"], found["seen"]), _learned(found))
        return Known(stores, pair_skus, skus, categories, model, hashlib.sha256(path.read_bytes()).hexdigest())


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
