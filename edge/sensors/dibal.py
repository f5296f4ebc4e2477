"""Dibal shop scales (G-310 and others) with Dibal's own protocol.

The host sends a unit price of zero, `98` `00000` and its check; the scale answers the weight and what it would cost:

    ┌───────┬──────┬───────────┬───────────────┬───────┬───────┐
    │ 9 9   │  0   │ 0 0 3 1 6 │ 0 0 0 0 0 0 0 │ check │ CR LF │
    │ 39 39 │ code │ grams     │ price         │ XOR   │ 0D 0A │
    └───────┴──────┴───────────┴───────────────┴───────┴───────┘

Code 0 is a good answer, any other is not. The check is the XOR of the characters before it, as one character. Frames
do not tell a moving weight from a stable one, so two equal ones in a row are needed. 9600 baud, 8N1. Source:
sbzsystems.com, "Connecting Dibal G310 and Dibal GDPOS scales".
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import reduce
from operator import xor
from typing import Literal

from edge.errors import SensorError
from edge.sensors.scale import Answer, Line, ScaleProtocol, Stable, UnitlessSettings, fault, parts_of

_FRAME = re.compile(rb"(99(\d)(\d{5})\d{7})([\x30-\x3f])\r\n")


class Settings(UnitlessSettings):
    """One Dibal scale."""

    driver: Literal["dibal"]
    unit: Literal["kg"] = "kg"


def decode(frame: bytes) -> Answer:
    """One answer, 99 to LF."""
    fields = parts_of(_FRAME, frame, b"9", b"\n")
    if reduce(xor, fields[1]) != fields[4][0]:
        raise SensorError("bad_checksum", frame.hex(" "))
    if fields[2] != b"0":
        return fault(f"code_{fields[2].decode('ascii')}")
    return Stable(Decimal(fields[3].decode("ascii")).scaleb(-3))


PROTOCOL = ScaleProtocol(
    title="Dibal", ask=b"98000001\r\n", decode=decode, shape=_FRAME, checked=True, tells_motion=False,
    lines=(Line(9600, 8, "N"),))
