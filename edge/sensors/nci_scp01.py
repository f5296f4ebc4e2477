"""NCI / SCP-01 bench and counter scales: Avery Weigh-Tronix, Brecknell, Salter, Fairbanks, Ohaus Courier and Aviator.

The host sends `W CR`; the scale answers its display and two to four status characters:

    ┌────┬───────────────┬──────┬────┬────┬─────┬────────────┬────┬─────┐      ┌────┬───┬────┬─────┐
    │ LF │ 0 1 . 2 3 4   │ K G  │ CR │ LF │ [S] │ h h [h [h]]│ CR │ ETX │      │ LF │ ? │ CR │ ETX │
    │ 0A │ display, sign │ unit │ 0D │ 0A │ ECR │ status     │ 0D │ 03  │      │ what is no command  │
    └────┴───────────────┴──────┴────┴────┴─────┴────────────┴────┴─────┘      └────┴───┴────┴─────┘

`H CR` gives the same with one more digit. The `S` stands in the ECR variant alone, which leaves the weight's line out
below zero, in motion and out of range. Bits of the status characters, of which 4 and 5 are always 1 and 6 says that
another one follows:

       first       second            third                   fourth
    0  motion      under capacity    0, 1: range             weight changed
    1  at zero     over capacity                             zero seen
    2  RAM error   ROM error         net                     metric
    3  EEPROM      faulty            initial zero error
       error       calibration

There is no checksum. Usually 9600 baud, 7E1 (7815) or 8N1 (6712); every byte is masked. Sources: Ohaus Aviator 7000
service manual p49, Avery Weigh-Tronix 7821 p25, NCI 7800 p32, Salter Brecknell 3700LP p11.
"""

from __future__ import annotations

import re
from typing import Literal

from edge.sensors.scale import (
    NO_WEIGHT,
    OVERLOAD,
    UNDERLOAD,
    UNSTABLE,
    Answer,
    Line,
    ScaleProtocol,
    ScaleSettings,
    fault,
    mask,
    misfit,
    parts_of,
    weighed,
)

_STATUS = rb"S?[0-?](?:[0-?]|[p-\x7f](?:[0-?]|[p-\x7f][0-?]))"
_FRAME = re.compile(rb"\n(?:([ -~]{2,16})\r\n)?(" + _STATUS + rb")\r\x03")
_WEIGHT = re.compile(rb"( *-? *\d+(?:\.\d+)?) *([A-Za-z]{1,3}) *")
_UNKNOWN = b"\n?\r\x03"


class Settings(ScaleSettings):
    """One scale that speaks SCP-01."""

    driver: Literal["nci-scp01"]


def decode(frame: bytes) -> Answer:
    """One frame, LF to ETX."""
    shown = mask(frame)
    if shown == _UNKNOWN:
        return fault("unknown_command")
    found = parts_of(_FRAME, shown, b"\n", b"\x03")
    status = found[2].removeprefix(b"S")
    trouble = _trouble(*status[:3])
    if trouble is not None:
        return trouble
    if found[1] is None:
        return NO_WEIGHT
    weight = _WEIGHT.fullmatch(found[1])
    if weight is None:
        raise misfit(shown, b"\n", b"\x03")
    return weighed(weight[1], weight[2], bool(status[2] & 0x04) if len(status) > 2 else None)


def _trouble(first: int, second: int, third: int = 0) -> Answer | None:
    """What the status says against the weight, the worst first."""
    ruled = ((first & 0x0C or second & 0x04, fault("memory")), (second & 0x08, fault("calibration")),
             (second & 0x02, OVERLOAD), (second & 0x01, UNDERLOAD), (third & 0x08, fault("not_zeroed")),
             (first & 0x01, UNSTABLE))
    return next((answer for set_, answer in ruled if set_), None)


PROTOCOL = ScaleProtocol(
    title="NCI / SCP-01 (Avery Weigh-Tronix, Brecknell, Salter, Fairbanks)", ask=b"W\r", decode=decode, masked=True,
    shape=re.compile(_FRAME.pattern + rb"|\n\?\r\x03"),
    lines=(Line(9600, 7, "E"), Line(9600, 8, "N")))
