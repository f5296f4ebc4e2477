from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pymodbus.simulator import DataType, SimData, SimDevice

from edge.clock import SystemClock
from edge.errors import ConfigError, SensorError
from edge.sensors.modbus import (
    PROFILES,
    Device,
    DeviceProfile,
    Settings,
    blocks,
    decode_points,
    load_device,
    open_driver,
    quantities,
)
from tests.edge.sensors.serial_bench import Adapter, modbus_simulator, replies

ASK_PROBE = bytes.fromhex("01 04 00 01 00 02 20 0B")
PROBE_30_5 = bytes.fromhex("01 04 04 01 31 02 22 2A CE")
ASK_DOORS = bytes.fromhex("01 02 00 00 00 08 79 CC")
DOOR_1_ON = bytes.fromhex("01 02 01 01 60 48")
NO_DOOR_ON = bytes.fromhex("01 02 01 00 A1 88")
PROBE = load_device("xy-md02")


def settings(port: Path, **more: Any) -> Settings:
    return Settings.model_validate({"name": "fridge-1", "driver": "modbus", "port": str(port), "device": "xy-md02",
                                    "address": 1, "timeout_s": 0.1} | more)


@pytest.fixture
def adapter(tmp_path: Path) -> Iterator[Adapter]:
    adapter = Adapter(tmp_path / "rs485", replies({ASK_PROBE: PROBE_30_5}))
    yield adapter
    adapter.unplug()


@pytest.fixture
def probe(adapter: Adapter) -> Iterator[Device]:
    device = open_driver(settings(adapter.path), SystemClock())
    yield device
    device.close()


def values(device: Device) -> dict[str, Decimal | bool | str | None]:
    return {reading.quantity: reading.value for reading in device.read()}


def test_the_probe_is_asked_and_read_as_its_manual_says(probe: Device) -> None:
    assert values(probe) == {"temperature": Decimal("30.5"), "humidity": Decimal("54.6")}


@pytest.mark.parametrize(("reply", "first"), [(DOOR_1_ON, True), (NO_DOOR_ON, False)])
def test_contacts_are_bools(adapter: Adapter, reply: bytes, first: bool) -> None:
    adapter.answer = replies({ASK_DOORS: reply})
    doors = open_driver(settings(adapter.path, device="waveshare-io-8ch"), SystemClock())

    assert values(doors) == {"input-1": first} | {f"input-{n}": False for n in range(2, 9)}
    doors.close()


@pytest.mark.parametrize("raw", [0xFF33, 0x8000, 0x7FFF, 0])
def test_temperature_is_signed_and_must_be_possible(raw: int) -> None:
    temperature, humidity = decode_points(PROBE, {(4, 1): raw, (4, 2): 546}, "fridge-1", 7.0)

    expected = {0xFF33: (Decimal("-20.5"), "ok"), 0: (Decimal("0.0"), "ok")}.get(raw, (None, "bad:out_of_range"))
    assert (temperature.value, temperature.quality) == expected
    assert (humidity.value, humidity.t) == (Decimal("54.6"), 7.0)


def test_a_sentinel_or_a_missing_register_is_no_value_for_that_point_only() -> None:
    profile = DeviceProfile.model_validate({"title": "R4DCB08", "evidence": "documented", "source": "", "points": [
        {"name": f"probe-{n}", "function": 3, "register": n, "type": "int16", "scale": "0.1", "unit": "Cel",
         "sentinels": [0x8000]} for n in range(3)]})

    readings = decode_points(profile, {(3, 0): 0x8000, (3, 1): 219}, "rack", 0.0)

    assert [(r.value, r.quality) for r in readings] == [
        (None, "bad:no_probe"), (Decimal("21.9"), "ok"), (None, "bad:missing")]


@given(st.dictionaries(st.tuples(st.just(4), st.integers(0, 3)), st.integers(0, 0xFFFF)))
def test_any_registers_are_readings_inside_the_points_range(registers: dict[tuple[int, int], int]) -> None:
    for reading, point in zip(decode_points(PROBE, registers, "f", 0.0), PROBE.points, strict=True):
        if isinstance(reading.value, Decimal):
            assert point.min is not None
            assert point.max is not None
            assert point.min <= reading.value <= point.max


def test_every_changed_byte_of_an_answer_is_refused(adapter: Adapter, probe: Device) -> None:
    for place in range(len(PROBE_30_5)):
        changed = bytearray(PROBE_30_5)
        changed[place] ^= 0x10
        adapter.answer = replies({ASK_PROBE: bytes(changed)})
        with pytest.raises(SensorError) as caught:
            probe.read()
        assert caught.value.reason == "bad_frame", place


def test_every_truncation_of_an_answer_is_refused(adapter: Adapter, probe: Device) -> None:
    for length in range(1, len(PROBE_30_5)):
        adapter.answer = replies({ASK_PROBE: PROBE_30_5[:length]})
        with pytest.raises(SensorError, match="bad_frame"):
            probe.read()


def test_what_a_device_refuses_is_named(adapter: Adapter, probe: Device) -> None:
    adapter.answer = replies({ASK_PROBE: bytes.fromhex("01 84 02 C2 C1")})

    with pytest.raises(SensorError, match="exception_2"):
        probe.read()


