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
from edge.sensors import modbus_line
from edge.sensors.driver import open_port
from edge.sensors.modbus import Device, Settings, device_of, line_problems, open_driver, quantities
from edge.sensors.modbus_frame import Block
from edge.sensors.modbus_profile import PROFILES, DeviceProfile, blocks, decode_points, load_device
from tests.edge.sensors.serial_bench import Adapter, modbus_simulator, replies, silent

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
    profile = DeviceProfile.model_validate({"title": "R4DCB08", "evidence": "documented", "source": "s", "points": [
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

    def keep(port: str, **given: Any) -> Any:
        opened.append(given)
        return open_port(port, **given)

    monkeypatch.setattr(modbus_line, "open_port", keep)

    open_driver(settings(adapter.path), SystemClock()).close()
    open_driver(settings(adapter.path, parity="E", baudrate=19200), SystemClock()).close()

    open_driver(settings(adapter.path, device="carel-ir33"), SystemClock()).close()

    assert [(o["baudrate"], o["parity"], o["stopbits"]) for o in opened] == [
        (9600, "N", 1), (19200, "E", 1), (19200, "N", 2)]


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
        return DeviceProfile.model_validate({"title": "x", "evidence": "documented", "source": "s", "points": [
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


@pytest.mark.parametrize(("contact", "circuit", "is_open"), [
    ("normally-closed", DOOR_1_ON, False), ("normally-closed", NO_DOOR_ON, True),
    ("normally-open", DOOR_1_ON, True), ("normally-open", NO_DOOR_ON, False)])
def test_a_doors_contact_says_open_whichever_way_it_is_wired(
        adapter: Adapter, contact: str, circuit: bytes, is_open: bool) -> None:
    adapter.answer = replies({bytes.fromhex("01 02 00 00 00 01 B9 CA"): bytes.fromhex("01 02 01 01 60 48")
                              if circuit == DOOR_1_ON else bytes.fromhex("01 02 01 00 A1 88")})
    chosen = settings(adapter.path, device="waveshare-io-8ch", contacts={"input-1": contact})
    door = open_driver(chosen, SystemClock())

    assert values(door) == {"open": is_open}
    assert quantities(chosen) == (("open", ""),)
    door.close()


def test_several_doors_are_told_by_their_inputs(adapter: Adapter) -> None:
    adapter.answer = replies({bytes.fromhex("01 02 00 00 00 02 F9 CB"): bytes.fromhex("01 02 01 01 60 48")})
    doors = open_driver(settings(adapter.path, device="waveshare-io-8ch", contacts={
        "input-1": "normally-closed", "input-2": "normally-closed"}), SystemClock())

    assert values(doors) == {"open/input-1": False, "open/input-2": True}
    doors.close()


def test_a_silent_doors_reading_is_no_value_and_not_closed(adapter: Adapter) -> None:
    adapter.answer = silent
    door = open_driver(settings(adapter.path, device="waveshare-io-8ch", contacts={"input-1": "normally-open"}),
                       SystemClock())
    with pytest.raises(SensorError, match="no_answer"):
        door.read()
    door.close()


def test_only_the_points_that_are_wanted_are_asked_for_and_reported(adapter: Adapter) -> None:
    adapter.answer = replies({bytes.fromhex("01 04 00 02 00 01 90 0A"): bytes.fromhex("01 04 02 02 22 38 49")})
    chosen = settings(adapter.path, points=["humidity"])
    device = open_driver(chosen, SystemClock())

    assert values(device) == {"humidity": Decimal("54.6")}
    assert quantities(chosen) == (("humidity", "%RH"),)
    device.close()


def test_an_offset_moves_what_the_manual_counts_otherwise(tmp_path: Path) -> None:
    def asked(**more: Any) -> set[Block]:
        return set(blocks(device_of(settings(tmp_path, device="danfoss-ak-cc55", **more))))

    assert Block(3, 2530, 3) in asked()
    assert Block(3, 2529, 3) in asked(offset=-1)


@pytest.mark.parametrize(("wrong", "says"), [
    ({"points": ["temperatur"]}, "no point temperatur: known are temperature, humidity"),
    ({"contacts": {"temperature": "normally-open"}}, "temperature of xy-md02 is a number"),
    ({"contacts": {"input-9": "normally-open"}, "device": "waveshare-io-8ch"}, "no point input-9"),
    ({"offset": 1}, "the offset of xy-md02 is 0"),
    ({"device": "./nowhere.toml"}, "no profile"),
])
def test_what_does_not_fit_the_devices_profile_is_a_mistake(tmp_path: Path, wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(says)):
        settings(tmp_path, **wrong)


def test_a_profile_of_ones_own_is_named_by_its_path(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text((PROFILES / "xy-md02.toml").read_text().replace('"temperature"', '"air"'))

    assert quantities(settings(tmp_path, device=str(mine)))[0] == ("air", "Cel")


def test_a_firmware_without_a_register_costs_that_point_alone(adapter: Adapter) -> None:
    adapter.answer = replies({
        bytes.fromhex("01 03 01 00 00 03 04 37"): bytes.fromhex("01 03 06 FF 47 FF 23 00 23 01 72"),
        bytes.fromhex("01 03 05 00 00 01 84 C6"): bytes.fromhex("01 83 02 C0 F1"),
        bytes.fromhex("01 03 0D 00 00 01 86 A6"): bytes.fromhex("01 83 02 C0 F1")})
    device = open_driver(settings(adapter.path, device="dixell-xr75cx"), SystemClock())

    read = {reading.quantity: reading.value or reading.quality for reading in device.read()}
    assert read == {"temperature-1": Decimal("-18.5"), "temperature-2": Decimal("-22.1"),
                    "temperature-3": Decimal("3.5"), "status": "bad:exception_2", "door-open-alarm": "bad:exception_2"}
    device.close()


def test_devices_that_cannot_share_a_line_are_told_before_it_is_opened(tmp_path: Path) -> None:
    def told(*more: dict[str, Any]) -> list[str]:
        return [str(problem) for problem in line_problems(
            [settings(tmp_path / "rs485", name=f"s-{n}", **{"address": n + 1, **given})
             for n, given in enumerate(more)])]

    assert told({}, {}, {"address": 1}) == []
    assert "s-0 9600 8N1, s-1 19200 8N2" in told({}, {"device": "carel-ir33"})[0]
    assert "s-0 and s-1 are both at address 1" in told({}, {"device": "r4dcb08", "address": 1})[0]
    assert told({}, {"device": "carel-ir33", "baudrate": 9600, "stopbits": 1}) == []


def test_an_unknown_device_is_a_mistake_in_the_shops_profile(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=re.escape("known: ") + ".*xy-md02"):
        settings(tmp_path, device="xy-md20")
