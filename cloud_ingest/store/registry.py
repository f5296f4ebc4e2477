"""The registry inside the caller's transaction: where stores are and were, and what a SKU is."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from cloud_ingest.store.protocol import Item, Shop
from edge.wire import window_of

_PLACE = "lat, lon, tz, hours, r9, r8, r7, r6, r5"


def put_shop(db: sqlite3.Connection, shop: Shop) -> None:
    """The store, its place and its devices; see Shop for what `since` does."""
    values = (shop.lat, shop.lon, shop.tz, shop.hours, *shop.cells)
    since = _since(db, shop)
    db.execute(f"INSERT OR REPLACE INTO place (store, since, {_PLACE}) "  # noqa: S608  # the names are constants
               "VALUES (?,?,?,?,?,?,?,?,?,?,?)", (shop.id, since, *values))
    newest = db.execute(f"SELECT {_PLACE} FROM place WHERE store = ? ORDER BY since DESC LIMIT 1",  # noqa: S608
                        (shop.id,)).fetchone()
    db.execute(f"INSERT INTO store (id, name, {_PLACE}) VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) "  # noqa: S608
               f"DO UPDATE SET (name, {_PLACE}, removed) = (excluded.name, "
               f"{', '.join(f'excluded.{name}' for name in _PLACE.split(', '))}, NULL)", (shop.id, shop.name, *newest))
    db.executemany("INSERT INTO device (id, store) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET store = excluded.store",
                   [(device, shop.id) for device in shop.devices])


def _since(db: sqlite3.Connection, shop: Shop) -> int:
    """From when on the place holds: the window it moved in, else the newest place's own start, 0 for a new store."""
    if shop.since is not None:
        return window_of(shop.since)
    (newest,) = db.execute("SELECT max(since) FROM place WHERE store = ?", (shop.id,)).fetchone()
    return newest or 0


def put_items(db: sqlite3.Connection, items: Sequence[Item]) -> None:
    """SKUs of the catalogue, and which old ones each replaces."""
    db.executemany("INSERT OR REPLACE INTO sku (id, name, category, amount, unit, launched, most_celsius) "
                   "VALUES (?,?,?,?,?,?,?)", [(each.id, each.name, each.category, each.amount, each.unit, each.launched,
                                               each.most_celsius) for each in items])
    db.executemany("INSERT OR REPLACE INTO renamed (old, sku) VALUES (?, ?)",
                   [(old, each.id) for each in items for old in each.replaces])
