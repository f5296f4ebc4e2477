"""The voice of a DIGI DS-781 scale.

It speaks by itself: status, weight condition, net weight, tare, unit price and total. Source: DIGI DC-782 operation
manual, section 7.6.
"""

from __future__ import annotations

from edge.sim.scale import CommandVoice, Pan

_CONDITIONS = {"motion": 0x02, "overload": 0x08, "underload": 0x10}


def frame(pan: Pan) -> bytes:
    """What the scale says of a pan, 37 bytes; nothing in fault."""
    if pan.state == "fault":
        return b""
    shown = f"{abs(pan.weight):06f}"
    condition = 0x40 | (pan.weight == 0) | (pan.weight < 0) << 2 | _CONDITIONS.get(pan.state, 0)
    if len(shown) > 6:
        shown, condition = "OF    ", 0x48
    status = 0x40 | bool(pan.tare) << 1
    return bytes((status, condition)) + f"\r0{shown}\r4{pan.tare:06.3f}\rU000.00\rT0000.00\r\n".encode("ascii")


def digi_781() -> CommandVoice:
    """It only speaks."""
    return CommandVoice(unasked=frame)
