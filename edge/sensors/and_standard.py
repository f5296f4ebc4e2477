"""A&D standard format, and what its clones made of it: Dini Argeo, Kern KFB and KXS, CAS "AND", Selleton, Excell.

The host sends `Q CR LF`; many of them also speak by themselves. The four shapes that are known:

    ┌────────┬───┬─────────────────┬───────┬───────┐
    │ S T    │ , │ + 0 0 0 1.2 3 4 │   k g │ CR LF │   A&D: a sign, 8 characters, 3 of unit; GC series with a
    └────────┴───┴─────────────────┴───────┴───────┘   comparison in between, `ST,OK,+0001.234 kg`
    ┌────────┬───┬─────┬───┬───────────┬───┬─────┬───────┐
    │ S T    │ , │ G S │ , │   1.2 3 4 │ , │ k g │ CR LF │   Dini Argeo: 8 characters
    └────────┴───┴─────┴───┴───────────┴───┴─────┴───────┘
    ┌────────┬───┬─────┬───────────┬─────┬───────┐
    │ S T    │ , │ G S │   1.0 0 0 │ K G │ CR LF │   Kern KFB
    └────────┴───┴─────┴───────────┴─────┴───────┘
    ┌────────┬───┬─────┬───┬─────────────────┬─────┬───────┐
    │ S T    │ , │ N T │ , │ + 0 0 1 . 2 3 4 │ k g │ CR LF │   CAS "AND", A&D AD-4404, Kern KXS
    └────────┴───┴─────┴───┴─────────────────┴─────┴───────┘

`ST` a stable weight, `US` unstable, `QT` a stable count, `OL` out of range, with a minus below it and with any digits
or `9999999E+19`, `UL` under it. `GS` gross, `NT` net, `TR` or `TW` the tare, which is no weight: `bad:tare_shown`.
There is no checksum. Usually 2400 baud, 7E1 (A&D), 9600 8N1 (clones); every byte is masked. Sources: A&D EK-L p30, GC
p51, GH p42, AD-4404 p80; Dini Argeo 3590EXP p65; Kern KFB/KFN-TM p49, KXS-TM p70; CAS CI-400 p103.
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

_FRAME = re.compile(rb"(ST|US|QT|OL|UL),(?:(GS|GW|NT|TR|TW|LO|OK|HI|--),?)?"
                    rb"( *[+-]? *)([\d. ]{0,14})(E\+19)?,? *([A-Za-z%.]{1,4})? *\r\n")
_NUMBER = re.compile(rb"\d+(?:\.\d+)?")
_NET = {b"GS": False, b"GW": False, b"NT": True}


class Settings(ScaleSettings):
    """One scale that speaks the A&D standard format or a clone's."""

    driver: Literal["and-standard"]


def decode(frame: bytes) -> Answer:
    """One frame, header to LF."""
    shown = mask(frame)
    found = parts_of(_FRAME, shown, b"SUQO", b"\r\n")
    header, kind, sign, digits, beyond, unit = found.groups()
    if header != b"ST":
        return {b"US": UNSTABLE, b"QT": fault("counting"), b"UL": UNDERLOAD}.get(
            header, UNDERLOAD if b"-" in sign else OVERLOAD)
    if kind in (b"TR", b"TW"):
        return fault("tare_shown")
    if beyond or unit is None or not _NUMBER.fullmatch(digits.strip()):
        raise misfit(shown, b"S", b"\r\n")
    return weighed(sign + digits, unit, _NET.get(kind))


PROTOCOL = ScaleProtocol(
    title="A&D standard format (A&D, Dini Argeo, Kern KFB, Excell)", ask=b"Q\r\n", decode=decode, masked=True,
    shape=_FRAME, lines=(Line(2400, 7, "E"), Line(9600, 8, "N"), Line(4800, 8, "N"), Line(9600, 7, "E")))
