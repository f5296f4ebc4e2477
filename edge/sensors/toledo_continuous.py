"""Toledo continuous output: indicators that say 17 bytes, or 18 with a checksum, several times a second.

    ┌─────┬─────┬─────┬─────┬──────────────┬──────────────┬────┬───────┐
    │ STX │ SWA │ SWB │ SWC │ weight  1234 │ tare     200 │ CR │ [CHK] │
    │ 02  │     │     │     │ 6, no point  │ 6, no point  │ 0D │       │
    └─────┴─────┴─────┴─────┴──────────────┴──────────────┴────┴───────┘

SWA: bits 0-2 the point (0 XXXX00, 1 XXXXX0, 2 XXXXXX, 3 XXXXX.X ... 7 X.XXXXX), 3-4 the increment, 5 always 1, 6
always 0. SWB: bit 0 net, 1 negative, 2 out of range, 3 motion, 4 kg (else lb), 6 not zeroed since power-up. SWC: bits
0-2 another unit (1 g, 2 t, 3 oz), 3 print request, 4 expanded, 6 keyboard tare. The weight is what the display shows:
in XXXX00 the fixed zeros are among the six digits. CHK makes the 7-bit sum of all 18 bytes 0; it may be any value,
STX and CR too. An indicator that is set up to send none is a driver of its own, `toledo-continuous-plain`, so that a
checksum that got lost is never taken for one that is not sent. Sources: Mettler Wildcat technical manual, Rockwell
57C428 user guide, Kern FTC manual; the units and the zeros as METTLER TOLEDO's IND245 indicator sends them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from typing import Literal

from edge.errors import SensorError
from edge.sensors.scale import (
    OVERLOAD,
    UNDERLOAD,
    UNSTABLE,
    Answer,
    Line,
    ScaleProtocol,
    ScaleSettings,
    Stable,
    Unit,
    fault,
    mask,
    misfit,
    parts_of,
)

_FRAME = re.compile(rb"\x02([\x20-\x3f])([\x00-\x7f])([\x20-\x7f])([\x20-\x7e]{6})[\x20-\x7e]{6}\r")
_CHECKED = re.compile(_FRAME.pattern + rb"[\x00-\x7f]")
_UNITS: dict[int, Unit] = {1: "g", 3: "oz"}
NET, NEGATIVE, OUT_OF_RANGE, MOTION, KG, NOT_ZEROED = 0x01, 0x02, 0x04, 0x08, 0x10, 0x40


class Settings(ScaleSettings):
    """One indicator in continuous output."""

    driver: Literal["toledo-continuous"]


class PlainSettings(ScaleSettings):
    """One indicator in continuous output that is set up to send no checksum."""

    driver: Literal["toledo-continuous-plain"]


def decode(frame: bytes) -> Answer:
    """One frame, STX to CHK."""
    shown = mask(frame)
    if _CHECKED.fullmatch(shown) is None:
        raise misfit(shown, b"\x02", b"\r")
    if sum(shown) & 0x7F:
        if shown[17] == 0x02:
            raise SensorError("truncated", "the next frame came instead of a checksum: an indicator that sends none is "
                                           "read as toledo-continuous-plain")
        raise SensorError("bad_checksum", shown.hex(" "))
    return decode_plain(shown[:17])


def decode_plain(frame: bytes) -> Answer:
    """One frame without a checksum, STX to CR."""
    shown = mask(frame)
    fields = parts_of(_FRAME, shown, b"\x02", b"\r")
    status_a, status_b, status_c = fields[1][0], fields[2][0], fields[3][0]
    if status_b & OUT_OF_RANGE:
        return UNDERLOAD if status_b & NEGATIVE else OVERLOAD
    if status_b & NOT_ZEROED:
        return fault("not_zeroed")
    if status_b & MOTION:
        return UNSTABLE
    weight = _weight(fields[4], status_a & 0x07)
    return Stable(-weight if status_b & NEGATIVE else weight, _unit(status_b, status_c & 0x07), bool(status_b & NET))


def _weight(field: bytes, point: int) -> Decimal:
    digits = field.decode("ascii").lstrip(" ")
    if not digits.isdigit():
        raise SensorError("bad_frame", f"{digits!r} where six digits should be")
    if int(digits) % 10 ** max(0, 2 - point):
        raise SensorError("bad_frame", f"{digits} does not end in the {2 - point} fixed zeros that SWA announces")
    return Decimal(digits).scaleb(-max(0, point - 2))


def _unit(status_b: int, other: int) -> Unit:
    unit = _UNITS.get(other) if other else "kg" if status_b & KG else "lb"
    if unit is None:
        raise SensorError("bad_frame", f"unit {other}: set the indicator to kg, g, lb or oz")
    return unit


PROTOCOL = ScaleProtocol(
    title="Toledo continuous", decode=decode, masked=True, checked=True, tells_net=True,
    shape=_CHECKED,
    lines=(Line(9600, 7, "E"), Line(9600, 8, "N"), Line(4800, 7, "E"), Line(1200, 7, "E")))
PLAIN = replace(PROTOCOL, title="Toledo continuous without checksum", decode=decode_plain, checked=False, shape=_FRAME)
