"""What the outbox costs over bare SQLite with the same syncing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.uplink.outbox import Outbox
from edge.wire import Fact

pytestmark = pytest.mark.bench
COMMITS, EACH = 300, 20


def test_put_against_bare_sqlite(tmp_path: Path) -> None:
    clock = SystemClock()
    facts = [Fact("scale-1/weight", 1.8e9, "kg", 1.234)] * EACH
    body = b'{"name":"scale-1/weight","t":1800000000.0,"unit":"kg","value":1.234}'

    db = sqlite3.connect(tmp_path / "bare.db", isolation_level=None)
    db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE record (seq INTEGER PRIMARY KEY, "
                     "body BLOB);")
    begin = clock.monotonic()
    for _ in range(COMMITS):
        db.execute("BEGIN")
        db.executemany("INSERT INTO record (body) VALUES (?)", [(body,)] * EACH)
        db.execute("COMMIT")
    bare = clock.monotonic() - begin
    db.close()

    outbox = Outbox(tmp_path / "outbox.db")
    begin = clock.monotonic()
    for _ in range(COMMITS):
        outbox.put(facts, b"state")
    ours = clock.monotonic() - begin
    assert outbox.held().records == COMMITS * EACH
    outbox.close()
    rate = COMMITS * EACH
    print(f"\noutbox.put, {EACH} a commit: {rate / ours:,.0f} records/s; bare SQLite {rate / bare:,.0f}; "
          f"{ours / bare:.2f}x its time")
