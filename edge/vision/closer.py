"""Looks closer at a large picture of small packs, and joins what all looks found. Pure but for the looks.

    whole picture ─▶ packs large enough, or no more pixels? that is the answer
                  ─▶ tiles at each of the card's scales ─▶ one list of finds a look
                  ─▶ the best of overlapping finds, each with what the other looks say of its place

A look is trusted by how large the pack was in it: one of ten pixels is easily missed, one that fills a tile easily
falls into parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.vision.boxes import foremost, suppress
from edge.vision.card import PRODUCT, Card, Closer
from edge.vision.detector import Detections, Floats, Image

Once = Callable[[Image, tuple[float, ...]], Detections]
"""One inference on a picture, fitted into the input: what reaches the score of its class."""
Rect = tuple[int, int, int, int]
ENLARGED = 1.25
"""A picture enlarged by more shows nothing new."""
OVERLAP = 64
"""Pixels of the input that neighbouring tiles share."""
ENOUGH = 5
"""Fewer packs do not say how large packs are."""
FEW, MANY = 20, 100
"""Fewer finds do not say how surely goods are seen in a picture, and more say it fully."""
LOWER, HIGHER = 0.7, 1.2
"""The bar's bounds, for where nothing but goods is found it lies among them; on 18 photos it was .95 to 1.10."""
_SCARCELY = 0.15
_MOST = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What was found at one scale, in the frame's pixels."""

    scale: float
    found: Detections


def look(once: Once, frame: Image, thresholds: tuple[float, ...], card: Card) -> Detections:
    """What a BGR frame shows, best first: at one look where its packs are large, otherwise at several."""
    plan, side, goods = card.closer, max(card.input), card.classes.index(PRODUCT)
    shown = side / max(frame.shape[:2])
    scales = [scale for scale in plan.scales if scale * shown <= ENLARGED] if plan else []
    if plan is None or not scales:
        return once(frame, thresholds)
    # A class that is not asked for stays so.
    least = tuple(score if score >= 1 else plan.least for score in thresholds)
    first = once(frame, least)
    if not _small(first, goods, shown, plan):
        return _above(first, thresholds)
    looks = [Look(1.0, first)]
    for scale in scales:
        rects = tiles(frame.shape, shown * scale, side)
        parts = [inner(once(frame[y0:y1, x0:x1], least), (x0, y0, x1, y1), frame.shape) for x0, y0, x1, y1 in rects]
        looks.append(Look(scale, best_of(parts, card.nms_iou, _MOST)))
    fused = suppress(joined(looks, shown, card.nms_iou, plan), card.nms_iou, _MOST)
    bar = _bar(fused.scores[fused.classes == goods], plan)
    wanted = tuple(raised(score, bar) if kind == goods else score for kind, score in enumerate(thresholds))
    kept = _above(Detections(fused.boxes, fused.scores, fused.classes, first.labels, bar), wanted)
    return foremost(kept, card.max_detections)


def raised(score: float, bar: float) -> float:
    """The score that counts where the bar is another: a high threshold must not come to mean "never"."""
    return min(score * bar, (1 + score) / 2)


def tiles(shape: tuple[int, ...], scale: float, side: int) -> list[Rect]:
    """Rectangles x0, y0, x1, y1 of a picture that fill an input of `side` pixels when they are scaled by `scale`."""
    across, down = (_places(length, side / scale, OVERLAP / scale) for length in (shape[1], shape[0]))
    return [(x0, y0, x1, y1) for y0, y1 in down for x0, x1 in across]


def _places(length: int, tile: float, overlap: float) -> list[tuple[int, int]]:
    if length <= tile:
        return [(0, length)]
    n = math.ceil((length - overlap) / (tile - overlap) - 1e-6)
    return [(round(start), round(start + tile)) for start in np.linspace(0, length - tile, n).tolist()]


def inner(found: Detections, part: Rect, shape: tuple[int, ...]) -> Detections:
    """A part's finds in the frame's pixels, less those that its inner edges cut: the next part has them whole."""
    x0, y0, x1, y1 = part
    boxes = found.boxes + np.array((x0, y0, x0, y0), np.float32)
    cut = (((boxes[:, 0] <= x0 + 1) & (x0 > 0)) | ((boxes[:, 1] <= y0 + 1) & (y0 > 0))
           | ((boxes[:, 2] >= x1 - 1) & (x1 < shape[1])) | ((boxes[:, 3] >= y1 - 1) & (y1 < shape[0])))
    return Detections(boxes[~cut], found.scores[~cut], found.classes[~cut], found.labels)


