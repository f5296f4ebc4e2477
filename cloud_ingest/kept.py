"""Days that were read once, kept beside the database in `<database>.kept`, for the next reader.

Kept are, for each day of UTC, its facts window by window and what its estimate must have `heard` (`estimates`). Both
are brought up to a reader's database first: the windows that the database's `change` names are read again, with the
model a new one, and with the registry the shops that it changed; so what is answered is what would be made anew. A
file that is of another database, of other programs or damaged is made anew, and one that is deleted, too. Where it
cannot be written, or another process is at it for longer than WAIT_S, days are made anew and not kept.

A window's facts and a day's sums are Arrow streams behind their CRC-32; the file is SQLite, so that processes may
share it and a kill leaves it whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from cloud_ingest import estimates
from cloud_ingest.facts import DAY_S, FACTS, FLOW, Heard, Span, anew, batches, keep, reading
from cloud_ingest.model import Known, file_of
from cloud_ingest.store.streams import KEPT_CHANGES
from edge.wire import WINDOW_S

FORMAT = f"1 {duckdb.__version__} {pa.__version__}"
WAIT_S = 30.0
DAYS = 120
"""So many of the newest days are kept: what a forecast looks back on, and a week more."""
MANY = 1000
"""Where more shops have sent something, whole windows are read."""
NEAR = 32
"""The newest changes that tell this database from a copy that went on by itself."""
FRESH = KEPT_CHANGES // 10
"""A day that is so many revisions old is looked at again, before its changes are forgotten."""
MOST_ROWS = 1_000_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS format (version TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS day (
    date INTEGER PRIMARY KEY, revision INTEGER NOT NULL, origin TEXT NOT NULL, model TEXT NOT NULL,
    places BLOB NOT NULL, heard BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS part (
    date INTEGER NOT NULL, window INTEGER NOT NULL, facts BLOB NOT NULL, PRIMARY KEY (date, window)
) STRICT, WITHOUT ROWID;
"""
_ORIGIN = "SELECT rev, store, first, last FROM change WHERE rev <= ? ORDER BY rev DESC, store DESC LIMIT ?"
_SINCE = "FROM change WHERE rev > ? AND last >= ? AND first < ?"
_CHANGED = f"SELECT store, min(first), max(last) {_SINCE} GROUP BY store"
# A store's SKUs one by one, each a step in the key: a store may have years of facts.
_OF_STORE = f"""
WITH RECURSIVE mine (sku) AS (
    SELECT min(sku) FROM flow WHERE store = ?1 UNION ALL
    SELECT (SELECT min(sku) FROM flow WHERE store = ?1 AND flow.sku > mine.sku) FROM mine WHERE mine.sku IS NOT NULL)
{FACTS.replace("SELECT store, sku", "SELECT flow.store, flow.sku").replace("FROM flow", "FROM mine CROSS JOIN flow")}
WHERE flow.store = ?1 AND flow.sku = mine.sku AND window >= ?2 AND window <= ?3 AND rev > ?4
"""  # noqa: S608  # a constant
_PLACES = """
SELECT store, bit_xor(hash(since, until, tz, hours)) AS place FROM place
WHERE since < {end} AND until > {begin} GROUP BY store ORDER BY store
"""
_MERGED = """
SELECT * FROM kept ANTI JOIN fresh USING (store, sku, win) UNION ALL SELECT * FROM fresh ORDER BY win, store, sku
"""
_REPLACED = "SELECT kept.* FROM kept SEMI JOIN fresh USING (store, sku, win)"
_MOVED = """
SELECT coalesce(now.store, past.store) AS store FROM now FULL JOIN past ON now.store = past.store
WHERE now.place IS DISTINCT FROM past.place
"""


@dataclass(frozen=True, slots=True)
class _Day:
    """A row of `day`."""

    date: int
    revision: int
    origin: str
    model: str
    places: bytes
    heard: bytes

    @property
    def begin(self) -> int:
        """Its first window."""
        return self.date * DAY_S


