"""The voice of a Toledo / Mettler 8217 scale.

`W` asks; it answers `STX WW.WWW CR`, or `STX ? status CR` while somebody's hand is on it. `E` echoes what follows
until `F`. Source: METTLER DIVA service manual.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

from edge.sim.scale import INCREMENT, Pan

MOTION, OVER, UNDER, OUTSIDE_ZERO = 0x41, 0x42, 0x44, 0x48
"""Status: bit 6 always 1; bit 0 motion, 1 over capacity, 2 under zero, 3 outside the zero capture range."""
_STATUS = {"motion": MOTION, "overload": OVER, "underload": UNDER, "fault": OUTSIDE_ZERO}


def weight_frame(weight: Decimal, unit: str = "kg", *, net: bool = False) -> bytes:
    """`weight` in `unit` as the scale sends it, `STX 01.234 CR`; a status where it has none to say."""
    increment = INCREMENT[unit]
    shown = weight.quantize(increment, ROUND_HALF_EVEN)
    if shown < 0:
        return status_frame(UNDER)
    digits = f"{shown:f}".rjust(6 if increment < 1 else 5, "0")
    if len(digits.replace(".", "")) > 5:
        return status_frame(OVER)
    return b"\x02" + digits.encode("ascii") + b"N" * net + b"\r"


def status_frame(status: int) -> bytes:
    """`STX ? status CR`."""
    return bytes((0x02, 0x3F, status, 0x0D))


class Toledo8217:
    """It hears seven bits, and echoes between `E` and `F`."""

    def __init__(self) -> None:
        self._echo = False

    def hear(self, heard: bytes, pan: Pan) -> bytes:
        return b"".join(self._answer(byte & 0x7F, pan) for byte in heard)

    def speak(self, _pan: Pan) -> bytes:
        return b""

    def _answer(self, byte: int, pan: Pan) -> bytes:
        if self._echo:
            self._echo = byte != ord("F")
            return bytes((byte,)) if self._echo else b""
        if byte == ord("E"):
            self._echo = True
            return b"\x02E\r"
        if byte != ord("W"):
            return b""
        if pan.state in _STATUS:
            return status_frame(_STATUS[pan.state])
        return weight_frame(pan.weight, pan.unit, net=bool(pan.tare))
