from __future__ import annotations

from decimal import Decimal

import pytest

from edge.sensors.cas_22 import decode
from edge.sensors.scale import UNSTABLE, Stable, fault


@pytest.mark.parametrize("lamp", range(256))
def test_a_weight_needs_the_stable_lamp_and_no_hold(lamp: int) -> None:
    answer = decode(b"ST,NT,1" + bytes((lamp,)) + b",   1.034 kg\r\n")

    if not lamp & 0x40:
        assert answer == UNSTABLE
    elif lamp & 0x10:
        assert answer == fault("hold")
    else:
        assert answer == Stable(Decimal("1.034"), "kg", net=True)
