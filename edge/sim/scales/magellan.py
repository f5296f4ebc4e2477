"""The voice of a Datalogic Magellan scanner-scale.

`S14` CR asks how it is, `S11` CR for a weight, which it only says when there is one. Source: Datalogic KA-01089.
"""

from __future__ import annotations

from edge.sim.scale import CommandVoice, Pan, in_increments

_STATUS = {"fault": "0", "motion": "1", "overload": "2", "underload": "5"}
_WIDTH = {"kg": 5, "lb": 4}


def monitor(pan: Pan) -> bytes:
    """The answer to `S14`: a status, with the weight where that is 4."""
    shown, _ = in_increments(pan.weight, pan.unit)
    digits = f"{shown:0{_WIDTH[pan.unit]}d}"
    if pan.state != "stable":
        said = _STATUS[pan.state]
    elif shown <= 0:
        said = "5" if shown else "3"
    else:
        said = "4" + digits if len(digits) == _WIDTH[pan.unit] else _STATUS["overload"]
    return f"S14{said}\r".encode("ascii")


def weight(pan: Pan) -> bytes:
    """The answer to `S11`, if any."""
    said = monitor(pan)
    return b"S11" + said[4:] if said.startswith(b"S144") else b""


def magellan() -> CommandVoice:
    """It hears seven bits."""
    return CommandVoice({b"S14\r": monitor, b"S11\r": weight}, seven_bits=True)
