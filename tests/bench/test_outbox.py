"""What the outbox costs over bare SQLite with the same syncing, beside what else could keep readings on a disk."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import persistqueue
import pytest
from tinydb import TinyDB

from edge.clock import SystemClock
from edge.documents import SyncedJSONStorage
from edge.uplink.disk import Limits
from edge.uplink.outbox import Outbox
from edge.wire import Fact, encode_record

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]
CLOCK = SystemClock()
FREE = Limits(cap=1024**4, reserve=0)


def fact(i: int) -> Fact:
    """A reading like the next one: values and times differ as they do in a shop."""
    return Fact(f"scale-{i % 10}/weight", 1.8e9 + i / 10, "kg", 1.0 + i % 997 / 1000)


def took(do: Callable[[], object]) -> float:
    begin = CLOCK.monotonic()
    do()
    return CLOCK.monotonic() - begin


def bare(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
                     "CREATE TABLE record (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;")
    return db


def put_bare(db: sqlite3.Connection, commits: int, each: int) -> None:
    for c in range(commits):
        db.execute("BEGIN")
        db.executemany("INSERT INTO record (body) VALUES (?)",
                       [(encode_record(fact(i)),) for i in range(c * each, (c + 1) * each)])
        db.execute("COMMIT")


def put_ours(outbox: Outbox, commits: int, each: int) -> None:
    for c in range(commits):
        outbox.put([fact(i) for i in range(c * each, (c + 1) * each)])


@pytest.mark.parametrize(("commits", "each"), [(1500, 1), (400, 20), (150, 200), (60, 2000)])
def test_put_against_bare_sqlite(tmp_path: Path, commits: int, each: int) -> None:
    ours, theirs = [], []
    for turn in range(5):  # in turns, so that a slow moment of the disk hits both; the best of each counts
        db, outbox = bare(tmp_path / f"bare-{turn}.db"), Outbox(tmp_path / f"outbox-{turn}.db", limits=FREE)
        theirs.append(took(lambda db=db: put_bare(db, commits, each)))  # type: ignore[misc]  # bound now
        ours.append(took(lambda outbox=outbox: put_ours(outbox, commits, each)))  # type: ignore[misc]
        assert outbox.held().records == commits * each
        db.close()
        outbox.close()
    n = commits * each
    print(f"\noutbox.put, {each} a commit: {n / min(ours):,.0f} records/s, bare SQLite {n / min(theirs):,.0f}: "
          f"{min(theirs) / min(ours):.2f} of its rate")


def test_several_writers_share_a_commit(tmp_path: Path) -> None:
    each, writers = 200, 8
    db = bare(tmp_path / "bare.db")
    alone = took(lambda: put_bare(db, each * writers, 1))
    db.close()
    outbox = Outbox(tmp_path / "outbox.db", limits=FREE)
    threads = [threading.Thread(target=put_ours, args=(outbox, each, 1)) for _ in range(writers)]

    def together() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    ours = took(together)
    assert outbox.held().records == each * writers
    outbox.close()
    print(f"\noutbox.put, {writers} writers of one record: {each * writers / ours:,.0f} records/s, bare SQLite with "
          f"one {each * writers / alone:,.0f}")


def test_beside_tinydb_and_persist_queue(tmp_path: Path) -> None:
    n = 2000
    outbox = Outbox(tmp_path / "outbox.db", limits=FREE)
    ours = n / took(lambda: put_ours(outbox, n, 1))
    outbox.close()
    tiny = TinyDB(tmp_path / "tiny.json", storage=SyncedJSONStorage)
    tiny.insert_multiple({"body": encode_record(fact(i)).decode()} for i in range(n - 100))
    tinys = 100 / took(lambda: [tiny.insert({"body": encode_record(fact(i)).decode()}) for i in range(100)])
    tiny.close()
    queue = persistqueue.SQLiteAckQueue(str(tmp_path / "queue"), auto_commit=True)
    queues = n / took(lambda: [queue.put(encode_record(fact(i))) for i in range(n)])
    queue.close()
    print(f"\none record a commit: outbox {ours:,.0f}/s, persist-queue (SQLiteAckQueue, its syncing) {queues:,.0f}/s, "
          f"TinyDB at {n} rows (synced) {tinys:,.0f}/s")


def test_opening_a_gigabyte_beside_an_empty_one(tmp_path: Path) -> None:
    big, empty = tmp_path / "big.db", tmp_path / "empty.db"
    outbox = Outbox(big, limits=FREE)
    i = 0
    while outbox.disk.used() < 1024**3:
        outbox.put([fact(n) for n in range(i, i + 50_000)])
        i += 50_000
    held = outbox.held()
    outbox.close()
    Outbox(empty, limits=FREE).close()
    times: dict[Path, list[float]] = {big: [], empty: []}
    for _ in range(9):
        for path in (big, empty):
            times[path].append(took(lambda path=path: Outbox(path, limits=FREE).close()))  # type: ignore[misc]
    print(f"\nopening {held.records:,} records ({big.stat().st_size / 1e9:.2f} GB, {held.used / held.records:.0f} "
          f"bytes each): {1000 * sorted(times[big])[4]:.1f} ms, an empty one {1000 * sorted(times[empty])[4]:.1f} ms: "
          f"{sorted(times[big])[4] / sorted(times[empty])[4]:.2f}x (medians of 9)")
