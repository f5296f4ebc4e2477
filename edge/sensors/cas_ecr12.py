"""CAS PDN ECR type 12, the Dialog 06 checkout protocol of Dibal, Cely, Ohaus and CAS, without its checksum challenge.

The host sends `EOT ENQ`; the scale answers record 02, a weight, or NAK and then, asked with record 08, record 09:

    ┌─────┬─────┬─────┬──────┬─────┬───────────┬─────┬─────────────┬─────┬─────────────┬─────┐
    │ STX │ 0 2 │ ESC │  3   │ ESC │ 0 1 2 3 4 │ ESC │ 0 0 0 1 0 0 │ ESC │ 0 0 0 1 2 3 │ ETX │
    │ 02  │     │ 1B  │ unit │ 1B  │ weight    │ 1B  │ unit price  │ 1B  │ price       │ 03  │
    └─────┴─────┴─────┴──────┴─────┴───────────┴─────┴─────────────┴─────┴─────────────┴─────┘
    ┌─────┬─────┬─────┬────────┬─────┐      ┌─────┬─────┬─────┬────────┬─────┐
    │ STX │ 0 9 │ ESC │  2 0   │ ETX │      │ STX │ 1 1 │ ESC │ random │ ETX │
    │ 02  │     │ 1B  │ status │ 03  │      │ a challenge                  │
    └─────┴─────┴─────┴────────┴─────┘      └─────┴─────┴─────┴────────┴─────┘

Units: 3 kg; on CAS scales 2 g, 1 oz, 0 lb (others have pounds of another increment for 1 and 2: only kg is the same
everywhere). The weight counts thousandths of the unit; no source has another factor for any of them. Status: 00 ok,
01 general, 02 parity, 10 to 13 invalid record, 20 in motion, 21 no motion since the last weighing, 22 not finished,
30 under the minimum, 31 under zero, 32 overload.

Record 11 asks the till for a checksum with a key of the scale's maker. It is the lock of a scale that is verified for
trade and must be switched off in the scale's menu for this driver: `bad:locked`. No key is in this program.

9600 baud, 7O1; every byte is masked. Sources: Cely PI100 manual p18; Dibal D-POS 400 manual p56; Ohaus Aviator 7000
service manual p38 to p41; as CAS scales are read by Peakboard's extension.
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
    NoWeight,
    ScaleProtocol,
    ScaleSettings,
    Stable,
    fault,
    mask,
    parts_of,
    weighed,
)

STILL = NoWeight("bad:still")
"""No motion since the last weighing; `follow` says what it means."""
_RESULT = rb"\x0202\x1b(\d)\x1b(\d\d)(\d{3})\x1b\d{6}\x1b\d{6}\x03"
_STATUS = rb"\x0209\x1b(\d\d)\x03"
_CHALLENGE = rb"\x0211\x1b[\x1b -~]{0,24}\x03"
_FRAME = re.compile(b"|".join((_RESULT, _STATUS, _CHALLENGE)))
_UNITS = {b"3": b"kg", b"2": b"g", b"1": b"oz", b"0": b"lb"}
_MEANINGS: dict[bytes, Answer] = {
    b"00": NO_WEIGHT,
    b"01": fault("general_error"),
    b"02": fault("parity_error"),
    **dict.fromkeys((b"10", b"11", b"12", b"13"), fault("invalid_record")),
    b"20": UNSTABLE,
    b"21": STILL,
    b"22": fault("not_finished"),
    b"30": UNDERLOAD,
    b"31": UNDERLOAD,
    b"32": OVERLOAD,
}


class Settings(ScaleSettings):
    """One scale that is asked with EOT ENQ."""

    driver: Literal["cas-ecr12"]


def decode(frame: bytes) -> Answer:
    """One record, STX to ETX."""
    shown = mask(frame)
    found = parts_of(_FRAME, shown, b"\x02", b"\x03")
    unit, whole, thousandths, status = found.groups()
    if status:
        return _MEANINGS.get(status, fault(f"status_{status.decode('ascii')}"))
    if unit:
        return weighed(whole + b"." + thousandths, _UNITS.get(unit, b""))
    return fault("locked")


def follow(last: Stable | None, answer: Answer) -> Answer:
    """A weight that lies still is sent once; until it moves, the last one stands."""
    return (last or NO_WEIGHT) if answer == STILL else answer


PROTOCOL = ScaleProtocol(
    title="CAS PDN ECR type 12 / Dialog 06", ask=b"\x04\x05", refusal=b"\x15", why=b"\x04\x0208\x03",
    decode=decode, follow=follow, masked=True, shape=_FRAME,
    lines=(Line(9600, 7, "O"), Line(9600, 8, "N"), Line(9600, 7, "E")))
