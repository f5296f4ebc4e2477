"""The voice of a Sartorius balance, SBI with 16 characters, printing without stability.

`ESC P` is the print key; it answers what the display shows, without the unit while the weight moves. Sources: manuals
of Sartorius GC803S (page 57) and Quintix (page 87).
"""

from __future__ import annotations

from edge.sim.scale import CommandVoice, Pan

_SPECIAL = {"overload": "H", "underload": "L"}


def frame(pan: Pan) -> bytes:
    """The line that is printed, 16 characters."""
    number = f"{abs(pan.weight):f}"
    state = "overload" if len(number) > 8 else pan.state
    if state in _SPECIAL:
        body = f"      {_SPECIAL[state]:8}"
    elif state == "fault":
        body = "   Err 054    "
    else:
        unit = "" if state == "motion" else pan.unit
        body = f"{'-' if pan.weight < 0 else '+'} {number:>8} {unit:3}"
    return body.encode("ascii") + b"\r\n"


def sartorius_sbi() -> CommandVoice:
    """It hears seven bits; CR LF after a command may be left out."""
    return CommandVoice({b"\x1bP": frame}, seven_bits=True)
