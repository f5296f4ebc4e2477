"""Labels in three formats mean the same boxes, and what cannot be read is told with file, place and fix."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import structlog

from edge.errors import ConfigError
from edge.vision.training.labels import labelled

W, H = 80, 40
BOX = (20.0, 10.0, 40.0, 30.0)
LINE = "0 0.375 0.5 0.25 0.5"


def _photo(folder: Path, name: str = "shelf.jpg") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / name), np.full((H, W, 3), 90, np.uint8))
    return folder


def _json(folder: Path) -> None:
    # Labels may speak of the photo's original size.
    text = json.dumps({"w": 2 * W, "h": 2 * H, "boxes": [[2 * v for v in BOX]]})
    (_photo(folder) / "shelf.json").write_text(text)


def _yolo(folder: Path) -> None:
    (_photo(folder) / "shelf.txt").write_text(LINE + "\n")


def _yolo_folders(folder: Path) -> None:
    _photo(folder / "images")
    (folder / "labels").mkdir()
    (folder / "labels" / "shelf.txt").write_text("0 0.25 0.25 0.5 0.25 0.5 0.75 0.25 0.75\n")


def _coco(folder: Path) -> None:
    _photo(folder / "images")
    box = {"image_id": 1, "category_id": 7, "bbox": [20, 10, 20, 20]}
    data = {
        "images": [{"id": 1, "file_name": "shelf.jpg", "width": W, "height": H}],
        "annotations": [box, {**box, "iscrowd": 1}],
        "categories": [{"id": 7, "name": "can"}],
    }
    (folder / "instances_default.json").write_text(json.dumps(data))


@pytest.mark.parametrize("write", [_json, _yolo, _yolo_folders, _coco])
def test_every_format_gives_the_same_box(tmp_path: Path, write: object) -> None:
    assert callable(write)
    write(tmp_path / "shop")
    [photo] = labelled(tmp_path / "shop")
    image, boxes, names = photo.load()
    assert image.shape == (H, W, 3)
    np.testing.assert_allclose(boxes, [BOX], atol=1e-4)
    assert names == ("product",)


@pytest.mark.parametrize(
    ("file", "text", "wanted"),
    [
        ("classes.txt", "can\nVoid\n", ("product", "gap")),
        ("data.yaml", "nc: 2\nnames: ['can', 'empty space']\n", ("product", "gap")),
        ("data.yaml", "names:\n- can\n- out-of-stock\nnc: 2\n", ("product", "gap")),
        ("data.yaml", "train: x\nnames:\n  0: can\n  1: gap\n", ("product", "gap")),
        ("data.yml", 'names: ["void", "can"]', ("gap", "product")),
    ],
)
@pytest.mark.parametrize("up", [False, True])
def test_names_say_what_is_a_gap(tmp_path: Path, file: str, text: str, wanted: tuple[str, ...], up: bool) -> None:
    folder = _photo(tmp_path / "shop" / "train")
    (folder / "shelf.txt").write_text(LINE + "\n" + LINE.replace("0", "1", 1) + "\n")
    ((folder.parent if up else folder) / file).write_text(text)
    assert labelled(folder)[0].names == wanted


def _split(root: Path, name: str, names: str = "data.yaml") -> Path:
    """A split as Ultralytics' tools lay it out: pictures in images/NAME, labels in labels/NAME."""
    folder = _photo(root / "images" / name)
    (root / "labels" / name).mkdir(parents=True)
    (root / "labels" / name / "shelf.txt").write_text(LINE.replace("0", "1", 1) + "\n")
    if names:
        (root / names).write_text("names: {0: can, 1: void}\n" if names.endswith("yaml") else "can\nvoid\n")
    return folder


@pytest.mark.parametrize("names", ["data.yaml", "images/data.yaml", "labels/classes.txt", "labels/train/classes.txt"])
def test_a_split_beside_its_labels_is_read(tmp_path: Path, names: str) -> None:
    [photo] = labelled(_split(tmp_path / "shop", "train", names))
    assert (photo.path.parent.name, photo.names) == ("train", ("gap",))


def test_a_split_is_found_from_inside_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _split(tmp_path / "shop", "train")
    monkeypatch.chdir(folder)
    assert labelled(Path())[0].names == ("gap",)
    monkeypatch.chdir(folder.parent)
    assert labelled(Path("train"))[0].names == ("gap",)


def test_a_split_without_names_is_called_as_its_set_is(tmp_path: Path) -> None:
    assert labelled(_split(tmp_path / "voids", "train", ""))[0].names == ("gap",)
    assert labelled(_split(tmp_path / "shop", "train", ""))[0].names == ("product",)


