"""The outbox's file: SQLite in WAL mode with synchronous=FULL, its transactions, and how much may still be written."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import msgspec
import structlog

from edge.errors import CorruptError, StoreError
from edge.uplink.kept import glance

log = structlog.get_logger(__name__)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS record (
    seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS stream (
    base INTEGER PRIMARY KEY, st TEXT NOT NULL, boot INTEGER NOT NULL, clk TEXT NOT NULL, w REAL, m REAL,
    shift REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS snapshot (key TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS tally (
    id INTEGER PRIMARY KEY, records INTEGER NOT NULL, lost INTEGER NOT NULL, floor REAL NOT NULL,
    committed REAL, last INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT;
"""
UNTOLD = 1000
"""Records that may be put before the tally is written again."""
SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What `sqlite3` raises; the second where SQLite complains in words that are not UTF-8, of a damaged schema."""
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT}
"""The last two, since no statement here is wrong in itself: the schema is not ours, or a place is taken twice."""
ALWAYS_BYTES = 8 * 1024 ** 2
"""The file may grow to this size even where the disk's reserve is used up by others."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the outbox may take: `cap` bytes of the file, while `reserve` bytes of the disk stay free.

    The newest `newest` records are never evicted. `quota` (bytes, 0: none) makes the disk full earlier, for drills.
    """

    cap: int = 1024 ** 3
    reserve: int = 256 * 1024 ** 2
    newest: int = 1000
    quota: int = 0


class Tally(msgspec.Struct, frozen=True):
    """What is counted along in the transactions themselves, so that no one has to count again.

    `records` held, `lost` ever; `floor` is the newest event time ever put, `committed` the event time up to which
    the cloud has everything, `last` the newest place ever used.
    """

    records: int = 0
    lost: int = 0
    floor: float = 0.0
    committed: float | None = None
    last: int = 0

    @property
    def row(self) -> tuple[float | None, ...]:
        """As the file has it, with a checksum behind it: nobody counts again."""
        return *msgspec.structs.astuple(self), crc32(msgspec.json.encode(self))


class Disk:
    """One open file; safe between threads. `tally` changes inside a transaction and is written, or undone, with it."""

    def __init__(self, path: Path, limits: Limits) -> None:
        """Open or create; CorruptError where it is damaged, StoreError where it cannot be had."""
        self.path, self.limits = path, limits
        self.lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        except (OSError, sqlite3.Error) as error:
            raise store_error(path, error) from error
        self._count: int | None = None
        try:
            self._prepare()
        except (OSError, *SQLITE_ERRORS, StoreError) as error:
            self.close()
            raise error if isinstance(error, StoreError) else store_error(path, error) from error

    def _prepare(self) -> None:
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute("PRAGMA secure_delete=ON")  # what was deleted must not come back in a salvage
        self.db.executescript(_SCHEMA)
        self.db.execute("INSERT OR IGNORE INTO tally VALUES (1, ?, ?, ?, ?, ?, ?)", Tally().row)
        if self.limits.quota:
            size = self.db.execute("PRAGMA page_size").fetchone()[0]
            self.db.execute(f"PRAGMA max_page_count={max(1, self.limits.quota // size)}")
        self.tally = self._written = read_tally(self.db, self.path)
        self._file = _file_of(self.path)
        self._before = counted(self.path)
        self._lo = self.db.execute("SELECT min(seq) FROM record").fetchone()[0] or 0
        self._count = os.open(count_file(self.path), os.O_WRONLY | os.O_CREAT, 0o644)
        self._note_count()

    def _note_count(self) -> None:
        """What there should be, outside the file: so that missing records are missed."""
        if self._count is not None:
            try:
                os.pwrite(self._count, b"%020d %020d %020d\n" % (self.tally.records, self.tally.last, self._lo), 0)
            except OSError as error:  # what was committed is kept all the same: to fail now would keep it twice
                log.warning("count_not_written", file=str(count_file(self.path)), error=str(error))

    def missing(self) -> int:
        """How many of the newest records are gone: the disk lied about syncing, or the file was deleted."""
        before, last = self._before, self.tally.last
        return min(before.last - last, before.records) if before and before.last > last else 0

    @contextlib.contextmanager
    def transaction(self, *, synced: bool = True) -> Iterator[sqlite3.Connection]:
        """All that is written inside, synced when it ends, or nothing; StoreError where the disk does not take it.

        Without `synced` it is only as durable as the next one that is: enough for what can be done again.
        """
        with self.lock:
            before = self.tally
            try:
                if not self.present():
                    raise StoreError(str(self.path), "was moved or deleted while in use", "leave it where it is")
                if not synced:
                    self.db.execute("PRAGMA synchronous=NORMAL")
                self.db.execute("BEGIN IMMEDIATE")
                yield self.db
                written = self._write_tally(before)
                self.db.execute("COMMIT")
                self._written = written
                if (self.tally.records, self.tally.last) != (before.records, before.last):
                    self._look_for_lowest(before)
                    self._note_count()
            except BaseException as error:
                self.tally = before
                with contextlib.suppress(sqlite3.Error):  # what failed the transaction may have rolled it back
                    self.db.execute("ROLLBACK")
                if isinstance(error, OSError | sqlite3.Error | UnicodeDecodeError):
                    raise store_error(self.path, error) from error
                raise
            finally:
                if not synced:
                    self.db.execute("PRAGMA synchronous=FULL")

    def _look_for_lowest(self, before: Tally) -> None:
        """Deletions alone move the lowest place; one that is told too low only costs a repeat."""
        if (self.tally.records, self.tally.lost) != (before.records + self.tally.last - before.last, before.lost):
            with contextlib.suppress(sqlite3.Error):
                self._lo = self.db.execute("SELECT min(seq) FROM record").fetchone()[0] or self.tally.last + 1

    def _write_tally(self, before: Tally) -> Tally:
        """Keep the tally in the file, where `read_tally` could not make it good: a page less for most commits."""
        new = self.tally
        only_put = (new.lost, new.committed) == (before.lost, before.committed) and new.records >= before.records
        if new == before or (only_put and new.last - self._written.last < UNTOLD):
            return self._written
        self.db.execute("UPDATE tally SET records = ?, lost = ?, floor = ?, committed = ?, last = ?, crc = ?", new.row)
        return new

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The file for reading; CorruptError where what is read is damaged."""
        with self.lock:
            try:
                yield self.db
            except SQLITE_ERRORS as error:
                raise store_error(self.path, error) from error

    def present(self) -> bool:
        """Whether the file that is open still has its name."""
        return _file_of(self.path) == self._file

    def count(self, **changes: float | None) -> None:
        """Change the tally, inside a transaction."""
        self.tally = msgspec.structs.replace(self.tally, **changes)

    def used(self) -> int:
        """Bytes of the file that hold something."""
        pages, free, size = pages_of(self.db)
        return (pages - free) * size

    def room(self) -> int:
        """Bytes that may still be written: within the cap, and without touching the disk's reserve."""
        pages, free, size = pages_of(self.db)
        disk = os.statvfs(self.path.parent)
        may_grow = disk.f_bavail * disk.f_frsize - self.limits.reserve
        may_grow = max(may_grow, min(ALWAYS_BYTES, self.limits.cap) - pages * size, 0)
        return free * size + min(may_grow, self.limits.cap - pages * size)

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self.db.close()
            if self._count is not None:
                os.close(self._count)
                self._count = None


