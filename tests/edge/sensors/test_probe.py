"""Every simulated scale is found by the prober, at its own speed, or listed beside what nobody can tell it from."""

from __future__ import annotations

import random
import tomllib
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest

from edge import finds
from edge.clock import SystemClock
from edge.errors import SensorError
from edge.finds import NOTHING, SCALES, Choice, Find, Place, look_behind, toml_of
from edge.sensors import probe
from edge.sensors.modbus_probe import load_all
from edge.sensors.modbus_profile import SerialSettings
from edge.sensors.probe import Heard, lines_to_try, probe_scales, questions
from edge.sim.bus_command import ColdRoom
from edge.sim.faults import Fault
from edge.sim.modbus_devices import IN_A_ROOM
from edge.sim.rs485 import Rs485Line, SimModbus
from edge.sim.scale import SimScale
from edge.sim.scales import VOICES
from edge.sim.serial import PtyPort
from tests.edge.sensors.serial_bench import Adapter, silent

WRITES = (b"Z", b"T", b"C", b"\x1bT", b"\x1bV", b"<TK>", b"<ZK>")
"""What zeroes, tares or clears some scale."""
pytestmark = pytest.mark.timeout(120)


def put(folder: Path, driver: str) -> SimScale:
    protocol = SCALES[driver]
    scale = SimScale(folder / driver, VOICES[driver](), "kg", SystemClock(), random.Random(3),
                     baudrate=protocol.lines[0].baudrate)
    scale.put(Decimal("1.234"))
    return scale


def test_every_simulated_scale_is_found_and_named(tmp_path: Path) -> None:
    scales = [put(tmp_path, driver) for driver in SCALES]

    def look(driver: str) -> tuple[Heard, ...]:
        return probe_scales(str(tmp_path / driver), SCALES, SystemClock(), lambda _: None)

    with ThreadPoolExecutor(len(scales)) as pool:
        found = dict(zip(SCALES, pool.map(look, SCALES), strict=True))
    for scale in scales:
        scale.close()

    missed = {driver: [each.driver for each in heard] for driver, heard in found.items()
              if driver not in {each.driver for each in heard}}
    assert missed == {}
    unsure = {driver: [each.driver for each in heard] for driver, heard in found.items() if len(heard) > 1}
    assert all(len(others) <= 3 for others in unsure.values()), unsure
    for driver, heard in found.items():
        (right,) = (each for each in heard if each.driver == driver)
        assert right.line.baudrate == SCALES[driver].lines[0].baudrate
        assert right.sure == SCALES[driver].checked
        assert right.shown.startswith("1.23") or right.shown == "unstable", "asked its own question, not another's"


def test_one_that_speaks_by_itself_is_first_taken_for_one_that_does(tmp_path: Path) -> None:
    scale = put(tmp_path, "cas-os2-stream")

    heard = probe_scales(str(tmp_path / "cas-os2-stream"), SCALES, SystemClock(), lambda _: None)
    scale.close()

    assert [each.driver for each in heard] == ["cas-os2-stream", "cas-os2"]


