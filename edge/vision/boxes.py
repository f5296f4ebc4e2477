"""From raw network maps to boxes, in NumPy and without a loop over boxes: letterbox, decode, suppress."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from edge.vision.detector import Detections, Floats, Image

GREY = 114


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a frame was fitted into the input: scaled by `scale`, with its corner at (`left`, `top`)."""

    scale: float
    left: int
    top: int


def letterbox(frame: Image, width: int, height: int) -> tuple[Image, Letterbox]:
    """The frame at its own proportions inside (height, width, 4), BGR and a fourth byte, with grey around it."""
    h, w = frame.shape[:2]
    scale = min(width / w, height / h)
    inner_w, inner_h = max(1, round(w * scale)), max(1, round(h * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    fit = Letterbox(scale, (width - inner_w) // 2, (height - inner_h) // 2)
    small = frame if (inner_w, inner_h) == (w, h) else cv2.resize(frame, (inner_w, inner_h), interpolation=how)
    right, bottom = fit.left + inner_w, fit.top + inner_h
    canvas = np.empty((height, width, 4), np.uint8)
    canvas[:fit.top] = canvas[bottom:] = canvas[:, :fit.left] = canvas[:, right:] = GREY
    cv2.cvtColor(small, cv2.COLOR_BGR2BGRA, dst=canvas[fit.top:bottom, fit.left:right])
    return canvas, fit


@lru_cache(maxsize=8)
def _limits(thresholds: tuple[float, ...]) -> Floats:
    """The logits of the thresholds, (n, 1); 0 lets everything pass, 1 nothing."""
    logits = [math.log(score / (1 - score)) if 0 < score < 1 else math.copysign(math.inf, score - 0.5)
              for score in thresholds]  # fmt: skip
    return np.array(logits, np.float32)[:, None]


@lru_cache(maxsize=8)
def _grid(height: int, width: int, stride: int) -> Floats:
    """For each cell of a map, row by row, where its box begins, x y x y, and by what its sides' lengths in strides
    are to be multiplied, (2, 4, height * width), in the input's pixels.
    """
    y, x = (np.indices((height, width)).reshape(2, -1) + 0.5) * stride
    return np.stack((np.stack((x, y, x, y)), np.outer((-stride, -stride, stride, stride), np.ones(len(x))))).astype(
        np.float32)


def decode(
    maps: Sequence[Floats], strides: Sequence[int], thresholds: Sequence[float], distances: Sequence[float]
) -> Detections:
    """Raw maps (classes + 4 x bins, h, w), one per stride, to boxes in the input's pixels.

    Per cell: a logit per class, then for left, top, right and bottom a logit for each of `distances`, in
    strides from the cell's middle; a side lies at their mean, weighted by softmax (Li et al. 2020).
    `thresholds` has one score per class; a cell may answer for several classes.
    """
    classes, limits = len(thresholds), _limits(tuple(thresholds))
    kinds, logits, sides, places = [], [], [], []
    for level, stride in zip(maps, strides, strict=True):
        cells = level.reshape(len(level), -1)
        # Logits are compared first, so that only the few cells that count are decoded.
        kind, cell = (cells[:classes] >= limits).nonzero()
        kinds.append(kind)
        logits.append(cells[kind, cell])
        sides.append(cells[classes:].take(cell, 1))
        places.append(_grid(*level.shape[1:], stride).take(cell, 2))
    weights = np.concatenate(sides, 1).reshape(4, len(distances), -1)
    weights = np.exp(weights - weights.max(1, keepdims=True))
    middle, outwards = np.concatenate(places, 2)
    reach = (weights * np.array(distances, np.float32)[:, None]).sum(1) / weights.sum(1)
    boxes = middle + reach * outwards
    scores = 0.5 + 0.5 * np.tanh(0.5 * np.concatenate(logits))  # the logistic function, which does not overflow so
    return Detections(np.ascontiguousarray(boxes.T), scores, np.concatenate(kinds))


def suppress(found: Detections, iou: float, at_most: int) -> Detections:
    """The best detections, none overlapping a better one of its class by more than `iou`, `at_most` per class."""
    xywh = found.boxes.astype(np.float64)
    xywh[:, 2:] -= xywh[:, :2]
    kept = cv2.dnn.NMSBoxesBatched(xywh.tolist(), found.scores.tolist(), found.classes.tolist(), -1.0, iou)
    order: npt.NDArray[np.int64] = np.asarray(kept, np.int64).reshape(-1)  # OpenCV gives the best first
    return foremost(Detections(found.boxes[order], found.scores[order], found.classes[order]), at_most)


def foremost(found: Detections, at_most: int) -> Detections:
    """The first `at_most` of each class."""
    if len(found) <= at_most:
        return found
    own = found.classes[:, None] == np.unique(found.classes)
    kept = ((own.cumsum(0) <= at_most) & own).any(1)
    return Detections(found.boxes[kept], found.scores[kept], found.classes[kept], found.labels, found.bar)


def to_frame(found: Detections, fit: Letterbox, width: int, height: int, labels: tuple[str, ...]) -> Detections:
    """The same boxes in the frame's pixels, clipped to it; those outside it are left out."""
    corner, ends = np.array((fit.left, fit.top) * 2, np.float32), np.array((width, height) * 2, np.float32)
    boxes = np.minimum(np.maximum((found.boxes - corner) / np.float32(fit.scale), 0), ends)
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    if inside.all():
        return Detections(boxes, found.scores, found.classes, labels)
    return Detections(boxes[inside], found.scores[inside], found.classes[inside], labels)
