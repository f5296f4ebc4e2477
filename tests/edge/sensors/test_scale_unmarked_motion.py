"""Scales whose frames say nothing of motion, or share the line: what the open driver makes of them."""

from __future__ import annotations

from itertools import chain, cycle
from typing import Any

import pytest

from edge.clock import SystemClock
from edge.errors import SensorError
from edge.readings import Reading
from edge.sensors import DRIVERS, open_driver
from edge.sensors.driver import Driver
from tests.edge.sensors.serial_bench import Adapter

LIGHT, HEAVY = b"9900031600000004\r\n", b"9900123400000004\r\n"
pytestmark = pytest.mark.timeout(20)


def opened(name: str, adapter: Adapter, **given: Any) -> Driver:
    settings = DRIVERS[name].settings.model_validate(
        {"name": "scale-1", "driver": name, "port": str(adapter.path), "timeout_s": 0.3} | given)
    return open_driver(settings, SystemClock())  # type: ignore[arg-type]  # one of AnySettings, by its driver


def weight(driver: Driver) -> Reading:
    readings = driver.read()
    driver.close()
    return readings[0]


def test_two_different_weights_in_a_row_are_a_moving_weight(adapter: Adapter) -> None:
    answers = chain([LIGHT], cycle([HEAVY]))
    adapter.answer = lambda _: next(answers)
    driver = opened("dibal", adapter)

    assert [reading.quality for reading in driver.read()] == ["unstable"]
    assert str(weight(driver).value) == "1.234"


def test_a_scale_that_says_when_it_moves_is_asked_once(adapter: Adapter) -> None:
    heard = []
    adapter.answer = lambda data: heard.append(data) or b"S14401234\r"  # type: ignore[func-returns-value]

    assert str(weight(opened("magellan", adapter)).value) == "1.234"
    assert b"".join(heard) == b"S14\r"


def test_a_bar_code_that_is_scanned_between_is_no_weight(adapter: Adapter) -> None:
    adapter.answer = lambda _: b"S08A5901234123457\rS14401234\r"

    assert str(weight(opened("magellan", adapter)).value) == "1.234"


def test_four_digits_are_pounds_whatever_the_profile_says(adapter: Adapter) -> None:
    adapter.answer = lambda _: b"S1440100\r"

    assert str(weight(opened("magellan", adapter, unit="kg")).value) == "0.4535923700"


def test_an_indicator_without_checksum_is_named_and_not_believed(adapter: Adapter) -> None:
    adapter.unasked = bytes.fromhex("02 2D 30 20 20 20 31 32 33 34 20 20 20 20 20 30 0D")
    driver = opened("toledo-continuous", adapter)

    with pytest.raises(SensorError, match="toledo-continuous-plain"):
        driver.read()
    driver.close()
    assert str(weight(opened("toledo-continuous-plain", adapter)).value) == "1.234"