def test_a_dead_device_costs_its_own_time_and_leaves_the_line_to_the_others(adapter: Adapter, probe: Device) -> None:
    dead = open_driver(settings(adapter.path, name="fridge-2", address=9), SystemClock())
    with pytest.raises(SensorError, match="no_answer"):
        dead.read()

    assert values(probe)["temperature"] == Decimal("30.5")
    dead.close()
    dead.close()
    assert values(probe)["temperature"] == Decimal("30.5")


def test_the_last_device_to_leave_lets_the_port_go(adapter: Adapter, probe: Device) -> None:
    other = open_driver(settings(adapter.path, name="fridge-2", address=2), SystemClock())
    probe.close()
    with pytest.raises(serial.SerialException):
        serial.Serial(str(adapter.path), exclusive=True)
    other.close()

    serial.Serial(str(adapter.path), exclusive=True).close()


def test_one_line_has_one_speed(adapter: Adapter, probe: Device) -> None:
    with pytest.raises(SensorError, match="line_settings"):
        open_driver(settings(adapter.path, name="fridge-2", address=2, baudrate=19200), SystemClock())

    assert values(probe)["temperature"] == Decimal("30.5")


def test_all_devices_of_a_pulled_line_come_back_with_it(adapter: Adapter, probe: Device) -> None:
    other = open_driver(settings(adapter.path, name="fridge-2"), SystemClock())
    adapter.unplug()
    with pytest.raises(SensorError, match="unplugged"):
        probe.read()
    with pytest.raises(SensorError, match="no_port"):
        other.read()
    adapter.plug()

    assert values(other) == values(probe) == {"temperature": Decimal("30.5"), "humidity": Decimal("54.6")}
    other.close()


def test_serial_settings_come_from_the_device_unless_the_shop_says_otherwise(
        adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[dict[str, Any]] = []
    real = serial.Serial

    def keep(port: str, **given: Any) -> Any:
        opened.append(given)
        return real(port, **given)

    monkeypatch.setattr(serial, "Serial", keep)

    open_driver(settings(adapter.path), SystemClock()).close()
    open_driver(settings(adapter.path, parity="E", baudrate=19200), SystemClock()).close()

    assert [(o["baudrate"], o["parity"], o["stopbits"], o["exclusive"]) for o in opened] == [
        (9600, "N", 1, True), (19200, "E", 1, True)]


def test_pymodbuss_own_simulator_is_read(tmp_path: Path) -> None:
    registers = SimDevice(1, SimData(1, values=[0xFF83, 546], datatype=DataType.REGISTERS))
    with modbus_simulator(tmp_path / "rs485", [registers]):
        device = open_driver(settings(tmp_path / "rs485", timeout_s=2), SystemClock())
        assert values(device) == {"temperature": Decimal("-12.5"), "humidity": Decimal("54.6")}
        device.close()


@pytest.mark.parametrize("name", sorted(path.stem for path in PROFILES.glob("*.toml")))
def test_every_device_profile_shipped_is_whole(name: str, tmp_path: Path) -> None:
    profile = load_device(name)

    assert profile.source
    assert quantities(settings(tmp_path, device=name)) == tuple((point.name, point.unit) for point in profile.points)


def test_adjacent_registers_are_one_request() -> None:
    def profile(*registers: int) -> DeviceProfile:
        return DeviceProfile.model_validate({"title": "", "evidence": "documented", "source": "", "points": [
            {"name": f"p{r}", "function": 3, "register": r, "type": "int16"} for r in registers]})

    assert blocks(profile(7, 1, 2, 9, 8)) == ((3, 1, 2), (3, 7, 3))
    assert blocks(profile(*range(200))) == ((3, 0, 125), (3, 125, 75))


@pytest.mark.parametrize(("text", "says"), [
    ('title = "x"', ["evidence", "source", "points"]),
    ("title = ", ["file", "is not TOML"]),
    ('title="x"\nevidence="documented"\nsource="s"\n[[points]]\nname="t"\nfunction=4\nregister=1\ntype="bit"\nunits="C"',
     ["points.0.units", "remove it"]),
    ('title="x"\nevidence="documented"\nsource="s"\n[[points]]\nname="t"\nfunction=4\nregister=1\ntype="bit"',
     ["points.0", "function 2 reads bits"]),
    ('title="x"\nevidence="documented"\nsource="s"\n[[points]]\nname="t"\nfunction=6\nregister=1\ntype="int16"',
     ["points.0.function", "given 6"]),
])
def test_a_bad_device_profile_names_its_mistakes(tmp_path: Path, text: str, says: list[str]) -> None:
    (tmp_path / "mine.toml").write_text(text)

    with pytest.raises(ConfigError) as caught:
        load_device("mine", tmp_path)

    assert "mine.toml" in str(caught.value)
    for word in says:
        assert word in str(caught.value)


def test_an_unknown_device_is_a_mistake_in_the_shops_profile(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=re.escape("known: ") + ".*xy-md02"):
        settings(tmp_path, device="xy-md20")
