from __future__ import annotations

import termios
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import ManualClock, SystemClock
from edge.errors import SensorError
from edge.sensors import open_driver
from edge.sensors.driver import Driver
from edge.sensors.scale import NoWeight, Stable
from edge.sensors.toledo_8217 import Settings, decode, follow
from tests.edge.sensors.serial_bench import Adapter

# From the METTLER DIVA service manual's frame layout.
KG_1_234 = bytes.fromhex("02 30 31 2E 32 33 34 0D")
KG_1_234_ON_8N1 = bytes.fromhex("82 30 B1 2E B2 33 B4 8D")
MOTION, OVER, UNDER, OUTSIDE, CENTRE, STILL = (bytes([0x02, 0x3F, code, 0x0D]) for code in b"ABDHP@")


@pytest.mark.parametrize(("frame", "value", "net"), [
    (KG_1_234, "1.234", False),
    (KG_1_234_ON_8N1, "1.234", False),
    (b"\x0201.230N\r", "1.230", True),
    (b"\x0200.000\r", "0.000", False),
    (b"\x02 1.234\r", "1.234", False),
    (b"\x0201234\r", "1234", False),
])
def test_weights_keep_the_scales_own_increment(frame: bytes, value: str, net: bool) -> None:
    decoded = decode(frame)

    assert isinstance(decoded, Stable)
    assert decoded == Stable(Decimal(value), net=net)
    assert str(decoded.value).lstrip("0") == value.lstrip("0")


@pytest.mark.parametrize(("frame", "quality"), [
    (MOTION, "unstable"), (OVER, "bad:overload"), (UNDER, "bad:underload"), (OUTSIDE, "bad:outside_zero"),
    (CENTRE, "bad:no_weight"), (STILL, "bad:no_weight"), (b"\x02?C\r", "bad:overload"),
    (b"\x82\x3f\x41\x8d", "unstable"),
])
def test_a_status_says_why_there_is_no_weight(frame: bytes, quality: str) -> None:
    assert follow(None, decode(frame)) == NoWeight(quality)


@pytest.mark.parametrize("frame", [KG_1_234, b"\x0201.230N\r", MOTION])
def test_every_truncation_is_no_value(frame: bytes) -> None:
    for length in range(len(frame)):
        with pytest.raises(SensorError) as caught:
            decode(frame[:length])
        assert caught.value.reason == "truncated"


@pytest.mark.parametrize("frame", [
    b"\x02\r", b"\x02?\r", b"\x02?!\r", b"\x02-1.234\r", b"\x0201.2.4\r", b"\x020x.234\r", b"01.234\r",
    KG_1_234 + KG_1_234, b"\x02      \r", b"\x021.\r", b"\x02NaN\r",
])
def test_what_is_not_a_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(SensorError, match="bad_frame"):
        decode(frame)


@given(st.binary(max_size=80) | st.binary(max_size=12).map(lambda body: b"\x02" + body + b"\r"))
def test_any_bytes_are_a_weight_a_status_or_a_sensor_error(frame: bytes) -> None:
    try:
        decoded = decode(frame)
    except SensorError:
        return
    assert isinstance(decoded, NoWeight) or decoded.value.is_finite()


@given(st.decimals(0, 99, places=3), st.booleans())
def test_what_a_scale_shows_is_what_is_read(value: Decimal, net: bool) -> None:
    assert decode(b"\x02" + f"{value:06.3f}".encode() + b"N" * net + b"\r") == Stable(value, net=net)


def settings(port: Path, **more: Any) -> Settings:
    return Settings.model_validate(
        {"name": "scale-1", "driver": "toledo-8217", "port": str(port), "unit": "kg", "timeout_s": 0.2} | more)


@pytest.fixture
def scale(adapter: Adapter) -> Iterator[Driver]:
    scale = open_driver(settings(adapter.path), SystemClock())
    yield scale
    scale.close()


def ask(adapter: Adapter, scale: Driver, frame: bytes) -> tuple[Decimal | bool | str | None, str]:
    adapter.answer = lambda _: frame
    reading, *others = scale.read()
    assert [other.name for other in others] == ["scale-1/net"] * (reading.quality == "ok")
    assert (reading.name, reading.unit) == ("scale-1/weight", "kg")
    return reading.value, reading.quality


@pytest.mark.parametrize(("unit", "kilograms"), [
    ("kg", "1.234"), ("g", "0.001234"), ("lb", "0.55973298458"), ("oz", "0.03498331153625")])
