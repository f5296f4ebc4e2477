"""The ingest's facts in DuckDB: sums per store, SKU and 15-minute window, and where each store was then.

    flow      store, sku, win, sold, put_back, restocked, in_stock, observed, rev: as the ingest added them up
    place     store, since, until, schedule, r9..r5: one row for each place a store had, `shop` its number
    opened    schedule, win, part: which part, 0..1, of a window is open; a schedule that is not there is always open
    renamed   old, sku
    progress  store, complete_to
    estimated flow with `lost` and its `variance`; `quiet` has what silent series would have sold: see `estimates`
    placed    the facts of the span with `shop`, the SKU of today and the one `told`, and seconds in opening hours only:
              what everything else adds up

SQLite is read through Arrow batches, so that nothing has to be downloaded and no day has to fit Python's memory.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from cloud_ingest import estimates
from cloud_ingest.hours import Schedule, open_seconds
from cloud_ingest.store.versions import VERSION
from edge.errors import StoreError
from edge.wire import WINDOW_S

FOREVER = 2**62
BATCH = 50_000
DAY_S = 86_400
SUMS = ("sold", "put_back", "restocked", "in_stock", "observed")
FLOW = pa.schema([("store", pa.string()), ("sku", pa.string()), ("win", pa.int64()),
                  *((name, pa.float64()) for name in SUMS), ("rev", pa.int64())])
_PLACE = pa.schema([("store", pa.string()), ("since", pa.int64()), ("until", pa.int64()), ("tz", pa.string()),
                    ("hours", pa.string()), *((f"r{level}", pa.uint64()) for level in (9, 8, 7, 6, 5))])
_PLACES = f"""
SELECT place.store, place.since,
       coalesce(lead(place.since) OVER (PARTITION BY place.store ORDER BY place.since), store.removed, {FOREVER}),
       place.tz, place.hours, place.r9, place.r8, place.r7, place.r6, place.r5
FROM place JOIN store ON store.id = place.store WHERE ? IS NULL OR store.id = ?
ORDER BY place.r9, place.store, place.since
"""  # noqa: S608  # a constant
PLACED = """
CREATE OR REPLACE VIEW placed AS
SELECT place.shop, coalesce(renamed.sku, f.sku) AS sku, f.sku AS told, f.* EXCLUDE (store, sku, in_stock, observed),
       f.in_stock * coalesce(opened.part, 1) AS in_stock, f.observed * coalesce(opened.part, 1) AS observed
FROM estimated AS f JOIN place ON place.store = f.store AND f.win >= place.since AND f.win < place.until
LEFT JOIN opened ON opened.schedule = place.schedule AND opened.win = f.win
LEFT JOIN renamed ON renamed.old = f.sku
WHERE f.win >= {since:d} AND f.win < {until:d}
"""


@contextlib.contextmanager
def reading(db: Path) -> Iterator[sqlite3.Connection]:
    """The ingest's database, read-only, in one consistent state; StoreError where it is missing or is none."""
    if not db.exists():
        raise StoreError(str(db), "there is no such database", "name the file of `cornergrid-cloud run --db`")
    try:
        address = f"{db.resolve().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=10, check_same_thread=False,
                                                isolation_level=None)) as connection:
            version = connection.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()[0]
            if version != VERSION:
                raise StoreError(str(db), f"is version {version}, this program reads {VERSION}",
                                 "start `cornergrid-cloud run` on it once, which brings an older one up to date")
            connection.execute("BEGIN")
            yield connection
    except sqlite3.Error as error:
        raise StoreError(str(db), f"cannot be read: {error}", "name the file of `cornergrid-cloud run --db`") from error


