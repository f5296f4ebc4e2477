"""The ingest's facts in DuckDB: sums per store, SKU and 15-minute window, and where each store was then.

    flow      store, sku, win, sold, put_back, restocked, in_stock, observed, rev: as the ingest added them up
    place     store, since, until, schedule, r9..r5: one row for each place a store had, `shop` its number
    opened    schedule, win, part: which part, 0..1, of a window is open; a schedule that is not there is always open
    renamed   old, sku
    progress  store, complete_to
    estimated flow with `lost` and its `variance`; `quiet` has what silent series would have sold: see `estimates`
    placed    the facts of the span with `shop`, the SKU of today and the one `told`, and seconds in opening hours only

A span comes day by day (of UTC), read `anew` from the ingest's facts or from what `cloud_ingest.kept` has of them.
SQLite is read through Arrow batches, so that nothing has to be downloaded and no day has to fit Python's memory.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from cloud_ingest import estimates, model
from cloud_ingest.hours import Schedule, open_seconds
from cloud_ingest.model import Known
from cloud_ingest.store.versions import VERSION
from edge.errors import StoreError
from edge.wire import WINDOW_S

FOREVER = 2**62
BATCH = 50_000
DAY_S = 86_400
SUMS = ("sold", "put_back", "restocked", "in_stock", "observed")
FLOW = pa.schema([("store", pa.string()), ("sku", pa.string()), ("win", pa.int64()),
                  *((name, pa.float64()) for name in SUMS), ("rev", pa.int64())])
FACTS = f"SELECT store, sku, window, {', '.join(SUMS)}, rev FROM flow"  # noqa: S608  # constants
_STOOD = pa.schema([("store", pa.string()), ("since", pa.int64()), ("removed", pa.int64()), ("tz", pa.string()),
                    ("hours", pa.string()), ("cell", pa.string())])
_STANDS = ("SELECT place.store, since, removed, place.tz, place.hours, place.r9 FROM place JOIN store "
           "ON store.id = place.store")
# An H3 parent has a resolution less by one, in the bits from 52 on, and 7, which stands for none, as its last digit.
_PARENT = "({child} - CAST(4503599627370496 AS UBIGINT)) | (CAST(7 AS UBIGINT) << {at})"
_PLACE = f"""
CREATE OR REPLACE TABLE place AS
WITH nine AS (SELECT store, since, coalesce(lead(since) OVER (PARTITION BY store ORDER BY since), removed, {FOREVER})
                  AS until, tz, hours, CAST('0x' || cell AS UBIGINT) AS r9 FROM stood),
     eight AS (SELECT *, {_PARENT.format(child="r9", at=18)} AS r8 FROM nine),
     seven AS (SELECT *, {_PARENT.format(child="r8", at=21)} AS r7 FROM eight),
     six AS (SELECT *, {_PARENT.format(child="r7", at=24)} AS r6 FROM seven)
SELECT row_number() OVER (ORDER BY r9, store, since) - 1 AS shop,
       dense_rank() OVER (ORDER BY hours, tz) - 1 AS schedule, *, {_PARENT.format(child="r6", at=27)} AS r5 FROM six
"""  # noqa: S608  # constants
PLACED = """
CREATE OR REPLACE VIEW placed AS
SELECT place.shop, coalesce(renamed.sku, f.sku) AS sku, f.sku AS told, f.* EXCLUDE (store, sku, in_stock, observed),
       f.in_stock * coalesce(opened.part, 1) AS in_stock, f.observed * coalesce(opened.part, 1) AS observed
