"""Publication: which sums of a day the public feed may hold, settled once the day is over and never taken back.

A day (of UTC) is published GRACE_S after its end, per region (H3 cell of resolution 5) and SKU, by the rules of
`cloud_ingest.privacy`. What comes later is published as a release of its own, of the late facts alone and by the same
rules: it raises those rows whose late part may be known, and the others keep their last value. Facts whose region may
not be published, and late ones that may not, wait for the next release, in which there may be enough of them.

Beside the database lies the folder `<database>.released`; it is private, since it holds what each shop sent:

    state.json                       the last release that is whole; a reader takes no later one
    facts/date=2026-03-02/1.parquet  the facts that release 1 took in, so that none is taken twice
    rows/date=2026-03-02/1.parquet   what release 1 published; a row of the feed is the sum over releases

A row that the first release of its region, SKU and day did not hold will not come later: it would be late facts alone.
So a cell whose shops are all silent has no row here, as it has for the operator: it would take the place of the late
facts, and tell that all lines of a neighbourhood are down. The rows around it count its shops and `silent` units.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cloud_ingest import estimates, model
from cloud_ingest.cells import counts
from cloud_ingest.cuts import DAY_S, FACT_VALUES, ROW_VALUES, SILENT, Facts, Key, Row, publishable
from cloud_ingest.facts import Span, engine, fill_flow, load_flow, load_hours, load_registry, reading
from cloud_ingest.grid import RESOLUTIONS
from cloud_ingest.privacy import Ints
from edge.wire import WINDOW_S

GRACE_S = 6 * 3600
LEARN_DAYS, LEARN_FACTS = 60, 10_000_000
LENGTHS = (WINDOW_S, 3600, DAY_S)
"""The window lengths that are published; every other is a multiple of one of them."""
Tick = Callable[[str], None]
_ROWS = pa.schema([("window_s", pa.int32()), ("resolution", pa.int32()), ("id", pa.uint64()), ("start", pa.int64()),
                   ("root", pa.uint64()), ("sku", pa.string()), *((name, pa.float64()) for name in ROW_VALUES),
                   ("withheld_stores", pa.int32())])
_TAKEN = pa.schema([("root", pa.uint64()), ("sku", pa.string())])
_HOMES = """
CREATE OR REPLACE TABLE homes AS
SELECT store, r5, max_by(shop, since) AS shop FROM place WHERE since < {end} AND until > {begin} GROUP BY ALL
"""
# A store that moved within a region counts as one shop, where it was last that day: it must not stand for two.
_PENDING = f"""
CREATE OR REPLACE TABLE pending AS
SELECT home.shop, place.store, placed.told, placed.sku, placed.win, placed.rev, place.r5 AS root,
       {', '.join(f'placed.{name} - coalesce(taken.{name}, 0) AS {name}' for name in FACT_VALUES)}
FROM placed JOIN place USING (shop)
JOIN homes AS home ON home.store = place.store AND home.r5 = place.r5
LEFT JOIN (SELECT store, told, win, max(rev) AS rev, {', '.join(f'sum({name}) AS {name}' for name in FACT_VALUES)}
           FROM earlier GROUP BY ALL) AS taken
     ON taken.store = place.store AND taken.told = placed.told AND taken.win = placed.win
WHERE taken.rev IS NULL OR placed.rev > taken.rev
"""  # noqa: S608  # constants
_QUIET = """
SELECT home.shop, coalesce(renamed.sku, quiet.sku) AS sku, (quiet.win - {begin}) // {window} AS win, place.r5 AS root,
       sum(quiet.silent) AS silent
