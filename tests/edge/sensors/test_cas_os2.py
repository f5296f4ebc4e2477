from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import reduce
from operator import xor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import SystemClock
from edge.errors import SensorError
from edge.sensors import open_driver
from edge.sensors.cas_os2 import PROTOCOL, STREAM, Settings, StreamSettings, decode
from edge.sensors.driver import Driver
from edge.sensors.scale import OVERLOAD, Stable, first_answer
from tests.edge.sensors.serial_bench import Adapter, replies

# From the Pinnacle OS2CX manual's frame layout.
KG_1_234 = bytes.fromhex("01 02 53 20 20 31 2E 32 33 34 6B 67 75 03 04")
ZERO_STREAMED = bytes.fromhex("01 02 53 20 20 30 2E 30 30 30 6B 67 71 03 04 10")
ENQ, ACK, NAK, DC1 = b"\x05", b"\x06", b"\x15", b"\x11"


def framed(body: bytes, other_bcc: bool = False) -> bytes:
    return b"\x01\x02" + body + bytes((reduce(xor, body) ^ (0x03 if other_bcc else 0),)) + b"\x03\x04"


@pytest.fixture
def scale(adapter: Adapter) -> Iterator[Driver]:
    scale = open_driver(Settings(name="scale-1", driver="cas-os2", port=str(adapter.path), timeout_s=0.2),
                        SystemClock())
    yield scale
    scale.close()


@given(st.decimals(-9, 99, places=3), st.booleans(), st.none() | st.booleans())
def test_what_a_scale_shows_is_what_is_read(value: Decimal, other_bcc: bool, net: bool | None) -> None:
    body = f"S{'-' if value < 0 else ' '}{abs(value):6f}kg".encode()
    flag = b"" if net is None else b"\x20" if net else b"\x00"

    assert decode(framed(body, other_bcc) + flag) == Stable(value, "kg", net)


def test_a_flag2_that_comes_where_none_should_is_heeded() -> None:
    assert first_answer(PROTOCOL, ZERO_STREAMED) == Stable(Decimal("0.000"), "kg", net=False)
    assert first_answer(PROTOCOL, ZERO_STREAMED[:15] + b"\x40") == OVERLOAD
    assert first_answer(PROTOCOL, KG_1_234 + b"\x01\x02S") == Stable(Decimal("1.234"), "kg")


def test_a_stream_is_not_read_before_its_flag2_has_come() -> None:
    assert first_answer(STREAM, ZERO_STREAMED[:15]) is None
    assert first_answer(STREAM, ZERO_STREAMED[:15] + b"\x40") == OVERLOAD
    with pytest.raises(SensorError, match="truncated"):
        STREAM.decode(ZERO_STREAMED[:15])


def test_a_wrong_bcc_is_a_bad_checksum() -> None:
    with pytest.raises(SensorError, match="bad_checksum"):
        decode(KG_1_234.replace(b"4kg", b"5kg"))


def test_a_scale_that_says_nak_refuses_and_is_not_taken_for_another(adapter: Adapter, scale: Driver) -> None:
    adapter.answer = replies({ENQ: NAK})
    assert [(reading.value, reading.quality) for reading in scale.read()] == [(None, "bad:refused")]
    adapter.answer = replies({ENQ: ACK, DC1: NAK})
    assert [(reading.value, reading.quality) for reading in scale.read()] == [(None, "bad:refused")]
    adapter.answer = replies({ENQ: ACK, DC1: KG_1_234})
    assert [(reading.value, reading.quality) for reading in scale.read()] == [(Decimal("1.234"), "ok")]


def test_a_scale_that_streams_is_not_this_driver(adapter: Adapter, scale: Driver) -> None:
    adapter.answer = lambda _: ZERO_STREAMED
    with pytest.raises(SensorError, match="bad_frame"):
        scale.read()


def test_a_stream_tells_net_each_time(adapter: Adapter) -> None:
    adapter.unasked = KG_1_234 + b"\x20"
    scale = open_driver(StreamSettings(name="scale-1", driver="cas-os2-stream", port=str(adapter.path)), SystemClock())

    weight, net = scale.read()
    scale.close()

    assert (weight.value, weight.net, net.value) == (Decimal("1.234"), True, True)
