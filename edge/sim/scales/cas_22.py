"""The voice of a CAS weighing indicator that sends 22 bytes at a time. Source: CAS CI-400 manual p103."""

from __future__ import annotations

from edge.sim.scale import CommandVoice, Pan

ALWAYS, STABLE, GROSS, TARE, ZERO = 0xA0, 0x40, 0x04, 0x02, 0x01


def frame(pan: Pan) -> bytes:
    """Status, gross or net, device 1 and its lamps, the display, the unit."""
    status = {"stable": "ST", "motion": "US"}.get(pan.state, "OL")
    lamps = ALWAYS | (STABLE if status == "ST" else 0) | (TARE if pan.tare else GROSS) | (0 if pan.weight else ZERO)
    head = f"{status},{'NT' if pan.tare else 'GS'},1".encode("ascii")
    sign = "-" if pan.weight < 0 or pan.state == "underload" else " "
    return head + bytes((lamps,)) + f",{sign}{abs(pan.weight):7f} {pan.unit:>2}\r\n".encode("ascii")


class Cas22(CommandVoice):
    """It speaks all the time."""

    def __init__(self) -> None:
        super().__init__(unasked=frame)
