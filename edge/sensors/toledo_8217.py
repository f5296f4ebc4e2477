"""Toledo / Mettler 8217 shelf and counter scales, also sold as 8213, NCI "Toledo mode" and Datalogic SASI.

The host sends `W`; the scale answers a weight, or a status while it has none:

    ┌─────┬───────────────┬─────┬────┐      ┌─────┬─────┬────────┬────┐
    │ STX │ 0 1 . 2 3 4   │ [N] │ CR │      │ STX │  ?  │ status │ CR │
    │ 02  │ digits, point │ net │ 0D │      │ 02  │ 3F  │ bits   │ 0D │
    └─────┴───────────────┴─────┴────┘      └─────┴─────┴────────┴────┘

Status bits: 0 motion, 1 over capacity, 2 under zero, 3 outside zero capture, 4 centre of zero, 5 net, 6 always 1,
7 parity. There is no checksum and no unit. Usually 9600 baud, 7E1; an adapter opened as 8N1 shows the parity as
bit 7, so every byte is masked. Sources: METTLER DIVA service manual; Ohaus Courier 7000 and Rice Lake BenchPro
manuals.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal

from edge.sensors.scale import (
    NO_WEIGHT,
    OVERLOAD,
    UNDERLOAD,
    UNSTABLE,
    Answer,
    Line,
    NoWeight,
    ScaleProtocol,
    Stable,
    UnitlessSettings,
    fault,
    mask,
    misfit,
)

CENTRE, STILL = NoWeight("bad:centre_of_zero"), NoWeight("bad:still")
"""Statuses without motion or error, at zero or elsewhere; `follow` says what they mean."""
_WEIGHT = re.compile(rb"\x02( {0,5}(?:\d{1,5}\.\d{1,4}|\d{3,6}))( ?N)?\r")
_STATUS = re.compile(rb"\x02\?([\x40-\x7f])\r")


class Settings(UnitlessSettings):
    """One 8217 scale."""

    driver: Literal["toledo-8217"]


def decode(frame: bytes) -> Answer:
    """One frame, STX to CR."""
    shown = mask(frame)
    if weight := _WEIGHT.fullmatch(shown):
        return Stable(Decimal(weight[1].decode().strip()), net=weight[2] is not None)
    if status := _STATUS.fullmatch(shown):
        return _meaning(status[1][0])
    raise misfit(shown, b"\x02", b"\r")


def _meaning(bits: int) -> Answer:
    if bits & 0x02:
        return OVERLOAD
    if bits & 0x04:
        return UNDERLOAD
    if bits & 0x08:
        return fault("outside_zero")
    if bits & 0x01:
        return UNSTABLE
    return CENTRE if bits & 0x10 else STILL


def follow(last: Stable | None, answer: Answer) -> Answer:
    """A status without motion or error keeps the last stable weight: some scales send a weight only once.

    A scale at the centre of zero does not carry the weight that it sent before.
    """
    if answer not in (CENTRE, STILL):
        return answer
    contradicts = answer == CENTRE and last is not None and not last.net and last.value != 0
    return NO_WEIGHT if last is None or contradicts else last


PROTOCOL = ScaleProtocol(
    title="Toledo / Mettler 8217", ask=b"W", decode=decode, follow=follow, masked=True, tells_net=True,
    shape=re.compile(rb"\x02(?:[ \d.]{1,12}(?: ?N)?|\?[\x40-\x7f])\r"),
    lines=(Line(9600, 7, "E"), Line(9600, 8, "N")))