FROM estimated AS f JOIN place ON place.store = f.store AND f.win >= place.since AND f.win < place.until
LEFT JOIN opened ON opened.schedule = place.schedule AND opened.win = f.win
LEFT JOIN renamed ON renamed.old = f.sku
WHERE f.win >= {since:d} AND f.win < {until:d}
"""


@dataclass(frozen=True, slots=True)
class Span:
    """Windows from `begin` on before `end` (Unix seconds); silence is told for each `bucket_s` of them."""

    begin: int
    end: int
    bucket_s: int = WINDOW_S

    def on(self, date: int) -> Span:
        """The part on a day of UTC, numbered from 1970-01-01."""
        return Span(max(self.begin, date * DAY_S), min(self.end, (date + 1) * DAY_S), self.bucket_s)


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """A day's facts: the `flow` of the span asked for, what the estimate must have `heard` of all of the day, and its
    `newest` window."""

    flow: pa.Table
    heard: pa.Table
    newest: int


Day = Callable[[duckdb.DuckDBPyConnection, sqlite3.Connection, Span, "Known | None"], "Heard | None"]
"""Where a span within one day comes from: `anew`, or what is kept; None where nobody sent anything that day."""


@contextlib.contextmanager
def reading(db: Path) -> Iterator[sqlite3.Connection]:
    """The ingest's database, read-only, in one consistent state.

    StoreError where it is missing or is none, and where this user may not read it, or not write beside it while nobody
    has it open: its log (WAL) needs files there. To read it as immutable would do without, and could mix two states
    of it once an ingest starts.
    """
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
        raise _unreadable(db, error) from error


def _unreadable(db: Path, error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_READONLY:
        return StoreError(str(db), "cannot be read while no `cornergrid-cloud run` has it open: SQLite then makes "
                          f"files beside it, and this user may not write in {db.resolve().parent}",
                          "ask as the user of `cornergrid-cloud run`, or read a copy in a folder of your own")
    if code == sqlite3.SQLITE_CANTOPEN and not os.access(db, os.R_OK, effective_ids=True):
        return StoreError(str(db), "cannot be read: Permission denied", "ask as the user of `cornergrid-cloud run`")
    return StoreError(str(db), f"cannot be read: {error}", "name the file of `cornergrid-cloud run --db`")


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


def load_registry(duck: duckdb.DuckDBPyConnection, source: sqlite3.Connection) -> None:
    """Make `place`, `renamed` and `progress`."""
    _fill(duck, "stood", source.execute(_STANDS).fetchall(), _STOOD)
    duck.execute(_PLACE)
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
    keep(duck, "opened", pa.concat_tables(parts) if parts else schema.empty_table())
    keep(duck, "span", pa.table({"win": windows}))


def load_flow(duck: duckdb.DuckDBPyConnection, source: sqlite3.Connection, span: Span, day: Day | None = None) -> None:
    """Make `estimated`, `quiet` and `placed` of a span; `day` says where its days come from, None: all made anew."""
    known = model.load(model.model_file(source))
    found = [part for date in range(span.begin // DAY_S, -(-span.end // DAY_S))
             if (part := _estimated(duck, source, span.on(date), known, day or anew))]
    load_hours(duck, span.begin, span.end)
    if known is None:
        keep(duck, "flow", pa.concat_tables([FLOW.empty_table(), *(flow for flow, _ in found)]))
        estimates.simple(duck)
    else:
        empty = FLOW.append(pa.field("lost", pa.float64())).append(pa.field("variance", pa.float64())).empty_table()
        keep(duck, "estimated", pa.concat_tables([empty, *(flow.cast(empty.schema) for flow, _ in found)]))
        keep(duck, "quiet", pa.concat_tables([estimates.QUIET.empty_table(), *(quiet for _, quiet in found)]))
    place_flow(duck, span.begin, span.end)


def _estimated(duck: duckdb.DuckDBPyConnection, source: sqlite3.Connection, span: Span, known: Known | None,
               day: Day) -> tuple[pa.Table, pa.Table] | None:
    """Flow and silence of a span within one day; None where nobody sent anything that day."""
    load_hours(duck, span.begin // DAY_S * DAY_S, -(-span.end // DAY_S) * DAY_S)
    found = day(duck, source, span, known)
    if found is None:
        return None
    if known is None:
        return found.flow, estimates.QUIET.empty_table()
    duck.register("day", found.heard)
    known = model.with_new(duck, known, "SELECT DISTINCT store, sku FROM day", estimates.categories(source))
    duck.unregister("day")
    keep(duck, "flow", found.flow)
    newest = _told_to(source, found.newest)
    return estimates.add(duck, known, found.heard, estimates.Asked(span.begin, span.end, span.bucket_s, newest))


def _told_to(source: sqlite3.Connection, newest: int) -> int:
    """The window up to which silence can be told: the newest, or the ingest's now where few shops are ahead of it.

    So a few clocks that are ahead do not make everybody else silent; where most are, it is the ingest's that is behind.
    """
    (now,) = source.execute("SELECT max(last_seen) FROM device").fetchone()
    if now is None or newest <= now:
        return newest
    (heard,) = source.execute("SELECT count(DISTINCT store) FROM device WHERE last_seen > ?", (now - DAY_S,)).fetchone()
    half = (heard + 1) // 2
    (ahead,) = source.execute("SELECT count(*) FROM (SELECT DISTINCT store FROM flow INDEXED BY flow_window "
                              "WHERE window > ? LIMIT ?)", (now, half)).fetchone()
    return int(now) if ahead < half else newest


def anew(duck: duckdb.DuckDBPyConnection, source: sqlite3.Connection, span: Span, known: Known | None) -> Heard | None:
    """A day from the ingest's facts alone."""
    begin = span.begin // DAY_S * DAY_S
    fill_flow(duck, source, begin, begin + DAY_S)
    ((newest,),) = duck.execute("SELECT max(win) FROM flow").fetchall()
    if newest is None:
        return None
    heard = estimates.HEARD.empty_table() if known is None else estimates.hear(duck, known)
    flow = duck.sql(f"SELECT * FROM flow WHERE win >= {span.begin:d} AND win < {span.end:d}").to_arrow_table()  # noqa: S608
    return Heard(flow, heard, newest)


def place_flow(duck: duckdb.DuckDBPyConnection, since: int, until: int) -> None:
    """Make `placed` from what is `estimated`, within `since` .. `until`."""
    duck.execute(PLACED.format(since=since, until=until))


def fill_flow(duck: duckdb.DuckDBPyConnection, source: sqlite3.Connection, since: int, until: int) -> None:
    """Make `flow` alone."""
    found = source.execute(f"{FACTS} WHERE window >= ? AND window < ?", (since, until))
    reader = pa.RecordBatchReader.from_batches(FLOW, batches(found))
    duck.register("incoming", reader)
    duck.execute("CREATE OR REPLACE TABLE flow AS SELECT * FROM incoming")
    duck.unregister("incoming")


def batches(cursor: sqlite3.Cursor) -> Iterator[pa.RecordBatch]:
    """The answer to FACTS, some rows at a time."""
    while rows := cursor.fetchmany(BATCH):
        columns = zip(*rows, strict=True)
        yield pa.record_batch([pa.array(column, kind) for column, kind in zip(columns, FLOW.types, strict=True)],
                              schema=FLOW)


def _fill(duck: duckdb.DuckDBPyConnection, name: str, rows: list[tuple[object, ...]], schema: pa.Schema) -> None:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    keep(duck, name, pa.table([pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)],
                               schema=schema))


def keep(duck: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    """Make a table of another one's rows."""
    duck.register("incoming", table)
    duck.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM incoming")  # noqa: S608  # own names
    duck.unregister("incoming")
