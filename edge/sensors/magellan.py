"""Datalogic Magellan scanner-scales on a single cable, where weights and bar codes share the line.

The host sends `S14` CR, the scale monitor; the answer is a status digit, and a weight where it is 4:

    ┌─────────┬────────┬───────────┬────┐      ┌─────────┬───────────┬────┐
    │ S 1 4   │ status │ 0 1 2 3 4 │ CR │      │ S 1 1   │ 0 1 2 3 4 │ CR │
    │ 53 31 34│ 30-35  │ only at 4 │ 0D │      │ 53 31 31│           │ 0D │
    └─────────┴────────┴───────────┴────┘      └─────────┴───────────┴────┘

Status: 0 zero not found, 1 unstable, 2 over capacity, 3 stable at zero, 4 stable, 5 under zero. Five digits are kg with
three decimals, four are lb with two: the length tells the unit, so a scale that is set to the other unit is still read
right. `S11` asks for a weight and is answered only when there is one; its answer is understood too. There is no
checksum. The line is the scanner's; point of sale programs use 9600 baud, 7O1. For the scale's SASI mode take
`toledo-8217`. Sources: Datalogic knowledge base KA-01089; CORE-POS' SPH_Magellan_Scale.cs.
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
    fault,
    mask,
    parts_of,
)

_FRAME = re.compile(rb"S1(?:4([01235])|(?:44|1)(\d{4,5}))\r")
_MEANING: dict[bytes, Answer] = {
    b"0": fault("zero_not_found"), b"1": UNSTABLE, b"2": OVERLOAD, b"3": Stable(Decimal(0)), b"5": UNDERLOAD,
}


class Settings(UnitlessSettings):
    """One Magellan scanner-scale."""

    driver: Literal["magellan"]
    unit: Literal["kg", "lb"] = "kg"


def decode(frame: bytes) -> Answer:
    """One answer, S to CR."""
    shown = mask(frame)
    fields = parts_of(_FRAME, shown, b"S", b"\r")
    if fields[1] is not None:
        return _MEANING[fields[1]]
    weight = Decimal(fields[2].decode("ascii"))
    return Stable(weight.scaleb(-3), "kg") if len(fields[2]) == 5 else Stable(weight.scaleb(-2), "lb")


PROTOCOL = ScaleProtocol(
    title="Datalogic Magellan", ask=b"S14\r", decode=decode, shape=_FRAME, masked=True,
    lines=(Line(9600, 7, "O"), Line(9600, 8, "N"), Line(9600, 7, "E")))