@contextlib.contextmanager
def engine(threads: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty DuckDB in memory that loads nothing from outside."""
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False, "autoload_known_extensions": False, "preserve_insertion_order": False}
    if threads:
        settings["threads"] = threads
    with contextlib.closing(duckdb.connect(":memory:", config=settings)) as duck:
        duck.execute("SET enable_progress_bar = false")  # it goes to stdout, where the rows go
        yield duck


def load_registry(duck: duckdb.DuckDBPyConnection, source: sqlite3.Connection, store: str | None = None) -> None:
    """Make `place`, `renamed` and `progress`, of one store or all."""
    found = [(*row[:5], *(int(cell, 16) for cell in row[5:])) for row in source.execute(_PLACES, (store, store))]
    _fill(duck, "place_rows", found, _PLACE)
    duck.execute("CREATE OR REPLACE TABLE place AS SELECT row_number() OVER (ORDER BY r9, store, since) - 1 AS shop, "
                 "dense_rank() OVER (ORDER BY hours, tz) - 1 AS schedule, * FROM place_rows")
    _fill(duck, "renamed", source.execute("SELECT old, sku FROM renamed").fetchall(),
          pa.schema([("old", pa.string()), ("sku", pa.string())]))
    _fill(duck, "progress", source.execute("SELECT store, CASE WHEN count(*) = count(complete_to) THEN "
                                           "min(complete_to) END FROM progress GROUP BY store").fetchall(),
          pa.schema([("store", pa.string()), ("complete_to", pa.float64())]))


def load_hours(duck: duckdb.DuckDBPyConnection, since: int, until: int) -> None:
    """Make `opened` for the windows of a span, and `span`, which holds their starts."""
    windows = np.arange(since, until, WINDOW_S, dtype=np.int64)
    parts = [pa.table({"schedule": np.full(len(windows), number), "win": windows,
                       "part": open_seconds(Schedule(hours, tz), windows) / WINDOW_S})
             for number, hours, tz in duck.execute(
                 "SELECT DISTINCT schedule, hours, tz FROM place WHERE hours != ''").fetchall()]
    schema = pa.schema([("schedule", pa.int64()), ("win", pa.int64()), ("part", pa.float64())])
    _keep(duck, "opened", pa.concat_tables(parts) if parts else schema.empty_table())
    _keep(duck, "span", pa.table({"win": windows}))


def load_flow(duck: duckdb.DuckDBPyConnection, source: sqlite3.Connection, since: int, until: int,
              store: str | None = None) -> None:
    """Make `flow` and `placed` of the windows within `since` .. `until` (Unix seconds), of one store or all."""
    begin, end = since // DAY_S * DAY_S, -(-until // DAY_S) * DAY_S  # a day is estimated as a whole
    fill_flow(duck, source, begin, end, store)
    load_hours(duck, begin, end)
    estimates.add(duck, source)
    duck.execute("DELETE FROM quiet WHERE win < ? OR win >= ?", (since, until))
    duck.execute("DELETE FROM span WHERE win < ? OR win >= ?", (since, until))
    place_flow(duck, since, until)


def place_flow(duck: duckdb.DuckDBPyConnection, since: int, until: int) -> None:
    """Make `placed` from what is `estimated`, within `since` .. `until`."""
    duck.execute(PLACED.format(since=since, until=until))


def fill_flow(duck: duckdb.DuckDBPyConnection, source: sqlite3.Connection, since: int, until: int,
              store: str | None = None) -> None:
    """Make `flow` alone."""
    query = f"SELECT store, sku, window, {', '.join(SUMS)}, rev FROM flow WHERE window >= ? AND window < ?"  # noqa: S608
    values: list[int | str] = [since, until]
    if store is not None:
        query, values = query + " AND store = ?", [*values, store]
    reader = pa.RecordBatchReader.from_batches(FLOW, _batches(source.execute(query, values)))
    duck.register("incoming", reader)
    duck.execute("CREATE OR REPLACE TABLE flow AS SELECT * FROM incoming")
    duck.unregister("incoming")


def _batches(cursor: sqlite3.Cursor) -> Iterator[pa.RecordBatch]:
    while rows := cursor.fetchmany(BATCH):
        columns = zip(*rows, strict=True)
        yield pa.record_batch([pa.array(column, kind) for column, kind in zip(columns, FLOW.types, strict=True)],
                              schema=FLOW)


def _fill(duck: duckdb.DuckDBPyConnection, name: str, rows: list[tuple[object, ...]], schema: pa.Schema) -> None:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    _keep(duck, name, pa.table([pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)],
                               schema=schema))


def _keep(duck: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    duck.register("incoming", table)
    duck.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM incoming")  # noqa: S608  # own names
    duck.unregister("incoming")
