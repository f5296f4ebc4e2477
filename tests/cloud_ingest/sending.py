"""Batches as a device sends them, straight into a store, and what the store then has."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cloud_ingest.sorting import sort
from cloud_ingest.store.protocol import Shop
from cloud_ingest.store.sqlite import SqliteStore
from cloud_ingest.subscriber import Message
from edge import wire
from edge.wire import Committed, Fact, Head

NOW = 1_800_000_000.0
ST = "a" * 32
SKU = "4006381333931"
SHOP = Shop("store-1", "Corner", 52.5, 13.4, "UTC", ("shop-1", "shop-2"), ("9", "8", "7", "6", "5"))
PASSING = {"device": {"last_seen"}, "quarantine": {"id", "hash", "payload", "count", "first_t", "last_t"},
           "ingest_refusal": {"first_t", "last_t", "detail"}, "flow": {"rev"}}
"""Columns that tell when, how often and how wrapped something came, not what it was."""


def open_store(path: Path) -> SqliteStore:
    """An ingest's database in which `shop-1` and `shop-2` are registered."""
    store = SqliteStore(path)
    store.add_shop(SHOP)
    return store


def sold(n: float, t: float = NOW) -> Fact:
    """A movement of `n` units."""
    return Fact("slot/A1/sold", t, "count", n, "ok", SKU)


def batch(facts: Sequence[Fact], seq: int = 1, *, device: str = "shop-1", st: str = ST,
          gaps: Sequence[tuple[int, int]] = (), **head: Any) -> Message:
    """One packed batch; `head` are further fields of the envelope."""
    told = Head(**{"v": 1, "st": st, "seq": seq, "lo": 1, "boot": 1, "clk": "ok", **({"g": list(gaps)} if gaps else {}),
                   **head})
    payload = wire.pack(wire.join_batch(device, [wire.encode_record(fact) for fact in facts], told))
    return Message(wire.up(device, "backlog" if told.h else "data"), payload, 1, 1, 1)


def take(store: SqliteStore, *messages: Message, now: float = NOW) -> dict[str, Committed]:
    """What is told of each stream after one commit."""
    found = sort(messages)
    return {committed.st: committed for _, committed, _ in store.commit(found.arrivals, found.rejected, now)}


def rows(path: Path, sql: str) -> list[Any]:
    """The rows of a question to the database."""
    db = sqlite3.connect(path)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def dump(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every table but the revision, without the passing columns."""
    tables = [name for (name,) in rows(path, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN "
                                             "('meta', 'change')")]
    kept = {table: [row[1] for row in rows(path, f"PRAGMA table_info({table})") if row[1] not in PASSING.get(table, ())]
            for table in tables}
    return {table: sorted(rows(path, f"SELECT {', '.join(columns)} FROM {table}"), key=repr)
            for table, columns in kept.items()}
