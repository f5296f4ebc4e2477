"""Worse cameras: the same photo and labels, seen worse, and the same again each time."""

from __future__ import annotations

import numpy as np
import pytest

from edge.vision.training.cameras import CAMERAS, Worse, worse
from edge.vision.training.evaluate import rendered

PHOTOS = rendered(3, 2)


def _detail(image: np.ndarray) -> float:
    return float(np.abs(np.diff(image.astype(np.float32), axis=1)).mean())


def test_each_photo_is_shown_by_each_camera() -> None:
    assert [(each.photo, each.camera) for each in worse(PHOTOS)] == [(p, name) for name in CAMERAS for p in PHOTOS]


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_worse_camera_shows_another_picture_of_the_same_goods(camera: str) -> None:
    image, boxes, names = PHOTOS[0].load()
    seen, its_boxes, its_names = Worse(PHOTOS[0], camera).load()
    assert (seen.shape, seen.dtype) == (image.shape, image.dtype)
    np.testing.assert_array_equal(its_boxes, boxes)
    assert its_names == names
    assert float(np.abs(seen.astype(int) - image).mean()) > 1
    np.testing.assert_array_equal(Worse(PHOTOS[0], camera).load()[0], seen)


def test_each_camera_is_worse_in_its_own_way() -> None:
    image = PHOTOS[0].load()[0]
    seen = {name: see(image) for name, see in CAMERAS.items()}
    assert seen["dark"].mean() < 0.6 * image.mean()
    assert seen["flat"].std() < 0.6 * image.std()
    assert seen["harsh"].std() > 1.1 * image.std()
    for soft in ("soft", "small"):
        assert _detail(seen[soft]) < 0.9 * _detail(image)
    assert _detail(seen["noisy"]) > _detail(image)
    # JPEG's blocks: more of a step from one to the next than within.
    steps = np.abs(np.diff(seen["squeezed"].astype(np.float32), axis=1)).mean((0, 2))
    assert steps[7::8].mean() > 1.2 * np.delete(steps, np.s_[7::8]).mean()