def test_the_root_of_splits_tells_which_there_are(tmp_path: Path) -> None:
    for name in ("val", "train"):
        _split(tmp_path / "shop", name)
    (tmp_path / "shop" / "labels" / ".ipynb").mkdir()
    with pytest.raises(ConfigError) as told:
        labelled(tmp_path / "shop")
    assert "name images/train or images/val" in str(told.value)


def test_without_names_the_folder_or_the_caller_says_it(tmp_path: Path) -> None:
    _yolo(tmp_path / "gap")
    _yolo(tmp_path / "shop")
    assert labelled(tmp_path / "gap")[0].names == ("gap",)
    assert labelled(tmp_path / "shop")[0].names == ("product",)
    assert labelled(tmp_path / "shop", unnamed="gap")[0].names == ("gap",)
    assert labelled(tmp_path / "gap", unnamed="product")[0].names == ("product",)


def test_a_photo_with_an_empty_label_file_holds_nothing(tmp_path: Path) -> None:
    (_photo(tmp_path) / "shelf.txt").write_text("\n")
    [photo] = labelled(tmp_path)
    assert photo.load()[1].shape == (0, 4)


@pytest.mark.parametrize(
    ("name", "text", "tells"),
    [
        ("shelf.txt", "0 0.5 0.5 0.1\n", "line 1"),
        ("shelf.txt", LINE + "\ncan 0.5 0.5 0.1 0.1\n", "line 2"),
        ("shelf.json", '{"w": 80, "h": 40, "boxes": [[1, 2, 3]]}', "boxes"),
        ("shelf.json", "{", "labels"),
        ("instances.json", '{"images": []}', "missing required field"),
        (
            "instances.json",
            '{"images": [{"id": 1, "file_name": "shelf.jpg", "width": 80, "height": 40}],'
            '"annotations": [{"image_id": 2, "category_id": 1, "bbox": [1, 1, 2, 2]}], "categories": []}',
            "image 2, category 1",
        ),
        (
            "instances.json",
            '{"images": [{"id": 1, "file_name": "other.jpg", "width": 80, "height": 40}],'
            '"annotations": [], "categories": []}',
            "other.jpg is not in",
        ),
        ("shelf.txt", "0 nan 0.5 0.1 0.1\n", "box 1"),
        ("shelf.txt", LINE + "\n0 0.5 0.5 -0.1 0.1\n", "box 2"),
        ("shelf.txt", "0 40 20 10 10\n", "box 1"),
        ("shelf.json", '{"w": 80, "h": 40, "boxes": [[3, 4, 1, 2]]}', "box 1"),
        ("shelf.json", '{"w": 0, "h": 40, "boxes": [[1, 2, 3, 4]]}', "Expected `float` > 0"),
        ("notes.md", "nothing", "no photo with labels"),
    ],
)
def test_what_cannot_be_read_names_file_place_and_fix(tmp_path: Path, name: str, text: str, tells: str) -> None:
    (_photo(tmp_path) / name).write_text(text)
    with pytest.raises(ConfigError, match=tells) as caught:
        labelled(tmp_path)
    assert str(tmp_path) in caught.value.file
    assert caught.value.problems[0].fix


def test_a_class_number_without_a_name_is_told(tmp_path: Path) -> None:
    (_photo(tmp_path) / "shelf.txt").write_text("3 0.5 0.5 0.1 0.1\n")
    (tmp_path / "classes.txt").write_text("can\nvoid\n")
    with pytest.raises(ConfigError, match="class 3 has no name"):
        labelled(tmp_path)


def test_numbered_names_in_braces_are_read(tmp_path: Path) -> None:
    (_photo(tmp_path) / "shelf.txt").write_text(LINE + "\n")
    (tmp_path / "data.yaml").write_text("names: {0: void, 1: 'can'}\n")
    assert labelled(tmp_path)[0].names == ("gap",)


@pytest.mark.parametrize("name", ["shelf.txt", "classes.txt", "data.yaml"])
def test_a_text_that_is_not_utf_8_names_its_file(tmp_path: Path, name: str) -> None:
    (_photo(tmp_path) / "shelf.txt").write_text(LINE + "\n")
    (tmp_path / name).write_bytes("names: [d\u00f6ner]".encode("utf-16"))
    with pytest.raises(ConfigError, match="UTF-8") as caught:
        labelled(tmp_path)
    assert caught.value.file == str(tmp_path / name)


def test_labels_without_a_picture_are_told(tmp_path: Path) -> None:
    (_photo(tmp_path) / "shelf.txt").write_text(LINE + "\n")
    (tmp_path / "lost.txt").write_text(LINE + "\n")
    (tmp_path / "classes.txt").write_text("can\n")
    with structlog.testing.capture_logs() as said:
        assert len(labelled(tmp_path)) == 1
    assert [(each["event"], each["files"]) for each in said] == [("labels_without_picture", ["lost.txt"])]
