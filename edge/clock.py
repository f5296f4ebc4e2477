"""Time, as a parameter: the only module that reads a clock.

Event times are Unix seconds (UTC). Intervals on the box are measured on the monotonic clock, which a
wrong wall clock cannot move.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """What every stage is given instead of the system's clock."""

    def now(self) -> float:
        """Event time, Unix seconds."""

    def monotonic(self) -> float:
        """Real seconds from an arbitrary origin, never going back."""


class SystemClock:
    """The box's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class ShopClock:
    """A virtual shop's clock: event time runs `speed` times faster than the wall, until it catches up.

    Processes on one machine that load the same file agree, since CLOCK_MONOTONIC is the system's.
    It never shows a time after the wall clock's, so the cloud sees no reading from the future.
    """

    start: float
    origin: float
    speed: float

    @classmethod
    def begin(cls, start: float, speed: float) -> ShopClock:
        """A clock that shows `start` (Unix seconds) now."""
        return cls(start, time.monotonic(), speed)

    @classmethod
    def load(cls, path: Path) -> ShopClock:
        """The clock that a virtual shop wrote to `path`; OSError or ValueError where it did not."""
        told = json.loads(path.read_text())
        clock = cls(**{name: float(value) for name, value in told.items()})
        if not all(map(math.isfinite, (clock.start, clock.origin, clock.speed))):
            raise ValueError("its numbers are not finite")
        return clock

    def save(self, path: Path) -> None:
        """Write the clock for other processes to follow, whole or not at all."""
        part = path.with_suffix(".part")
        part.write_text(json.dumps(asdict(self)))
        os.replace(part, path)

    def now(self) -> float:
        return min(self.start + (time.monotonic() - self.origin) * self.speed, time.time())

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass(slots=True)
class ManualClock:
    """A clock that a test or a simulated day moves by hand."""

    at: float

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += seconds


def every(clock: Clock, period_s: float) -> Callable[[], bool]:
    """A question that answers yes at most once a period of the monotonic clock, and at once the first time."""
    due = clock.monotonic()

    def is_due() -> bool:
        nonlocal due
        if clock.monotonic() < due:
            return False
        due = clock.monotonic() + period_s
        return True

    return is_due
