"""The shipped model: its card vouches for it, it is refused otherwise, and it finds goods on a shelf."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.errors import ModelError
from edge.vision.card import Card, card_path, read_model
from edge.vision.detector import Detections
from edge.vision.onnx import DEFAULT_MODEL, OnnxDetector
from edge.vision.training.render import Scene, photograph, render_shelf
from edge.vision.training.score import overlaps

# Measured on these six scenes, 635 boxes, at the card's threshold: .69 and .76; the bars stand a little lower.
RECALL, PRECISION = 0.6, 0.65


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the shipped model and its card, to spoil."""
    copy = tmp_path / DEFAULT_MODEL.name
    shutil.copy(DEFAULT_MODEL, copy)
    shutil.copy(card_path(DEFAULT_MODEL), card_path(copy))
    return copy


def _flip(model: Path) -> None:
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)


def _edit(**changes: object) -> Callable[[Path], None]:
    def spoil(model: Path) -> None:
        card = msgspec.json.decode(card_path(model).read_bytes())
        card_path(model).write_bytes(msgspec.json.encode(card | changes))

    return spoil


def _not_onnx(model: Path) -> None:
    model.write_bytes(b"no graph")
    _edit(sha256=hashlib.sha256(b"no graph").hexdigest())(model)


@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (lambda model: model.unlink(), "no such model"),
        (lambda model: card_path(model).unlink(), "no card"),
        (lambda model: model.write_bytes(model.read_bytes()[:-1]), "SHA-256"),
        (_flip, "SHA-256"),
        (lambda model: card_path(model).write_bytes(b"\xff{"), "not a model card"),
        (_edit(card="cornergrid.model/2"), "not a model card"),
        (_edit(thresold=0.3), "not a model card"),
        (_edit(threshold=1.5), "not a model card"),
        (_edit(input=[320, 320]), "its input is"),
        (_edit(strides=[8, 16, 32]), "its input is"),
        (_not_onnx, "not a model for ONNX Runtime"),
    ],
)
def test_a_model_that_its_card_does_not_vouch_for_is_refused(
    model: Path, spoil: Callable[[Path], None], names: str
) -> None:
    spoil(model)
    with pytest.raises(ModelError, match=names) as caught:
        OnnxDetector.load(model)
    assert str(model.parent) in caught.value.file
    assert caught.value.fix


def test_the_shipped_card_is_of_this_schema_and_small_enough() -> None:
    data, card = read_model(DEFAULT_MODEL)
    assert len(data) < 8_000_000
    assert card.test is not None
    assert card.test.photos == 51
    assert msgspec.json.decode(msgspec.json.encode(card), type=Card) == card


def _recall(scene: Scene, found: Detections) -> tuple[int, int]:
    best = overlaps(scene.boxes, found.boxes).max(1, initial=0)
    return int((best >= 0.5).sum()), len(scene.boxes)


def test_the_detector_finds_goods_on_shelves_it_was_not_trained_on(detector: OnnxDetector) -> None:
    hits = there = found_total = 0
    for seed in range(6):
        # Training draws from (seed, number); a lone number of this size is another stream.
        rng = np.random.default_rng(7_000_000 + seed)
        scene = render_shelf(rng)
        found = detector.detect(photograph(rng, scene.image))
        hit, n = _recall(scene, found)
        hits, there, found_total = hits + hit, there + n, found_total + len(found)
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
        assert (found.boxes >= 0).all()
        assert (found.boxes <= 960).all()
        assert (np.diff(found.scores) <= 0).all()
    assert hits / there >= RECALL
    assert hits / found_total >= PRECISION




def test_an_empty_frame_holds_nothing(detector: OnnxDetector) -> None:
    assert len(detector.detect(np.full((480, 640, 3), 128, np.uint8))) == 0


def test_a_frame_of_any_shape_is_taken(detector: OnnxDetector) -> None:
    for shape in ((1, 1, 3), (3, 2000, 3), (720, 960, 3)):
        found = detector.detect(np.zeros(shape, np.uint8))
        assert found.boxes.shape == (len(found), 4)
        assert found.boxes.dtype == np.float32
        assert found.labels == ("product",)
