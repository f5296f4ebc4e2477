"""The judge itself: labels in their own scale, a card that the loader takes, and real photos where they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.clock import SystemClock
from edge.vision.onnx import DEFAULT_MODEL, OnnxDetector
from edge.vision.training.photos import judge, photos
from edge.vision.training.render import render_shelf
from edge.vision.training.score import average_precision


def _labelled(folder: Path, count: int, first: int) -> Path:
    folder.mkdir()
    for seed in range(first, first + count):
        scene = render_shelf(np.random.default_rng(seed), 640, 640)
        cv2.imwrite(str(folder / f"{seed}.jpg"), scene.image)
        # Labels may speak of the photo's original size.
        labels = {"w": 1280, "h": 1280, "boxes": (2 * scene.boxes).tolist()}
        (folder / f"{seed}.json").write_text(json.dumps(labels))
    return folder


def test_labels_are_scaled_to_the_picture(tmp_path: Path) -> None:
    [(path, image, boxes)] = photos(_labelled(tmp_path / "val", 1, 3))
    assert path.name == "3.jpg"
    assert image.shape == (640, 640, 3)
    np.testing.assert_allclose(boxes, render_shelf(np.random.default_rng(3), 640, 640).boxes, rtol=1e-4)


def test_evaluate_writes_a_card_that_the_detector_loads(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    from edge.vision.training.evaluate import evaluate  # noqa: PLC0415  # needs the extra

    model = tmp_path / "shelf.onnx"
    shutil.copy(DEFAULT_MODEL, model)
    card = evaluate(model, _labelled(tmp_path / "val", 2, 20), _labelled(tmp_path / "test", 2, 40), SystemClock())
    detector = OnnxDetector.load(model)
    assert detector.card == card
    assert card.test is not None
    assert card.test.photos == 2
    assert 0 < card.test.ap <= card.test.ap50 <= 1
    assert card.speed is not None
    assert card.speed.ms > 0


def test_real_photos_of_the_test_set(shared: Path, tmp_path: Path) -> None:
    """Six photos: enough to see that the card's figure is of this world, too few to repeat it."""
    for path in sorted((shared / "eval" / "test").glob("*.json"))[:6]:
        shutil.copy(path, tmp_path)
        shutil.copy(path.with_suffix(".jpg"), tmp_path)
    detector = OnnxDetector.load(threshold=0.02)
    judged = judge(detector, tmp_path)
    card = detector.card.test
    assert card is not None
    assert average_precision(judged, 0.5) > card.ap50 - 0.2
