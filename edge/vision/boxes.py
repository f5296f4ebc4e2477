"""From raw network maps to boxes, in NumPy and without a loop over boxes: letterbox, decode, suppress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    four = cv2.cvtColor(small, cv2.COLOR_BGR2BGRA)
    right, bottom = width - inner_w - fit.left, height - inner_h - fit.top
    canvas = cv2.copyMakeBorder(four, fit.top, bottom, fit.left, right, cv2.BORDER_CONSTANT, value=(GREY,) * 4)
    return np.asarray(canvas, np.uint8), fit


def _limits(thresholds: Sequence[float]) -> Floats:
    """The logits of the thresholds, (n, 1, 1); 0 lets everything pass, 1 nothing."""
    with np.errstate(divide="ignore"):
        share = np.clip(np.array(thresholds, np.float64), 0, 1)
        return np.asarray(np.log(share) - np.log1p(-share), np.float32)[:, None, None]


def decode(
    maps: Sequence[Floats], strides: Sequence[int], thresholds: Sequence[float], distances: Sequence[float]
) -> Detections:
    """Raw maps (classes + 4 x bins, h, w), one per stride, to boxes in the input's pixels.

    Per cell: a logit per class, then for left, top, right and bottom a logit for each of `distances`, in
    strides from the cell's middle; a side lies at their mean, weighted by softmax (Li et al. 2020).
    `thresholds` has one score per class; a cell may answer for several classes.
    """
    classes, limits = len(thresholds), _limits(thresholds)
    scale = np.array(distances, np.float32)
    boxes, scores, kinds = [], [], []
    for level, stride in zip(maps, strides, strict=True):
        # Logits are compared first, so that only the few cells that count are decoded.
        kind, y, x = np.nonzero(level[:classes] >= limits)
        sides = level[classes:, y, x].reshape(4, len(scale), -1)
        weights = np.exp(sides - sides.max(1, keepdims=True))
        reach = np.einsum("sbn,b->sn", weights, scale) / weights.sum(1) * stride
        middle_x, middle_y = (x + 0.5) * stride, (y + 0.5) * stride
        boxes.append(
            np.stack((middle_x - reach[0], middle_y - reach[1], middle_x + reach[2], middle_y + reach[3]), 1)
        )
        with np.errstate(over="ignore"):
            scores.append(1 / (1 + np.exp(-level[kind, y, x])))
        kinds.append(kind)
    return Detections(
        np.concatenate(boxes).astype(np.float32),
        np.concatenate(scores).astype(np.float32),
        np.concatenate(kinds).astype(np.int64),
    )


def suppress(found: Detections, iou: float, at_most: int) -> Detections:
    """The best detections, none overlapping a better one of its class by more than `iou`, `at_most` per class."""
    sizes = found.boxes[:, 2:] - found.boxes[:, :2]
    xywh = np.concatenate((found.boxes[:, :2], sizes), 1).astype(np.float64)
    kept = cv2.dnn.NMSBoxesBatched(xywh.tolist(), found.scores.tolist(), found.classes.tolist(), -1.0, iou)
    order: npt.NDArray[np.int64] = np.asarray(kept, np.int64).reshape(-1)
    order = order[np.argsort(-found.scores[order], kind="stable")]
    if len(order) > at_most:
        own = found.classes[order][:, None] == np.unique(found.classes)
        order = order[((own.cumsum(0) <= at_most) & own).any(1)]
    return Detections(found.boxes[order], found.scores[order], found.classes[order])


def to_frame(found: Detections, fit: Letterbox, width: int, height: int, labels: tuple[str, ...]) -> Detections:
    """The same boxes in the frame's pixels, clipped to it; those outside it are left out."""
    boxes = (found.boxes - (fit.left, fit.top, fit.left, fit.top)) / fit.scale
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return Detections(boxes[inside].astype(np.float32), found.scores[inside], found.classes[inside], labels)