def joined(looks: Sequence[Look], shown: float, iou: float, plan: Closer) -> Detections:
    """Each place once: its box the mean of the looks' boxes by their scores, its score the mean of their scores.

    `shown` is how much smaller than the frame the first look was. A look that found nothing at a place says
    `plan.unseen` of the best score there.
    """
    weights = [trust(each, each.found.boxes, shown, plan) for each in looks]
    ranked = [Detections(each.found.boxes, each.found.scores * weight, each.found.classes)
              for each, weight in zip(looks, weights, strict=True)]  # fmt: skip
    best = best_of(ranked, iou, _MOST)
    total, asked = np.zeros(len(best), np.float32), np.zeros(len(best), np.float32)
    boxes, heard = np.zeros((len(best), 4), np.float32), np.zeros(len(best), np.float32)
    for each in looks:
        weight = trust(each, best.boxes, shown, plan)
        score, same = _said(each.found, best, plan.like)
        total += weight * np.where(score > 0, score, plan.unseen * best.scores)
        asked += weight
        boxes += (weight * score)[:, None] * same
        heard += weight * score
    return Detections(boxes / heard[:, None], np.asarray(total / asked, np.float32), best.classes)


def trust(look: Look, boxes: Floats, shown: float, plan: Closer) -> Floats:
    """How far a look is to be believed about boxes (n, 4) of the frame, (n,) in 0 to 1."""
    size = _sizes(boxes) * shown * look.scale
    low, high = plan.sizes
    return np.asarray((size / low).clip(_SCARCELY, 1) * (high / size).clip(_SCARCELY, 1), np.float32)


def _said(found: Detections, best: Detections, like: float) -> tuple[Floats, Floats]:
    """Of each place in `best` the score and box of the find most like it, 0 where none is."""
    if not len(found):
        return np.zeros(len(best), np.float32), np.zeros((len(best), 4), np.float32)
    (x0, y0, x1, y1), (left, top, right, bottom) = best.boxes.T[:, :, None], found.boxes.T
    wide = np.maximum(np.minimum(x1, right) - np.maximum(x0, left), 0)
    shared = wide * np.maximum(np.minimum(y1, bottom) - np.maximum(y0, top), 0)
    shared *= best.classes[:, None] == found.classes
    overlap = shared / ((x1 - x0) * (y1 - y0) + (right - left) * (bottom - top) - shared)
    nearest = overlap.argmax(1)
    enough = overlap[np.arange(len(best)), nearest] > like
    return np.where(enough, found.scores[nearest], 0).astype(np.float32), found.boxes[nearest]


def _small(found: Detections, goods: int, shown: float, plan: Closer) -> bool:
    sure: npt.NDArray[np.bool_] = (found.classes == goods) & (found.scores >= plan.sure)
    if sure.sum() < ENOUGH:
        return False
    return bool(np.median(_sizes(found.boxes[sure])) * shown < plan.small)


def _bar(scores: Floats, plan: Closer) -> float:
    """By how much more than usual goods must score, as their scores and those of what resembles them lie."""
    likely = scores[scores >= plan.least]
    known = min((len(likely) - FEW) / (MANY - FEW), 1.0)
    return min(max((valley(likely) / plan.usual) ** (plan.steady * known), LOWER), HIGHER) if known > 0 else 1.0


def valley(scores: Floats) -> float:
    """The score that parts goods from what only resembles them: between the two groups of logits that lie furthest
    apart for their numbers (Otsu 1979, "A threshold selection method from gray-level histograms").
    """
    sure = np.sort(scores.astype(np.float64)).clip(1e-6, 1 - 1e-6)
    logits = np.log(sure / (1 - sure))
    below = np.arange(1, len(logits))
    sums = logits.cumsum()
    apart = sums[:-1] / below - (sums[-1] - sums[:-1]) / (len(logits) - below)
    at = int((below * (len(logits) - below) * apart**2).argmax())
    return float(1 / (1 + np.exp(-(logits[at] + logits[at + 1]) / 2)))


def _sizes(boxes: Floats) -> Floats:
    """The roots of the areas of boxes (n, 4), (n,)."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-3)
    return np.asarray(np.sqrt(sides[:, 0] * sides[:, 1]), np.float32)


def best_of(parts: Sequence[Detections], iou: float, at_most: int) -> Detections:
    """The best of all parts' finds; what several show is found once."""
    boxes, scores, classes = (np.concatenate([getattr(each, name) for each in parts])
                              for name in ("boxes", "scores", "classes"))  # fmt: skip
    return suppress(Detections(boxes, scores, classes), iou, at_most)


def _above(found: Detections, thresholds: tuple[float, ...]) -> Detections:
    kept = found.scores >= np.array(thresholds, np.float32)[found.classes]
    return Detections(found.boxes[kept], found.scores[kept], found.classes[kept], found.labels, found.bar)
