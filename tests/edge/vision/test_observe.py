"""Facings, quality, stillness: pure functions, so properties and hand-made pictures judge them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.vision.detector import Detections, Floats
from edge.vision.observe import (
    MotionRule,
    MotionState,
    Region,
    Stand,
    between,
    count_facings,
    motion_step,
    unchanged,
)
from tests.edge.vision.shop_camera import arm, noisy, shelf


def run(frames: list[Floats], rule: MotionRule | None = None) -> list[bool]:
    state: MotionState | None = None
    answers = []
    for frame in frames:
        state, moving = motion_step(state, frame, rule or MotionRule())
        answers.append(moving)
    return answers


def _at(*centres: tuple[float, float]) -> Detections:
    middle = np.array(centres, np.float32).reshape(-1, 2)
    boxes = np.concatenate((middle - 4, middle + 4), 1)
    return Detections(boxes, np.ones(len(boxes), np.float32), np.zeros(len(boxes), np.int64))


def test_facings_are_counted_where_their_centres_lie() -> None:
    left, right = Region("A1", 0, 0, 0.5, 1), Region("A2", 0.5, 0, 1, 1)
    found = _at((10, 10), (99, 50), (100, 50), (150, 99), (260, 50))
    assert count_facings(found, (100, 200, 3), (left, right)) == {"A1": 2, "A2": 2}
    assert count_facings(_at(), (100, 200), (left, right)) == {"A1": 0, "A2": 0}


@given(st.lists(st.tuples(st.floats(0, 639), st.floats(0, 479))), st.integers(1, 6), st.integers(1, 6))
def test_regions_that_tile_the_frame_count_every_box_once(
    centres: list[tuple[float, float]], columns: int, rows: int
) -> None:
    regions = [
        Region(f"{i}-{j}", i / columns, j / rows, (i + 1) / columns, (j + 1) / rows)
        for i in range(columns)
        for j in range(rows)
    ]
    counts = count_facings(_at(*centres), (480, 640, 3), regions)
    assert sum(counts.values()) == len(centres)


@pytest.mark.parametrize("corners", [(0.5, 0, 0.5, 1), (0, 0.2, 1, 0.1), (-0.1, 0, 1, 1), (0, 0, 1, 1.01)])
def test_a_region_outside_the_frame_is_refused(corners: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="a region lies inside"):
        Region("A1", *corners)


@pytest.mark.parametrize(("facings", "depth"), [(0, 1), (1, 0), (-3, 1)])
def test_a_slot_without_a_place_is_refused(facings: int, depth: int) -> None:
    with pytest.raises(ValueError, match="at least one facing"):
        Stand("A1", 0, 0, 1, 1, facings, depth)


def test_a_still_shelf_is_known_after_two_frames_and_stays_countable() -> None:
    frames = [noisy(shelf(), seed) for seed in range(12)]
    assert run(frames) == [True] + [False] * 11


def test_no_frame_with_an_arm_in_it_is_counted() -> None:
    still = [noisy(shelf(), seed) for seed in range(4)]
    reaching = [noisy(arm(shelf(), x), x) for x in (0, 120, 240, 360, 480)]
    after = [noisy(shelf(), 50 + seed) for seed in range(4)]
    answers = run(still + reaching + after)
    assert answers[1:4] == [False] * 3
    assert all(answers[4:9])
    assert answers[9:] == [False] * 4


def test_a_sleeve_as_bright_as_the_wall_is_seen_by_its_colour() -> None:
    wall = np.full((480, 640, 3), 80, np.uint8)
    wall[100:200, 50:400] = 150
    blue = arm(wall, 300, sleeve=(170, 76, 54))
    assert abs(float(cv2.cvtColor(blue[400:], cv2.COLOR_BGR2GRAY).mean()) - 80) < 2
    assert run([noisy(wall, 1), noisy(wall, 2), noisy(blue, 3)])[-1] is True


def test_packs_that_go_near_the_frames_edge_do_not_block() -> None:
    sold = shelf()
    sold[20:116, :50] = 60
    assert run([noisy(shelf(), 1), noisy(shelf(), 2), noisy(sold, 3)]) == [True, False, False]


def test_an_arm_in_the_first_frames_is_not_counted_either() -> None:
    first = [noisy(arm(shelf(), x), x) for x in (0, 120, 240)]
    answers = run(first + [noisy(shelf(), seed) for seed in range(3)])
    assert answers == [True, True, True, True, False, False]


def test_lights_turned_down_by_half_move_nothing() -> None:
    frames = [noisy(shelf(), 1), noisy(shelf(), 2), noisy(shelf(), 3, 0.5), noisy(shelf(), 4, 0.5)]
    assert run(frames)[1:] == [False] * 3


def test_a_sold_pack_does_not_block_and_changes_the_picture() -> None:
    sold = shelf()
    sold[20:116, 110:151] = 60
    before, after = noisy(shelf(), 1), noisy(sold, 2)
    assert run([before, noisy(shelf(), 3), after])[-1] is False
    assert not unchanged(before, after)
    assert unchanged(before, noisy(shelf(), 4))


def test_a_restocked_shelf_is_countable_again_once_it_has_stood_still() -> None:
    rule = MotionRule(settle=5, linger=5)
    answers = run([noisy(shelf(1), 1), noisy(shelf(1), 2)] + [noisy(shelf(2), 10 + i) for i in range(8)], rule)
    assert answers[2:6] == [True] * 4
    assert answers[-1] is False


def test_somebody_who_stands_and_thinks_does_not_become_background() -> None:
    standing = [noisy(arm(shelf(), 240), 10 + seed) for seed in range(15)]
    answers = run([noisy(shelf(), 1), noisy(shelf(), 2), *standing, noisy(shelf(), 50)])
    assert answers == [True, False, *[True] * 15, False]


def test_goods_that_come_and_go_at_the_frames_edge_are_nobody_but_an_arm_over_their_slot_is() -> None:
    slots = (Region("A1", 0.0, 0.02, 0.45, 0.3), Region("A2", 0.55, 0.02, 1.0, 0.3))
    free = between(slots, noisy(shelf(), 1).shape)
    sold = shelf()
    sold[20:116, :250] = 30
    state: MotionState | None = None
    for seed in range(3):
        state, _ = motion_step(state, noisy(shelf(), seed), free=free)
    assert motion_step(state, noisy(sold, 5), free=free)[1] is False
    assert motion_step(state, noisy(sold, 5))[1] is True
    assert motion_step(state, noisy(arm(sold, 150), 6), free=free)[1] is True


def test_an_arm_goes_on_where_a_pushed_camera_sees_nothing() -> None:
    still = noisy(shelf(), 1)
    free = between((Region("A1", 0.1, 0.1, 0.9, 0.4),), still.shape)
    hole = np.zeros(still.shape[:2], bool)
    hole[-4:] = True
    state: MotionState | None = None
    for seed in range(3):
        state, _ = motion_step(state, noisy(shelf(), seed), free=free)
    reaching = np.where(hole[..., None], still, noisy(arm(shelf(), 200), 5)).astype(np.float32)
    assert motion_step(state, reaching, free=free)[1] is False
    assert motion_step(state, reaching, free=free, hole=hole)[1] is True


def test_one_slot_over_the_whole_picture_leaves_nothing_to_goods_alone() -> None:
    assert between((Region("A1", 0, 0, 1, 1),), (60, 80)).all()
    free = between((Region("A1", 0.2, 0.2, 0.4, 0.4),), (60, 80))
    assert (free[20, 24], free[50, 70]) == (False, True)


def test_unchanged_needs_a_picture_of_the_same_size() -> None:
    small = noisy(shelf(), 1)
    assert not unchanged(None, small)
    assert not unchanged(small[:-1], small)


@given(st.integers(0, 2**32 - 1))
def test_a_step_leaves_the_state_it_was_given_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = (rng.uniform(0, 255, (6, 8, 3)).astype(np.float32) for _ in range(2))
    state, _ = motion_step(None, first)
    kept = state.background.copy()
    motion_step(state, second)
    np.testing.assert_array_equal(state.background, kept)


def test_a_frame_of_another_size_starts_anew() -> None:
    state, _ = motion_step(None, np.zeros((6, 8, 3), np.float32))
    state, moving = motion_step(state, np.zeros((12, 16, 3), np.float32))
    assert moving
    assert state.background.shape == (12, 16, 3)
