from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from edge.clock import SystemClock
from edge.errors import SensorError
from edge.sensors import open_driver
from edge.sensors.cas_ecr12 import Settings
from edge.sensors.driver import Driver
from tests.edge.sensors.serial_bench import Adapter, replies

# From the Cely PI100 manual's records.
POLL, STATUS_REQUEST, NAK = b"\x04\x05", b"\x04\x0208\x03", b"\x15"
KG_1_234 = b"\x0202\x1b3\x1b01234\x1b000100\x1b000123\x03"
MOTION, STILL, LOCKED = b"\x0209\x1b20\x03", b"\x0209\x1b21\x03", b"\x0211\x1b2A7\x03"


@pytest.fixture
def scale(adapter: Adapter) -> Iterator[Driver]:
    scale = open_driver(Settings(name="scale-1", driver="cas-ecr12", port=str(adapter.path), timeout_s=0.2),
                        SystemClock())
    yield scale
    scale.close()


def ask(adapter: Adapter, scale: Driver, poll: bytes, status: bytes = b"") -> tuple[object, str]:
    adapter.answer = replies({POLL: poll, STATUS_REQUEST: status})
    reading, = scale.read()
    return reading.value, reading.quality


def test_a_scale_that_says_nak_is_asked_why(adapter: Adapter, scale: Driver) -> None:
    assert ask(adapter, scale, NAK, MOTION) == (None, "unstable")
    assert ask(adapter, scale, NAK, b"\x0209\x1b32\x03") == (None, "bad:overload")
    assert ask(adapter, scale, bytes((NAK[0] | 0x80,)), MOTION) == (None, "unstable"), "parity of an 8N1 port"


@pytest.mark.parametrize(("status", "reason"), [(b"", "no_answer"), (NAK, "truncated"), (MOTION[:4], "truncated")])
def test_nak_without_a_reason_is_no_value(adapter: Adapter, scale: Driver, status: bytes, reason: str) -> None:
    with pytest.raises(SensorError, match=reason):
        ask(adapter, scale, NAK, status)


def test_a_weight_that_lies_still_is_sent_once_and_stands(adapter: Adapter, scale: Driver) -> None:
    assert ask(adapter, scale, NAK, STILL) == (None, "bad:no_weight")
    assert ask(adapter, scale, KG_1_234) == (Decimal("1.234"), "ok")
    assert ask(adapter, scale, NAK, STILL) == (Decimal("1.234"), "ok")
    assert ask(adapter, scale, NAK, STILL) == (Decimal("1.234"), "ok")
    assert ask(adapter, scale, NAK, MOTION) == (None, "unstable")
    assert ask(adapter, scale, NAK, STILL) == (None, "bad:no_weight")


def test_a_scale_that_asks_for_a_checksum_is_locked(adapter: Adapter, scale: Driver) -> None:
    assert ask(adapter, scale, LOCKED) == (None, "bad:locked")