def test_weights_are_reported_in_kilograms_exactly(adapter: Adapter, unit: str, kilograms: str) -> None:
    adapter.answer = lambda asked: KG_1_234 if asked == b"W" else b""
    scale = open_driver(settings(adapter.path, unit=unit), ManualClock(1000.0))
    # The manual clock stands still: the port's own timeout bounds each byte.
    reading, _ = scale.read()
    scale.close()

    assert reading.value == Decimal(kilograms)
    assert reading.t == 1000.0


def test_the_port_is_opened_as_the_manual_says(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: dict[str, Any] = {}
    monkeypatch.setattr(serial.Serial, "__init__", lambda _self, port, **given: opened.update(given, port=port))

    open_driver(settings(Path("/dev/ttyS9")), SystemClock())

    assert opened == {"port": "/dev/ttyS9", "baudrate": 9600, "bytesize": 7, "parity": "E", "stopbits": 1,
                      "timeout": 0.2, "write_timeout": 0.2, "exclusive": True}


def test_a_quiet_status_keeps_the_last_stable_weight(adapter: Adapter, scale: Driver) -> None:
    assert ask(adapter, scale, STILL) == (None, "bad:no_weight")
    assert ask(adapter, scale, KG_1_234) == (Decimal("1.234"), "ok")
    assert ask(adapter, scale, STILL) == (Decimal("1.234"), "ok")


@pytest.mark.parametrize(("between", "quality"), [
    (MOTION, "unstable"), (OVER, "bad:overload"), (UNDER, "bad:underload"), (CENTRE, "bad:no_weight")])
def test_motion_error_or_zero_ends_the_last_weight(
        adapter: Adapter, scale: Driver, between: bytes, quality: str) -> None:
    ask(adapter, scale, KG_1_234)

    assert ask(adapter, scale, between) == (None, quality)
    assert ask(adapter, scale, STILL) == (None, "bad:no_weight")


def test_a_scale_resting_at_zero_weighs_zero(adapter: Adapter, scale: Driver) -> None:
    ask(adapter, scale, b"\x0200.000\r")

    assert ask(adapter, scale, CENTRE) == (Decimal("0.000"), "ok")


@pytest.mark.parametrize("noise", [b"\xff\x00", b"\x02", b"\x0209", b"\r\r", b"\x0299.999"])
def test_noise_before_a_frame_is_skipped(adapter: Adapter, scale: Driver, noise: bytes) -> None:
    assert ask(adapter, scale, noise.replace(b"\r", b"\n") + KG_1_234) == (Decimal("1.234"), "ok")


def test_half_a_frame_is_never_joined_to_the_next_answer(adapter: Adapter, scale: Driver) -> None:
    with pytest.raises(SensorError, match="truncated"):
        ask(adapter, scale, KG_1_234[:4])
    with pytest.raises(SensorError, match="truncated"):
        ask(adapter, scale, KG_1_234[4:])


def test_a_stale_answer_is_not_this_answer(adapter: Adapter, scale: Driver) -> None:
    adapter.send(b"\x0209.999\r")

    assert ask(adapter, scale, KG_1_234) == (Decimal("1.234"), "ok")


def test_a_babbling_device_costs_128_bytes(adapter: Adapter, scale: Driver) -> None:
    with pytest.raises(SensorError, match="bad_frame"):
        ask(adapter, scale, b"U" * 3000)


def test_a_failed_read_forgets_the_last_weight(adapter: Adapter, scale: Driver) -> None:
    ask(adapter, scale, KG_1_234)
    with pytest.raises(SensorError, match="no_answer"):
        ask(adapter, scale, b"")

    assert ask(adapter, scale, STILL) == (None, "bad:no_weight")


def test_a_second_process_on_the_port_is_told(adapter: Adapter, scale: Driver) -> None:
    with pytest.raises(SensorError, match="port_busy"):
        open_driver(settings(adapter.path), SystemClock())
    scale.close()

    open_driver(settings(adapter.path), SystemClock()).close()


def test_a_pseudo_terminal_that_refuses_parity_is_opened_without(adapter: Adapter) -> None:
    """glibc lets the first 7E1 through and refuses the next; a real port that refuses it stays refused."""
    for _ in range(3):
        scale = open_driver(settings(adapter.path), SystemClock())
        assert ask(adapter, scale, KG_1_234_ON_8N1) == (Decimal("1.234"), "ok")
        scale.close()


def test_a_real_port_that_refuses_7e1_is_not_opened_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[dict[str, Any]] = []

    def refuse(_self: serial.Serial, _: str, **given: Any) -> None:
        tried.append(given)
        raise termios.error(22, "Invalid argument")

    monkeypatch.setattr(serial.Serial, "__init__", refuse)

    with pytest.raises(SensorError, match="port_settings"):
        open_driver(settings(tmp_path / "ttyUSB0"), SystemClock())
    assert [given["bytesize"] for given in tried] == [7]
