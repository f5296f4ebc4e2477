"""What every row of `DRIVERS` must do: a new driver adds its line there and its case here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge.clock import SystemClock
from edge.errors import SensorError
from edge.sensors import DRIVERS, open_driver, quantities
from edge.sensors.driver import Driver
from tests.conformance.scale_file import load
from tests.edge.sensors.onewire_bench import NAME, WireAdapter
from tests.edge.sensors.serial_bench import Adapter, replies


@dataclass(frozen=True)
class Case:
    """One driver's settings, what its device is asked and answers (an empty key: says unasked), and the last answer."""

    settings: dict[str, Any]
    exchange: dict[bytes, bytes]
    reply: bytes


XY_MD02 = bytes.fromhex("01 04 04 01 31 02 22 2A CE")
W1_SLAVE = b"72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125"
OTHERS = {
    "ds18b20": Case({}, {b"": W1_SLAVE}, W1_SLAVE),
    "modbus": Case({"device": "xy-md02", "address": 1, "timeout_s": 0.15},
                   {bytes.fromhex("01 04 00 01 00 02 20 0B"): XY_MD02}, XY_MD02),
}
pytestmark = pytest.mark.timeout(20)


def case_of(driver: str) -> Case:
    if driver in OTHERS:
        return OTHERS[driver]
    file = load(driver)
    return Case(file.settings | {"timeout_s": 0.15}, file.exchange, file.reply)


@dataclass
class Bench:
    """One driver's device on a terminal."""

    case: Case
    adapter: Adapter | WireAdapter
    settings: Any

    def say(self, reply: bytes) -> None:
        """From now on the device's last answer is this."""
        table = {ask: reply if answer == self.case.reply else answer for ask, answer in self.case.exchange.items()}
        self.adapter.unasked = table.pop(b"", b"")
        self.adapter.answer = replies(table)


@pytest.fixture(params=DRIVERS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    case = case_of(request.param)
    adapter = WireAdapter(tmp_path / NAME) if request.param == "ds18b20" else Adapter(tmp_path / "port")
    settings = DRIVERS[request.param].settings.model_validate(
        case.settings | {"name": "sensor-1", "driver": request.param, "port": str(adapter.path)})
    made = Bench(case, adapter, settings)
    made.say(case.reply)
    yield made
    adapter.unplug()


@pytest.fixture
def driver(bench: Bench) -> Iterator[Driver]:
    driver = open_driver(bench.settings, SystemClock())
    yield driver
    driver.close()


def reason(driver: Driver) -> str:
    with pytest.raises(SensorError) as caught:
        driver.read()
    return caught.value.reason


def test_a_good_answer_gives_every_quantity_that_was_promised(bench: Bench, driver: Driver) -> None:
    readings = driver.read()

    assert tuple((reading.quantity, reading.unit) for reading in readings) == quantities(bench.settings)
    assert {(reading.sensor, reading.quality) for reading in readings} == {("sensor-1", "ok")}


def test_silence_is_no_answer_and_not_zero(bench: Bench, driver: Driver) -> None:
    bench.say(b"")

    assert reason(driver) == "no_answer"


@pytest.mark.parametrize("noise", [b"\x00" * 9, b"\xff" * 400, b"hello\r\n" * 20, bytes(range(256))])
def test_garbage_is_no_value_and_the_next_good_answer_counts(bench: Bench, driver: Driver, noise: bytes) -> None:
    bench.say(noise)
    assert reason(driver) in ("bad_frame", "truncated", "no_answer")
    bench.say(bench.case.reply)

    assert {reading.quality for reading in driver.read()} == {"ok"}


def test_every_truncation_of_an_answer_is_no_value(bench: Bench, driver: Driver) -> None:
    for length in range(1, len(bench.case.reply)):
        bench.say(bench.case.reply[:length])
        # On a busy machine nothing may come by itself in the short time that these tests wait.
        unasked = b"" in bench.case.exchange
        assert reason(driver) in ("bad_frame", "truncated", *("no_answer",) * unasked)


def test_a_pulled_adapter_is_unplugged_and_then_no_port(bench: Bench, driver: Driver) -> None:
    driver.read()
    bench.adapter.unplug()

    assert reason(driver) == "unplugged"
    driver.close()
    with pytest.raises(SensorError, match="no_port"):
        open_driver(bench.settings, SystemClock())
    bench.adapter.plug()
    again = open_driver(bench.settings, SystemClock())
    assert {reading.quality for reading in again.read()} == {"ok"}
    again.close()


def test_closing_twice_is_fine_and_frees_the_port(bench: Bench, driver: Driver) -> None:
    driver.close()
    driver.close()

    open_driver(bench.settings, SystemClock()).close()


def test_a_closed_driver_gives_no_value(driver: Driver) -> None:
    driver.close()

    assert reason(driver)
