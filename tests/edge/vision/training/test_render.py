"""Scenes are a pure function of their seed, and their boxes lie on what they name."""

from __future__ import annotations

import numpy as np
import pytest

from edge.vision.training.packs import SHAPES, draw_pack
from edge.vision.training.render import clip, photograph, render_empty, render_shelf


@pytest.mark.parametrize("seed", range(6))
def test_boxes_lie_inside_the_picture(seed: int) -> None:
    scene = render_shelf(np.random.default_rng(seed), 640, 480)
    assert scene.image.shape == (480, 640, 3)
    assert scene.image.dtype == np.uint8
    x0, y0, x1, y1 = scene.boxes.T
    assert (x0 >= 0).all()
    assert (y0 >= 0).all()
    assert (x1 <= 640).all()
    assert (y1 <= 480).all()
    assert (x1 - x0 > 3).all()
    assert (y1 - y0 > 3).all()


def test_most_shelves_hold_goods_and_some_are_sold_out() -> None:
    counts = [len(render_shelf(np.random.default_rng(seed), 320, 240).boxes) for seed in range(40)]
    assert sum(count > 3 for count in counts) > 20
    assert 0 in counts


def test_the_same_seed_renders_the_same_scene() -> None:
    first, second = (render_shelf(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    other = render_shelf(np.random.default_rng(6))
    assert (other.image != first.image).any()


def test_goods_are_not_the_backdrop() -> None:
    scene = render_shelf(np.random.default_rng(3))
    inside = [scene.image[int(y0) : int(y1), int(x0) : int(x1)].std() for x0, y0, x1, y1 in scene.boxes]
    assert np.median(inside) > 15


def test_a_place_without_goods_has_no_boxes() -> None:
    assert render_empty(np.random.default_rng(0)).boxes.shape == (0, 4)


def test_clip_cuts_and_drops() -> None:
    boxes = np.array(((-10, 10, 30, 50), (90, 10, 190, 50), (50, 50, 52, 90)), np.float32)
    assert clip(boxes, 100, 100, keep=0.4).tolist() == [[0, 10, 30, 50]]


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_fills_its_box(name: str) -> None:
    pack = draw_pack(np.random.default_rng(1), name, 80, 40)
    assert pack.shape == (80, 40, 4)
    rows, columns = np.nonzero(pack[..., 3] > 100)
    assert rows.min() <= 1
    assert rows.max() >= 78
    assert columns.min() <= 1
    assert columns.max() >= 38


def test_the_camera_keeps_size_and_type() -> None:
    shot = photograph(np.random.default_rng(2), np.full((40, 60, 3), 128, np.uint8))
    assert shot.shape == (40, 60, 3)
    assert shot.dtype == np.uint8
