"""Labelled photos in three formats: JSON beside a photo, YOLO text, COCO; needs no PyTorch.

- `NAME.jpg` with `NAME.json`, `{"w", "h", "boxes": [[x0, y0, x1, y1], ...]}`: all boxes are products.
- YOLO: `NAME.txt` beside the photo, or in `labels/` where photos lie in `images/`, `labels/train/` where they lie in
  `images/train/`; a line is `class cx cy w h` as shares of the picture. Names come from `classes.txt` or `data.yaml`,
  there, one folder up, beside the labels or one up from them; without names all boxes are gaps where the folder is
  called gap or void, products elsewhere, or what `unnamed` says.
- COCO: `instances*.json` or `*.coco.json`, there or in `annotations/`, with `categories`.

A name of a gap (void, gap, empty, ...) is a gap; every other name is a product.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import numpy as np
import structlog

from edge.errors import ConfigError, Problem
from edge.vision.camera import load_picture
from edge.vision.card import GAP, PRODUCT
from edge.vision.detector import Floats, Image

log = structlog.get_logger(__name__)
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
T = TypeVar("T", bound=msgspec.Struct)
GAPS = re.compile(r"void|gap|empty|missing|vacan|hole|out.?of.?stock|oos", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """A photo and its labels: boxes (n, 4) x0 y0 x1 y1, as shares of the picture or in `size` pixels; names (n,)."""

    path: Path
    boxes: Floats
    names: tuple[str, ...]
    size: tuple[float, float] = (1.0, 1.0)

    def load(self) -> tuple[Image, Floats, tuple[str, ...]]:
        """The picture, BGR, the boxes in its pixels, and their classes' names."""
        image = load_picture(self.path)
        scale = np.array((image.shape[1] / self.size[0], image.shape[0] / self.size[1]) * 2, np.float32)
        return image, self.boxes * scale, self.names


Side = Annotated[float, msgspec.Meta(gt=0)]


class _Json(msgspec.Struct):
    w: Side
    h: Side
    boxes: list[tuple[float, float, float, float]]


class _CocoImage(msgspec.Struct):
    id: int | str
    file_name: str
    width: Side
    height: Side


class _CocoBox(msgspec.Struct):
    image_id: int | str
    category_id: int | str
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class _CocoCategory(msgspec.Struct):
    id: int | str
    name: str


class _Coco(msgspec.Struct):
    images: list[_CocoImage]
    annotations: list[_CocoBox]
    categories: list[_CocoCategory]


def _class(name: str) -> str:
    return GAP if GAPS.search(name) else PRODUCT


def _bad(path: Path, key: str, wrong: str, fix: str) -> ConfigError:
    return ConfigError(str(path), (Problem(key, wrong, fix),))


def _decode(path: Path, kind: type[T], fix: str) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _bad(path, "labels", str(error), fix) from error


def _picture(folder: Path, stem: str) -> Path | None:
    for suffix in PICTURES:
        for spelled in (suffix, suffix.upper()):
            path = folder / (stem + spelled)
            if path.is_file():
                return path
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _bad(path, "text", f"is not UTF-8: {error.reason}", "save it as UTF-8") from error


def _boxes(path: Path, rows: list[tuple[float, float, float, float]], size: tuple[float, float] = (1, 1)) -> Floats:
    """The boxes, (n, 4); one that cannot be of a picture of this size is refused. Empty ones are somebody's slip."""
    boxes, sides = np.array(rows, np.float32).reshape(-1, 4), np.array(size * 2, np.float32)
    right = (boxes[:, 2:] >= boxes[:, :2]).all(1) & ((boxes >= -sides) & (boxes <= 2 * sides)).all(1)
    if not right.all():
        number = int(right.argmin())
        wrong = f"from {boxes[number, :2].tolist()} to {boxes[number, 2:].tolist()} in a picture of {list(size)}"
        raise _bad(path, f"box {number + 1}", wrong, "a box lies in its picture, left before right, top before bottom")
    return boxes


def _orphans(files: list[Path]) -> None:
    if files:
        log.warning("labels_without_picture", number=len(files), files=[file.name for file in files[:5]])


def _from_json(folder: Path) -> Iterator[Labelled]:
    alone = []
    for path in sorted(folder.glob("*.json")):
        picture = _picture(folder, path.stem)
        if picture is None:
            alone.append(path)
            continue
        data = _decode(path, _Json, 'a file beside a photo is {"w": .., "h": .., "boxes": [[x0, y0, x1, y1], ..]}')
        size = (data.w, data.h)
        yield Labelled(picture, _boxes(path, data.boxes, size), (PRODUCT,) * len(data.boxes), size)
    _orphans(alone)


def _yaml_names(text: str) -> list[str]:
    """The `names` of a YOLO data.yaml, as a list or numbers in brackets, a dashed list, or numbered lines."""
    lists = r"^names:[ \t]*(\[[^\]]*\]|\{[^}]*\})?[ \t]*\n?((?:[ \t]*(?:-|\d+:)[ \t]*.+\n?)*)"
    found = re.search(lists, text, re.MULTILINE)
    if found is None:
        return []
    if found[1]:
        parts = [re.sub(r"^\s*\d+:\s*", "", part) for part in found[1][1:-1].split(",")]
    else:
        parts = [re.sub(r"^[ \t]*(?:-|\d+:)[ \t]*", "", line) for line in found[2].splitlines()]
    return [part.strip().strip("'\"") for part in parts if part.strip()]


