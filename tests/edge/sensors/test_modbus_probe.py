"""Which devices are on a line, and which profiles explain what they say."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from edge.clock import ManualClock, SystemClock
from edge.errors import SensorError
from edge.sensors.modbus_frame import Block
from edge.sensors.modbus_line import Line
from edge.sensors.modbus_probe import Finding, candidates, load_all, probe_line, serials
from edge.sensors.modbus_profile import SerialSettings
from edge.sim.faults import Fault
from edge.sim.modbus_devices import IN_A_ROOM, danfoss_ak_cc55, md02_hundredths, r4dcb08
from edge.sim.rs485 import Rs485Line, SimModbus

PROFILES = load_all()


class Fridge:
    """A cold room whose door is open."""

    door_open = True

    def climate(self) -> tuple[float, float]:
        return 4.2, 60.0


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Rs485Line]:
    sim = Rs485Line(tmp_path / "rs485", [])
    yield sim
    sim.close()


@pytest.fixture
def line(sim: Rs485Line) -> Iterator[Line]:
    line = Line(str(sim.port.link), SerialSettings(), SystemClock())
    yield line
    line.close()


def probed(line: Line, *addresses: int) -> list[Finding]:
    return list(probe_line(line, addresses, PROFILES, SystemClock(), timeout_s=0.2))


@pytest.mark.parametrize("device", sorted(IN_A_ROOM))
def test_every_device_is_found_and_its_profile_is_among_the_most_plausible(
        sim: Rs485Line, line: Line, device: str) -> None:
    sim.devices = {3: SimModbus(3, IN_A_ROOM[device](Fridge()))}

    (finding,) = probed(line, 3)

    best = [each.device for each in finding.candidates if each.plausibility == finding.candidates[0].plausibility]
    assert finding.address == 3
    assert device in best
    assert set(best) <= {device, *PROFILES[device].lookalikes}


def test_lookalikes_come_with_both_readings(sim: Rs485Line, line: Line) -> None:
    sim.devices = {1: SimModbus(1, md02_hundredths(lambda: (4.2, 9.5)))}

    (finding,) = probed(line, 1)

    assert not finding.sure
    read = {each.device: [reading.value for reading in each.readings] for each in finding.candidates}
    assert read == {"md02-hundredths": [Decimal("4.20"), Decimal("9.50")],
                    "xy-md02": [Decimal("42.0"), Decimal("95.0")]}


def test_places_that_hold_a_boards_own_word_for_no_sensor_are_that_boards(sim: Rs485Line, line: Line) -> None:
    sim.devices = {1: SimModbus(1, r4dcb08(lambda: [3.5, 3.8]))}

    (finding,) = probed(line, 1)

    assert [each.device for each in finding.candidates] == ["r4dcb08", "comwintop-pt1000"]


def test_readings_that_cannot_be_told_apart_are_all_given() -> None:
    answers: dict[Block, tuple[int, ...] | str] = {Block(3, 0, 2): (273, 301), Block(4, 1, 2): "exception_1"}

    found = {each.device: [str(reading.value) for reading in each.readings] for each in candidates(PROFILES, answers)}

    assert found["rs485-th"] == ["27.3", "30.1"]
    assert found["shtc3-fc03"] == ["27.3", "30.1"]  # humidity first
    assert "xy-md02" not in found


def test_an_offset_that_is_not_known_is_tried_both_ways(sim: Rs485Line, line: Line) -> None:
    sim.devices = {1: SimModbus(1, danfoss_ak_cc55(lambda: [4.0] * 6, offset=-1))}

    (finding,) = probed(line, 1)

    assert (finding.candidates[0].device, finding.candidates[0].offset) == ("danfoss-ak-cc55", -1)


def test_an_empty_line_has_no_findings_and_only_reads_were_sent(sim: Rs485Line, line: Line) -> None:
    assert probed(line, 1, 2) == []
    assert {frame[1] for frame in sim.asked} <= {1, 2, 3, 4}


def test_bytes_that_are_no_answer_are_told(sim: Rs485Line, line: Line) -> None:
    sim.devices = {1: SimModbus(1, IN_A_ROOM["xy-md02"](Fridge()), fault=Fault.HALF)}

    (finding,) = probed(line, 1)

    assert finding.candidates == ()
    assert "another baud rate" in finding.why


def test_a_device_that_no_profile_explains_is_told(sim: Rs485Line, line: Line) -> None:
    sim.devices = {1: SimModbus(1, lambda: {3: {9: 1}})}

    (finding,) = probed(line, 1)

    assert "no profile explains" in finding.why


def test_the_time_is_bounded(line: Line) -> None:
    clock = ManualClock(0.0)
    findings = probe_line(line, range(1, 100), PROFILES, clock, timeout_s=0.01, limit_s=-1)

    with pytest.raises(SensorError, match=r"time_up: .* 1, 2, 3"):
        next(findings)


def test_the_likeliest_way_to_set_up_a_line_comes_first() -> None:
    ways = serials(PROFILES.values())

    assert ways[0] == SerialSettings()
    assert SerialSettings(parity="E") in ways
    assert SerialSettings(baudrate=19200, stopbits=2) in ways
