"""What one device may cost the ingest: a token bucket for each kind of work, so that a flood costs only its sender.

A device that is over its allowance is not read: its messages are acknowledged and dropped. An honest one keeps what
was not committed and sends it again; it comes nowhere near, since its live readings are some messages a second, and
its backlog comes by credit, which pays for itself. Pure; every `now` is seconds that never go back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Limit(NamedTuple):
    """`per_s` come back each second, up to `most`."""

    per_s: float
    most: float


@dataclass(slots=True)
class Bucket:
    """What is `left` of one limit at `at`; below 0 is a debt, for work whose size shows when it is done."""

    left: float
    at: float

    def refilled(self, limit: Limit, now: float) -> float:
        """What is left now."""
        self.left, self.at = min(limit.most, self.left + max(0.0, now - self.at) * limit.per_s), max(self.at, now)
        return self.left


LIMITS: Mapping[str, Limit] = {
    "messages": Limit(50, 1000),
    "bytes": Limit(1e6, 32e6),
    "records": Limit(2000, 50_000),
}
"""The broker's guard silences at 200 messages a second through 10 s; this is what one may cost before and below."""
BAD_MESSAGE, BAD_BYTES = 5.0, 2500.0
"""So many messages one counts that cannot be read, and one more for each so many bytes: it costs up to 0.1 s."""
BAD_RECORD = 10.0
"""So many records one counts that is refused: it is kept by itself."""
GRANTED = {"messages": 0.1, "bytes": 400.0, "records": 1.0}
"""What a record of granted credit brings with it."""
MOST_DEVICES = 50_000


@dataclass(slots=True)
class Allowance:
    """The buckets of all devices; one that was full for a while takes no memory."""

    limits: Mapping[str, Limit] = field(default_factory=lambda: LIMITS)
    _buckets: dict[str, dict[str, Bucket]] = field(default_factory=dict, init=False)

    def may(self, device: str, size: int, now: float) -> bool:
        """Whether a message of `size` bytes is to be read; that it came is charged where it is."""
        buckets = self._of(device, now)
        if any(buckets[what].refilled(limit, now) <= 0 for what, limit in self.limits.items()):
            return False
        self.charge(device, {"messages": 1, "bytes": size}, now)
        return True

    def charge(self, device: str, cost: Mapping[str, float], now: float) -> None:
        """Work was done for a device."""
        buckets = self._of(device, now)
        for what, n in cost.items():
            buckets[what].left -= n

    def grant(self, device: str, n: int, now: float) -> None:
        """A device was granted `n` records of its backlog: they come beside what it may send anyway."""
        self.charge(device, {what: -n * each for what, each in GRANTED.items()}, now)

    def _of(self, device: str, now: float) -> dict[str, Bucket]:
        found = self._buckets.get(device)
        if found is None:
            if len(self._buckets) >= MOST_DEVICES:
                self._forget(now)
            found = self._buckets[device] = {what: Bucket(limit.most, now) for what, limit in self.limits.items()}
        return found

    def _forget(self, now: float) -> None:
        """Those who are full again; where nobody is, the one known longest."""
        full = [device for device, buckets in self._buckets.items()
                if all(buckets[what].refilled(limit, now) >= limit.most for what, limit in self.limits.items())]
        for device in full or [next(iter(self._buckets))]:
            del self._buckets[device]


@dataclass(slots=True)
class Hush:
    """Lets the first of many like events be told, and then one each `every_s`."""

    every_s: float = 60.0
    most: int = 10_000
    _told: dict[tuple[str, str], float] = field(default_factory=dict, init=False)

    def due(self, key: tuple[str, str], now: float) -> bool:
        """Whether to tell an event of this `key` now."""
        if now - self._told.get(key, -self.every_s) < self.every_s:
            return False
        if len(self._told) >= self.most:
            self._told.clear()
        self._told[key] = now
        return True
