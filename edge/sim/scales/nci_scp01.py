"""The voice of an SCP-01 scale in its ECR variant.

`W CR` gives `LF xx.xxxUU CR LF S hh CR ETX`, and the status alone while there is no weight to show; `S CR` the status.
Sources: Ohaus Aviator 7000 service manual p49; Avery Weigh-Tronix 7821 p25.
"""

from __future__ import annotations

from edge.sim.scale import CommandVoice, Pan

MOTION, AT_ZERO, EEPROM = 1, 2, 8
UNDER, OVER = 1, 2
_STATES = {"stable": (0, 0), "motion": (MOTION, 0), "overload": (0, OVER), "underload": (0, UNDER),
           "fault": (EEPROM, 0)}


def status(pan: Pan) -> bytes:
    """`LF S hh CR ETX`."""
    first, second = _STATES[pan.state]
    if pan.state == "stable" and pan.weight == 0:
        first |= AT_ZERO
    return b"\nS" + bytes((0x30 | first, 0x30 | second)) + b"\r\x03"


def weight(pan: Pan) -> bytes:
    """The display and its unit on a line of their own, then the status; below zero the status alone."""
    if pan.state == "stable" and pan.weight < 0:
        return status(Pan(pan.weight, pan.unit, "underload", pan.tare))
    line = f"\n{pan.weight:06.3f}{pan.unit.upper()}\r" if pan.unit == "kg" else f"\n{pan.weight:f}{pan.unit.upper()}\r"
    return line.encode("ascii") * (pan.state == "stable") + status(pan)


class NciScp01(CommandVoice):
    """It hears seven bits; a line that is no command is answered with a question mark."""

    def __init__(self) -> None:
        super().__init__({b"W\r": weight, b"S\r": status, b"\r": lambda _: b"\n?\r\x03"}, seven_bits=True)
