"""Judges a detector on labelled photos; NumPy and ONNX Runtime only, so a device can do it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from edge.vision.card import GAP, PRODUCT, Accuracy
from edge.vision.detector import Floats, Image
from edge.vision.onnx import OnnxDetector
from edge.vision.training.labels import Labelled, labelled
from edge.vision.training.score import Judged, accuracy

CLASSES = (PRODUCT, GAP)
LOWEST = dict.fromkeys(CLASSES, 0.02)
"""Scores down to which precision is measured."""


class Photo(Protocol):
    """A picture with labels."""

    def load(self) -> tuple[Image, Floats, tuple[str, ...]]:
        """The picture, BGR, boxes (n, 4) in its pixels, and their classes' names (n,)."""


Progress = Callable[[Iterable[Photo], int, str], Iterable[Photo]]
"""Hands pictures on while it shows how far it is: the pictures, their number, what is done with them."""


def quietly(photos: Iterable[Photo], _total: int, _what: str) -> Iterable[Photo]:
    """Progress that shows nothing."""
    return photos


def judge(detector: OnnxDetector, photos: Iterable[Photo]) -> dict[str, list[Judged]]:
    """Every photo's boxes and what the detector makes of it, per class; give one that answers down to `LOWEST`."""
    judged: dict[str, list[Judged]] = {name: [] for name in detector.card.classes}
    for photo in photos:
        image, boxes, names = photo.load()
        found = detector.detect_all(image)
        for kind, name in enumerate(detector.card.classes):
            truth, own = np.array([each == name for each in names], bool), found.classes == kind
            bar = found.bar if name == PRODUCT else 1.0
            judged[name].append(Judged(boxes[truth], found.boxes[own], found.scores[own], bar))
    return judged


def classes_of(photos: Sequence[Labelled]) -> tuple[str, ...]:
    """The classes that the labels name."""
    named = {name for photo in photos for name in photo.names}
    return tuple(name for name in CLASSES if name in named)


def sources(folder: Path) -> dict[str, Path]:
    """Where each class is judged: `test` (or `val`) and `gap` of a root, the folder itself otherwise."""
    parts = {part: folder / part for part in ("test", "val", "gap") if (folder / part).is_dir()}
    if not parts:
        return dict.fromkeys(CLASSES, folder)
    both = parts.get("test", parts.get("val", folder))
    return {PRODUCT: both, GAP: parts.get("gap", both)}


def figures(
    detector: OnnxDetector, thresholds: dict[str, float], folder: Path, unnamed: str | None, progress: Progress
) -> dict[str, Accuracy | None]:
    """Per class the figures on a folder or a root of folders; None where no label there names the class.

    Raises:
        ConfigError: no labelled photo is there.
    """
    rows: dict[str, Accuracy | None] = dict.fromkeys(CLASSES)
    done: dict[Path, dict[str, list[Judged]]] = {}
    places = sources(folder)
    read = {place: labelled(place, unnamed) for place in dict.fromkeys(places.values())}
    for name, place in places.items():
        photos = read[place]
        if name not in classes_of(photos):
            continue
        if place not in done:
            done[place] = judge(detector, progress(photos, len(photos), place.name))
        rows[name] = accuracy(done[place][name], thresholds[name])
    return rows
