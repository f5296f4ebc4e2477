"""Yaohua XK3190-A9 and its many clones, the indicators of platform scales, in continuous output (tF = 0).

    ┌─────┬──────┬─────────────┬───────┬───────────┬─────┐
    │ STX │ + -  │ 0 0 1 5 6 0 │ 0-4   │  1    9   │ ETX │
    │ 02  │ sign │ weight      │ point │ XOR, hex  │ 03  │
    └─────┴──────┴─────────────┴───────┴───────────┴─────┘

The point counts from the right. The XOR is of everything between STX and itself. The weight is the display's, gross
or net; frames tell neither which, nor a unit, nor a moving weight from a stable one, so two equal ones in a row are
needed. 9600 baud or 1200 baud, 8N1. Sources: XK3190-A9+ user manual, page 9; captures in git.njzscloud.com.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import reduce
from operator import xor
from typing import Literal

from edge.errors import SensorError
from edge.sensors.scale import Answer, Line, ScaleProtocol, Stable, UnitlessSettings, parts_of

_FRAME = re.compile(rb"\x02(([+-]\d{6})([0-4]))([\dA-F]{2})\x03")


class Settings(UnitlessSettings):
    """One indicator in continuous output."""

    driver: Literal["yaohua-a9"]


def decode(frame: bytes) -> Answer:
    """One frame, STX to ETX."""
    fields = parts_of(_FRAME, frame, b"\x02", b"\x03")
    if reduce(xor, fields[1]) != int(fields[4], 16):
        raise SensorError("bad_checksum", frame.hex(" "))
    return Stable(Decimal(fields[2].decode("ascii")).scaleb(-int(fields[3])))


PROTOCOL = ScaleProtocol(
    title="Yaohua XK3190-A9", decode=decode, shape=_FRAME, checked=True, tells_motion=False,
    lines=(Line(9600, 8, "N"), Line(1200, 8, "N")))
