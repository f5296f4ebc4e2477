"""A picture too large for the detector's input, looked at part by part. Pure but for the detector.

Where the planogram says that its packs are large, the whole picture is looked at once. Otherwise the detector looks
closer by itself (`closer.py`), and only what is too small for that too is cut into parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from edge.vision.closer import best_of, inner
from edge.vision.detector import Detections, Detector, Image
from edge.vision.observe import Stand

INPUT = 640
LARGE_PX = 45
"""Packs need no closer look where the root of their area in the input is as much."""
PACK_PX = 10
"""A pack narrower than this in the input is too often missed by the closest look too."""
MOST = 3
"""Parts along each side, at most."""
SAME = 0.5
"""Goods and a gap that overlap by more are one thing, called by two names."""
Rect = tuple[int, int, int, int]


def look(detector: Detector, frame: Image) -> Detections:
    """All that the detector can tell of the frame; where it sees goods and, surer, a gap, there is a gap."""
    return _decided(detector.detect_all(frame))


def _decided(found: Detections) -> Detections:
    gap = np.array([found.labels[kind] == "gap" for kind in found.classes], bool).reshape(-1)
    if not gap.any() or gap.all():
        return found
    a, b = found.boxes[:, None], found.boxes[None, gap]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = sides.clip(0).prod(-1)
    areas = (found.boxes[:, 2:] - found.boxes[:, :2]).prod(-1)
    overlap = shared / (areas[:, None] + areas[None, gap] - shared)
    beaten = ~gap & ((overlap > SAME) & (found.scores[None, gap] > found.scores[:, None])).any(1)
    return Detections(found.boxes[~beaten], found.scores[~beaten], found.classes[~beaten], found.labels)


def fitted(frame: Image, pixels: int = INPUT) -> Image:
    """The frame no larger than `pixels` on its longest side, as a detector's input takes it.

    Halved, each pixel the mean of four, while that leaves enough, then interpolated: a sixth of the time that the mean
    over areas takes for any other ratio, and 2 ms are a tenth of an inference.
    """
    h, w = frame.shape[:2]
    scale = pixels / max(h, w)
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    while scale < 1 and frame.shape[1] >= 2 * size[0] and frame.shape[0] >= 2 * size[1]:
        half = (frame.shape[1] // 2, frame.shape[0] // 2)
        frame = np.asarray(cv2.resize(frame, half, interpolation=cv2.INTER_AREA), np.uint8)
    if scale < 1 and frame.shape[1::-1] != size:
        frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return frame


def _whole(detector: Detector, frame: Image) -> Detections:
    small = fitted(frame)
    found = look(detector, small)
    back = np.array((frame.shape[1] / small.shape[1], frame.shape[0] / small.shape[0]) * 2, np.float32)
    return Detections(found.boxes * back, found.scores, found.classes, found.labels)


def _shown(shape: tuple[int, ...], pixels: int) -> float:
    return min(1.0, pixels / max(shape[:2]))


def smallest(shape: tuple[int, ...], stands: Sequence[Stand], pixels: int = INPUT) -> float:
    """The least root of the area that a slot has for each facing, in the input's pixels."""
    areas = ((stand.x1 - stand.x0) * (stand.y1 - stand.y0) / stand.facings for stand in stands)
    return math.sqrt(min(areas) * shape[0] * shape[1]) * _shown(shape, pixels)


def parts_of(shape: tuple[int, ...], stands: Sequence[Stand], pixels: int = INPUT) -> tuple[Rect, ...]:
    """Rectangles x0, y0, x1, y1 to look at one by one, in pixels; the whole picture where that is enough.

    They overlap by a pack and a half, and those without a slot are left out.
    """
    h, w = shape[:2]
    if not stands:
        return ((0, 0, w, h),)
    narrowest = min((stand.x1 - stand.x0) / stand.facings for stand in stands) * w
    # A part smaller than the closest look can use would show no more.
    n = min(MOST, math.ceil(PACK_PX / narrowest / _shown(shape, pixels)), max(h, w) // (2 * pixels))
    if n <= 1:
        return ((0, 0, w, h),)
    overlap = round(1.5 * narrowest)
    rows = max(1, round(n * h / w))
    return tuple(
        rect for j in range(rows) for i in range(n)
        if _holds(rect := _grown(w, h, (i, n), (j, rows), overlap), stands, (w, h)))


def _grown(w: int, h: int, column: tuple[int, int], row: tuple[int, int], overlap: int) -> Rect:
    (i, n), (j, m) = column, row
    return (max(0, w * i // n - overlap), max(0, h * j // m - overlap),
            min(w, w * (i + 1) // n + overlap), min(h, h * (j + 1) // m + overlap))


def _holds(rect: Rect, stands: Sequence[Stand], size: tuple[int, int]) -> bool:
    w, h = size
    return any(stand.x0 * w < rect[2] and stand.x1 * w > rect[0] and stand.y0 * h < rect[3] and stand.y1 * h > rect[1]
               for stand in stands)


def look_at(detector: Detector, frame: Image, stands: Sequence[Stand], iou: float = 0.5) -> Detections:
    """What the detector finds of these slots, in the frame's pixels; without a slot, of all that is there."""
    if stands and smallest(frame.shape, stands) >= LARGE_PX:
        return _whole(detector, frame)
    parts = parts_of(frame.shape, stands)
    seen = [inner(look(detector, frame[y0:y1, x0:x1]), (x0, y0, x1, y1), frame.shape) for x0, y0, x1, y1 in parts]
    if len(seen) == 1:
        return seen[0]
    kept = best_of(seen, iou, sum(map(len, seen)))
    return Detections(kept.boxes, kept.scores, kept.classes, seen[0].labels)
