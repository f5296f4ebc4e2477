"""A Toledo / Mettler 8217 scale on a pseudo-terminal.

`W` asks; it answers `STX WW.WWW CR`, or `STX ? status CR` while somebody's hand is on it. `E` echoes what follows
until `F`. Source: METTLER DIVA service manual.
"""

from __future__ import annotations

import random
import threading
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

from edge.clock import Clock
from edge.profile import KILOGRAMS
from edge.sim.serial import PtyPort

INCREMENT = {"kg": Decimal("0.001"), "g": Decimal("1"), "lb": Decimal("0.01"), "oz": Decimal("0.1")}
"""The last digit of five, by unit."""
SETTLE_S = 0.3
MOTION, OVER, UNDER = 0x41, 0x42, 0x44
"""Status: bit 6 always 1; bit 0 motion, bit 1 over capacity, bit 2 under zero."""


def weight_frame(weight: Decimal, unit: str = "kg") -> bytes:
    """`weight` in `unit` as the scale sends it, `STX 01.234 CR`; a status where it has none to say."""
    increment = INCREMENT[unit]
    shown = weight.quantize(increment, ROUND_HALF_EVEN)
    if shown < 0:
        return status_frame(UNDER)
    digits = f"{shown:f}".rjust(6 if increment < 1 else 5, "0")
    if len(digits.replace(".", "")) > 5:
        return status_frame(OVER)
    return b"\x02" + digits.encode("ascii") + b"\r"


def status_frame(status: int) -> bytes:
    """`STX ? status CR`."""
    return bytes((0x02, 0x3F, status, 0x0D))


def with_noise(weight: Decimal, unit: str, rng: random.Random) -> Decimal:
    """`weight` off by up to half an increment, as an honest scale's display may be."""
    return weight + INCREMENT[unit] * Decimal(rng.uniform(-0.5, 0.5))


class ToledoScale:
    """The scale behind one port."""

    def __init__(self, link: Path, unit: str, clock: Clock, rng: random.Random) -> None:
        self._unit, self._clock, self._rng = unit, clock, rng
        self._lock = threading.Lock()
        self._weight_kg = Decimal(0)
        self._settled = clock.monotonic()
        self._echo = False
        self.port = PtyPort(link, self._heard)

    def put(self, weight_kg: Decimal) -> None:
        """What lies on the pan now; a change takes `SETTLE_S` real seconds to settle."""
        with self._lock:
            if weight_kg != self._weight_kg:
                self._weight_kg = weight_kg
                self._settled = self._clock.monotonic() + SETTLE_S

    def close(self) -> None:
        """Take the scale off its port."""
        self.port.close()

    def frame(self) -> bytes:
        """What it answers to `W` now."""
        with self._lock:
            if self._clock.monotonic() < self._settled:
                return status_frame(MOTION)
            weight = self._weight_kg / KILOGRAMS[self._unit]
            return weight_frame(abs(with_noise(weight, self._unit, self._rng)), self._unit)

    def _heard(self, data: bytes) -> None:
        for byte in data:
            self.port.write(self._answer(byte & 0x7F))

    def _answer(self, byte: int) -> bytes:
        if self._echo:
            self._echo = byte != ord("F")
            return bytes((byte,)) if self._echo else b""
        if byte == ord("E"):
            self._echo = True
            return b"\x02E\r"
        return self.frame() if byte == ord("W") else b""