@contextlib.contextmanager
def keeping(db: Path) -> Iterator[Kept]:
    """The days kept beside a database."""
    kept = Kept(db.with_name(f"{db.name}.kept"))
    try:
        yield kept
    finally:
        kept.close()


class Kept:
    """The file of kept days, for one thread; opened when it is first asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: sqlite3.Connection | None = None

    def day(self, duck: duckdb.DuckDBPyConnection, source: sqlite3.Connection, span: Span, known: Known | None
            ) -> Heard | None:
        """As `facts.anew`, and the same answer."""
        try:
            return self._read(_Reader(self._opened(), duck, source, known), span)
        except sqlite3.OperationalError as error:
            structlog.get_logger().warning("days are not kept", file=str(self._path), error=str(error))
        except sqlite3.DatabaseError as error:
            structlog.get_logger().warning("kept days are damaged", file=str(self._path), error=str(error))
            self.close()
            for name in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + name).unlink(missing_ok=True)
        return anew(duck, source, span, known)

    def _read(self, reader: _Reader, span: Span) -> Heard | None:
        date = span.begin // DAY_S
        with self._transaction("DEFERRED") as file:
            if _has_format(file) and (day := reader.valid(date)) is not None:
                return reader.answer(day, span)
        with self._transaction("IMMEDIATE") as file:  # one process brings a day up, the others find it done
            if not _has_format(file):
                _make_format(file)
            return reader.answer(reader.valid(date) or reader.bring_up(date), span)

    @contextlib.contextmanager
    def _transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        file = self._opened()
        file.execute(f"BEGIN {kind}")
        try:
            yield file
            file.execute("COMMIT")
        except BaseException:
            file.execute("ROLLBACK")
            raise

    def _opened(self) -> sqlite3.Connection:
        if self._file is None:
            self._file = sqlite3.connect(self._path, isolation_level=None, timeout=WAIT_S, check_same_thread=False)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=NORMAL")  # a power cut may lose what was kept last, and nothing else
        return self._file

    def close(self) -> None:
        """Close the file; the next question opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _has_format(file: sqlite3.Connection) -> bool:
    there = file.execute("SELECT 1 FROM sqlite_master WHERE name = 'format'").fetchone()
    return there is not None and file.execute("SELECT version FROM format").fetchone() == (FORMAT,)


def _make_format(file: sqlite3.Connection) -> None:
    """An empty file of this format in the place of another's."""
    for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        file.execute(f"DROP TABLE {name}")
    for statement in _SCHEMA.split(";")[:-1]:
        file.execute(statement)
    file.execute("INSERT INTO format VALUES (?)", (FORMAT,))


