"""CAS 22-byte stream of weighing indicators: CI, NT and Caston series.

The indicator sends its display unasked, all the time:

    ┌───────┬───┬─────┬───┬────┬──────┬───┬─────────────────┬───────┬──────┬───────┐
    │ S T   │ , │ G S │ , │ 1  │ lamp │ , │     0 1 . 2 3 4 │ space │ k g  │ CR LF │
    │ US OL │   │ N T │   │ id │ bits │   │ 8 characters    │ relay │ unit │       │
    └───────┴───┴─────┴───┴────┴──────┴───┴─────────────────┴───────┴──────┴───────┘

`ST` stable, `US` unstable, `OL` out of range, with a minus below it; `GS` gross, `NT` net; the indicator's own number.
Lamp bits: 6 stable, 4 hold, 3 print, 2 gross, 1 tare, 0 zero; 7 is always 1, so that the line has 8 bits and nothing
is masked. A held display is not what lies on the pan: `bad:hold`. A header and a lamp that disagree are `unstable`.
Where the format carries relays, their bits stand in place of the space. There is no checksum.

The same indicators have a format of 10 bytes, which cannot tell a stable weight and is not read at all, and "AND" of 18
bytes, which `and-standard` reads. Usually 9600 baud, 8N1. Sources: CAS CI-400 manual p103, CI-600D p74, CI-150A p54,
NT-200 p48.
"""

from __future__ import annotations

import re
from typing import Literal

from edge.sensors.scale import (
    OVERLOAD,
    UNDERLOAD,
    UNSTABLE,
    Answer,
    Line,
    ScaleProtocol,
    ScaleSettings,
    fault,
    misfit,
    parts_of,
    weighed,
)

_STABLE, _HOLD = 0x40, 0x10
_FRAME = re.compile(
    rb"(ST|US|OL),(GS|NT),[\x00-\xff]([\x00-\xff]),([ -~]{8})[\x00-\xff]([ A-Za-z]{2})\r\n")
_WEIGHT = re.compile(rb" *[+-]? *\d+(?:\.\d+)?")


class Settings(ScaleSettings):
    """One indicator that sends 22 bytes at a time."""

    driver: Literal["cas-22"]


def decode(frame: bytes) -> Answer:
    """One frame, status to LF."""
    found = parts_of(_FRAME, frame, b"SUO", b"\r\n")
    status, net, lamp, digits, unit = found.groups()
    if status == b"OL":
        return UNDERLOAD if b"-" in digits else OVERLOAD
    if status == b"US" or not lamp[0] & _STABLE:
        return UNSTABLE
    if lamp[0] & _HOLD:
        return fault("hold")
    if not _WEIGHT.fullmatch(digits):
        raise misfit(frame, b"S", b"\r\n")
    return weighed(digits, unit, net == b"NT")


PROTOCOL = ScaleProtocol(
    title="CAS indicator, 22 bytes (CI, NT, Caston)", decode=decode, tells_net=True, shape=_FRAME,
    lines=(Line(9600, 8, "N"), Line(4800, 8, "N"), Line(2400, 8, "N")))
