"""The voice of an Epelsa scale in auto mode.

It speaks by itself: `STX A`, the weight from the right in seven characters, `CR ETX`; `!` while the weight moves. What
it says out of range is not documented, so there it is silent. Source: pywebdriver's scale_protocols/epelsa.py.
"""

from __future__ import annotations

from edge.sim.scale import CommandVoice, Pan

_LETTERS = {"stable": "A", "motion": "!"}


def frame(pan: Pan) -> bytes:
    """What the scale says of a pan."""
    if pan.state not in _LETTERS:
        return b""
    return f"\x02{_LETTERS[pan.state]}{pan.weight:>7f}\r\x03".encode("ascii")


def epelsa() -> CommandVoice:
    """It only speaks."""
    return CommandVoice(unasked=frame)
