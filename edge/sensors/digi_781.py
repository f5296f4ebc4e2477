"""DIGI (Teraoka) DS-781 shop scales: net weight, tare, unit price and total, several times a second.

    ┌────────┬────────┬────┬───────────────┬────┬───────────────┬────┬───────────────┬────┬─────────────────┬───────┐
    │ status │ weight │ CR │ 0 0 0 . 2 5 0 │ CR │ 4 0 0 . 0 0 0 │ CR │ U 0 0 0 . 0 0 │ CR │ T 0 0 0 0 . 0 0 │ CR LF │
    │ bits   │ bits   │ 0D │ net weight    │ 0D │ tare          │ 0D │ unit price    │ 0D │ total           │ 0D 0A │
    └────────┴────────┴────┴───────────────┴────┴───────────────┴────┴───────────────┴────┴─────────────────┴───────┘

The first character of each field is its header. Status: bit 1 a tare is subtracted, 6 always 1. Weight: bit 0 zero, 1
not stable, 2 negative, 3 overflow, 4 underflow, 6 always 1. There is no checksum and no unit. 9600 baud, 8N1. Sources:
DIGI DC-782 operation manual, section 7.6; SMScaleHelper.java in moutainhigh/manfenjiayuan.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal

from edge.errors import SensorError
from edge.sensors.scale import (
    OVERLOAD,
    UNDERLOAD,
    UNSTABLE,
    Answer,
    Line,
    ScaleProtocol,
    Stable,
    Unit,
    UnitlessSettings,
    parts_of,
)

_FRAME = re.compile(rb"([\x40-\x7f])([\x40-\x7f])\r0([ -~]{6})\r4[ -~]{6}\rU[ -~]{6}\rT[ -~]{7}\r\n")
_DIGITS = re.compile(rb" *-?(\d+(?:\.\d+)?)")
NET = 0x02
MOVING, NEGATIVE, OVERFLOW, UNDERFLOW = 0x02, 0x04, 0x08, 0x10


class Settings(UnitlessSettings):
    """One DS-781 scale."""

    driver: Literal["digi-781"]
    unit: Unit = "kg"


def decode(frame: bytes) -> Answer:
    """One frame of 37 bytes, status to LF."""
    fields = parts_of(_FRAME, frame, b"", b"\n")
    weight = fields[2][0]
    if weight & OVERFLOW:
        return OVERLOAD
    if weight & UNDERFLOW:
        return UNDERLOAD
    if weight & MOVING:
        return UNSTABLE
    digits = _DIGITS.fullmatch(fields[3])
    if digits is None:
        raise SensorError("bad_frame", f"{fields[3]!r} where a weight should be")
    value = Decimal(digits[1].decode("ascii"))
    return Stable(-value if weight & NEGATIVE or b"-" in fields[3] else value, net=bool(fields[1][0] & NET))


PROTOCOL = ScaleProtocol(title="DIGI DS-781", decode=decode, shape=_FRAME, tells_net=True, lines=(Line(9600, 8, "N"),))
