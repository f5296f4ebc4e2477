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
    """The frame at its own proportions inside (height, width, 3), with grey around it."""
    h, w = frame.shape[:2]
    scale = min(width / w, height / h)
    inner_w, inner_h = max(1, round(w * scale)), max(1, round(h * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    fit = Letterbox(scale, (width - inner_w) // 2, (height - inner_h) // 2)
    canvas = np.full((height, width, 3), GREY, np.uint8)
    canvas[fit.top : fit.top + inner_h, fit.left : fit.left + inner_w] = cv2.resize(
        frame, (inner_w, inner_h), interpolation=how
    )
    return canvas, fit


def decode(maps: Sequence[Floats], strides: Sequence[int], threshold: float) -> Detections:
    """Raw maps (classes + 4, h, w), one per stride, to boxes in the input's pixels with score >= threshold.

    Per cell: a logit per class, the centre's offset from the cell's corner in strides, log size in strides.
    """
    # A logit is compared first, so that only the few cells that count are decoded.
    limit = np.log(threshold / (1 - threshold)) if 0 < threshold < 1 else (-np.inf if threshold <= 0 else np.inf)
    boxes, scores, classes = [], [], []
    for level, stride in zip(maps, strides, strict=True):
        logits = level[:-4]
        best = logits.max(0)
        y, x = np.nonzero(best >= limit)
        offset_x, offset_y, log_w, log_h = level[-4:, y, x]
        half_w = np.exp(log_w.clip(-4, 5)) * stride / 2
        half_h = np.exp(log_h.clip(-4, 5)) * stride / 2
        middle_x, middle_y = (x + offset_x) * stride, (y + offset_y) * stride
        boxes.append(np.stack((middle_x - half_w, middle_y - half_h, middle_x + half_w, middle_y + half_h), 1))
        scores.append(1 / (1 + np.exp(-best[y, x])))
        classes.append(logits[:, y, x].argmax(0))
    return Detections(
        np.concatenate(boxes).astype(np.float32),
        np.concatenate(scores).astype(np.float32),
        np.concatenate(classes).astype(np.int64),
    )


def suppress(found: Detections, iou: float, at_most: int) -> Detections:
    """The best detections, none overlapping a better one of its class by more than `iou`."""
    sizes = found.boxes[:, 2:] - found.boxes[:, :2]
    xywh = np.concatenate((found.boxes[:, :2], sizes), 1).astype(np.float64)
    kept = cv2.dnn.NMSBoxesBatched(xywh.tolist(), found.scores.tolist(), found.classes.tolist(), -1.0, iou)
    order: npt.NDArray[np.int64] = np.asarray(kept, np.int64).reshape(-1)
    order = order[np.argsort(-found.scores[order], kind="stable")][:at_most]
    return Detections(found.boxes[order], found.scores[order], found.classes[order])


def to_frame(found: Detections, fit: Letterbox, width: int, height: int, labels: tuple[str, ...]) -> Detections:
    """The same boxes in the frame's pixels, clipped to it; those outside it are left out."""
    boxes = (found.boxes - (fit.left, fit.top, fit.left, fit.top)) / fit.scale
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return Detections(boxes[inside].astype(np.float32), found.scores[inside], found.classes[inside], labels)
