"""Mettler Toledo MT-SICS level 0 and Kern KCP: balances, bench scales and weigh modules.

The host sends `SI CR LF`, which is answered at once, stable or not:

    ┌───┬───┬───┬───┬─────────────────────┬───┬──────┬───────┐      ┌───┬───┬─────────┬───────┐
    │ S │   │ S │   │         1 0 0 . 0 0 │   │ g    │ CR LF │      │ S │   │ I + - L │ CR LF │
    │   │   │ D │   │ 10, right-aligned   │   │ unit │       │      └───┴───┴─────────┴───────┘
    └───┴───┴───┴───┴─────────────────────┴───┴──────┴───────┘

`S S` stable, `S D` not; `S I` the scale is busy with another command, such as taring; `S +` overload, `S -` underload,
`S L` a wrong parameter; `ES` a command that it does not know, `ET` a broken transmission, `EL` a command that it cannot
do. A weigh module may put `Error` and a number in the weight's place. There is no checksum, and nothing tells net from
gross. Asked not oftener than every 100 ms (Kern). Usually 9600 baud, 8N1; older balances 2400, 7E1, so every byte is
masked. Sources: Mettler Toledo AL-IC p72 and AT p87; Kern KIB-TM p33 and CKE p79.
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
    mask,
    misfit,
    parts_of,
    weighed,
)

_FRAME = re.compile(rb"S ([SD]) ([ -~]{1,24})\r\n|(S ?[IL+-]|E[STL])\r\n")
_WEIGHT = re.compile(rb"( *[+-]? *\d+(?:\.\d+)?) *([A-Za-z%]{1,5}) *")
_ERROR = re.compile(rb" *Error +\w+ *")
_MEANINGS = {
    b"SI": fault("busy"),
    b"S+": OVERLOAD,
    b"S-": UNDERLOAD,
    b"SL": fault("wrong_parameter"),
    b"ES": fault("syntax_error"),
    b"ET": fault("transmission_error"),
    b"EL": fault("logical_error"),
}


class Settings(ScaleSettings):
    """One scale that speaks MT-SICS or KCP."""

    driver: Literal["mt-sics"]


def decode(frame: bytes) -> Answer:
    """One frame, to LF."""
    shown = mask(frame)
    found = parts_of(_FRAME, shown, b"SE", b"\r\n")
    state, rest, other = found.groups()
    if other:
        return _MEANINGS[other.replace(b" ", b"")]
    if _ERROR.fullmatch(rest):
        return fault("device_error")
    weight = _WEIGHT.fullmatch(rest)
    if weight is None:
        raise misfit(shown, b"S", b"\r\n")
    return UNSTABLE if state == b"D" else weighed(weight[1], weight[2])


PROTOCOL = ScaleProtocol(
    title="Mettler Toledo MT-SICS / Kern KCP", ask=b"SI\r\n", decode=decode, masked=True, shape=_FRAME,
    lines=(Line(9600, 8, "N"), Line(2400, 7, "E"), Line(9600, 7, "E")))
