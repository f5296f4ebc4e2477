"""The outbox: every fact is on the disk before anyone is told that it was kept.

SQLite in WAL mode with synchronous=FULL: `put` returns after the commit is synced. Sequences are consecutive
and never used again (AUTOINCREMENT); the stream id is minted with the file, so that a wiped disk starts another
stream instead of repeating one. Records leave only when the cloud says that its own database has them.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from edge.errors import StoreError
from edge.wire import ABSOLUTE_TIME, Fact

log = structlog.get_logger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS record (seq INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS snapshot (key TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT;
"""
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Fact)


@dataclass(frozen=True, slots=True)
class Held:
    """What the outbox holds: sequences `lo`..`hi`, none where `lo > hi`, and the file's bytes."""

    lo: int
    hi: int
    file_bytes: int

    @property
    def records(self) -> int:
        return self.hi - self.lo + 1


class Outbox:
    """A durable queue of facts, written by the agent and read by the publisher; safe between threads."""

    def __init__(self, path: Path) -> None:
        """Open or create the file; one that SQLite cannot read is set aside, never deleted.

        StoreError where the folder cannot be written.
        """
        self.path = path
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = self._open_or_set_aside()
            self.stream, self.boot = self._identity()
        except (OSError, sqlite3.OperationalError) as error:
            raise StoreError(str(path), f"cannot be opened: {error}",
                             "the data folder of the profile must be a writable disk") from error

    def _open_or_set_aside(self) -> sqlite3.Connection:
        try:
            return self._open()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            aside = self.path.with_name(f"{self.path.name}.unreadable-{uuid.uuid4().hex[:8]}")
            self.path.rename(aside)
            for suffix in ("-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    self.path.with_name(self.path.name + suffix).rename(f"{aside}{suffix}")
            log.error("outbox_set_aside", file=str(aside), error=str(error),
                      fix="its records were not sent: keep the file and send it in")
            return self._open()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.executescript(_SCHEMA)
            db.execute("SELECT * FROM meta").fetchall()
            damage = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if damage != "ok":
                raise sqlite3.DatabaseError(damage)
        except sqlite3.DatabaseError:
            db.close()
            raise
        return db

    def _identity(self) -> tuple[str, int]:
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO meta VALUES ('stream', ?), ('boot', '0')", (uuid.uuid4().hex,))
            db.execute("UPDATE meta SET value = value + 1 WHERE key = 'boot'")
            rows = dict(db.execute("SELECT key, value FROM meta"))
        return rows["stream"], int(rows["boot"])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                fix = "a full, locked or failing disk: see what holds it"
                raise StoreError(str(self.path), str(error), fix) from error
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def put(self, facts: Sequence[Fact], snapshot: bytes | None = None) -> int:
        """Keep facts, and the state that they follow from, in one transaction; returns the last sequence.

        When this returns, both are synced to the disk; where it raises
        (StoreError where the disk does not take them), neither is there.
        """
        with self._transaction() as db:
            db.executemany("INSERT INTO record (body) VALUES (?)", ((_encoder.encode(fact),) for fact in facts))
            if snapshot is not None:
                db.execute("INSERT INTO snapshot VALUES ('stock', ?) "
                           "ON CONFLICT (key) DO UPDATE SET body = excluded.body", (snapshot,))
            row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'record'").fetchone()
        return int(row[0]) if row else 0

    def snapshot(self) -> bytes | None:
        """The state that was last committed with facts, or None on a fresh disk."""
        with self._lock:
            row = self._db.execute("SELECT body FROM snapshot WHERE key = 'stock'").fetchone()
        return None if row is None else bytes(row[0])

    def peek(self, after: int, limit: int) -> list[tuple[int, Fact]]:
        """Up to `limit` consecutive records with a sequence above `after`, oldest first; they stay."""
        with self._lock:
            rows = self._db.execute("SELECT seq, body FROM record WHERE seq > ? ORDER BY seq LIMIT ?",
                                    (after, limit)).fetchall()
        facts: list[tuple[int, Fact]] = []
        for seq, body in rows:
            facts.append((seq, _fact(seq, body, facts[-1][1].t if facts else ABSOLUTE_TIME)))
        return facts

    def drop(self, upto: int) -> int:
        """Delete the records up to and including `upto`, which the cloud has committed; returns how many."""
        with self._transaction() as db:
            return db.execute("DELETE FROM record WHERE seq <= ?", (upto,)).rowcount

    def held(self) -> Held:
        """What is held now; takes the same time however much that is."""
        with self._lock:
            lo, hi = self._db.execute("SELECT min(seq), max(seq) FROM record").fetchone()
            if hi is None:
                row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'record'").fetchone()
                hi = row[0] if row else 0
            pages, size = (self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        return Held(hi + 1 if lo is None else lo, hi, pages * size)

    def close(self) -> None:
        """Close the file; everything that was put stays."""
        with self._lock:
            self._db.close()


def _fact(seq: int, body: bytes, near_t: float) -> Fact:
    """The record's fact; one that cannot be read travels as a fact that says so, and holds up no other."""
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError as error:
        log.error("record_unreadable", seq=seq, error=str(error))
        return Fact("outbox/record", near_t, "", None, "bad:unreadable")