def _yolo_names(places: Iterable[Path]) -> list[str]:
    for place in places:
        for name in ("classes.txt", "data.yaml", "data.yml"):
            path = place / name
            if path.is_file():
                text = _text(path)
                names = text.split("\n") if name == "classes.txt" else _yaml_names(text)
                return [_class(line.strip()) for line in names if line.strip()]
    return []


def _yolo_line(path: Path, number: int, line: str, names: list[str], unnamed: str) -> tuple[str, Floats]:
    fix = "a line is `class cx cy w h`, shares of the picture between 0 and 1"
    try:
        kind, *shares = line.split()
        values, at = [float(share) for share in shares], int(kind)
    except ValueError as error:
        raise _bad(path, f"line {number}", f"{line!r} is no label: {error}", fix) from error
    if len(values) > 4 and len(values) % 2 == 0:
        # A polygon, as segmentation tools export: its outer box.
        x, y = values[0::2], values[1::2]
        box = (min(x), min(y), max(x), max(y))
    elif len(values) == 4:
        cx, cy, w, h = values
        box = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
    else:
        raise _bad(path, f"line {number}", f"{line!r} has {len(values)} numbers after the class", fix)
    if names and not 0 <= at < len(names):
        raise _bad(path, f"line {number}", f"class {at} has no name among {len(names)}", "name it in classes.txt")
    return names[at] if names else unnamed, np.array(box, np.float32)


def _yolo_places(folder: Path) -> tuple[Path, Path, Path]:
    """Where the pictures of a folder lie, where their labels, and the data set's own folder."""
    root = folder.parent.parent
    if folder.parent.name == "images" and (root / "labels" / folder.name).is_dir():
        return folder, root / "labels" / folder.name, root
    pictures = folder / "images" if (folder / "images").is_dir() else folder
    return pictures, folder / "labels" if (folder / "labels").is_dir() else pictures, folder


def _from_yolo(folder: Path, unnamed: str | None) -> Iterator[Labelled]:
    pictures, texts, root = _yolo_places(folder)
    names = _yolo_names((folder, folder.parent, texts, texts.parent, root))
    alone = []
    fallback = unnamed or (GAP if GAPS.search(root.name) else PRODUCT)
    for path in sorted(texts.glob("*.txt")):
        picture = _picture(pictures, path.stem)
        if picture is None:
            alone += [path] if path.name != "classes.txt" else []
            continue
        lines = enumerate(_text(path).splitlines(), 1)
        rows = [_yolo_line(path, number, line, names, fallback) for number, line in lines if line.strip()]
        yield Labelled(picture, _boxes(path, [tuple(box) for _, box in rows]), tuple(name for name, _ in rows))
    _orphans(alone)


def _coco_files(folder: Path) -> list[Path]:
    places = (folder, folder / "annotations")
    names = ("instances*.json", "*.coco.json")
    return sorted({path for place in places for name in names for path in place.glob(name)})


def _coco_picture(folder: Path, file: Path, name: str) -> Path:
    split = file.name.removeprefix("instances_").removesuffix(".json")
    for place in (folder, folder / "images", folder / split, folder / "images" / split):
        if (place / name).is_file():
            return place / name
    raise _bad(file, "images.file_name", f"{name} is not in {folder}", "put the photos there or in images/")


def _from_coco(folder: Path) -> Iterator[Labelled]:
    for file in _coco_files(folder):
        data = _decode(file, _Coco, "COCO has images, annotations and categories")
        names = {category.id: _class(category.name) for category in data.categories}
        per_image: dict[int | str, list[_CocoBox]] = {image.id: [] for image in data.images}
        for box in data.annotations:
            if box.image_id not in per_image or box.category_id not in names:
                place = f"image {box.image_id}, category {box.category_id}"
                raise _bad(file, "annotations", f"{place} is not listed", "list every image and category")
            if not box.iscrowd:
                per_image[box.image_id].append(box)
        for image in data.images:
            own = per_image[image.id]
            rows = [(x, y, x + w, y + h) for x, y, w, h in (box.bbox for box in own)]
            labels = tuple(names[box.category_id] for box in own)
            picture = _coco_picture(folder, file, image.file_name)
            size = (image.width, image.height)
            yield Labelled(picture, _boxes(file, rows, size), labels, size)


def labelled(folder: Path, unnamed: str | None = None) -> list[Labelled]:
    """The labelled photos of a folder.

    Raises:
        ConfigError: there are none, or a label file cannot be read.
    """
    # `.` and `train` have no parents to look for labels and names in.
    folder = folder.resolve()
    found = list(_from_coco(folder)) or list(_from_json(folder)) or list(_from_yolo(folder, unnamed))
    if not found:
        splits = [f"images/{place.name}" for place in sorted((folder / "images").glob("*/"))
                  if (folder / "labels" / place.name).is_dir()]  # fmt: skip
        fix = "labels are NAME.json or NAME.txt (YOLO) beside NAME.jpg, or a COCO instances.json"
        raise _bad(folder, "photos", "no photo with labels is there", f"name {' or '.join(splits)}" if splits else fix)
    return found
