"""Summed movements over days of 5-minute readings; `tests/bench/test_movements.py` has the whole table."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from edge.profile import Slot
from edge.readings import Reading
from edge.sim.day import Wear, camera_readings, scale_readings
from edge.sim.story import Event
from tests.edge.month import camera_slot, month, scale_slot

DAYS, SLOTS = 10, 4


def counts(slot: Slot, events: tuple[Event, ...], times: Iterator[float], seed: int,
           wrong: tuple[float, float] = (0.0, 0.0)) -> Iterator[tuple[Reading, ...]]:
    return camera_readings(slot, events, times, seed, *wrong)


def weights(slot: Slot, events: tuple[Event, ...], times: Iterator[float], seed: int,
            wear: Wear) -> Iterator[tuple[Reading, ...]]:
    return scale_readings(slot, events, times, seed, wear)


@pytest.mark.parametrize("wrong", [(0.0, 0.0), (0.02, 0.01)])
def test_counts_of_a_camera_that_is_wrong_now_and_then_add_up(wrong: tuple[float, float]) -> None:
    sums = month([camera_slot(n) for n in range(SLOTS)], partial(counts, wrong=wrong), DAYS, seed=4)
    assert sums.true > 500
    assert abs(sums.bias) <= 0.02
    assert abs(sums.sold - sums.true) <= 4 * sums.var ** 0.5
    assert abs(sums.available / sums.true_available - 1) <= 0.01


def test_weights_of_a_scale_that_drifts_and_scatters_add_up() -> None:
    sums = month([scale_slot(n) for n in range(SLOTS)], partial(weights, wear=Wear(0.2, 0.3)), DAYS, seed=4)
    assert sums.true > 500
    assert abs(sums.bias) <= 0.02
    assert abs(sums.sold - sums.true) <= 4 * sums.var ** 0.5
    assert abs(sums.available / sums.true_available - 1) <= 0.01
