"""Summed movements of twelve slots over thirty days of 5-minute readings, against the truth."""

from __future__ import annotations

import math
from functools import partial

import pytest

from edge.sim.day import Wear
from tests.edge.month import Sums, camera_slot, month, scale_slot
from tests.edge.test_month import counts, weights

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]
DAYS, SLOTS = 30, 12


def row(what: str, sums: Sums) -> None:
    available = 100 * (sums.available / sums.true_available - 1)
    print(f"  {what:<34} sold {sums.sold:6.0f} of {sums.true:6.0f} ({100 * sums.bias:+5.1f}%, stated sd "
          f"{math.sqrt(sums.var):5.1f}), restocked {100 * (sums.restocked / sums.true_restocked - 1):+5.1f}%, "
          f"seconds in stock {available:+5.1f}%")


def test_counts() -> None:
    print(f"\nfacings, {SLOTS} slots x {DAYS} days, 5-minute readings, 15% picked up and put back")
    for miscounted, occluded in ((0.0, 0.0), (0.02, 0.01), (0.10, 0.05)):
        readings = partial(counts, wrong=(miscounted, occluded))
        sums = month([camera_slot(n) for n in range(SLOTS)], readings, DAYS)
        row(f"{miscounted:.0%} miscounted, {occluded:.0%} occluded", sums)
        if miscounted <= 0.02:
            assert abs(sums.bias) <= 0.01


def test_weights() -> None:
    print(f"\nscales, {SLOTS} slots x {DAYS} days, 5-minute readings, drift of 0.3 unit a day")
    for noise in (0.05, 0.2, 0.4):
        sums = month([scale_slot(n) for n in range(SLOTS)], partial(weights, wear=Wear(noise, 0.3)), DAYS)
        row(f"noise {noise} unit", sums)
        if noise <= 0.2:
            assert abs(sums.bias) <= 0.02
