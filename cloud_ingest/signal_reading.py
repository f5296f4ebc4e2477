"""Signals from the ingest's database: what `cloud_ingest.signals` works on, read for one of its names."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from cloud_ingest import signals
from cloud_ingest.facts import reading
from cloud_ingest.feed import Query, read_feed
from cloud_ingest.rows import Scope
from cloud_ingest.signals import DAY_S, Batch, NearDate, Slow, Stock, Warm
from edge.errors import ConfigError, Problem

LOOK_BACK_DAYS = 28
OPERATORS = ("slow", "near-date", "cold-chain")
_SOLD = """
SELECT store, coalesce(renamed.sku, flow.sku) AS item, total(sold),
       max(CASE WHEN sold > 0 OR put_back > 0 OR restocked > 0 THEN window END), min(window)
FROM flow LEFT JOIN renamed ON renamed.old = flow.sku WHERE window >= ? GROUP BY 1, 2
"""
_LEVELS = """
SELECT device.store, coalesce(renamed.sku, latest.sku), total(latest.value)
FROM latest JOIN device ON device.id = latest.device LEFT JOIN renamed ON renamed.old = latest.sku
WHERE latest.name LIKE 'slot/%/level' AND latest.sku IS NOT NULL AND latest.quality = 'ok' GROUP BY 1, 2
"""
_WARM = """
SELECT device.store, reading.device || '/' || reading.name, reading.t, reading.value
FROM reading JOIN device ON device.id = reading.device
WHERE reading.unit = 'Cel' AND reading.t >= ? AND reading.quality = 'ok' ORDER BY 1, 2, 3
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which signal, of which scope and resolution; `now` is Unix seconds."""

    db: Path
    scope: Scope
    resolution: int
    now: float


def read_signal(name: str, asked: Asked) -> list[Any]:
    """The rows of a signal, those that matter most first; ConfigError for one that is not, or is not public."""
    if name not in SIGNALS:
        raise ConfigError("signals", (Problem(name, "is no signal", f"use {', '.join(SIGNALS)}"),))
    if name in OPERATORS and asked.scope == "public":
        raise ConfigError("signals", (Problem(name, "tells of single shops", "ask with the scope operator"),))
    return SIGNALS[name](asked)


def to_table(rows: list[Any]) -> pa.Table:
    """A signal's rows as a table."""
    return pa.Table.from_pylist([{name: getattr(row, name) for name in row.__slots__} for row in rows])


def _stocks(source: sqlite3.Connection, now: float) -> dict[tuple[str, str], Stock]:
    """Every SKU whose level is known, in every shop."""
    since = now - LOOK_BACK_DAYS * DAY_S
    sold = {(store, sku): rest for store, sku, *rest in source.execute(_SOLD, (since,))}
    found = {}
    for store, sku, on_hand in source.execute(_LEVELS):
        units, moved, first = sold.get((store, sku), (0.0, None, now))
        days = max(0.0, (now - first) / DAY_S)
        found[store, sku] = Stock(store, sku, on_hand, units / days if days >= 1 else units, moved, days)
    return found


def _slow(asked: Asked) -> list[Slow]:
    with reading(asked.db) as source:
        return signals.slow(_stocks(source, asked.now).values(), asked.now)


def _near_date(asked: Asked) -> list[NearDate]:
    with reading(asked.db) as source:
        stocks = _stocks(source, asked.now)
        batches = [((store, sku), Batch(best_before, received, units)) for store, sku, best_before, received, units in
                   source.execute("SELECT store, coalesce(renamed.sku, batch.sku), best_before, received, units "
                                  "FROM batch LEFT JOIN renamed ON renamed.old = batch.sku")]
    found = [row for pair, theirs in signals.grouped(batches) if pair in stocks
             for row in signals.near_date(stocks[pair], theirs, asked.now)]
    return sorted(found, key=lambda row: (-row.at_risk, row.best_before, row.store, row.sku))


def _cold_chain(asked: Asked) -> list[Warm]:
    with reading(asked.db) as source:
        limits: dict[str, dict[str, tuple[float, float]]] = {}
        warmest = dict(source.execute("SELECT id, most_celsius FROM sku WHERE most_celsius IS NOT NULL"))
        for (store, sku), stock in _stocks(source, asked.now).items():
            if sku in warmest:
                limits.setdefault(store, {})[sku] = warmest[sku], stock.on_hand
        probes: dict[str, dict[str, list[tuple[float, float]]]] = {}
        for store, probe, t, celsius in source.execute(_WARM, (asked.now - DAY_S,)):
            probes.setdefault(store, {}).setdefault(probe, []).append((t, celsius))
    return [warm for store, theirs in probes.items() for warm in
            signals.cold_chain(store, dict(theirs), limits.get(store, {}))]


def _days(asked: Asked, skus: tuple[str, ...] | None, since: float) -> Query:
    return Query(asked.db, asked.scope, asked.resolution, DAY_S, skus=skus, since=since)


def _hot_spots(asked: Asked) -> list[signals.HotSpot]:
    return signals.hot_spots(read_feed(_days(asked, None, asked.now - 7 * DAY_S)))


def _uptake(asked: Asked) -> list[signals.Uptake]:
    with reading(asked.db) as source:
        launched = dict(source.execute("SELECT id, launched FROM sku WHERE launched IS NOT NULL AND launched >= ?",
                                       (asked.now - 12 * 7 * DAY_S,)))
    if not launched:
        return []
    return signals.uptake(read_feed(_days(asked, tuple(launched), min(launched.values()))), launched)


SIGNALS: dict[str, Callable[[Asked], list[Any]]] = {
    "slow": _slow, "near-date": _near_date, "hot-spots": _hot_spots, "cold-chain": _cold_chain, "uptake": _uptake}
