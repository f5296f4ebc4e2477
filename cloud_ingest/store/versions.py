"""Opening the database file: created where it is empty, brought to this version where it is an older one's."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from edge.errors import StoreError

VERSION = 5
WAIT_S = 10.0
"""Another worker's transaction is waited for this long."""
TRIES = 10
_HERE = Path(__file__).parent
_FROM = {1: "from_1.sql", 2: "from_2.sql", 3: "from_3.sql", 4: "from_4.sql"}


def connect(path: Path) -> sqlite3.Connection:
    """The database at this version, for one thread at a time; StoreError where the file is another program's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pause = threading.Event()
    for _ in range(TRIES):
        try:
            return _connect(path)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
        pause.wait(0.1)  # another worker turns a new file to WAL, for which SQLite lets nobody wait
    return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=WAIT_S)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        # Several workers may open a new or old file at once: the first brings it up, the others find it done.
        db.execute("BEGIN IMMEDIATE")
        _bring_up(db, path)
        db.execute("COMMIT")
    except BaseException:
        db.close()  # rolls back
        raise
    return db


def _bring_up(db: sqlite3.Connection, path: Path) -> None:
    if not db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        _run(db, "schema.sql")
    while (version := _version(db)) in _FROM:
        _run(db, _FROM[version])
    if version != VERSION:
        raise StoreError(str(path), f"is version {version}, this program reads {VERSION}",
                         "use the program that made it, or name another file")


def _version(db: sqlite3.Connection) -> int:
    row = db.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()
    return int(row[0]) if row else 0


def _run(db: sqlite3.Connection, script: str) -> None:
    """Each statement by itself: `executescript` would end the transaction first."""
    for statement in _statements((_HERE / script).read_text(encoding="utf-8")):
        db.execute(statement)


def _statements(script: str) -> Iterator[str]:
    part = ""
    for line in script.splitlines(keepends=True):
        part += line
        if sqlite3.complete_statement(part):
            yield part
            part = ""