FROM quiet JOIN place ON place.store = quiet.store AND quiet.win >= place.since AND quiet.win < place.until
JOIN homes AS home ON home.store = place.store AND home.r5 = place.r5
LEFT JOIN renamed ON renamed.old = quiet.sku
WHERE (place.r5, coalesce(renamed.sku, quiet.sku)) NOT IN (SELECT (root, sku) FROM known_rows)
GROUP BY ALL ORDER BY root, sku, shop
"""
_NO_FACTS = (f"SELECT '' AS store, '' AS told, CAST(0 AS BIGINT) AS win, CAST(0 AS BIGINT) AS rev, "
             f"{', '.join(f'CAST(0 AS DOUBLE) AS {name}' for name in FACT_VALUES)} WHERE false")
_KEEP_ROWS = """
CREATE OR REPLACE TABLE kept AS
SELECT fresh.* FROM fresh
WHERE (root, sku) NOT IN (SELECT (root, sku) FROM before)
   OR (window_s, resolution, id, start, sku) IN (SELECT (window_s, resolution, id, start, sku) FROM before)
"""
# How far the slowest shop is, to the second, would tell of that shop: whole windows of the day do, and no more.
_WITH_COUNTS = """
SELECT kept.*, coalesce(told.stores_expected, 0) AS stores_expected, coalesce(told.stores_reporting, 0)
       AS stores_reporting, least(floor(told.complete_to / {window}) * {window}, {end}) AS complete_to,
       CAST({release} AS BIGINT) AS revision
