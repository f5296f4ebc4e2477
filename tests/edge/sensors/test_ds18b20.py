"""The 1-wire thermometer: the kernel's text, its three lies, and files that come and go."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.clock import SystemClock
from edge.errors import SensorError
from edge.sensors.ds18b20 import Sample, Settings, Thermometer, crc8, decode, judge, open_driver, quantities
from edge.sim.onewire import OneWire, scratchpad, w1_slave

NAME = "28-0316a2794bff"
KERNEL_DOC = b"72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n"
POWER_ON = b"50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000\n"
SHORTED = b"00 00 00 00 00 00 00 00 00 : crc=00 YES\n00 00 00 00 00 00 00 00 00 t=0\n"
REASONS = {"no_answer", "truncated", "bad_frame", "bad_checksum", "short_circuit", "power_on", "not_converted",
           "out_of_range"}


def reason(text: bytes, before: Decimal | None = None) -> str:
    with pytest.raises(SensorError) as caught:
        judge(decode(text), before)
    return caught.value.reason


def test_the_kernels_text_is_read() -> None:
    assert decode(KERNEL_DOC) == Sample(Decimal("23.125"), failed=False)
    assert judge(decode(w1_slave(-18.0625)), None) == Decimal("-18.062")  # the kernel rounds towards zero


@pytest.mark.parametrize(("text", "expected"), [
    (POWER_ON, "power_on"), (SHORTED, "short_circuit"), (b"", "no_answer"), (b"\n", "no_answer"),
    (KERNEL_DOC.replace(b"YES", b"NO"), "bad_checksum"), (KERNEL_DOC.replace(b"57 :", b"56 :"), "bad_checksum"),
    (KERNEL_DOC.replace(b"t=23125", b"t=23135"), "bad_frame"), (KERNEL_DOC[:20], "truncated"),
    (KERNEL_DOC[:-7], "bad_frame"), (b"hello", "bad_frame"), (w1_slave(0, "low-power"), "not_converted"),
    (w1_slave(126.0), "out_of_range"), (w1_slave(-55.5), "out_of_range"), (w1_slave(4.0, "bad-crc"), "bad_checksum"),
])
def test_what_is_no_temperature_has_its_reason(text: bytes, expected: str) -> None:
    assert reason(text) == expected


def test_85_degrees_count_only_where_the_reading_before_was_near_and_the_chip_says_that_it_measured() -> None:
    real = w1_slave(85.0)

    assert reason(real) == "power_on"
    assert reason(real, Decimal("4.0")) == "power_on"
    assert reason(POWER_ON, Decimal("84.5")) == "power_on"
    assert judge(decode(real), Decimal("84.5")) == Decimal(85)
    assert judge(decode(w1_slave(84.9375)), None) == Decimal("84.937")


def test_a_clone_with_two_bits_more_is_read() -> None:
    body = bytes((0x72, 0x01, 0x4B, 0x46, 0xFF, 0xFF, 0x0E, 0x10))
    data = body + bytes((crc8(body),))
    text = f"{data.hex(' ')} : crc={data[8]:02x} YES\n{data.hex(' ')} t=23171\n".encode()

    assert decode(text).celsius == Decimal("23.171")  # 0x172 sixteenths and three sixty-fourths


@given(st.integers(-55 * 16, 125 * 16))
def test_every_temperature_of_the_chip_is_read_as_it_is(sixteenths: int) -> None:
    sample = decode(w1_slave(sixteenths / 16))

    assert abs(sample.celsius - Decimal(sixteenths) / 16) < Decimal("0.001")
    assert abs(sample.celsius) <= abs(Decimal(sixteenths) / 16)


def test_every_truncation_is_no_value() -> None:
    for length in range(len(KERNEL_DOC) - 1):  # the last byte ends the line and says nothing
        assert reason(KERNEL_DOC[:length]) in REASONS, length


def test_every_byte_changed_to_any_other_is_no_value() -> None:
    for place in range(len(KERNEL_DOC) - 1):
        for other in range(256):
            if other != KERNEL_DOC[place]:
                changed = KERNEL_DOC[:place] + bytes((other,)) + KERNEL_DOC[place + 1:]
                assert reason(changed) in REASONS, changed


def test_no_text_makes_an_exception_or_another_temperature() -> None:
    rng = random.Random("ds18b20")
    for _ in range(10_000):
        sixteenths = rng.randrange(-55 * 16, 125 * 16 + 1)
        text = bytearray(w1_slave(sixteenths / 16))
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(text) + 1)
            match rng.randrange(4):
                case 0:
                    text[at:at] = rng.choice((b"0", b"ff ", b"\n", b"t=", rng.randbytes(3)))
                case 1:
                    del text[at:at + rng.randrange(1, 9)]
                case 2:
                    text = bytearray(rng.randbytes(rng.randrange(90)))
                case _ if text:
                    text[at % len(text)] ^= 1 << rng.randrange(8)
        got = outcome(bytes(text))
        assert got in REASONS if isinstance(got, str) else abs(got - Decimal(sixteenths) / 16) < Decimal("0.001"), text


def outcome(text: bytes) -> Decimal | str:
    try:
        return judge(decode(text), None)
    except SensorError as error:
        return error.reason


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[OneWire]:
    wire = OneWire(tmp_path / "w1")
    wire.put(NAME, 4.25)
    yield wire
    wire.close()


def settings(wire: OneWire, **more: Any) -> Settings:
    return Settings.model_validate({"name": "cold-1", "driver": "ds18b20", "port": str(wire.folder / NAME)} | more)


@pytest.fixture
def thermometer(wire: OneWire) -> Thermometer:
    return open_driver(settings(wire), SystemClock())


def test_a_thermometer_gives_what_was_promised(wire: OneWire, thermometer: Thermometer) -> None:
    (reading,) = thermometer.read()

    assert (reading.sensor, reading.value, reading.quality) == ("cold-1", Decimal("4.250"), "ok")
    assert ((reading.quantity, reading.unit),) == quantities(settings(wire))
    wire.put(NAME, -18.5)
    assert thermometer.read()[0].value == Decimal("-18.500")


def test_a_fault_is_no_value_and_the_next_good_sample_counts(wire: OneWire, thermometer: Thermometer) -> None:
    for fault in ("bad-crc", "power-on", "low-power", "shorted", "silent", "garbled"):
        wire.put(NAME, 4.25, fault)
        with pytest.raises(SensorError) as caught:
            thermometer.read()
        assert caught.value.reason in REASONS
        wire.put(NAME, 4.25)
        assert thermometer.read()[0].value == Decimal("4.250")


def test_one_that_is_pulled_is_unplugged_then_no_port_and_comes_back(wire: OneWire, thermometer: Thermometer) -> None:
    wire.unplug(NAME)
    with pytest.raises(SensorError, match="unplugged"):
        thermometer.read()
    with pytest.raises(SensorError, match="no_port"):
        open_driver(settings(wire), SystemClock())
    wire.put(NAME, 5.0)

    assert open_driver(settings(wire), SystemClock()).read()[0].value == Decimal("5.000")


def test_a_folder_that_cannot_even_be_looked_into_has_a_reason(tmp_path: Path, wire: OneWire) -> None:
    nowhere = tmp_path / ("x" * 300) / NAME  # too long a name: an OSError that is not "no such file"

    with pytest.raises(SensorError, match="no_answer"):
        open_driver(settings(wire, port=str(nowhere)), SystemClock())


def test_a_file_that_cannot_be_read_is_no_answer(wire: OneWire, thermometer: Thermometer) -> None:
    (wire.folder / NAME / "w1_slave").unlink()
    (wire.folder / NAME / "w1_slave").mkdir()  # reading a folder fails as a bus that does not answer: with an OSError

    with pytest.raises(SensorError, match="no_answer"):
        thermometer.read()


def test_a_slow_conversion_is_waited_for(wire: OneWire, thermometer: Thermometer) -> None:
    file = wire.folder / NAME / "w1_slave"
    file.unlink()
    os.mkfifo(file)
    converter = threading.Thread(target=lambda: file.write_bytes(w1_slave(4.5)))
    converter.start()

    assert thermometer.read()[0].value == Decimal("4.500")
    converter.join()


def test_a_closed_one_gives_no_value(thermometer: Thermometer) -> None:
    thermometer.close()
    thermometer.close()

    with pytest.raises(SensorError, match="closed"):
        thermometer.read()


@pytest.mark.parametrize("port", ["/dev/ttyUSB0", "/sys/bus/w1/devices/10-000802be73fa", "28-", "28-0316A2794BFF"])
def test_only_a_thermometers_folder_is_a_port(wire: OneWire, port: str) -> None:
    with pytest.raises(ValidationError, match="no thermometer's folder"):
        settings(wire, port=port)


def test_the_simulated_scratchpad_is_the_chips() -> None:
    assert scratchpad(23.125) == bytes.fromhex("72014b467fff0e1057")
    assert w1_slave(23.125) == KERNEL_DOC
    assert w1_slave(0, "power-on") == POWER_ON
    assert w1_slave(0, "shorted") == SHORTED
