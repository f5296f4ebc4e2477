"""The voices of an OS2 scale: asked with ENQ and DC1 in its passive mode, or telling all the time in its active one.

`SOH STX state sign weight6 unit2 BCC ETX EOT`, and a Flag2 behind it in the active mode. Source: Pinnacle OS2CX manual
p15, p19; the BCC is the OS2 manual's, the XOR of the first twelve bytes.
"""

from __future__ import annotations

from edge.sim.scale import CommandVoice, Pan

ZERO, TARE, OUT_OF_RANGE = 0x10, 0x20, 0x40


def frame(pan: Pan) -> bytes:
    """15 bytes."""
    state, sign, digits = "S", "-" if pan.weight < 0 else " ", f"{abs(pan.weight):f}"
    if pan.state == "motion":
        state = "U"
    elif pan.state != "stable" or len(digits) > 6:
        state, sign, digits = "F", "F", "FFFFFF"
    head = b"\x01\x02" + f"{state}{sign}{digits:>6}{pan.unit:>2}".encode("ascii")
    check = 0
    for byte in head:
        check ^= byte
    return head + bytes((check,)) + b"\x03\x04"


def streamed(pan: Pan) -> bytes:
    """16 bytes."""
    said = frame(pan)
    flag = (ZERO if pan.weight == 0 else 0) | (TARE if pan.tare else 0) | (OUT_OF_RANGE if said[2:3] == b"F" else 0)
    return said + bytes((flag,))


class CasOs2(CommandVoice):
    """An OS2 that is asked; it hears seven bits."""

    def __init__(self) -> None:
        super().__init__({b"\x05": lambda _: b"\x06", b"\x11": frame}, seven_bits=True)


class CasOs2Stream(CommandVoice):
    """An OS2 as it leaves the factory."""

    def __init__(self) -> None:
        super().__init__(unasked=streamed)
