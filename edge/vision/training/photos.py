"""Labelled photos, and what a detector makes of them; needs no PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from edge.vision.camera import load_picture
from edge.vision.detector import Detector, Floats, Image
from edge.vision.training.score import Judged


class Labels(msgspec.Struct, frozen=True):
    """The JSON beside an eval photo."""

    w: int
    h: int
    boxes: list[tuple[float, float, float, float]]


def photos(folder: Path) -> Iterator[tuple[Path, Image, Floats]]:
    """Labelled photos: path, BGR picture, boxes (n, 4) in its pixels."""
    for labels in sorted(folder.glob("*.json")):
        path = labels.with_suffix(".jpg")
        image = load_picture(path)
        data = msgspec.json.decode(labels.read_bytes(), type=Labels)
        scale = (image.shape[1] / data.w, image.shape[0] / data.h)
        yield path, image, (np.array(data.boxes, np.float32).reshape(-1, 4) * (*scale, *scale)).astype(np.float32)


def judge(detector: Detector, folder: Path) -> list[Judged]:
    """Every photo of a folder with its detections; give a detector that answers down to low scores."""
    judged = []
    for _, image, truth in photos(folder):
        found = detector.detect(image)
        judged.append(Judged(truth, found.boxes, found.scores))
    return judged
