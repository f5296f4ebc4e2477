"""What the virtual camera sees."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from edge.profile import Slot
from edge.sim.packs import Frame, look_of
from edge.sim.scene import Scene

COLA = Slot(name="B1", sku="5000112637922", product="Cola 0.5 l", capacity=6, camera="cam-1",
            region=(0.02, 0.05, 0.49, 0.49))
SOUP = Slot(name="B2", sku="5449000000996", product="Tomato soup", capacity=6, camera="cam-1",
            region=(0.51, 0.05, 0.98, 0.49))


def facings(frame: Frame, slot: Slot, empty: Frame) -> list[bool]:
    """Which of the slot's places, left to right, differ from the empty shelf."""
    assert slot.region is not None
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = slot.region
    rows = slice(round((y0 + (y1 - y0) * 0.75) * height), round((y0 + (y1 - y0) * 0.88) * height))
    edges = np.linspace(x0 * width, x1 * width, slot.capacity + 1).round().astype(int)
    off = np.abs(frame.astype(int) - empty.astype(int)).mean(axis=2)
    return [bool(off[rows, left:right].mean() > 20) for left, right in pairwise(edges)]


@pytest.mark.parametrize("level", range(7))
def test_a_level_of_n_is_the_first_n_packs(level: int) -> None:
    scene = Scene([COLA, SOUP], 7)
    empty = scene.render({"B1": 0, "B2": 0}, 0.0)
    frame = scene.render({"B1": level, "B2": 6 - level}, 0.0)
    assert frame.shape == (720, 960, 3)
    assert frame.dtype == np.uint8
    assert facings(frame, COLA, empty) == [place < level for place in range(6)]
    assert facings(frame, SOUP, empty) == [place < 6 - level for place in range(6)]


def test_units_behind_a_facing_are_not_seen() -> None:
    deep = COLA.model_copy(update={"depth": 2})
    scene = Scene([deep], 7)
    empty = scene.render({"B1": 0}, 0.0)
    seen = {level: facings(scene.render({"B1": level}, 0.0), deep.model_copy(update={"capacity": 3}), empty)
            for level in (6, 5, 4, 1)}
    assert seen == {6: [True] * 3, 5: [True] * 3, 4: [True, True, False], 1: [True, False, False]}


def test_an_arm_hides_its_slot_and_the_light_drifts_and_the_sensor_is_noisy() -> None:
    scene = Scene([COLA, SOUP], 7)
    levels = {"B1": 6, "B2": 6}
    first, again = scene.render(levels, 0.0), scene.render(levels, 0.0)
    assert not np.array_equal(first, again)
    assert np.abs(first.astype(int) - again.astype(int)).mean() < 5
    assert scene.render(levels, 1350.0).mean() > first.mean() + 2
    arm = scene.render(levels, 0.0, arm="B2")
    half = first.shape[1] // 2
    assert np.abs(arm.astype(int) - first.astype(int))[:300, half:].mean() > 10


def test_a_sku_looks_the_same_each_time_and_unlike_others() -> None:
    assert look_of(COLA.sku, COLA.product) == look_of(COLA.sku, COLA.product)
    assert len({look_of(f"sku-{n}", "").brand for n in range(50)}) > 40
