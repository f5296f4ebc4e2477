"""Epelsa shop scales in auto mode: they say the weight by themselves, again and again.

    ┌─────┬────────┬────────────────┬────┬─────┐
    │ STX │ A ! I  │    - 0 . 4 5 0 │ CR │ ETX │
    │ 02  │ state  │ 7, from right  │ 0D │ 03  │
    └─────┴────────┴────────────────┴────┴─────┘

A is a stable weight, ! one on its way, I the one that the scale shows since it was switched on and that nobody has
touched: it may be zero or not, so it is `bad:initial` until the first weighing. There is no checksum and no unit. 9600
baud, 8N1. Source: pywebdriver's scale_protocols/epelsa.py.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal

from edge.sensors.scale import UNSTABLE, Answer, Line, ScaleProtocol, Stable, Unit, UnitlessSettings, fault, parts_of

_FRAME = re.compile(rb"\x02([A!I]) {0,6}([+-]?\d{1,6}(?:\.\d{1,4})?)\r\x03")
_MEANING = {b"!": UNSTABLE, b"I": fault("initial")}


class Settings(UnitlessSettings):
    """One Epelsa scale."""

    driver: Literal["epelsa"]
    unit: Unit = "kg"


def decode(frame: bytes) -> Answer:
    """One frame, STX to ETX."""
    fields = parts_of(_FRAME, frame, b"\x02", b"\x03")
    return _MEANING.get(fields[1]) or Stable(Decimal(fields[2].decode("ascii")))


PROTOCOL = ScaleProtocol(title="Epelsa", decode=decode, shape=_FRAME, lines=(Line(9600, 8, "N"),))
