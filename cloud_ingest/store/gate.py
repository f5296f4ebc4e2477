"""Which records of a batch may be kept: those that can be true, and that their device may still add."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

from cloud_ingest.store.growth import beyond, spend
from edge.wire import FLOW_UNITS, WINDOW_S, Fact, flow_of, window_of

EARLIEST = 1_577_836_800.0  # 2020-01-01: nothing was measured before there was anything to measure with
AHEAD_S = 86_400.0
POSSIBLE = {"kg": (-10_000.0, 10_000.0), "Cel": (-273.15, 1000.0), "%RH": (-5.0, 105.0), "count": (-1e6, 1e6),
            "s": (0.0, 1e10), "/": (-1000.0, 1000.0)}
"""Wide: what a faulty sensor says is told by its quality. Beyond these lies what no shop has."""
MOST_OF_A_WINDOW = {"count": 10_000.0, "s": 200.0 * WINDOW_S}
"""Units of one SKU that one shop moves in 15 minutes, and seconds over all of its slots with that SKU."""
COLUMNS = tuple(FLOW_UNITS)
_SUMS = f"SELECT {', '.join(COLUMNS)} FROM flow WHERE store = ? AND sku = ? AND window = ?"  # noqa: S608  # constants


class Gate:
    """Judges the records of one batch, in the caller's transaction."""

    def __init__(self, db: sqlite3.Connection, device: str, store: str, now: float) -> None:
        """`now` is Unix seconds."""
        self._db, self._device, self._store, self._now = db, device, store, now
        self._names: set[str] = set()
        self._skus: set[str] = set()
        self._sums: dict[tuple[str, int], dict[str, float]] = {}

    def wrong(self, fact: Fact) -> str | None:
        """Why a record is not kept, or None."""
        if not EARLIEST <= fact.t <= self._now + AHEAD_S:
            return _bad_time(fact)
        if isinstance(fact.value, float) and fact.unit in POSSIBLE:
            least, most = POSSIBLE[fact.unit]
            if not least <= fact.value <= most:
                return f"impossible: {fact.value:g} {fact.unit} is not within {least:g} .. {most:g}"
        return self._flow(fact) or self._name(fact)

    def _name(self, fact: Fact) -> str | None:
        if fact.name in self._names:
            return None
        known = self._db.execute("SELECT 1 FROM latest WHERE device = ? AND name = ?", (self._device, fact.name))
        if not known.fetchone() and not spend(self._db, self._device, "names", 1, self._now):
            return beyond("names")
        self._names.add(fact.name)
        return None

    def _flow(self, fact: Fact) -> str | None:
        flow = flow_of(fact.name)
        if flow is None or not isinstance(fact.value, float) or not fact.sku:
            return None
        key, column = (fact.sku, window_of(fact.t)), flow[1]
        if key not in self._sums:
            there = self._db.execute(_SUMS, (self._store, *key)).fetchone()
            if there is None and (why := self._no_room(fact.sku)):
                return why
            self._sums[key] = dict(zip(COLUMNS, there or (0.0,) * len(COLUMNS), strict=True))
        sums, most = self._sums[key], MOST_OF_A_WINDOW[FLOW_UNITS[column]]
        if sums[column] + fact.value > most:
            return f"impossible: {column} of {fact.sku} would be over {most:g} {FLOW_UNITS[column]} in one window"
        sums[column] += fact.value
        return None

    def _no_room(self, sku: str) -> str | None:
        """Pay for a window of a SKU, and for the SKU, that the store did not have; why that is not possible."""
        known = sku in self._skus or self._db.execute(
            "SELECT 1 FROM flow WHERE store = ? AND sku = ? LIMIT 1", (self._store, sku)).fetchone()
        for what in ("windows",) if known else ("skus", "windows"):
            if not spend(self._db, self._device, what, 1, self._now):
                return beyond(what)
        self._skus.add(sku)
        return None


def _bad_time(fact: Fact) -> str:
    try:
        date = datetime.fromtimestamp(fact.t, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        date = f"{fact.t:g} s after 1970"
    return f"bad_time: {date} is before 2020 or more than a day ahead"
