"""A pushed camera's frames are laid over the commissioning picture; what cannot be is told."""

from __future__ import annotations

import random

import cv2
import numpy as np
import pytest

from edge.sim.packs import Frame
from edge.sim.scene import Bump, Scene, bumped
from edge.sim.shelves import shelf_of
from edge.vision.align import STILL, Alignment, Reference, Seen, align, laid_over, to_picture
from tests.edge.shelves import pushed

WIDTH, HEIGHT = 960, 720
SHELF = shelf_of(31)
FULL = {slot.name: slot.capacity for slot in SHELF}
POINTS = np.array([[0.15, 0.15], [0.85, 0.15], [0.15, 0.85], [0.85, 0.85]])


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(picture())


def picture(light: float = 1.0, body: float | None = None, left: float = 1.0, seed: int = 31) -> Frame:
    levels = {name: round(n * left) for name, n in FULL.items()}
    return Scene(SHELF, seed, untidy=True).render(levels, 0.0, light=light, body=body)


def off(place: Alignment, bump: Bump) -> float:
    """How far, in pixels, a point of the shelf lies from where the alignment puts it."""
    matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), bump.degrees, bump.zoom)
    matrix[:, 2] += np.array((bump.right * WIDTH, bump.down * WIDTH))
    shown = (np.c_[POINTS * (WIDTH, HEIGHT), np.ones(4)] @ matrix.T) / (WIDTH, HEIGHT)
    return float(np.abs((to_picture(place.matrix, shown) - POINTS) * (WIDTH, HEIGHT)).max())


def test_a_camera_that_did_not_move_is_where_it_was(reference: Reference) -> None:
    place = align(reference, picture(light=0.5, seed=32), None)
    assert place is not None
    assert place.moved < 0.01


@pytest.mark.parametrize("seed", range(4))
def test_a_bump_by_a_twentieth_of_the_width_is_put_right_at_half_the_light(reference: Reference, seed: int) -> None:
    bump = pushed(random.Random(seed))
    place = align(reference, bumped(picture(light=0.5), bump))
    assert place is not None
    assert off(place, bump) < 8


def test_a_bump_while_somebody_covers_a_part_and_half_of_the_goods_are_gone(reference: Reference) -> None:
    before = align(reference, picture(left=0.5))
    assert before is not None
    bump = Bump(0.04, -0.03, 0.8)
    frame = bumped(picture(left=0.5, body=0.3), bump)
    place = align(reference, frame, Seen(picture(left=0.5), before))
    assert place is not None
    assert off(place, bump) < 8


def test_how_far_it_was_pushed_is_told(reference: Reference) -> None:
    place = align(reference, bumped(picture(), Bump(right=0.04)))
    assert place is not None
    assert place.moved == pytest.approx(0.04, abs=0.006)


def test_a_camera_that_was_turned_away_is_misaligned(reference: Reference) -> None:
    before = align(reference, picture())
    assert before is not None
    assert align(reference, bumped(picture(), Bump(right=0.4)), Seen(picture(), before)) is None
    other = shelf_of(77)
    shows = Scene(other, 77).render({slot.name: slot.capacity for slot in other}, 0.0)
    assert align(reference, shows) is None
    noise = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    assert align(reference, noise) is None


def test_a_frame_of_another_shape_is_misaligned(reference: Reference) -> None:
    assert align(reference, picture()[:, :720]) is None


def test_a_frame_laid_over_the_picture_shows_it(reference: Reference) -> None:
    bump = Bump(0.03, 0.02)
    place = align(reference, bumped(picture(), bump))
    assert place is not None
    laid = laid_over(bumped(picture(), bump), place, (640, 480))
    truth = cv2.resize(picture(), (640, 480), interpolation=cv2.INTER_AREA)
    inner = np.abs(laid.astype(int) - truth)[60:-60, 60:-60]
    assert float(np.median(inner)) < 12


def test_points_keep_their_place_where_nothing_moved() -> None:
    np.testing.assert_allclose(to_picture(STILL.matrix, POINTS), POINTS)
    assert to_picture(STILL.matrix, np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("left", [1.0, 0.5, 0.0])
def test_a_camera_turned_over_is_misaligned_however_much_is_left(reference: Reference, left: float) -> None:
    shown = picture(left=left)
    assert align(reference, shown) is not None
    assert align(reference, np.ascontiguousarray(shown[::-1, ::-1])) is None
    assert align(reference, np.ascontiguousarray(shown[::-1])) is None
