"""Sartorius balances with the Sartorius Balance Interface, SBI, with or without the six characters of data ID.

The host sends `ESC P` CR LF, the print key; the balance answers what its display shows:

    ┌───────────────┬──────┬───┬─────────────────┬───┬───────┬───────┐
    │ N             │ + -  │   │     1 2 3 . 5 6 │   │ g     │ CR LF │
    │ 6, SBI22 only │ sign │ 1 │ 8, from right   │ 1 │ 3     │ 0D 0A │
    └───────────────┴──────┴───┴─────────────────┴───┴───────┴───────┘

The unit is blank until the weight is stable. Instead of a weight come H or High (overload), L or Low (underload), C or
Cal (calibrating), -- (nothing shown) or `Err 054`. Of the data IDs N, N1, G and G# are the weight; another value, like
T1, is none. N is on the weight of every balance, tared or not, so it does not tell net from gross. There is no
checksum. Set the balance to print on request and without stability, or it answers only once the weight is stable.
Older balances come with 1200 baud, 7O1, newer ones with 9600 or 19200 baud, 8O1. Sources: manuals of Sartorius LE2202S,
GC803S, FB, Combics 1 and Quintix; graysonbellamy/sartoriuslib for the lines.
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

_WEIGHT_IDS = b"N N1 G G# Stat".split()
_OTHER_IDS = (b"T T1 T2 PT2 Diff Nom. nRef pRef wRef Qnt Prc mDef x-Net Setp W.Diff Lim Max Min D n *G *N Cont.T "
              b"Tot.cp Total Avg.").split()
_ID = b"|".join(re.escape(each.ljust(6)) for each in [b"", *_WEIGHT_IDS, *_OTHER_IDS])
_FRAME = re.compile(rb"(" + _ID + rb")?([ -~]{14})\r\n")
_WEIGHT = re.compile(rb"([+\- ]) *(\d+\.?\d*|\.\d+) ([A-Za-z%/][A-Za-z%/ ]{2})")
_MOVING = re.compile(rb"[+\- ][ \d.]*\d[ \d.]* {4}")
_ERROR = re.compile(rb"E(?:rr)?\.? *(\d{2,3})")
_MEANING = {
    b"": NO_WEIGHT, b"--": NO_WEIGHT,
    b"H": OVERLOAD, b"HH": OVERLOAD, b"High": OVERLOAD,
    b"L": UNDERLOAD, b"LL": UNDERLOAD, b"Low": UNDERLOAD,
    b"C": fault("calibrating"), b"Cal.Int.": fault("calibrating"), b"Cal.Ext.": fault("calibrating"),
}


class Settings(ScaleSettings):
    """One SBI balance."""

    driver: Literal["sartorius-sbi"]


def decode(frame: bytes) -> Answer:
    """One line, 16 or 22 characters with CR LF."""
    shown = mask(frame)
    fields = parts_of(_FRAME, shown, b"", b"\n")
    data_id, body = (fields[1] or b"").strip(), fields[2]
    if (special := _MEANING.get(body.strip())) is not None:
        return special
    if error := _ERROR.fullmatch(body.strip()):
        return fault(f"err_{error[1].decode('ascii')}")
    if data_id in _OTHER_IDS:
        return NO_WEIGHT
    if weight := _WEIGHT.fullmatch(body):
        return weighed(weight[1] + weight[2], weight[3])
    if _MOVING.fullmatch(body):
        return UNSTABLE
    raise misfit(shown, b"", b"\n")


PROTOCOL = ScaleProtocol(
    title="Sartorius SBI", ask=b"\x1bP\r\n", decode=decode, shape=_FRAME, masked=True,
    lines=(Line(1200, 7, "O"), Line(9600, 8, "O"), Line(19200, 8, "O")))
