"""What can go wrong on a wire, as a script for a simulated device: pure functions of its bytes."""

from __future__ import annotations

import random
from enum import StrEnum


class Fault(StrEnum):
    """One fault; `none` is a good line."""

    NONE = "none"
    SILENT = "silent"
    HALF = "half"
    FLIP = "flip"
    NOISE = "noise"
    BABBLE = "babble"
    SLOW = "slow"


def spoil(fault: Fault, frame: bytes, rng: random.Random) -> bytes:
    """The frame as it arrives: nothing, its first half, one bit flipped, between noise, or drowned in it.

    A `slow` frame arrives whole; the device sends it a byte at a time.
    """
    if fault is Fault.SILENT or not frame:
        return b""
    if fault is Fault.HALF:
        return frame[: max(1, len(frame) // 2)]
    if fault is Fault.FLIP:
        at = rng.randrange(len(frame))
        return frame[:at] + bytes((frame[at] ^ 1 << rng.randrange(7),)) + frame[at + 1:]
    if fault is Fault.NOISE:
        return rng.randbytes(rng.randint(1, 12)) + frame + rng.randbytes(rng.randint(1, 12))
    return rng.randbytes(600) if fault is Fault.BABBLE else frame


def misheard(data: bytes) -> bytes:
    """What a receiver at another baud rate makes of the bytes: as many or fewer, and none of them right."""
    return bytes((byte * 167 + 89) & 0xFF | 0x80 for byte in data[::2])
