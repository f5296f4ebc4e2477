"""The voice of a Yaohua XK3190-A9 indicator in continuous output.

It speaks by itself: `STX`, sign, six digits, how many follow the point, two hex digits of XOR, `ETX`. A moving weight
looks like any other. What it says out of range is not documented, so there it is silent. Source: XK3190-A9+ user
manual, page 9.
"""

from __future__ import annotations

from edge.sim.scale import CommandVoice, Pan, in_increments


def frame(pan: Pan) -> bytes:
    """What the indicator says of a pan, 12 bytes."""
    shown, places = in_increments(pan.weight, pan.unit)
    if pan.state not in ("stable", "motion") or abs(shown) > 999_999:
        return b""
    said = f"{shown:+07d}{places}".encode("ascii")
    check = 0
    for character in said:
        check ^= character
    return b"\x02" + said + f"{check:02X}".encode("ascii") + b"\x03"


def yaohua_a9() -> CommandVoice:
    """It only speaks."""
    return CommandVoice(unasked=frame)
