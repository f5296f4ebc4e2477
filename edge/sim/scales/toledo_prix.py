"""The voice of a Toledo Prix scale, protocol PRT1.

ENQ asks; it answers `STX PPPPP ETX` in grams, or five times one letter. Source: PRIX 3 Plus user manual.
"""

from __future__ import annotations

from edge.sim.scale import CommandVoice, Pan, in_increments

_LETTERS = {"motion": "I", "overload": "S", "underload": "N"}


def frame(pan: Pan) -> bytes:
    """The answer of seven bytes; none from a scale in fault."""
    if pan.state == "fault":
        return b""
    grams, _ = in_increments(pan.weight, "kg")
    state = "underload" if grams < 0 else "overload" if grams > 99_999 else pan.state
    said = _LETTERS[state] * 5 if state in _LETTERS else f"{grams:05d}"
    return b"\x02" + said.encode("ascii") + b"\x03"


def toledo_prix() -> CommandVoice:
    """It answers ENQ."""
    return CommandVoice({b"\x05": frame})
