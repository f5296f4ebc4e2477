"""COCO-style average precision and the count error; pure functions of boxes.

Matching as in pycocotools: a photo's detections, best first, each take the unmatched truth that they
overlap most; precision is read at 101 recall points after it was made to fall (Lin et al. 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge.vision.card import Accuracy
from edge.vision.closer import raised
from edge.vision.detector import Floats

THRESHOLDS = np.arange(0.5, 1.0, 0.05)
AT_MOST = 300
"""Detections of a photo that average precision looks at, the best ones; a count takes all of them."""
_NEAR = 2
_RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One photo: the truth (m, 4), and detections (n, 4) with scores (n,), best first; `bar` as in `Detections`."""

    truth: Floats
    boxes: Floats
    scores: Floats
    bar: float = 1.0


def overlaps(a: Floats, b: Floats) -> Floats:
    """Intersection over union, (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clip(0).prod(-1)
    areas = (a[:, 2:] - a[:, :2]).prod(-1)[:, None] + (b[:, 2:] - b[:, :2]).prod(-1)[None]
    return np.asarray(shared / np.maximum(areas - shared, 1e-9), np.float32)


def match(photo: Judged, iou: float) -> npt.NDArray[np.bool_]:
    """Which detections are right at this overlap, (n,)."""
    right = np.zeros(len(photo.boxes), bool)
    if not len(photo.truth) or not len(photo.boxes):
        return right
    table = overlaps(photo.boxes, photo.truth)
    for i in range(len(table)):
        best = int(table[i].argmax())
        # The float32 overlap of a box with itself may fall short of 1 by a rounding.
        if table[i, best] >= iou - 1e-6:
            right[i] = True
            table[:, best] = -1
    return right


def average_precision(photos: Sequence[Judged], iou: float) -> float:
    """AP at one overlap, over all photos together."""
    photos = [replace(p, boxes=p.boxes[:AT_MOST], scores=p.scores[:AT_MOST]) for p in photos]
    there = sum(len(photo.truth) for photo in photos)
    if not there:
        return 0.0
    scores = np.concatenate([photo.scores for photo in photos])
    right = np.concatenate([match(photo, iou) for photo in photos])[np.argsort(-scores, kind="stable")]
    hits = right.cumsum()
    recall, precision = hits / there, hits / np.arange(1, len(right) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, _RECALLS - 1e-9)
    return float(np.append(falling, 0.0)[at].mean())


def count_error(photos: Sequence[Judged], threshold: float) -> float:
    """Mean over photos of |detections that count - boxes| / boxes; photos without boxes have none.

    A detection counts from the threshold on, raised by its photo's bar.
    """
    counts = [(int((p.scores >= raised(threshold, p.bar)).sum()), len(p.truth)) for p in photos if len(p.truth)]
    errors = [abs(found - there) / there for found, there in counts]
    return float(np.mean(errors)) if errors else 0.0


def best_threshold(photos: Sequence[Judged]) -> float:
    """The score above which the counts are best, on photos that choose thresholds and judge nothing.

    Few photos have lucky scores where their errors happen to vanish: the score is taken whose errors, averaged with
    those within .02, are least.
    """
    candidates = np.round(np.arange(0.03, 0.92, 0.01), 2)
    errors = np.array([count_error(photos, float(t)) for t in candidates])
    near = np.lib.stride_tricks.sliding_window_view(errors, 2 * _NEAR + 1).mean(1)
    return float(candidates[_NEAR + near.argmin()])


def accuracy(photos: Sequence[Judged], threshold: float) -> Accuracy:
    """The figures of the model card, rounded as they are reported."""
    aps = [average_precision(photos, float(iou)) for iou in THRESHOLDS]
    return Accuracy(
        ap50=round(aps[0], 4),
        ap75=round(aps[5], 4),
        ap=round(float(np.mean(aps)), 4),
        count_mape=round(count_error(photos, threshold), 4),
        photos=len(photos),
        boxes=sum(len(photo.truth) for photo in photos),
    )
