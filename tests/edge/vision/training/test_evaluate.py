"""The judge itself: a card that the loader takes, figures by class and place, and real photos where they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.clock import SystemClock
from edge.errors import ConfigError, ModelError
from edge.vision.card import read_model
from edge.vision.onnx import DEFAULT_MODEL, OnnxDetector
from edge.vision.training.cameras import CAMERAS
from edge.vision.training.evaluate import Judging, evaluate, made_of, rendered
from edge.vision.training.judge import LOWEST, figures, judge, quietly
from edge.vision.training.labels import labelled
from edge.vision.training.score import Judged, average_precision, best_threshold


def _json_labels(folder: Path, first: int, count: int = 2) -> Path:
    """Rendered pictures whose goods are labelled as the judging photos' are."""
    folder.mkdir(parents=True)
    for number, each in enumerate(rendered(first, count)):
        image, boxes, names = each.load()
        cv2.imwrite(str(folder / f"{number}.jpg"), image)
        goods = [box for box, name in zip(boxes.tolist(), names, strict=True) if name == "product"]
        (folder / f"{number}.json").write_text(json.dumps({"w": 640, "h": 640, "boxes": goods}))
    return folder


def _yolo_gaps(folder: Path, first: int, count: int = 2) -> Path:
    """Rendered pictures whose gaps are labelled in YOLO text, without names."""
    folder.mkdir(parents=True)
    for number, each in enumerate(rendered(first, count)):
        image, boxes, names = each.load()
        cv2.imwrite(str(folder / f"{number}.jpg"), image)
        gaps = [box for box, name in zip(boxes / 640, names, strict=True) if name == "gap"]
        lines = [f"0 {(x0 + x1) / 2} {(y0 + y1) / 2} {x1 - x0} {y1 - y0}\n" for x0, y0, x1, y1 in gaps]
        (folder / f"{number}.txt").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the judging photos lie: val/, test/ and gap/."""
    folder = tmp_path_factory.mktemp("photos")
    _json_labels(folder / "val", 20)
    _json_labels(folder / "test", 40, 3)
    _yolo_gaps(folder / "gap", 60)
    return folder


# Some seconds of one core; a machine that is busy with more needs longer.
@pytest.mark.timeout(300)
def test_a_card_is_made_that_the_detector_loads(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[Sequence[Judged]] = []

    def choose(photos: Sequence[Judged]) -> float:
        chosen.append(photos)
        return best_threshold(photos)

    monkeypatch.setattr("edge.vision.training.evaluate.best_threshold", choose)
    model = tmp_path / "shelf.onnx"
    shutil.copy(DEFAULT_MODEL, model)
    places = {"product": root / "test", "gap": root / "gap"}
    card = evaluate(model, Judging({"product": root / "val"}, places, scenes=3, threads=(1,)), SystemClock())
    assert OnnxDetector.load(model).card == card == read_model(model)[1]
    assert card.closer is not None
    # Pictures of 640 px show no more when they are looked at closer.
    assert set(card.looks.values()) == {1.0}
    assert card.chosen_on["gap"] == "rendered"
    assert card.chosen_on["product"].endswith("/val, also as worse cameras show it")
    # The two photos of val as they are and as each worse camera shows them; the rendered scenes as they are.
    assert [len(photos) for photos in chosen] == [2 * (1 + len(CAMERAS)), 3]
    by_class = {place.rpartition("/")[2]: set(own) for place, own in card.figures.items()}
    assert by_class == {"val": {"product"}, "test": {"product"}, "gap": {"gap"}, "rendered": {"product", "gap"}}
    for own in card.figures.values():
        for row in own.values():
            assert 0 <= row.ap <= row.ap50 <= 1
            assert row.photos in (2, 3)
    assert card.speed[0].ms > 0
    assert card.data == read_model(DEFAULT_MODEL)[1].data[: len(card.data)]


@pytest.mark.parametrize("use", ["choose", "judge"])
def test_photos_that_show_no_goods_neither_choose_nor_judge_them(root: Path, tmp_path: Path, use: str) -> None:
    model = tmp_path / "shelf.onnx"
    shutil.copy(DEFAULT_MODEL, model)
    places = {"product": root / "gap"}
    judging = Judging(choose=places) if use == "choose" else Judging(judge=places)
    with pytest.raises(ConfigError, match=r"gap: 1 problem\n  labels: none of them is of a product"):
        evaluate(model, judging, SystemClock())
    assert not model.with_suffix(".card.json").exists()


def test_a_graph_that_export_did_not_make_is_told() -> None:
    onnx = pytest.importorskip("onnx", reason="the extra `train` is not installed")
    graph = onnx.load(DEFAULT_MODEL)
    del graph.metadata_props[:]
    with pytest.raises(ModelError, match="does not say its crops, distances"):
        made_of(graph.SerializeToString())


@pytest.mark.parametrize(
    ("place", "photos"),
    [
        (lambda root: root, {"product": 3, "gap": 2}),
        (lambda root: root / "test", {"product": 3, "gap": None}),
        (lambda root: root / "gap", {"product": None, "gap": 2}),
    ],
)
def test_each_class_is_judged_where_its_labels_are(
    root: Path, place: Callable[[Path], Path], photos: dict[str, int | None]
) -> None:
    detector = OnnxDetector.load(threshold=LOWEST)
    rows = figures(detector, {"product": 0.3, "gap": 0.3}, place(root), None, quietly)
    assert {name: row and row.photos for name, row in rows.items()} == photos
    assert all(row.boxes > 0 and row.ap50 > 0 for row in rows.values() if row)


def test_real_photos_of_the_test_set(shared: Path, tmp_path: Path) -> None:
    """Six photos: enough to see that the card's figure is of this world, too few to repeat it."""
    for path in sorted((shared / "eval" / "test").glob("*.json"))[:6]:
        shutil.copy(path, tmp_path)
        shutil.copy(path.with_suffix(".jpg"), tmp_path)
    detector = OnnxDetector.load(threshold=LOWEST)
    judged = judge(detector, labelled(tmp_path))["product"]
    assert average_precision(judged, 0.5) > detector.card.figures["eval/test"]["product"].ap50 - 0.2


def test_real_gaps_need_no_option(shared: Path) -> None:
    photos = labelled(shared / "eval" / "gap")
    assert len(photos) == 61
    assert {name for photo in photos for name in photo.names} == {"gap"}
    assert all((np.diff(photo.boxes.reshape(-1, 2, 2), axis=1) > 0).all() for photo in photos)
