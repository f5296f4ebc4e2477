"""The voice of a Dibal scale with Dibal's own protocol.

`98`, a unit price and a check ask; it answers `99 0`, grams, the price and a check. What it says without a weight is
not documented, so there it is silent. Source: sbzsystems.com, "Connecting Dibal G310 and Dibal GDPOS scales".
"""

from __future__ import annotations

from edge.sim.scale import CommandVoice, Pan, in_increments


def frame(pan: Pan) -> bytes:
    """The answer to a unit price of zero."""
    grams, _ = in_increments(pan.weight, "kg")
    if pan.state not in ("stable", "motion") or not 0 <= grams <= 99_999:
        return b""
    said = f"990{grams:05d}{0:07d}".encode("ascii")
    check = 0
    for character in said:
        check ^= character
    return said + bytes((check,)) + b"\r\n"


def dibal() -> CommandVoice:
    """It answers a question with a right check."""
    return CommandVoice({b"98000001\r\n": frame})
