"""The voice of a scale with the A&D standard format.

`Q CR LF` asks; the answer is a header, a sign, eight characters filled with zeros, and three of unit. Sources: A&D
EK-L manual p30, GC manual p51.
"""

from __future__ import annotations

from edge.sim.scale import CommandVoice, Pan


def frame(pan: Pan) -> bytes:
    """`ST,+0001.234 kg CR LF`."""
    header = {"stable": "ST", "motion": "US"}.get(pan.state, "OL")
    if header == "OL":
        sign, digits = "-" if pan.state == "underload" else "+", "9999.999"
    else:
        sign, digits = "-" if pan.weight < 0 else "+", f"{abs(pan.weight):f}".rjust(8, "0")
    return f"{header},{sign}{digits}{pan.unit:>3}\r\n".encode("ascii")


class AndStandard(CommandVoice):
    """It hears seven bits."""

    def __init__(self) -> None:
        super().__init__({b"Q\r\n": frame}, seven_bits=True)