def test_a_silent_port_is_left_in_bounded_time_with_a_word_for_each_step(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PATIENCE_S", 0.02)
    adapter = Adapter(tmp_path / "port", silent)
    steps: list[str] = []

    find = look_behind(Place(str(adapter.path), ""), (), SystemClock(), steps.append)
    adapter.unplug()

    assert (find.choices, find.nothing) == ((), NOTHING)
    assert len(steps) > len(lines_to_try(SCALES))


def test_nothing_that_a_scale_takes_for_an_order_is_sent() -> None:
    for line in lines_to_try(SCALES):
        for question in questions(line, SCALES):
            for part in question:
                assert not any(part.rstrip(b"\r\n").endswith(order) for order in WRITES), part


def test_a_babbling_port_is_nobody(tmp_path: Path) -> None:
    scale = put(tmp_path, "toledo-8217")
    scale.fault = Fault.BABBLE

    assert probe_scales(str(tmp_path / "toledo-8217"), {"toledo-8217": SCALES["toledo-8217"]},
                        SystemClock(), lambda _: None) == ()
    scale.close()


def test_a_missing_port_and_one_in_use_are_told(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match="no_port"):
        probe_scales(str(tmp_path / "none"), SCALES, SystemClock(), lambda _: None)

    assert look_behind(Place(str(tmp_path / "none"), ""), (), SystemClock(), lambda _: None).nothing == "is not there"


@pytest.mark.parametrize("port", ["/dev/null", "/etc/hostname", "/tmp"])
def test_what_is_there_and_no_serial_port_is_not_called_missing(port: str) -> None:
    find = look_behind(Place(port, ""), (), SystemClock(), lambda _: None)

    assert find.nothing == "is no serial port"


def test_a_device_that_is_garbled_at_one_setting_is_found_at_another(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    garbled, right = SerialSettings(), SerialSettings(baudrate=19200)
    monkeypatch.setattr(finds, "serials", lambda _: (garbled, right))
    probe = {name: profile for name, profile in load_all().items() if name == "xy-md02"}
    monkeypatch.setattr(finds, "load_all", lambda: probe)

    def answer(asked: bytes) -> bytes:
        if line.baudrate() != right.baudrate:
            return b"\x9c\x41\x07"
        return bytes.fromhex("0104040131 02222ACE") if asked == bytes.fromhex("010400010002200B") else b""

    line = PtyPort(tmp_path / "rs485", lambda asked: line.write(answer(asked)))
    find = look_behind(Place(str(tmp_path / "rs485"), ""), (1,), SystemClock(), lambda _: None, modbus_first=True)
    line.unplug()

    (choice,) = find.choices
    assert (choice.lines["device"], choice.lines["baudrate"]) == ("xy-md02", 19200)
    assert "temperature 30.5 Cel" in choice.says


def test_bytes_that_are_no_modbus_are_not_called_a_modbus_device(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finds, "serials", lambda _: (SerialSettings(),))
    line = PtyPort(tmp_path / "rs485", lambda _: line.write(b"\x9c\x41\x07"))
    monkeypatch.setattr(finds, "probe_scales", lambda *_: ())
    find = look_behind(Place(str(tmp_path / "rs485"), ""), (1,), SystemClock(), lambda _: None)
    line.unplug()

    (choice,) = find.choices
    assert "Modbus device" not in choice.title
    assert (choice.sure, choice.lines) == ("unknown", {})


def test_the_lines_to_paste_are_a_profiles(tmp_path: Path) -> None:
    scale = put(tmp_path, "toledo-8217")

    find = look_behind(Place(str(tmp_path / "toledo-8217"), ""), (), SystemClock(), lambda _: None)
    scale.close()

    text = toml_of([find, Find(Place("x", ""), (), "nothing")])
    assert 'name = "scale-1"' in text
    assert 'unit = "kg"  # its frames carry no unit' in text
    assert f'port = "{tmp_path}/toledo-8217"' in text


def test_every_modbus_device_of_a_line_is_found_or_listed_among_its_look_alikes(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PATIENCE_S", 0.02)  # no scale is here to wait for
    room = ColdRoom(SystemClock())
    devices = dict(enumerate(IN_A_ROOM, 1))
    line = Rs485Line(tmp_path / "line", [SimModbus(at, IN_A_ROOM[device](room)) for at, device in devices.items()])
    assert line.wait_ready(10)

    find = look_behind(Place(str(tmp_path / "line"), ""), tuple(devices), SystemClock(), lambda _: None)
    line.close()

    listed: dict[int, list[Choice]] = {}
    for choice in find.choices:
        listed.setdefault(choice.lines["address"], []).append(choice)
    assert listed.keys() == devices.keys()
    for at, device in devices.items():
        named = [choice.lines["device"] for choice in listed[at]]
        assert device in named, (device, named)
        assert len(named) <= 3, (device, named)
        assert all(choice.says for choice in listed[at])
        assert all(("look-alikes" in choice.sure) == (len(named) > 1) for choice in listed[at])
    pasted = tomllib.loads(toml_of([find]))["sensors"]
    assert [sensor["address"] for sensor in pasted] == list(devices), "one for each; look-alikes are comments"
