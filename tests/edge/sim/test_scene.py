"""What the virtual camera sees."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from edge.profile import Slot
from edge.sim.packs import Frame, look_of
from edge.sim.scene import Bump, Scene, bumped
from edge.sim.shelves import MARGIN, shelf_of

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


def test_half_the_light_is_half_as_bright_and_a_body_stands_where_it_is_put() -> None:
    scene = Scene([COLA, SOUP], 7)
    full = {"B1": 6, "B2": 6}
    bright, dim = scene.render(full, 0.0), scene.render(full, 0.0, light=0.5)
    assert float(dim.mean()) == pytest.approx(float(bright.mean()) / 2, rel=0.02)
    off = np.abs(scene.render(full, 0.0, body=0.25).astype(int) - bright).mean(axis=2)
    assert float(off[600:, 200:280].mean()) > 20
    assert float(off[:, 500:].mean()) < 5


def test_a_bumped_camera_shows_the_shelf_shifted() -> None:
    frame = Scene([COLA, SOUP], 7).render({"B1": 6, "B2": 6}, 0.0)
    moved = bumped(frame, Bump(right=1 / 20, down=-1 / 48))
    np.testing.assert_array_equal(moved[:-20, 48:], frame[20:, :-48])
    np.testing.assert_array_equal(bumped(frame, Bump()), frame)


def test_an_untidy_shop_keeps_its_number_of_packs_anywhere_in_the_row() -> None:
    scene = Scene([COLA, SOUP], 7, untidy=True)
    empty = scene.render({"B1": 0, "B2": 0}, 0.0)
    seen = [facings(scene.render({"B1": level, "B2": 0}, 0.0), COLA, empty) for level in range(7)]
    assert [sum(places) for places in seen] == list(range(7))
    assert any(places != sorted(places, reverse=True) for places in seen)
    tidy = Scene([COLA, SOUP], 7).render({"B1": 6, "B2": 6}, 0.0)
    assert np.abs(tidy.astype(int) - scene.render({"B1": 6, "B2": 6}, 0.0)).mean() > 1


@pytest.mark.parametrize("seed", range(20))
def test_a_random_shelf_is_always_the_same_and_its_slots_are_apart(seed: int) -> None:
    slots = shelf_of(seed)
    assert slots == shelf_of(seed)
    assert len({slot.name for slot in slots}) == len(slots) >= 2
    for n, slot in enumerate(slots):
        x0, y0, x1, y1 = slot.region
        assert MARGIN <= x0 < x1 <= 1 - MARGIN
        assert MARGIN <= y0 < y1 <= 1 - MARGIN
        assert slot.capacity == slot.facings * slot.depth
        assert all(x1 <= u0 or u1 <= x0 or y1 <= v0 or v1 <= y0 for u0, v0, u1, v1 in (
            other.region for other in slots[:n]))
