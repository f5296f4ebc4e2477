"""Who may use a shared line next: whoever has been due longest; a device that is silent, only in a gap between others.

    due:   A ─ B ─ C ─────────── A ─ B ─ C ───────────
    line:  A   B   C [D, silent] A   B   C              D would cost A to C their period if it were asked among them
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

PATIENCE = 2
"""A silent device waits for a gap as long as its timeout for so many timeouts, then as long for one of half the length,
then of a quarter; then it is asked for that quarter, whoever is due."""
MARGIN_S = 0.03
"""A gap must be longer than an answer may take by so much: the line must be quiet before and after."""
SHARE = 20
"""A silent device has the line for at most one part in so many of the time."""


@dataclass(frozen=True, slots=True)
class Habit:
    """What a line knows of one device.

    Attributes:
        period_s: seconds between its reads; None where nobody told.
        timeout_s: seconds that it may take to answer.
        asked: monotonic time when it wanted its last turn, None before the first.
        silent: turns in a row in which it said nothing.
    """

    period_s: float | None
    timeout_s: float
    asked: float | None = None
    silent: int = 0

    def rests_until(self) -> float:
        """Monotonic time before which it is not asked again: longer after each silence, up to its share of the line."""
        if self.asked is None or self.silent < 2:
            return float("-inf")
        return self.asked + self.timeout_s * min(1 << min(self.silent, 16) - 1, SHARE)

    def next_due(self, now: float) -> float | None:
        """When it wants the line next; None for one that is silent, or is not read any more."""
        if self.silent or self.asked is None or self.period_s is None or now > self.asked + 3 * self.period_s:
            return None
        return self.asked + self.period_s


def gap(habits: Iterable[Habit], now: float) -> float:
    """Seconds until a device that answers wants the line; infinite where there is none."""
    dues = [due for habit in habits if (due := habit.next_due(now)) is not None]
    return max(0.0, min(dues, default=float("inf")) - now)


@dataclass(slots=True, eq=False)
class _Waiting:
    who: int
    since: float


class Turns:
    """The turns of one line, for any number of threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._habits: dict[int, Habit] = {}
        self._waiting: list[_Waiting] = []
        self._busy = False

    def knows(self, who: int, period_s: float | None, timeout_s: float) -> None:
        """A device joins, or tells its period anew; what is known of its silence stays."""
        with self._changed:
            known = self._habits.get(who)
            self._habits[who] = (replace(known, period_s=period_s, timeout_s=timeout_s) if known
                                 else Habit(period_s, timeout_s))

    def rests(self, who: int) -> float:
        """For how many seconds a device that is silent is not asked."""
        with self._changed:
            return max(0.0, self._habits[who].rests_until() - self._monotonic())

    def note(self, who: int, heard: bool) -> None:
        """Whether the device said anything in its turn."""
        with self._changed:
            habit = self._habits[who]
            self._habits[who] = replace(habit, silent=0 if heard else habit.silent + 1)

    @contextmanager
    def turn(self, who: int) -> Iterator[float]:
        """The line for this thread alone, when it is its turn; gives the seconds that it may wait for an answer."""
        with self._changed:
            waiting = _Waiting(who, self._monotonic())
            self._waiting.append(waiting)
            try:
                while (time_s := self._granted(waiting)) is None:
                    self._changed.wait(self._pause(waiting))
            finally:
                self._waiting.remove(waiting)
            self._busy = True
            self._habits[who] = replace(self._habits[who], asked=waiting.since)
        try:
            yield time_s
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _granted(self, waiting: _Waiting) -> float | None:
        """The seconds it may take, None while it must wait."""
        habit = self._habits[waiting.who]
        if self._busy:
            return None
        if not habit.silent:
            first = min(self._speaking(), key=lambda other: other.since)
            return habit.timeout_s if first is waiting else None
        now = self._monotonic()
        room = 0.0 if self._speaking() else gap(self._habits.values(), now) - MARGIN_S
        steps = int((now - waiting.since) / (PATIENCE * habit.timeout_s))
        least = habit.timeout_s / 2 ** min(steps, 2)
        return min(habit.timeout_s, max(room, least)) if room >= least or steps > 2 else None

    def _speaking(self) -> list[_Waiting]:
        return [waiting for waiting in self._waiting if not self._habits[waiting.who].silent]

    def _pause(self, waiting: _Waiting) -> float | None:
        """How long to wait before looking again: a gap opens by itself, a free line is told."""
        return self._habits[waiting.who].timeout_s / 20 if self._habits[waiting.who].silent else None