def pages_of(db: sqlite3.Connection) -> tuple[int, int, int]:
    """Pages of the file, how many of them are free, and the bytes of each."""
    pages, free, size = (int(db.execute(f"PRAGMA {name}").fetchone()[0])
                         for name in ("page_count", "freelist_count", "page_size"))
    return pages, free, size


def read_tally(db: sqlite3.Connection, path: Path) -> Tally:
    """The tally, with the records that were put since it was written: at most `UNTOLD` and one commit's."""
    row = db.execute("SELECT records, lost, floor, committed, last, crc FROM tally").fetchone()
    if row is None:
        raise CorruptError(str(path), "its tally is missing", "it is salvaged")
    tally = Tally(*row[:-1])
    if tally.row != row:
        raise CorruptError(str(path), "its tally has a wrong checksum", "it is salvaged")
    more, last = db.execute("SELECT count(*), max(seq) FROM record WHERE seq > ?", (tally.last,)).fetchone()
    if not more:
        return tally
    newest = db.execute("SELECT body FROM record WHERE seq = ?", (last,)).fetchone()[0]
    return msgspec.structs.replace(tally, records=tally.records + more, last=last,
                                   floor=max(tally.floor, glance(newest).t))


def store_error(path: Path, error: Exception) -> StoreError:
    """What SQLite or the system says, as an error with a fix; CorruptError where the file's content is at fault."""
    code = getattr(error, "sqlite_errorcode", None)
    # Python's own words for bytes that are not UTF-8: in a value, and in SQLite's complaint about a damaged schema.
    no_text = isinstance(error, UnicodeDecodeError) or (code is None and isinstance(error, sqlite3.OperationalError))
    if no_text or (code is not None and code & 0xFF in _CORRUPT):
        return CorruptError(str(path), str(error), "it is salvaged: `cornergrid-edge buffer verify` tells more")
    return StoreError(str(path), str(error),
                      "a full, locked or failing disk, or a folder that is not writable: see what holds it")


@dataclass(frozen=True, slots=True)
class Counted:
    """What was noted beside an outbox: how many records it held, the newest place, and the lowest one held."""

    records: int
    last: int
    lo: int


def count_file(path: Path) -> Path:
    """Where that stands."""
    return path.with_name(f"{path.name}.count")


def counted(path: Path) -> Counted | None:
    """What was noted beside the outbox `path`; None where nothing was."""
    try:
        records, last, lo = count_file(path).read_bytes().split()
        return Counted(int(records), int(last), int(lo))
    except (OSError, ValueError):
        return None


def _file_of(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one with its name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
