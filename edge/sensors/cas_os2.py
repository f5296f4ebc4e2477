"""CAS ENQ/DC1 counter scales: CAS PD-II type 6 and SW-II, Ohaus Aviator "format 1", Pinnacle and ACLAS OS2, OS6X.

The host sends ENQ and the scale ACK; then the host sends DC1 and the scale its weight:

    ┌─────┬─────┬───────┬──────┬───────────────┬──────┬─────┬─────┬─────┬───────────┐
    │ SOH │ STX │ S U F │ sign │   1 . 2 3 4   │ k g  │ BCC │ ETX │ EOT │  [Flag2]  │
    │ 01  │ 02  │ state │      │ 6 characters  │ unit │     │ 03  │ 04  │ streaming │
    └─────┴─────┴───────┴──────┴───────────────┴──────┴─────┴─────┴─────┴───────────┘

State: `S` stable, `U` unstable, `F` out of range or, on an OS2, not at zero when it was switched on. Sign: space, `-`,
or `F` with digits `FFFFFF` out of range. An OS2 in its active mode sends ten frames a second unasked, each with a
Flag2: bit 4 zero, bit 5 tared, bit 6 out of range or not zeroed; in its passive mode it is asked and sends none.

The BCC is an XOR, of which the manuals disagree: Ohaus takes all but STX and ETX, the OS2 manual the first twelve
bytes, OS6X those and ETX. XOR(state..unit), which is OS6X's, and that XOR 03, which is the OS2 manual's, are both
taken: a change of exactly the two lowest bits of one character goes unseen. Usually 9600 baud; the parity is not
documented, so every byte is masked. A scale that has nothing to send answers NAK. Sources: Pinnacle OS2CX manual p15,
p19, p20; Ohaus Aviator 7000 service manual p36; CAS SW-II and PD-II manuals.
"""

from __future__ import annotations

import re
from functools import reduce
from operator import xor
from typing import Literal

from edge.errors import SensorError
from edge.sensors.scale import (
    OVERLOAD,
    UNSTABLE,
    Answer,
    Line,
    ScaleProtocol,
    ScaleSettings,
    mask,
    misfit,
    parts_of,
    weighed,
)

_ENQ, _ACK, _DC1, _NAK = b"\x05", b"\x06", b"\x11", b"\x15"
_OUT_OF_RANGE, _TARED = 0x40, 0x20
_BODY = rb"\x01\x02([SUF])([ F-])([ -~]{6})([ A-Za-z]{2})([\x00-\x7f])\x03\x04"
_FRAME = re.compile(_BODY + rb"([\x00-\x7f])?")
_WEIGHT = re.compile(rb" *\d+(?:\.\d+)?")


class Settings(ScaleSettings):
    """One scale that is asked with ENQ and DC1."""

    driver: Literal["cas-os2"]


class StreamSettings(ScaleSettings):
    """One OS2 scale in its active mode, which is how it leaves the factory."""

    driver: Literal["cas-os2-stream"]


def decode(frame: bytes) -> Answer:
    """One frame, SOH to EOT, or to the Flag2 behind it."""
    shown = mask(frame)
    found = parts_of(_FRAME, shown, b"\x01", b"\x04")
    state, sign, digits, unit, check, flag = found.groups()
    if reduce(xor, shown[2:12]) not in (check[0], check[0] ^ 0x03):
        raise SensorError("bad_checksum", shown.hex(" "))
    if state == b"F" or sign == b"F" or b"F" in digits or (flag and flag[0] & _OUT_OF_RANGE):
        return OVERLOAD
    if state == b"U":
        return UNSTABLE
    if not _WEIGHT.fullmatch(digits):
        raise misfit(shown, b"\x01", b"\x04")
    return weighed(sign + digits, unit, bool(flag[0] & _TARED) if flag else None)


def decode_streamed(frame: bytes) -> Answer:
    """One frame of the active mode, SOH to Flag2."""
    if len(frame) < 16:
        raise SensorError("truncated", frame.hex(" ") or "no bytes")
    return decode(frame)


PROTOCOL = ScaleProtocol(
    title="CAS ENQ/DC1 (CAS PD-II, Ohaus Aviator, Pinnacle and ACLAS OS2 in passive mode)",
    greeting=(_ENQ, _ACK), ask=_DC1, refusal=_NAK, decode=decode, masked=True, checked=True,
    shape=re.compile(_BODY + rb"[\x00\x10 0@P`p]?"),  # a Flag2 where there should be none, but no other byte
    lines=(Line(9600, 8, "N"), Line(9600, 7, "E")))

STREAM = ScaleProtocol(
    title="Pinnacle and ACLAS OS2, OS6X in active mode", decode=decode_streamed, masked=True, checked=True,
    tells_net=True, shape=re.compile(_BODY + rb"[^\x01]"),
    lines=(Line(9600, 8, "N"), Line(9600, 7, "E")))
