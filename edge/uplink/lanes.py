"""What is sent next, and what is sent again: the live lane first, the backlog beside it. Pure; time is a parameter.

    places   lo ......... split ......... hi
             └ backlog ──▶ │ └ live ────▶ │
The backlog goes oldest first, within the credit that the cloud gave and its share of the window. What stays
uncommitted is sent again: silence is no success.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from edge.uplink.kept import Held, Slice
from edge.wire import Range

KEPT_FOR_LIVE = 2
"""Messages of the window that the backlog must leave to the live lane."""
MOST_PATIENT_S = 60.0


class Lane(Enum):
    """Which records a message carries: those that come now, or those that wait."""

    LIVE = "data"
    BACKLOG = "backlog"


@dataclass(frozen=True, slots=True)
class Pace:
    """How records are sent: at most `batch` in one message, at most `window` messages uncommitted.

    A live record waits at most `age_s` for others; what is uncommitted for `resend_s` is sent again. Seconds.
    """

    batch: int = 500
    window: int = 32
    age_s: float = 0.5
    resend_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One message that is not known to be committed: its places, and its last sequence on the wire."""

    lane: Lane
    st: str
    first: int
    last: int
    seq: int
    last_seq: int
    mid: int
    at: float


class Lanes:
    """Cursors and messages on their way, over one connection."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.sent: list[Sent] = []
        self.known: dict[str, tuple[Range, ...]] = {}
        self.credit = 0
        self.split = self.live = self.backlog = 0
        self._patience = pace.resend_s
        self._paused_until = 0.0
        self._waits_since: float | None = None

    def restart(self, held: Held) -> None:
        """A new connection, or records at new places: everything that is held is to be sent, the newest as live."""
        self.backlog = held.lo - 1
        self.live = self.split = max(held.lo - 1, held.hi - self._pace.batch)
        self.sent.clear()
        self.credit = 0
        self._waits_since = None

    def rewind(self, lanes: Sequence[Lane] = tuple(Lane)) -> None:
        """Send again what is on its way."""
        for lane in lanes:
            if first := [each.first for each in self.sent if each.lane is lane]:
                self.go_on(lane, min(first) - 1)
        self.sent = [each for each in self.sent if each.lane not in lanes]

    def cursor(self, lane: Lane) -> tuple[int, int]:
        """Behind which place a lane goes on, and how many records one message of it may have."""
        if lane is Lane.LIVE:
            return self.live, self._pace.batch
        return self.backlog, min(self._pace.batch, self.credit)

    @property
    def waiting(self) -> int:
        """Places of the backlog that were not sent yet."""
        return max(0, self.split - self.backlog)

    def due(self, hi: int, now: float, *, backlog_may: bool) -> list[Lane]:
        """The lanes that may send now, the live one first. `hi` is the newest place, `now` monotonic seconds."""
        if now < self._paused_until or len(self.sent) >= self._pace.window:
            return []
        lanes = [Lane.LIVE] if self._live_due(hi, now) else []
        backlog = sum(each.lane is Lane.BACKLOG for each in self.sent)
        if backlog_may and self.waiting and self.credit > 0 and backlog < max(1, self._pace.window - KEPT_FOR_LIVE):
            lanes.append(Lane.BACKLOG)
        return lanes

    def _live_due(self, hi: int, now: float) -> bool:
        if hi <= self.live:
            self._waits_since = None
            return False
        if self._waits_since is None:
            self._waits_since = now
        return hi - self.live >= self._pace.batch or now - self._waits_since >= self._pace.age_s

    def go_on(self, lane: Lane, place: int) -> None:
        """From now on a lane sends what is behind `place`."""
        if lane is Lane.LIVE:
            self.live = place
        else:
            self.backlog = place

    def took(self, lane: Lane, found: Slice, mid: int, now: float) -> None:
        """A slice is on its way as message `mid`."""
        base = found.stream.base
        self.sent.append(Sent(lane, found.stream.st, found.first, found.last, found.first - base, found.last - base,
                              mid, now))
        self.go_on(lane, found.last)
        if lane is Lane.BACKLOG:
            self.credit = max(0, self.credit - len(found.bodies))

    def committed(self, st: str, mark: int, ahead: Sequence[Range]) -> None:
        """The cloud has a stream up to `mark`, and the ranges above it."""
        self.known[st] = ((1, mark), *ahead)
        before = len(self.sent)
        self.sent = [each for each in self.sent if each.st != st or not (
            each.last_seq <= mark or any(first <= each.seq and each.last_seq <= last for first, last in ahead))]
        if len(self.sent) < before:
            self._patience = self._pace.resend_s

    def refused(self, mid: int, now: float) -> bool:
        """The broker refused a message: wait, then send its lane again. False where it is not ours."""
        lane = next((each.lane for each in self.sent if each.mid == mid), None)
        if lane is None:
            return False
        self.rewind([lane])
        self._be_patient(now)
        return True

    def overdue(self, now: float) -> list[Lane]:
        """The lanes that were silent for too long; the patience doubles each time, up to a minute.

        So a slow cloud is not buried under repeats.
        """
        lanes = sorted({each.lane for each in self.sent if now - each.at > self._patience}, key=lambda lane: lane.value)
        if lanes:
            self._patience = self._longer()
        return lanes

    def _be_patient(self, now: float) -> None:
        self._paused_until = now + self._patience
        self._patience = self._longer()

    def _longer(self) -> float:
        return min(self._patience * 2, max(MOST_PATIENT_S, self._pace.resend_s))
