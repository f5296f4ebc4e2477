"""When a frame of a live stream was taken, judged by when it came. Pure.

Frames pile up on their way while a camera, the network or this box stands still, and then come all at once, old. So:
  a camera's own time stamps (RTP, V4L2) are mapped to the monotonic clock by the frame that came with the least delay:
  what comes later than its stamp says is old, by just that much;
  without stamps only a frame that had to be waited for is known to be new, since everything before it had been read.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

DRIFT = 0.0005
"""Two quartz clocks part by less than this; without it a session of days would make every frame old."""
JUMP_S = 5.0
WINDOW_S = 5.0


@dataclass(slots=True)
class Pace:
    """One connection's frames; `opened` is when it was asked for them. Times are monotonic seconds."""

    opened: float
    _last: float | None = None
    _stamp: float | None = None
    _least: float = 0.0
    _drained: bool = False
    _arrivals: deque[float] = field(default_factory=deque)

    def step(self, arrived: float, stamp: float | None = None) -> float | None:
        """The time up to which the frame that arrived now is certainly not older; None where nothing is certain.

        `stamp` is the camera's own time of the frame, in seconds from any origin, where it gives one.
        """
        before = self.opened if self._last is None else self._last
        self._last = arrived
        if stamp is None:
            return self._by_arrival(arrived, before)
        return self._by_stamp(arrived, arrived - before, stamp)

    def _by_stamp(self, arrived: float, gap: float, stamp: float) -> float | None:
        step = None if self._stamp is None else stamp - self._stamp
        self._stamp = stamp
        if step is None or not 0 < step < JUMP_S:  # the first frame, or the camera has set its clock
            self._least, self._drained = arrived - stamp, False
            return None
        self._least = min(self._least + DRIFT * gap, arrived - stamp)
        # While what piled up before the stream opened is read, the least delay is not known yet.
        self._drained = self._drained or gap >= step / 2
        # A decoder gives a frame out only when the next one begins: measured with H.264, one frame's time.
        return stamp + self._least - step if self._drained else None

    def _by_arrival(self, arrived: float, before: float) -> float | None:
        self._arrivals.append(arrived)
        while arrived - self._arrivals[0] > WINDOW_S:
            self._arrivals.popleft()
        # A burst makes up for the standstill before it, so the mean over both is the camera's own pace.
        mean = (arrived - self._arrivals[0]) / max(1, len(self._arrivals) - 1)
        return before if arrived - before >= mean / 2 else None
