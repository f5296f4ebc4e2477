"""The air in a fridge: a compressor's cycle around 4 degrees, warmed through an open door."""

from __future__ import annotations

import math
from dataclasses import dataclass

SET_POINT_C = 4.0
SWING_C = 0.8
CYCLE_S = 20 * 60.0
WARM_C = 6.0
WARMS_S, COOLS_S = 240.0, 480.0
"""Time constants of the warming through the door and of the cooling after it."""


@dataclass(frozen=True, slots=True)
class Fridge:
    """The fridge since time `t`: `open` or not, and `warmth` degrees above its cycle at that moment."""

    t: float = 0.0
    open: bool = False
    warmth: float = 0.0

    def door(self, t: float, is_open: bool) -> Fridge:
        """The fridge after its door was opened or closed at `t`."""
        return Fridge(t, is_open, self._warmth(t))

    def temperature(self, t: float) -> float:
        """Degrees Celsius at `t`, not before the door's last move."""
        return SET_POINT_C + SWING_C * math.sin(2 * math.pi * t / CYCLE_S) + self._warmth(t)

    def humidity(self, t: float) -> float:
        """Relative humidity in %; warm shop air brings some in."""
        return min(95.0, 62.0 + 4.0 * self._warmth(t))

    def _warmth(self, t: float) -> float:
        target, constant = (WARM_C, WARMS_S) if self.open else (0.0, COOLS_S)
        return target + (self.warmth - target) * math.exp(-max(0.0, t - self.t) / constant)