FROM kept LEFT JOIN told USING (window_s, resolution, id, start)
ORDER BY window_s, resolution, start, id, sku
"""


class State(msgspec.Struct, frozen=True):
    """The last whole release: its number, the database's revision it saw, and the first day it left out.

    `common` and `whole` are the estimator's parameters of that release: intervals of what is published stay with them,
    whatever is learned from shops of which nothing is.
    """

    release: int = 0
    revision: int = 0
    due: int | None = None
    common: float | None = None
    whole: float | None = None


@dataclass(frozen=True, slots=True)
class Released:
    """What a release did: `days` looked at, `rows` published or raised, `facts` taken in, and `waiting` for more.

    `release` is its number; that of the one before where it took nothing in.
    """

    release: int
    days: int
    rows: int
    facts: int
    waiting: int


def folder_of(db: Path) -> Path:
    """The private folder beside the database."""
    return db.with_name(f"{db.name}.released")


def state_of(db: Path) -> State:
    """The last whole release."""
    try:
        return msgspec.json.decode((folder_of(db) / "state.json").read_bytes(), type=State)
    except FileNotFoundError:
        return State()


def files_of(db: Path, kind: str, date: int, state: State) -> list[str]:
    """The Parquet files of a day, `facts` or `rows`, of whole releases only."""
    found = (folder_of(db) / kind / f"date={date_name(date)}").glob("*.parquet")
    return sorted(str(path) for path in found if int(path.stem) <= state.release)


def days_of(db: Path) -> list[int]:
    """The days that have rows of whole releases, oldest first."""
    last = state_of(db).release
    names = {path.parent.name for path in (folder_of(db) / "rows").glob("date=*/*.parquet") if int(path.stem) <= last}
    return sorted(int(np.datetime64(name.removeprefix("date="), "D").astype(int)) for name in names)


def date_name(date: int) -> str:
    """`2026-03-02` from the number of a day since 1970-01-01."""
    return str(np.datetime64(date, "D"))


def release(db: Path, now: float, grace_s: float = GRACE_S, tick: Tick = lambda _: None) -> Released:
    """Publish what became due or came late. Stopped half-way it leaves what was, and the next call does it again."""
    with reading(db):
        pass  # a fault shows before a folder is made
    with alone(folder_of(db), tick), reading(db) as source:
        return _release(db, source, int((now - grace_s) // DAY_S), tick)


def _release(db: Path, source: sqlite3.Connection, due: int, tick: Tick) -> Released:
    last = state_of(db)
    done = Released(last.release + 1, 0, 0, 0, 0)
    (revision,) = source.execute("SELECT value FROM meta WHERE key = 'revision'").fetchone()
    dates = _dates(source, last, due)
    if dates and due != last.due:
        tick("learning")
        _learn(source, due)
    for date in dates:
        tick(date_name(date))
        with engine() as duck:
            load_registry(duck, source)
            load_flow(duck, source, Span(date * DAY_S, (date + 1) * DAY_S))
            rows, facts, waiting = _publish(duck, db, date, last)
        done = Released(done.release, done.days + 1, done.rows + rows, done.facts + facts, done.waiting + waiting)
    if done.facts:
        chosen = model.parameters_of(db)
        _write_state(db, State(done.release, revision, due, chosen.common, chosen.whole))
        return done
    _write_state(db, msgspec.structs.replace(last, revision=revision, due=due))
    return dataclasses.replace(done, release=last.release)


@contextlib.contextmanager
def alone(folder: Path, tick: Tick) -> Iterator[None]:
    """Nobody else is in here for this folder, on this machine: two releases of one number could be subtracted.

    A process that was killed is out at once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tick("waits for another")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _learn(source: sqlite3.Connection, due: int) -> None:
    """Teach the estimates the last weeks before `due`, as many as fit into memory."""
    end = due * DAY_S
    (oldest, facts) = source.execute("SELECT min(window), count(*) FROM flow WHERE window >= ? AND window < ?",
                                     (end - LEARN_DAYS * DAY_S, end)).fetchone()
    if not facts:
        return
    since = max(oldest // DAY_S * DAY_S, end - max(1, int(LEARN_DAYS * min(1.0, LEARN_FACTS / facts))) * DAY_S)
    with engine() as duck:
        load_registry(duck, source)
        fill_flow(duck, source, since, end)
        load_hours(duck, since, end)
        estimates.learn(duck, source, model.model_file(source))


def _dates(source: sqlite3.Connection, last: State, due: int) -> list[int]:
    """The days before `due` that were not looked at or have changed since, oldest first."""
    oldest, newest = source.execute("SELECT min(window) / 86400, max(window) / 86400 FROM flow").fetchone()
    if oldest is None:
        return []
    end = min(due, newest + 1)
    (kept,) = source.execute("SELECT min(rev) FROM change").fetchone()
    if last.due is None or kept is None or kept > last.revision + 1:  # what changed is no longer known: look at all
        return list(range(oldest, end))
    days = set(range(max(oldest, last.due), end))
    for first, until in source.execute("SELECT DISTINCT first / 86400, last / 86400 FROM change WHERE rev > ?",
                                       (last.revision,)):
        days.update(range(first, min(until + 1, end)))
    return sorted(days)


def _publish(duck: duckdb.DuckDBPyConnection, db: Path, date: int, last: State) -> tuple[int, int, int]:
    """One day: rows published, facts taken in, facts that wait."""
    _open(duck, "earlier", files_of(db, "facts", date, last), _NO_FACTS)
    _open(duck, "known_rows", files_of(db, "rows", date, last),
          "SELECT CAST(0 AS UBIGINT) AS root, '' AS sku WHERE false")
    duck.execute(_HOMES.format(begin=date * DAY_S, end=(date + 1) * DAY_S))
    duck.execute(_PENDING)
    fresh, taken = _cut(duck, date)
    duck.register("fresh", fresh)
    duck.register("taken", taken)
    _open(duck, "before", files_of(db, "rows", date, last), "SELECT * FROM fresh WHERE false")
    duck.execute(_KEEP_ROWS)
    duck.register("told", pa.concat_tables([_counts(duck, level, length) for length in LENGTHS
                                            for level in RESOLUTIONS]))
    number = last.release + 1
    rows = _write(duck, db, "rows", date, number, _WITH_COUNTS.format(
        release=number, window=WINDOW_S, end=(date + 1) * DAY_S))
    facts = _write(duck, db, "facts", date, number, "SELECT pending.* FROM pending SEMI JOIN taken USING (root, sku)")
    ((pending,),) = duck.execute("SELECT count(*) FROM pending").fetchall()
    return rows, facts, pending - facts


def _counts(duck: duckdb.DuckDBPyConnection, level: int, length: int) -> pa.Table:
    found = counts(duck, level, length)
    return found.append_column("window_s", pa.repeat(length, len(found))).append_column(
        "resolution", pa.repeat(level, len(found)))


def _open(duck: duckdb.DuckDBPyConnection, name: str, files: list[str], empty: str) -> None:
    source = f"SELECT * FROM read_parquet({files!r}, hive_partitioning = false)" if files else empty  # noqa: S608
    duck.execute(f"CREATE OR REPLACE VIEW {name} AS {source}")


def _cut(duck: duckdb.DuckDBPyConnection, date: int) -> tuple[pa.Table, pa.Table]:
    """The rows that the pending facts may give, and which (region, SKU) they take in."""
    found = duck.sql(f"SELECT * REPLACE ((win - {date * DAY_S}) // {WINDOW_S} AS win) FROM pending "  # noqa: S608
                     "ORDER BY root, sku, shop").to_arrow_table()
    paths = duck.sql("SELECT r5, r6, r7, r8, r9 FROM place ORDER BY shop").to_arrow_table()
    cells = np.stack([column.to_numpy().astype(np.int64) for column in paths.columns], axis=1)
    quiet = {(root, sku): facts for root, sku, facts in _series(duck.sql(
        _QUIET.format(begin=date * DAY_S, window=WINDOW_S)).to_arrow_table(), cells, (SILENT,))}
    columns: dict[str, list[object]] = {name: [] for name in _ROWS.names}
    taken: list[tuple[int, str]] = []
    for root, sku, facts in _series(found, cells, FACT_VALUES):
        if rows := publishable(facts, quiet.get((root, sku))):
            taken.append((root, sku))
            for key, row in rows.items():
                _append(columns, key, row, root, sku, date)
    return (pa.table(columns, schema=_ROWS),
            pa.table([[root for root, _ in taken], [sku for _, sku in taken]], schema=_TAKEN))


def _append(columns: dict[str, list[object]], key: Key, row: Row, root: int, sku: str, date: int) -> None:
    length, resolution, cell, start = key
    given = {"window_s": length, "resolution": resolution, "id": cell, "start": date * DAY_S + start, "root": root,
             "sku": sku, "withheld_stores": row.alone}
    for name, column in columns.items():
        column.append(given[name] if name in given else row.values.get(name))


def _series(found: pa.Table, cells: Ints, names: tuple[str, ...]) -> Iterator[tuple[int, str, Facts]]:
    """The facts of each region and SKU, with the values of these names; `found` is sorted by both."""
    if not len(found):
        return
    root, shop, window = (found.column(name).to_numpy().astype(np.int64) for name in ("root", "shop", "win"))
    sku = found.column("sku").combine_chunks().dictionary_encode()
    code = sku.indices.to_numpy()
    values = {name: found.column(name).to_numpy().astype(float) for name in names}
    edges = np.flatnonzero(np.diff(root) | np.diff(code)) + 1
    for begin, end in zip([0, *edges], [*edges, len(root)], strict=True):
        part = slice(begin, end)
        who, number = np.unique(shop[part], return_inverse=True)
        yield int(root[begin]), sku.dictionary[int(code[begin])].as_py(), Facts(
            cells[who], number, window[part], {name: column[part] for name, column in values.items()})


def _write(duck: duckdb.DuckDBPyConnection, db: Path, kind: str, date: int, number: int, query: str) -> int:
    """A Parquet file of the query's rows, whole or not at all; none where there are no rows. Returns how many."""
    target = folder_of(db) / kind / f"date={date_name(date)}" / f"{number}.parquet"
    table = duck.sql(query).to_arrow_table()
    if table.num_rows:
        target.parent.mkdir(parents=True, exist_ok=True)
        replace(target, lambda path: pq.write_table(table, path, compression="zstd"))
    else:
        target.unlink(missing_ok=True)  # of a release that was stopped half-way
    return int(table.num_rows)


def replace(target: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file that takes the place of `target` only when it is whole and on the disk."""
    beside = target.with_name(f".{target.name}.new")
    write(beside)
    with beside.open("rb") as made:
        os.fsync(made.fileno())
    beside.replace(target)


def _write_state(db: Path, state: State) -> None:
    replace(folder_of(db) / "state.json", lambda path: path.write_bytes(msgspec.json.encode(state)))
