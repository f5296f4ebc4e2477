"""Databases of earlier versions go on, and several workers may open one file at once."""

from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path

import pytest

from cloud_ingest.feed import Query, read_feed
from cloud_ingest.store.sqlite import SqliteStore
from cloud_ingest.store.versions import connect
from cloud_ingest.watch import read_fleet
from edge.errors import StoreError
from tests.cloud_ingest.sending import NOW, ST, batch, open_store, rows, sold, take

VERSION_1 = """
-- Version 1. `flow` is made of sums, so a late, repeated or reordered batch ends in the same state.
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO meta VALUES ('version', 1), ('revision', 0);

CREATE TABLE store (                       -- the registry: a device's word about its place counts for nothing
    id TEXT PRIMARY KEY, name TEXT NOT NULL, lat REAL NOT NULL, lon REAL NOT NULL, tz TEXT NOT NULL,
    r9 TEXT NOT NULL, r8 TEXT NOT NULL, r7 TEXT NOT NULL, r6 TEXT NOT NULL, r5 TEXT NOT NULL
) STRICT;

CREATE TABLE device (
    id TEXT PRIMARY KEY, store TEXT NOT NULL REFERENCES store (id), online INTEGER NOT NULL DEFAULT 0,
    boot INTEGER NOT NULL DEFAULT 0, last_seen REAL, birth TEXT, state TEXT
) STRICT;

CREATE TABLE stream (
    st TEXT PRIMARY KEY, device TEXT NOT NULL, mark INTEGER NOT NULL, ahead TEXT NOT NULL,
    refused INTEGER NOT NULL, missing INTEGER NOT NULL, last_t REAL NOT NULL
) STRICT;

CREATE TABLE reading (
    st TEXT NOT NULL, seq INTEGER NOT NULL, device TEXT NOT NULL, name TEXT NOT NULL, t REAL NOT NULL,
    unit TEXT NOT NULL, value ANY, quality TEXT NOT NULL, PRIMARY KEY (st, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE latest (
    device TEXT NOT NULL, name TEXT NOT NULL, t REAL NOT NULL, unit TEXT NOT NULL, value ANY, quality TEXT NOT NULL,
    sku TEXT, PRIMARY KEY (device, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE flow (                        -- per 15-minute window of event time; in_stock and observed in seconds
    store TEXT NOT NULL, sku TEXT NOT NULL, window INTEGER NOT NULL,
    sold REAL NOT NULL DEFAULT 0, put_back REAL NOT NULL DEFAULT 0, restocked REAL NOT NULL DEFAULT 0,
    in_stock REAL NOT NULL DEFAULT 0, observed REAL NOT NULL DEFAULT 0, PRIMARY KEY (store, sku, window)
) STRICT, WITHOUT ROWID;
CREATE INDEX flow_window ON flow (window);

CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, device TEXT NOT NULL, topic TEXT NOT NULL, reason TEXT NOT NULL,
    payload BLOB NOT NULL, count INTEGER NOT NULL, first_t REAL NOT NULL, last_t REAL NOT NULL
) STRICT;
"""
FACTS_1 = f"""
INSERT INTO store VALUES ('store-1', 'Corner', 52.5, 13.4, 'UTC', '9', '8', '7', '6', '5');
INSERT INTO device (id, store) VALUES ('shop-1', 'store-1'), ('shop-2', 'store-1');
INSERT INTO stream VALUES ('{ST}', 'shop-1', 2, '[[4, 4]]', 1, 3, {NOW});
INSERT INTO reading VALUES ('{ST}', 2, 'shop-1', 'slot/A1/sold', {NOW - 50}, 'count', 2.0, 'ok'),
                           ('{ST}', 4, 'shop-1', 'slot/A1/sold', {NOW}, 'count', 1.0, 'ok');
INSERT INTO latest VALUES ('shop-1', 'slot/A1/sold', {NOW}, 'count', 1.0, 'ok', '4006381333931');
INSERT INTO flow (store, sku, window, sold) VALUES ('store-1', '4006381333931', {int(NOW) // 900 * 900}, 3.0);
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file as version 1 left it, in WAL mode, with a hole in its stream."""
    path = tmp_path / "old.db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=WAL")
    db.executescript(VERSION_1 + FACTS_1)
    db.close()
    return path


def layout(path: Path) -> dict[str, list[tuple[object, ...]]]:
    names = rows(path, "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
    found = {name: [row[1:] for row in rows(path, f"PRAGMA table_info({name})")] for (name,) in names}
    found["indexes"] = sorted(rows(path, "SELECT name, tbl_name FROM sqlite_master WHERE type = 'index'"))
    return found


def test_a_file_of_version_1_goes_on_and_is_like_a_new_one(old: Path, tmp_path: Path) -> None:
    store = SqliteStore(old)
    open_store(tmp_path / "new.db").close()
    assert layout(old) == layout(tmp_path / "new.db")
    assert rows(old, "SELECT value FROM meta WHERE key = 'version'") == [(5,)]
    assert rows(old, "SELECT complete_to FROM progress ORDER BY device") == [(NOW - 50,), (None,)]
    told = take(store, batch([sold(1), sold(2), sold(4)], 2))[ST]
    assert (told.committed, told.refused, told.t) == (4, 1, NOW)
    assert rows(old, "SELECT sold FROM flow") == [(5.0,)]
    assert rows(old, "SELECT missing, losses, clk FROM stream") == [(3, 0, "ok")]
    store.close()
    SqliteStore(old).close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(old: Path) -> None:
    db = sqlite3.connect(old)
    db.execute("CREATE TABLE loss (mine)")
    db.close()
    before = layout(old)
    with pytest.raises(StoreError, match="loss already exists"):
        SqliteStore(old)
    assert layout(old) == before
    assert rows(old, "SELECT value FROM meta WHERE key = 'version'") == [(1,)]


def test_a_reader_says_how_an_older_file_is_brought_up_to_date(old: Path) -> None:
    for read in (lambda path: read_feed(Query(path)), read_fleet):
        with pytest.raises(StoreError, match=r"is version 1, .*cornergrid-cloud run"):
            read(old)


def open_once(path: Path, together: object) -> None:
    together.wait(20)  # type: ignore[attr-defined]  # a Barrier of the spawning context
    connect(path).close()


@pytest.mark.parametrize("kind", ["new", "old"])
def test_workers_that_start_together_make_one_database(kind: str, old: Path, tmp_path: Path) -> None:
    path = old if kind == "old" else tmp_path / "new.db"
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(4)
    workers = [context.Process(target=open_once, args=(path, together)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert rows(path, "PRAGMA journal_mode") == [("wal",)]
    assert rows(path, "SELECT value FROM meta WHERE key = 'version'") == [(5,)]
