"""The embedded store: SQLite in WAL mode with synchronous=FULL, no server to install."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
from msgspec import UNSET

from cloud_ingest.store.gate import AHEAD_S, EARLIEST
from cloud_ingest.store.protocol import Arrival, Delivery, Item, Refusal, Rejected, Shop, Told
from cloud_ingest.store.quarantine import count, newest, quarantine, tidy
from cloud_ingest.store.registry import put_items, put_shop
from cloud_ingest.store.streams import TurnedAwayError, refuse, take, unregistered, watermark
from cloud_ingest.store.versions import connect
from edge.errors import StoreError
from edge.wire import Birth, State

TOLD = 1000
"""Refusals of one look."""


class SqliteStore:
    """One database file; any number of writers, one transaction at a time, and any number of readers beside them."""

    def __init__(self, path: Path) -> None:
        """Open, create or bring up to date; StoreError where the file cannot be used or is a later version's."""
        self.path = path
        self._lock = threading.Lock()
        try:
            self._db = connect(path)
            self._file = _file_of(path)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(str(path), f"cannot be opened: {error}", "name a file on a writable disk") from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if _file_of(self.path) != self._file:
                raise StoreError(str(self.path), "was moved or deleted while in use",
                                 "put it back, or restart the ingest to begin a new one")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("UPDATE meta SET value = value + 1 WHERE key = 'revision'")
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def commit(self, arrivals: Sequence[Arrival], rejected: Sequence[Rejected], now: float) -> list[Told]:
        """As `Store.commit`."""
        touched: dict[tuple[str, str], str | None] = {}
        with self._transaction() as db:
            before = newest(db)
            stores = _stores(db, {*(each.device for each in arrivals), *(each.device for each in rejected)})
            for each in rejected:
                if each.claim is None:
                    quarantine(db, each, now)
                else:
                    touched[each.device, each.claim.st] = _refused(db, each, stores, now)
            for arrival in arrivals:
                touched[arrival.device, arrival.batch.stream] = _taken(db, arrival, stores, now)
            db.executemany("UPDATE device SET last_seen = ? WHERE id = ?", [(now, device) for device in stores])
            tidy(db, before)
            return [watermark(db, device, st, turned_away) for (device, st), turned_away in touched.items()]

    def note_refusals(self, refusals: Sequence[Refusal], now: float) -> None:
        """As `Store.note_refusals`."""
        with self._transaction() as db:
            for each in refusals:
                count(db, each, now)

    def refusals(self, since: float) -> list[Refusal]:
        """As `Store.refusals`."""
        with self._lock:
            found = self._db.execute("SELECT device, kind, n, detail FROM ingest_refusal WHERE last_t >= ? "
                                     "ORDER BY last_t DESC LIMIT ?", (since, TOLD)).fetchall()
        return [Refusal(*row) for row in found]

    def add_shop(self, shop: Shop) -> None:
        """As `Store.add_shop`."""
        with self._transaction() as db:
            put_shop(db, shop)

    def remove_shop(self, store: str, when: int) -> bool:
        """As `Store.remove_shop`."""
        with self._transaction() as db:
            return db.execute("UPDATE store SET removed = ? WHERE id = ?", (when, store)).rowcount > 0

    def put_items(self, items: Sequence[Item]) -> None:
        """As `Store.put_items`."""
        with self._transaction() as db:
            put_items(db, items)

    def put_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """As `Store.put_deliveries`."""
        with self._transaction() as db:
            db.executemany("INSERT OR REPLACE INTO batch (store, sku, best_before, received, units) VALUES (?,?,?,?,?)",
                           [(each.store, each.sku, each.best_before, each.received, each.units) for each in deliveries])

    def note_birth(self, device: str, birth: Birth, now: float) -> None:
        """As `Store.note_birth`."""
        # A stream is one start's, so another one's lower boot is no stale word but a new disk, which counts anew.
        with self._transaction() as db:
            db.execute("UPDATE device SET birth = ?, boot = ?, last_seen = ? WHERE id = ? "
                       "AND (boot <= ? OR json_extract(birth, '$.st') IS NOT ?)",
                       (msgspec.json.encode(birth).decode(), birth.boot, now, device, birth.boot, birth.st))

    def note_state(self, device: str, state: State, now: float) -> bool:
        """As `Store.note_state`."""
        told = msgspec.json.encode(state).decode()
        held, complete_to = (None, None) if state.outbox is UNSET else (told, _complete_to(state, now))
        # A last will says nothing of the outbox, and what was said before still holds; a device that is online and
        # says nothing of it is an older agent.
        forget = state.outbox is not UNSET or state.online
        with self._transaction() as db:
            done = db.execute(
                "UPDATE device SET state = ?, online = ?, last_seen = ?, "
                "boot = CASE WHEN birth IS NULL THEN ? ELSE boot END, "  # a late state may be of a disk that is gone
                "held = CASE WHEN ? THEN ? ELSE held END, complete_to = CASE WHEN ? THEN ? ELSE complete_to END "
                "WHERE id = ? AND boot <= ?",
                (told, state.online, now, state.boot, forget, held, forget, complete_to, device, state.boot))
            if done.rowcount and state.t > now + AHEAD_S:
                count(db, Refusal(device, "bad_time", 1, f"bad_time: its clock says {state.t:.0f}, more than a day "
                                  "ahead; what it calls complete is taken as complete until now"), now)
            return done.rowcount > 0

    def close(self) -> None:
        """As `Store.close`."""
        with self._lock:
            self._db.close()


def _file_of(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one with its name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _stores(db: sqlite3.Connection, devices: set[str]) -> dict[str, str]:
    """The stores of those devices that are registered."""
    found = (db.execute("SELECT id, store FROM device WHERE id = ?", (device,)).fetchone() for device in devices)
    return {row[0]: row[1] for row in found if row}


def _complete_to(state: State, now: float) -> float | None:
    """Up to when the cloud has everything of a device that tells its outbox; no later than now."""
    if state.outbox is UNSET:
        return None
    t: float | None = state.t
    if state.buffered:
        t = state.outbox.committed_to if state.outbox.oldest is None else state.outbox.oldest
    return min(t, now) if t is not None and t >= EARLIEST else None


def _taken(db: sqlite3.Connection, arrival: Arrival, stores: dict[str, str], now: float) -> str | None:
    """Take a batch; what to tell the device where it is turned away. The device keeps it: no watermark covers it."""
    try:
        if arrival.device not in stores:
            raise unregistered(arrival.device)
        take(db, arrival, stores[arrival.device], now)
    except TurnedAwayError as away:
        batch = arrival.batch
        named = json.dumps({"st": batch.stream, "seq": batch.seq, "n": batch.n}).encode()
        quarantine(db, Rejected(arrival.device, arrival.topic, str(away), named), now)
        return away.told
    return None


def _refused(db: sqlite3.Connection, rejected: Rejected, stores: dict[str, str], now: float) -> str | None:
    """Refuse a payload by name; what to tell the device where even that is turned away."""
    assert rejected.claim is not None  # noqa: S101  # for mypy: the caller asked
    try:
        if rejected.device not in stores:
            raise unregistered(rejected.device)
        refuse(db, rejected, rejected.claim, now)
    except TurnedAwayError as away:
        quarantine(db, replace(rejected, reason=f"{away}; {rejected.reason}"), now)
        return away.told
    return None
