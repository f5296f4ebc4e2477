"""One line, several devices, and everything that goes wrong on an RS-485 line: real bytes on a real terminal."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.errors import SensorError
from edge.sensors.modbus_frame import Block
from edge.sensors.modbus_line import Line, counts, join_line, leave_line
from edge.sensors.modbus_profile import SerialSettings
from edge.sim.faults import Fault
from edge.sim.modbus_devices import rs485_th
from edge.sim.rs485 import BusFault, Rs485Line, SimModbus

BLOCK = Block(3, 0, 2)
FIRST, SECOND = {(3, 0): 40, (3, 1): 600}, {(3, 0): 0x10000 - 185, (3, 1): 700}
TIMEOUT_S, PATIENT_S = 0.15, 3.0
"""For a device that will not answer, and for one that will, however busy the machine is."""


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Rs485Line]:
    sim = Rs485Line(tmp_path / "rs485", [SimModbus(1, rs485_th(lambda: (4.0, 60.0))),
                                         SimModbus(2, rs485_th(lambda: (-18.5, 70.0)))])
    yield sim
    sim.close()


@pytest.fixture
def line(sim: Rs485Line) -> Iterator[Line]:
    assert sim.port.link is not None
    line = Line(str(sim.port.link), SerialSettings(), SystemClock())
    for address, timeout_s in ((1, PATIENT_S), (2, PATIENT_S), (9, TIMEOUT_S)):
        line.join(address, None, timeout_s)
    yield line
    line.close()


def reason(line: Line, address: int) -> str:
    with pytest.raises(SensorError) as caught:
        line.read(address, [BLOCK])
    return caught.value.reason


@pytest.mark.parametrize(("fault", "expected"), [
    (Fault.SILENT, "no_answer"), (Fault.HALF, "bad_frame"), (Fault.FLIP, "bad_frame"), (Fault.BABBLE, "bad_frame"),
    (BusFault.WRONG_CRC, "bad_frame"), (BusFault.OTHER_ADDRESS, "no_answer"), (BusFault.LONGER, "bad_frame"),
    (BusFault.BUSY, "exception_6"), (BusFault.FAILED, "exception_4")])
def test_every_fault_of_one_device_has_its_reason_and_leaves_the_other_alone(
        sim: Rs485Line, line: Line, fault: Fault | BusFault, expected: str) -> None:
    sim.devices[1].fault = fault
    line.join(1, None, TIMEOUT_S if expected == "no_answer" else 1.0)

    assert reason(line, 1) == expected
    assert line.read(2, [BLOCK]) == SECOND
    assert line.counts[expected] == 1
    sim.devices[1].fault = Fault.NONE
    line.join(1, None, PATIENT_S)
    assert line.read(1, [BLOCK]) == FIRST


@pytest.mark.parametrize("fault", [Fault.NOISE, Fault.SLOW])
def test_an_answer_between_noise_or_byte_by_byte_is_read(sim: Rs485Line, line: Line, fault: Fault) -> None:
    sim.devices[1].fault = fault

    assert line.read(1, [BLOCK]) == FIRST


def test_a_late_answer_is_not_read_as_the_next_devices(sim: Rs485Line, line: Line) -> None:
    sim.devices[1].fault = BusFault.LATE  # after its timeout, and before the other's
    line.join(1, None, TIMEOUT_S)
    sim.devices[2].delay_s = 0.1

    assert reason(line, 1) == "no_answer"
    assert line.read(2, [BLOCK]) == SECOND
    assert line.counts["stranger"] == 1


def test_what_came_unasked_is_dropped_before_a_request(sim: Rs485Line, line: Line) -> None:
    line.read(1, [BLOCK])
    sim.babble(bytes.fromhex("01 03 04 01 11 02 72 2A 8F"))  # a whole answer of device 1: 27.3 degrees
    while not line._opened().in_waiting:
        threading.Event().wait(0.001)

    assert line.read(1, [BLOCK]) == FIRST
    assert line.counts["stranger"] == 1


def test_an_adapter_that_hears_itself_is_understood(sim: Rs485Line, line: Line) -> None:
    sim.echo = True

    assert line.read(1, [BLOCK]) == FIRST
    assert line.counts["echo"] == 1
    with pytest.raises(SensorError, match="the adapter's own echo"):
        line.read(9, [BLOCK])


def test_a_line_on_which_somebody_never_stops_is_busy_and_recovers(sim: Rs485Line, line: Line) -> None:
    line.read(1, [BLOCK])
    sim.devices[1].fault = Fault.SILENT
    line.join(1, None, TIMEOUT_S)
    stop = threading.Event()

    def talk() -> None:
        while not stop.is_set():
            sim.port.write(b"\x55" * 8)

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        assert reason(line, 1) in ("line_busy", "bad_frame")  # a busy machine may leave a pause between two words
    finally:
        stop.set()
        talker.join()
    sim.devices[1].fault = Fault.NONE
    line.join(1, None, PATIENT_S)

    assert line.read(1, [BLOCK]) == FIRST


def test_a_dead_device_is_soon_not_asked_every_time(sim: Rs485Line, line: Line) -> None:
    for _ in range(2):
        assert reason(line, 9) == "no_answer"
    asked = len(sim.asked)

    with pytest.raises(SensorError, match="asked again in"):
        line.read(9, [BLOCK])
    assert len(sim.asked) == asked
    assert line.read(1, [BLOCK]) == FIRST


def test_only_reads_are_sent(sim: Rs485Line, line: Line) -> None:
    line.read(1, [BLOCK])
    line.ask(2, BLOCK, PATIENT_S)

    assert {frame[1] for frame in sim.asked} == {3}


def test_all_devices_of_a_port_share_one_line_and_its_counts(sim: Rs485Line) -> None:
    port = str(sim.port.link)
    one, other = (join_line(port, SerialSettings(), SystemClock()) for _ in range(2))
    assert one is other
    one.join(1, 1.0, PATIENT_S)
    one.read(1, [BLOCK])

    assert counts()[port]["ok"] == 1
    with pytest.raises(SensorError, match="line_settings"):
        join_line(port, SerialSettings(parity="E"), SystemClock())
    leave_line(one)
    leave_line(other)
    assert port not in counts()


def test_many_threads_on_one_line_each_get_their_own_device(line: Line) -> None:
    wrong: list[object] = []

    def ask(address: int, expected: dict[tuple[int, int], int]) -> None:
        wrong.extend(got for _ in range(30) if (got := line.read(address, [BLOCK])) != expected)

    threads = [threading.Thread(target=ask, args=args) for args in ((1, FIRST), (2, SECOND)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert line.counts["ok"] == 180
