"""The voice of a CAS PDN scale with ECR type 12, or of another one with Dialog 06 and its checksums switched off.

`EOT ENQ` asks for record 02; without a stable weight the scale says NAK, and record 08 asks for the reason, record 09.
Sources: Cely PI100 manual p18; Ohaus Aviator 7000 service manual p38 to p41.
"""

from __future__ import annotations

from decimal import Decimal

from edge.sim.scale import CommandVoice, Pan

NAK = b"\x15"
_UNITS = {"kg": "3", "g": "2", "oz": "1", "lb": "0"}
_STATUS = {"stable": "00", "motion": "20", "underload": "31", "overload": "32", "fault": "01"}
_PRICE = 100
"""Cents for each unit."""


def _state(pan: Pan) -> str:
    if pan.state == "stable" and pan.weight < 0:
        return "underload"
    return "overload" if pan.state == "stable" and pan.weight >= 100 else pan.state


def result(pan: Pan) -> bytes:
    """Record 02, or NAK."""
    if _state(pan) != "stable":
        return NAK
    thousandths, price = int(pan.weight * 1000), int(pan.weight * _PRICE + Decimal("0.5"))
    fields = ("02", _UNITS[pan.unit], f"{thousandths:05}", f"{_PRICE:06}", f"{price:06}")
    return b"\x02" + "\x1b".join(fields).encode("ascii") + b"\x03"


def status(pan: Pan) -> bytes:
    """Record 09."""
    return b"\x0209\x1b" + _STATUS[_state(pan)].encode("ascii") + b"\x03"


class CasEcr12(CommandVoice):
    """It hears seven bits."""

    def __init__(self) -> None:
        super().__init__({b"\x04\x05": result, b"\x04\x0208\x03": status}, seven_bits=True)
