from __future__ import annotations

from decimal import Decimal
from itertools import product

from edge.sensors.nci_scp01 import decode
from edge.sensors.scale import Stable

GOOD_FIRST = (0x0, 0x2)
"""Nothing, or at zero (Ohaus Aviator 7000 service manual p49)."""


def frame(status: bytes) -> bytes:
    return b"\n01.234KG\r\nS" + status + b"\r\x03"


def test_two_status_characters_give_a_weight_only_where_no_bit_speaks_against_it() -> None:
    for first, second in product(range(16), repeat=2):
        answer = decode(frame(bytes((0x30 | first, 0x30 | second))))
        good = first in GOOD_FIRST and second == 0
        assert (answer == Stable(Decimal("1.234"), "kg")) == good == isinstance(answer, Stable), (first, second)


def test_a_third_character_tells_net_and_an_initial_zero_error() -> None:
    for first, second, third in product(range(16), repeat=3):
        answer = decode(frame(bytes((0x30 | first, 0x70 | second, 0x30 | third))))
        good = first in GOOD_FIRST and second == 0 and not third & 0x8
        assert isinstance(answer, Stable) == good, (first, second, third)
        assert not isinstance(answer, Stable) or answer == Stable(Decimal("1.234"), "kg", net=bool(third & 0x4))
