"""The voice of a Mettler Toledo balance with MT-SICS level 0.

`S` asks for a stable weight and `SI` for any; a command that it does not know is answered with `ES`. Sources: Mettler
Toledo AL-IC p72, AT p87.
"""

from __future__ import annotations

from edge.sim.scale import CommandVoice, Pan

_WITHOUT = {"overload": b"S +\r\n", "underload": b"S -\r\n", "fault": b"S I\r\n"}


def immediate(pan: Pan) -> bytes:
    """`S S`, or `S D` while it moves, ten characters of weight, the unit."""
    if pan.state in _WITHOUT:
        return _WITHOUT[pan.state]
    state = "S" if pan.state == "stable" else "D"
    return f"S {state} {pan.weight:>10f} {pan.unit}\r\n".encode("ascii")


def stable(pan: Pan) -> bytes:
    """As `immediate`, but a weight that moves is not said: the balance gives up waiting."""
    return b"S I\r\n" if pan.state == "motion" else immediate(pan)


class MtSics(CommandVoice):
    """A line ends with CR LF; what is no command is `ES`."""

    def __init__(self) -> None:
        super().__init__({b"SI\r\n": immediate, b"S\r\n": stable, b"\r\n": lambda _: b"ES\r\n"})
