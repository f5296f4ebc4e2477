"""The ledger: sites, devices, invitations, certificates and refusals, in one SQLite file beside the authority's keys.

It holds no secret: of a claim code it knows the public half of the key that the code makes (`edge.wire.enrol`).
Any number of processes use it: WAL, synchronous=FULL, one writer at a time.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.errors import StoreError

VERSION = 1
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE site (id TEXT PRIMARY KEY, name TEXT NOT NULL, added REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE device (
    id TEXT PRIMARY KEY, site TEXT NOT NULL REFERENCES site, added REAL NOT NULL,
    barred REAL, why TEXT NOT NULL DEFAULT '', paused REAL NOT NULL DEFAULT 0, ends REAL) WITHOUT ROWID;
CREATE INDEX device_barred ON device (barred) WHERE barred IS NOT NULL;
CREATE INDEX device_paused ON device (paused) WHERE paused > 0;
CREATE INDEX device_ends ON device (ends);
CREATE TABLE invitation (
    device TEXT PRIMARY KEY REFERENCES device, verifier BLOB NOT NULL, made REAL NOT NULL, ends REAL NOT NULL,
    used TEXT) WITHOUT ROWID;
CREATE TABLE certificate (
    serial TEXT PRIMARY KEY, device TEXT NOT NULL REFERENCES device, key TEXT NOT NULL, parent TEXT NOT NULL,
    begins REAL NOT NULL, ends REAL NOT NULL, made REAL NOT NULL, used REAL, revoked REAL,
    why TEXT NOT NULL DEFAULT '', pem TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX certificate_device ON certificate (device);
CREATE INDEX certificate_revoked ON certificate (revoked) WHERE revoked IS NOT NULL;
CREATE TABLE guess (t REAL NOT NULL, device TEXT NOT NULL, source TEXT NOT NULL);
CREATE INDEX guess_t ON guess (t);
CREATE TABLE refusal (
    kind TEXT NOT NULL, subject TEXT NOT NULL, source TEXT NOT NULL, n INTEGER NOT NULL,
    first REAL NOT NULL, last REAL NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (kind, subject, source)) WITHOUT ROWID;
"""
KEEP_REFUSALS = 5000
"""A stranger may try from any number of addresses: the oldest lines make room."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """A label that was printed; `used` is the key print of the certificate that it was spent on."""

    device: str
    verifier: bytes
    made: float
    ends: float
    used: str | None


@dataclass(frozen=True, slots=True)
class Certificate:
    """A device's certificate; `key` is its key print, `parent` the serial that asked for it, both hex."""

    serial: str
    device: str
    key: str
    parent: str
    begins: float
    ends: float
    made: float
    used: float | None
    revoked: float | None
    why: str
    pem: str

    @property
    def due(self) -> float:
        """When it is to be replaced: at two thirds of its life."""
        return self.begins + (self.ends - self.begins) * 2 / 3


@dataclass(frozen=True, slots=True)
class Device:
    """A device; `barred` since when it is revoked, `paused` until when the guard keeps it silent.

    `ends` is when its newest certificate runs out; None where it never had one.
    """

    id: str
    site: str
    added: float
    barred: float | None
    why: str
    paused: float
    ends: float | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was refused `n` times, to whom, from where."""

    kind: str
    subject: str
    source: str
    n: int
    first: float
    last: float
    detail: str


class Ledger:
    """One ledger file; StoreError where it cannot be opened."""

    def __init__(self, path: Path, patience_s: float = 30.0) -> None:
        self._lock = threading.RLock()
        try:
            self._db = sqlite3.connect(path, timeout=patience_s, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.execute("BEGIN IMMEDIATE")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {VERSION}")
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            damaged = not isinstance(error, sqlite3.OperationalError)
            raise StoreError(str(path), f"cannot be opened: {error}", "restore it from the backup" if damaged else
                             "is another command at work, the disk full or read-only, or the folder another user's? "
                             "put that right, and run this again") from error
        if version > VERSION:
            raise StoreError(str(path), f"is of version {version}, this program's is {VERSION}", "update the program")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A transaction that becomes durable whole or not at all, and is alone."""
        with self._lock:
            if self._db.in_transaction:
                yield self._db
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """All rows of a question."""
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def meta(self, key: str) -> object:
        """One kept value, or None."""
        rows = self.rows("SELECT value FROM meta WHERE key = ?", key)
        return rows[0][0] if rows else None

    def keep_meta(self, key: str, value: object) -> None:
        """Keep one value."""
        with self.change() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def touch(self) -> None:
        """Tell whoever watches that devices were barred or let in."""
        with self.change() as db:
            db.execute("INSERT INTO meta VALUES ('revision', 1) ON CONFLICT DO UPDATE SET value = value + 1")

    def device(self, name: str) -> Device | None:
        """The device of that id."""
        rows = self.rows("SELECT id, site, added, barred, why, paused, ends FROM device WHERE id = ?", name)
        return Device(*rows[0]) if rows else None  # type: ignore[arg-type]  # the schema types the columns

    def invitation(self, device: str) -> Invitation | None:
        """The newest invitation of a device."""
        rows = self.rows("SELECT device, verifier, made, ends, used FROM invitation WHERE device = ?", device)
        return Invitation(*rows[0]) if rows else None  # type: ignore[arg-type]  # the schema types the columns

    def certificates(self, where: str, *values: object) -> list[Certificate]:
        """Certificates by a condition, the newest first."""
        columns = "serial, device, key, parent, begins, ends, made, used, revoked, why, pem"
        sql = f"SELECT {columns} FROM certificate WHERE {where} ORDER BY made DESC"  # noqa: S608  # conditions are ours
        rows = self.rows(sql, *values)
        return [Certificate(*row) for row in rows]  # type: ignore[arg-type]  # the schema types the columns

    def add_certificate(self, each: Certificate) -> None:
        """Note a certificate before it is handed out."""
        with self.change() as db:
            db.execute("INSERT INTO certificate VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       (each.serial, each.device, each.key, each.parent, each.begins, each.ends, each.made, each.used,
                        each.revoked, each.why, each.pem))
            db.execute("UPDATE device SET ends = ? WHERE id = ?", (each.ends, each.device))

    def revoke(self, each: Certificate, why: str, now: float) -> None:
        """Note that a certificate is no longer worth anything."""
        with self.change() as db:
            db.execute("UPDATE certificate SET revoked = ?, why = ? WHERE serial = ?", (now, why, each.serial))

    def refuse(self, kind: str, subject: str, source: str, now: float, detail: str = "", n: int = 1) -> None:
        """Count a refusal."""
        with self.change() as db:
            db.execute(
                "INSERT INTO refusal VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n, "
                "last = excluded.last, detail = excluded.detail", (kind, subject[:80], source[:80], n, now, now,
                                                                   detail[:300]))
            db.execute("DELETE FROM refusal WHERE (kind, subject, source) IN (SELECT kind, subject, source FROM "
                       "refusal ORDER BY last DESC LIMIT -1 OFFSET ?)", (KEEP_REFUSALS,))

    def refusals(self, since: float = 0.0) -> list[Refusal]:
        """What was refused since a time, the newest first."""
        rows = self.rows("SELECT kind, subject, source, n, first, last, detail FROM refusal WHERE last >= ? "
                         "ORDER BY last DESC", since)
        return [Refusal(*row) for row in rows]  # type: ignore[arg-type]  # the schema types the columns