class _Reader:
    """One question, within a transaction of the file."""

    def __init__(self, file: sqlite3.Connection, duck: duckdb.DuckDBPyConnection, source: sqlite3.Connection,
                 known: Known | None) -> None:
        self._file, self._duck, self._source = file, duck, source
        self._known, self._model = known, "" if known is None else known.digest
        (self._revision,) = source.execute("SELECT value FROM meta WHERE key = 'revision'").fetchone()

    def valid(self, date: int) -> _Day | None:
        """The day as it is kept, where it is up to the database, the registry and the model."""
        day = self._kept(date)
        if day is None or (day.model, day.places) != (self._model, self._places(date)):
            return None
        if day.revision >= self._revision:
            return day
        changed = self._source.execute(f"SELECT 1 {_SINCE} LIMIT 1", (day.revision, day.begin, day.begin + DAY_S))
        told = self._source.execute("SELECT 1 FROM change LIMIT 1").fetchone() is not None
        return day if told and self._revision - day.revision <= FRESH and changed.fetchone() is None else None

    def _kept(self, date: int) -> _Day | None:
        """The day as it is kept, where it is of this database."""
        row = self._file.execute("SELECT * FROM day WHERE date = ?", (date,)).fetchone()
        if row is None:
            return None
        day = _Day(*row)
        if day.revision <= self._revision:
            return day if day.origin == _origin(self._source, day.revision) else None
        # Another process has seen more by now than this snapshot; newer facts of the same database are as good.
        with reading(file_of(self._source)) as newer:
            return day if day.origin == _origin(newer, day.revision) else None

    def _places(self, date: int) -> bytes:
        """Where each shop stood that day, and when it was open."""
        query = _PLACES.format(begin=date * DAY_S, end=(date + 1) * DAY_S)
        return _packed(self._duck.sql(query).to_arrow_table())

    def bring_up(self, date: int) -> _Day:
        """The day up to the database, the registry and the model, and kept so."""
        day, places = self._kept(date), self._places(date)
        known_since = self._source.execute("SELECT max(rev) FROM change").fetchone()[0]
        if day is None or known_since is None or day.revision < known_since - KEPT_CHANGES:
            heard = self._made(date)
        else:
            heard = self._with_changes(day, self._heard(day, places))
        made = _Day(date, self._revision, _origin(self._source, self._revision), self._model, places, _packed(heard))
        (newest,) = self._source.execute("SELECT max(window) FROM flow").fetchone()
        self._file.execute("INSERT OR REPLACE INTO day VALUES (?,?,?,?,?,?)", (
            made.date, made.revision, made.origin, made.model, made.places, made.heard))
        for table in ("day", "part"):
            self._file.execute(f"DELETE FROM {table} WHERE date < ? AND date != ?",  # noqa: S608  # own names
                               ((newest or 0) // DAY_S - DAYS, date))
        return made

    def answer(self, day: _Day, span: Span) -> Heard | None:
        """As `facts.anew`."""
        (newest,) = self._file.execute("SELECT max(window) FROM part WHERE date = ?", (day.date,)).fetchone()
        if newest is None:
            return None
        flow = [_unpacked(facts) for (facts,) in self._file.execute(
            "SELECT facts FROM part WHERE date = ? AND window >= ? AND window < ? ORDER BY window",
            (day.date, span.begin, span.end))]
        return Heard(pa.concat_tables([FLOW.empty_table(), *flow]), _unpacked(day.heard), newest)

    def _made(self, date: int) -> pa.Table:
        """All of a day from the ingest's facts, a window at a time."""
        self._file.execute("DELETE FROM part WHERE date = ?", (date,))
        for window in range(date * DAY_S, (date + 1) * DAY_S, WINDOW_S):
            facts = pa.Table.from_batches(batches(self._source.execute(
                f"{FACTS} WHERE window = ? ORDER BY store, sku", (window,))), FLOW)
            if len(facts):
                self._put(date, window, facts)
        return self._hear(date)

    def _put(self, date: int, window: int, facts: pa.Table) -> None:
        self._file.execute("INSERT OR REPLACE INTO part VALUES (?,?,?)", (date, window, _packed(facts)))

    def _hear(self, date: int, stores: pa.Array | None = None) -> pa.Table:
        """What a day's kept facts say, of all shops or some."""
        found = [estimates.HEARD.empty_table()]
        for (packed,) in self._file.execute("SELECT facts FROM part WHERE date = ? ORDER BY window", (date,)):
            facts = _unpacked(packed)
            found.append(self._said(facts if stores is None else facts.filter(pc.is_in(facts.column("store"), stores))))
            if sum(map(len, found)) > MOST_ROWS:
                found = [estimates.added(self._duck, pa.concat_tables(found))]
        return estimates.added(self._duck, pa.concat_tables(found))

    def _said(self, facts: pa.Table) -> pa.Table:
        """What facts say; nothing where there is no model that listens."""
        if self._known is None or not len(facts):
            return estimates.HEARD.empty_table()
        keep(self._duck, "flow", facts)
        return estimates.hear(self._duck, self._known)

    def _heard(self, day: _Day, places: bytes) -> pa.Table:
        """What the kept facts say by the model and the registry of now."""
        if day.model != self._model:
            return self._hear(day.date)
        heard = _unpacked(day.heard)
        if day.places == places:
            return heard
        keep(self._duck, "now", _unpacked(places))
        keep(self._duck, "past", _unpacked(day.places))
        moved = self._duck.sql(_MOVED).to_arrow_table().column("store").combine_chunks()
        others = heard.filter(pc.invert(pc.is_in(heard.column("store"), moved)))
        return pa.concat_tables([others, self._hear(day.date, moved)])

    def _with_changes(self, day: _Day, heard: pa.Table) -> pa.Table:
        """What is heard once the facts that came since are in their windows."""
        fresh = self._changed(day)
        parts, old = [heard], [FLOW.empty_table()]
        windows, todo = sorted(pc.unique(fresh.column("win")).to_pylist()), []
        for window in windows:
            row = self._file.execute("SELECT facts FROM part WHERE date = ? AND window = ?",
                                     (day.date, window)).fetchone()
            old += [] if row is None else [_unpacked(row[0])]
            todo.append(window)
            if window == windows[-1] or sum(map(len, old)) > MOST_ROWS:
                mine = fresh.filter(pc.is_in(fresh.column("win"), pa.array(todo, pa.int64())))
                parts += self._replaced(day.date, pa.concat_tables(old), mine)
                old, todo = [FLOW.empty_table()], []
        return heard if len(parts) == 1 else estimates.added(self._duck, pa.concat_tables(parts))

    def _replaced(self, date: int, old: pa.Table, fresh: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Put fresh facts into their windows; what they say, and what those say no more that they replace."""
        keep(self._duck, "kept", old)
        keep(self._duck, "fresh", fresh)
        less, more = (self._said(self._duck.sql(query).to_arrow_table().cast(FLOW)) for query in (
            _REPLACED, "SELECT * FROM fresh"))
        merged = self._duck.sql(_MERGED).to_arrow_table().cast(FLOW)
        starts, first, size = np.unique(merged.column("win").to_numpy(), return_index=True, return_counts=True)
        for window, begin, count in zip(starts.tolist(), first.tolist(), size.tolist(), strict=True):
            self._put(date, window, merged.slice(begin, count))
        return more, _negative(less)

    def _changed(self, day: _Day) -> pa.Table:
        """A day's facts that came since it was kept."""
        since, until = day.begin, day.begin + DAY_S - WINDOW_S
        stores = self._source.execute(_CHANGED, (day.revision, since, until + WINDOW_S)).fetchall()
        if len(stores) > MANY:
            first, last = max(since, min(first for _, first, _ in stores)), min(until, max(last for *_, last in stores))
            found = [self._source.execute(f"{FACTS} WHERE window >= ? AND window <= ? AND rev > ?",
                                          (first, last, day.revision))]
        else:
            found = [self._source.execute(_OF_STORE, (store, max(first, since), min(last, until), day.revision))
                     for store, first, last in stores]
        return pa.Table.from_batches([batch for cursor in found for batch in batches(cursor)], FLOW)


def _origin(source: sqlite3.Connection, revision: int) -> str:
    """What tells this database, as it was at a revision, from others."""
    identity = source.execute("SELECT value FROM meta WHERE key = 'identity'").fetchone()
    changes = source.execute(_ORIGIN, (revision, NEAR)).fetchall()
    return hashlib.sha256(repr((identity, changes)).encode()).hexdigest()


def _negative(heard: pa.Table) -> pa.Table:
    return pa.table([pc.negate(column) if field.type == pa.float64() else column
                     for field, column in zip(heard.schema, heard.columns, strict=True)], schema=heard.schema)


def _packed(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    told = bytes(sink.getvalue())
    return zlib.crc32(told).to_bytes(4, "big") + told


def _unpacked(packed: bytes) -> pa.Table:
    if zlib.crc32(memoryview(packed)[4:]) != int.from_bytes(packed[:4], "big"):
        raise sqlite3.DatabaseError("a checksum is wrong")
    return pa.ipc.open_stream(memoryview(packed)[4:]).read_all()
