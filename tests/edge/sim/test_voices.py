"""Every scale of the virtual shop, read by the agent's own driver through a real pseudo-terminal."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from edge.clock import ManualClock, SystemClock
from edge.errors import SensorError
from edge.sensors import DRIVERS, open_driver
from edge.sensors.driver import Driver
from edge.sim.faults import Fault
from edge.sim.scale import SETTLE_S, SimScale, State
from edge.sim.scales import VOICES
from tests.conformance.scale_file import load

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(params=VOICES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def scale(name: str, tmp_path: Path, clock: ManualClock) -> Iterator[SimScale]:
    scale = SimScale(tmp_path / "scale", VOICES[name](), "kg", clock, random.Random(7), period_s=0.03)
    yield scale
    scale.close()


def opened(name: str, scale: SimScale, timeout_s: float) -> Driver:
    settings: Any = DRIVERS[name].settings.model_validate(load(name).settings | {
        "name": "scale-1", "driver": name, "port": str(scale.port.link), "timeout_s": timeout_s})
    return open_driver(settings, SystemClock())


@pytest.fixture
def driver(name: str, scale: SimScale) -> Iterator[Driver]:
    driver = opened(name, scale, 2.0)
    yield driver
    driver.close()


def weight(driver: Driver) -> object:
    return driver.read()[0].value


def test_what_lies_on_the_pan_is_what_the_driver_reads(scale: SimScale, driver: Driver, clock: ManualClock) -> None:
    scale.put(Decimal("0.750"))
    clock.advance(SETTLE_S)
    assert weight(driver) == Decimal("0.750")
    scale.put(Decimal(0))
    clock.advance(SETTLE_S)
    assert weight(driver) == 0


@pytest.mark.parametrize("state", ["overload", "underload"])
def test_a_pan_out_of_range_is_no_value(name: str, scale: SimScale, state: State) -> None:
    driver = opened(name, scale, 0.3)
    scale.forced = state

    with suppress(SensorError):
        assert weight(driver) is None
    driver.close()


@pytest.mark.parametrize("fault", [Fault.HALF, Fault.NOISE, Fault.BABBLE])
def test_a_bad_line_never_makes_a_wrong_weight(name: str, scale: SimScale, clock: ManualClock, fault: Fault) -> None:
    driver = opened(name, scale, 0.1)
    scale.put(Decimal("1.234"))
    clock.advance(SETTLE_S)
    scale.fault = fault
    for _ in range(3):
        with suppress(SensorError):
            assert weight(driver) in (None, Decimal("1.234"))
    driver.close()
