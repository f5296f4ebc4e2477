"""Toledo Prix counter scales of Brazil (protocol PRT1), and the Micheletti P15, which answers with prices.

The host sends ENQ; the scale answers grams in five digits, or five letters where it has no weight:

    ┌─────┬───────────────┬─────┐      ┌─────┬──────────┬───┬────────────┬───┬──────────┬─────┐
    │ STX │ 0 1 2 3 4     │ ETX │      │ STX │   0800   │   │   99999    │   │   79999  │ ETX │
    │ 02  │ or I N S x 5  │ 03  │      │ 02  │ weight 6 │ 1 │ price/kg 6 │ 1 │ price 6  │ 03  │
    └─────┴───────────────┴─────┘      └─────┴──────────┴───┴────────────┴───┴──────────┴─────┘

I is unstable, N negative, S overload. There is no checksum. Usually 9600 baud, 8N1. Sources: PRIX 3 Plus user
manual; stoqdrivers' PrixIII.py and MicP15.py.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal

from edge.sensors.scale import (
    OVERLOAD,
    UNDERLOAD,
    UNSTABLE,
    Answer,
    Line,
    ScaleProtocol,
    Stable,
    UnitlessSettings,
    parts_of,
)

_FRAME = re.compile(rb"\x02(?:(\d{5})|([INS])\2{4}|(?=[ \d]{6}) *(\d{1,6})(?: [ \d]{5}\d){2})\x03")
_MEANING = {b"I": UNSTABLE, b"N": UNDERLOAD, b"S": OVERLOAD}


class Settings(UnitlessSettings):
    """One Prix or Micheletti scale."""

    driver: Literal["toledo-prix"]
    unit: Literal["kg"] = "kg"


def decode(frame: bytes) -> Answer:
    """One frame, STX to ETX."""
    fields = parts_of(_FRAME, frame, b"\x02", b"\x03")
    if fields[2] is not None:
        return _MEANING[fields[2]]
    return Stable(Decimal((fields[1] or fields[3]).decode("ascii")).scaleb(-3))


PROTOCOL = ScaleProtocol(
    title="Toledo Prix (Brazil), Micheletti P15", ask=b"\x05", decode=decode, shape=_FRAME, lines=(Line(9600, 8, "N"),))
