"""Time, as a parameter: the only module that reads a clock.

Event times are Unix seconds (UTC). Intervals on the box are measured on the monotonic clock, which a
wrong wall clock cannot move. `HonestClock` keeps event time right on a box whose wall clock may be wrong.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

LATE_S = 60.0
"""For this long, in monotonic seconds, a time may arrive that was taken before the event time turned."""
TIME_ERROR = 5
STA_UNSYNC = 0x0040


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


class _Timex(ctypes.Structure):
    """The head of `struct timex`, adjtimex(2); what follows is not read, and given more room than any ABI takes."""

    _fields_ = (
        ("modes", ctypes.c_int), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_char * 512),
    )


def kernel_synced() -> bool:
    """Whether the kernel says that the wall clock is synchronised; False where it does not say.

    adjtimex(2) with modes=0 needs no privilege. It returns TIME_ERROR, or sets STA_UNSYNC in the status, until an
    NTP client has set the clock, again once the date was set by hand, and once no client has been heard for hours.
    """
    timex = _Timex()
    try:
        state = int(ctypes.CDLL(None).adjtimex(ctypes.byref(timex)))
    except (OSError, AttributeError):
        return False
    return 0 <= state < TIME_ERROR and not timex.status & STA_UNSYNC


@dataclass(frozen=True, slots=True)
class Era:
    """One stretch of time in which event time is `wall` (Unix seconds) plus the monotonic seconds since `mono`.

    `clk` is `ok` where the wall clock was synchronised when the era began, else `free`.
    """

    wall: float
    mono: float
    clk: Literal["ok", "free"]

    def at(self, mono: float) -> float:
        """Event time at monotonic time `mono`."""
        return self.wall + (mono - self.mono)


@dataclass(frozen=True, slots=True)
class Turn:
    """From one era to the next: times of `before`, plus `shift` seconds, are times of `after`."""

    before: Era
    after: Era
    shift: float

    @property
    def corrects(self) -> bool:
        """Whether the times of the old era are now known to be off by `shift`, and can be put right."""
        return self.before.clk == "free" and self.after.clk == "ok"


class HonestClock:
    """Event time that never believes an unsynchronised wall clock more than its own count.

    `begin` and `poll` belong to one thread; all else may be asked from any. The base's two clocks must run at one
    rate, so a ShopClock is no base.
    """

    def __init__(self, base: Clock, synced: Callable[[], bool] = kernel_synced, step_s: float = 1.0) -> None:
        """`synced` tells whether `base.now()` is right; a difference up to `step_s` seconds is let be."""
        self._base, self._synced, self._step_s = base, synced, step_s
        self._era: Era | None = None
        self._moved: Turn | None = None
        self._early = False

    def begin(self, floor: float) -> None:
        """Start the first era, no earlier than `floor`, the newest event time (Unix seconds) ever kept.

        A synchronised clock is used as it is: where it is before the floor, the floor came from a wrong date.
        """
        wall, mono, ok = self._look()
        self._early = not ok and wall < floor
        self._era = Era(wall, mono, "ok") if ok else Era(max(wall, floor), mono, "free")

    def now(self) -> float:
        era = self._era
        return self._base.now() if era is None else era.at(self._base.monotonic())

    def monotonic(self) -> float:
        return self._base.monotonic()

    @property
    def era(self) -> Era:
        """The present era; before `begin`, a free one that starts now."""
        return self._era or Era(self._base.now(), self._base.monotonic(), "free")

    @property
    def doubtful(self) -> bool:
        """Whether times are known to be too early: the clock began before the floor, and was not synchronised since."""
        return self._early

    def poll(self) -> Turn | None:
        """Look at the clock, about once a second; the turn, where a new era begins."""
        era = self._era
        if era is None:
            return None
        wall, mono, ok = self._look()
        told = era.at(mono)
        if era.clk == "ok" and not ok:
            after = Era(told, mono, "free")
        elif ok and (era.clk == "free" or abs(wall - told) > self._step_s):
            after = Era(wall, mono, "ok")
        else:
            # A free clock's jumps are let be, forward ones too: its word is worth no more than our own count, and a
            # mistyped year would date sales into the future. A date set by hand counts from the next start.
            return None
        turn = Turn(era, after, after.wall - told)
        if abs(turn.shift) >= self._step_s:
            self._moved = turn
        self._early = self._early and not ok
        self._era = after
        return turn

    def restate(self, t: float) -> float:
        """`t` by the present era, where it was taken in the one before but arrives only now; else `t` itself."""
        turn = self._moved
        if turn is None:
            return t
        mono = self._base.monotonic()
        late = abs(t - turn.before.at(mono)) < abs(t - turn.after.at(mono))
        return t + turn.shift if late and mono - turn.after.mono <= LATE_S else t

    def _look(self) -> tuple[float, float, bool]:
        """The wall clock, the monotonic clock, and whether the former is right.

        It is right only where it was synchronised before and after it was read, or a date set in between would pass
        for true, and where no stall parted the two readings.
        """
        before = self._synced()
        mono = self._base.monotonic()
        wall = self._base.now()
        stall = self._base.monotonic() - mono
        return wall, mono, self._synced() and before and stall <= self._step_s


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
