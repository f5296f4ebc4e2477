"""The voice of an indicator in Toledo continuous output, with or without the checksum.

It speaks by itself: `STX SWA SWB SWC`, six digits of weight, six of tare, `CR CHK`. Source: Mettler Wildcat technical
manual, tables 6-8 to 6-11.
"""

from __future__ import annotations

from edge.sim.scale import CommandVoice, Pan, in_increments

INCREMENT_BY_1 = 0x08
_OTHER_UNITS = {"g": 0x01, "oz": 0x03}


def frame(pan: Pan) -> bytes:
    """What the indicator says of a pan, 18 bytes."""
    shown, places = in_increments(pan.weight, pan.unit)
    over = pan.state == "overload" or abs(shown) > 999_999
    under = pan.state == "underload"
    status_a = 0x20 | INCREMENT_BY_1 | (places + 2)
    status_b = (0x20 | bool(pan.tare) | (shown < 0 or under) << 1 | (over or under) << 2 | (pan.state == "motion") << 3
                | (pan.unit == "kg") << 4 | (pan.state == "fault") << 6)
    status_c = 0x20 | _OTHER_UNITS.get(pan.unit, 0)
    weight = " " * 6 if over or under else f"{abs(shown):6d}"
    tare = f"{in_increments(pan.tare, pan.unit)[0]:6d}"
    said = bytes((0x02, status_a, status_b, status_c)) + (weight + tare).encode("ascii") + b"\r"
    return said + bytes((-sum(said) & 0x7F,))


def with_checksum() -> CommandVoice:
    """It only speaks."""
    return CommandVoice(unasked=frame)


def plain() -> CommandVoice:
    """It only speaks, and leaves the checksum out."""
    return CommandVoice(unasked=lambda pan: frame(pan)[:17])
