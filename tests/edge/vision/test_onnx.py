"""The shipped model: its card vouches for it, it is refused otherwise, and it finds goods on a shelf."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.errors import ModelError
from edge.vision.card import Card, card_path, read_model
from edge.vision.detector import Detections
from edge.vision.onnx import DEFAULT_MODEL, OnnxDetector
from edge.vision.training.evaluate import Drawn, rendered
from edge.vision.training.score import overlaps

# Measured on the eight of these twelve scenes that hold at most 300 goods, 854 boxes, at the card's threshold:
# .87 and .86; the bars stand lower, for a model that is trained anew.
RECALL, PRECISION = 0.75, 0.75


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


def _empty(model: Path) -> None:
    model.write_bytes(b"")
    _edit(sha256=hashlib.sha256(b"").hexdigest())(model)


@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (lambda model: model.unlink(), "no such model"),
        (lambda model: card_path(model).unlink(), "no card"),
        (lambda model: model.write_bytes(model.read_bytes()[:-1]), "SHA-256"),
        (_flip, "SHA-256"),
        (lambda model: card_path(model).write_bytes(b"\xff{"), "not a model card"),
        (_edit(card="cornergrid.model/1"), "not a model card"),
        (_edit(thresold=0.3), "not a model card"),
        (_edit(thresholds={"product": 1.5, "gap": 0.3}), "not a model card"),
        (_edit(thresholds={"product": 0.3}), "thresholds are for"),
        (_edit(sha256="0"), "not a model card"),
        (_edit(distances=[0, 1]), "its maps have"),
        (_edit(input=[320, 320]), "its input is"),
        (_edit(strides=[8, 16, 32]), "its maps have"),
        (_edit(strides=[16, 8]), "its maps are"),
        (_edit(classes=["can", "gap"], thresholds={"can": 0.3, "gap": 0.3}), "not a model card"),
        (_edit(classes=["product", "product"], thresholds={"product": 0.3}), "not a model card"),
        (_edit(distances=[-float(n) for n in range(10)]), "not a model card"),
        (_edit(distances=[1e300] * 10), "not a model card"),
        (_not_onnx, "not a model for ONNX Runtime"),
        (_empty, "not a model for ONNX Runtime"),
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


def test_a_graph_whose_maps_are_no_floats_is_refused(model: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra `train` is not installed")
    graph = onnx.load(model)
    for output in graph.graph.output:
        maker = next(node for node in graph.graph.node if output.name in node.output)
        maker.output[list(maker.output).index(output.name)] = f"{output.name}.exact"
        graph.graph.node.append(
            onnx.helper.make_node("Cast", [f"{output.name}.exact"], [output.name], to=onnx.TensorProto.FLOAT16))
        output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    onnx.save(graph, model)
    _edit(sha256=hashlib.sha256(model.read_bytes()).hexdigest())(model)
    with pytest.raises(ModelError, match=r"its maps are tensor\(float16\), not tensor\(float\)"):
        OnnxDetector.load(model)


def test_a_card_of_version_3_keeps_its_thresholds_and_has_no_bar(model: Path) -> None:
    _edit(card="cornergrid.model/3")(model)
    old = OnnxDetector.load(model).card
    _edit(card="cornergrid.model/4")(model)
    new = OnnxDetector.load(model).card
    assert old.closer is not None
    assert new.closer is not None
    assert old == msgspec.structs.replace(new, closer=msgspec.structs.replace(new.closer, steady=0.0))
    assert new.closer.steady > 0


def test_the_shipped_card_is_of_this_schema_and_small_enough() -> None:
    data, card = read_model(DEFAULT_MODEL)
    assert len(data) < 8_000_000
    assert card.figures["eval/test"]["product"].photos == 51
    assert card.figures["eval/gap"]["gap"].photos == 61
    assert card.chosen_on == {"product": "eval/val, also as worse cameras show it", "gap": "rendered"}
    assert {source.licence for source in card.data if source.use.startswith("training")} <= {"Apache-2.0", "MIT"}
    assert msgspec.json.decode(msgspec.json.encode(card), type=Card) == card


def _recall(truth: Detections, found: Detections) -> int:
    return int((overlaps(truth.boxes, found.boxes).max(1, initial=0) >= 0.5).sum())


def test_the_detector_finds_goods_on_shelves_it_was_not_trained_on(detector: OnnxDetector) -> None:
    hits = there = found_total = 0
    scenes: list[Drawn] = rendered(7, 12)
    for each in scenes:
        image, boxes, names = each.load()
        goods = np.array([name == "product" for name in names], bool)
        if goods.sum() > detector.card.max_detections:
            continue
        truth = Detections(boxes[goods], np.ones(goods.sum(), np.float32), np.zeros(goods.sum(), np.int64))
        found = detector.detect(image)
        hits, there, found_total = hits + _recall(truth, found), there + len(truth), found_total + len(found)
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
        assert (found.boxes >= 0).all()
        assert (found.boxes <= 640).all()
        assert (np.diff(found.scores) <= 0).all()
        assert (found.classes == 0).all()
    assert hits / there >= RECALL
    assert hits / found_total >= PRECISION


def test_gaps_are_told_only_when_asked_for(detector: OnnxDetector) -> None:
    gaps = 0
    for each in rendered(7, 4):
        image, _, _ = each.load()
        both, goods = detector.detect_all(image), detector.detect(image)
        np.testing.assert_array_equal(both.boxes[both.classes == 0], goods.boxes)
        assert both.labels == ("product", "gap")
        gaps += int((both.classes == 1).sum())
    assert gaps > 0


def test_a_threshold_of_ones_own_replaces_the_cards(detector: OnnxDetector) -> None:
    image, _, _ = rendered(7, 1)[0].load()
    strict = OnnxDetector.load(threshold=0.7).detect(image)
    assert (strict.scores >= 0.7).all()
    assert len(strict) <= len(detector.detect(image))


def test_an_empty_frame_holds_nothing(detector: OnnxDetector) -> None:
    assert len(detector.detect(np.full((480, 640, 3), 128, np.uint8))) == 0


def test_a_frame_of_any_shape_is_taken(detector: OnnxDetector) -> None:
    for shape in ((1, 1, 3), (3, 2000, 3), (720, 960, 3)):
        found = detector.detect(np.zeros(shape, np.uint8))
        assert found.boxes.shape == (len(found), 4)
        assert found.boxes.dtype == np.float32
        assert found.labels == ("product", "gap")


def test_cameras_that_share_a_detector_do_not_get_each_others_goods(detector: OnnxDetector) -> None:
    frames = [each.load()[0] for each in rendered(7, 4)]
    alone = [detector.detect(frame) for frame in frames]
    assert len({len(found) for found in alone}) > 1
    with ThreadPoolExecutor(len(frames)) as cameras:
        together = list(cameras.map(lambda n: detector.detect(frames[n % len(frames)]), range(5 * len(frames))))
    for n, found in enumerate(together):
        assert np.array_equal(found.boxes, alone[n % len(frames)].boxes)
