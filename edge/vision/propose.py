"""From one picture of a full shelf to a proposal of its slots: rows, the packs in them, and where a product ends. Pure.

    goods found ─▶ less those inside others, and those of no usual size
                ─▶ rows: neighbours at one height ─▶ each row from left to right
                ─▶ a new slot where the next pack looks unlike the one before
                ─▶ a pack that was missed inside of a slot is counted by the room it leaves

A person names the products and moves what is wrong; nothing here is used without being looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.vision.detector import Detections, Image
from edge.vision.observe import Region

Boxes = npt.NDArray[np.float64]
MARKS = 3
"""A row of fewer packs is no row: posters and baskets are found now and then."""


@dataclass(frozen=True, slots=True)
class ProposeRule:
    """When two boxes stand in one row, and when two packs are one product.

    `level`: of the lower one's height that both share; `near`: gap between them, in widths; `alike`: least mean of the
    correlations of their colours and of their pictures; `size`: most ratio of their heights. A box is no pack that
    lies by `inside` in a better one, or whose score is under `sure` of what a quarter of all reaches, or which has
    less than `plain` of the detail that most have: on a full shelf that is the wall behind.
    """

    level: float = 0.55
    near: float = 4.0
    alike: float = 0.72
    size: float = 1.32
    inside: float = 0.7
    sure: float = 0.5
    plain: float = 0.4


@dataclass(frozen=True, slots=True)
class Proposal:
    """One slot as it may be: `region` as shares of the picture, `facings` packs in front, `boxes` in pixels."""

    region: Region
    facings: int
    boxes: tuple[tuple[float, float, float, float], ...]


RULE = ProposeRule()


def propose(image: Image, found: Detections, rule: ProposeRule = RULE) -> tuple[Proposal, ...]:
    """The slots that a BGR picture shows, from the top left; named A1, A2, ... by row."""
    goods = np.array([found.labels[kind] != "gap" for kind in found.classes], bool).reshape(-1)
    boxes = usual(found.boxes[goods].astype(np.float64), found.scores[goods], rule)
    boxes = boxes[detailed(image, boxes, rule)]
    proposals: list[Proposal] = []
    rows = [row for row in rows_of(boxes, rule) if len(row) >= MARKS]
    for letter, row in enumerate(rows):
        slots = runs(image, row, rule)
        for place, slot in enumerate(slots):
            before = slots[place - 1] if place else None
            after = slots[place + 1] if place + 1 < len(slots) else None
            name = f"{_letters(letter)}{place + 1}"
            proposals.append(Proposal(_region(name, slot, before, after, image.shape), facings_of(slot),
                                      tuple((a, b, c, d) for a, b, c, d in slot.tolist())))
    return _apart(proposals)


def _apart(proposals: Sequence[Proposal]) -> tuple[Proposal, ...]:
    """Those whose place is their own; of two that are mostly one place, the fuller: both would count the same goods."""
    kept: list[int] = []
    places = [np.array([each.region.x0, each.region.y0, each.region.x1, each.region.y1]) for each in proposals]
    areas = [float((place[2] - place[0]) * (place[3] - place[1])) for place in places]
    for i in sorted(range(len(proposals)), key=lambda i: -len(proposals[i].boxes)):
        if all(_shared(places[i], places[j]) <= min(areas[i], areas[j]) / 2 for j in kept):
            kept.append(i)
    return tuple(proposals[i] for i in sorted(kept))


def usual(boxes: Boxes, scores: npt.NDArray[np.floating], rule: ProposeRule = RULE) -> Boxes:
    """The boxes less those mostly inside a better one, and those far from the picture's usual size."""
    if len(boxes) == 0:
        return boxes
    sure = scores >= rule.sure * float(np.quantile(scores, 0.75))
    boxes, scores = boxes[sure], scores[sure]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    for i in np.argsort(-scores):
        over = [_shared(boxes[i], boxes[j]) / min(areas[i], areas[j]) for j in kept]
        if not over or max(over) < rule.inside:
            kept.append(int(i))
    median = float(np.median(areas[kept]))
    return boxes[[i for i in kept if median / 12 < areas[i] < median * 8]]


def detailed(image: Image, boxes: Boxes, rule: ProposeRule = RULE) -> npt.NDArray[np.bool_]:
    """Which boxes have as much detail as goods have."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (0, 0), 1.5).astype(np.float32)
    edges = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    sides = np.concatenate((boxes[:, 2:] - boxes[:, :2], boxes[:, :2] - boxes[:, 2:]), 1)
    inner = (boxes + sides / 5).astype(int)
    detail = np.array([float(edges[y0:y1 + 1, x0:x1 + 1].mean()) for x0, y0, x1, y1 in inner])
    return np.asarray(detail >= rule.plain * np.median(detail) if len(detail) else np.zeros(0), bool)


def rows_of(boxes: Boxes, rule: ProposeRule = RULE) -> list[Boxes]:
    """Boxes by row, rows from the top, each from left to right."""
    rest = sorted(boxes.tolist(), key=lambda box: box[0])
    rows: list[list[list[float]]] = []
    for box in rest:
        fits = [row for row in rows if _follows(row, box, rule)]
        if fits:
            min(fits, key=lambda row: abs(row[-1][3] - box[3])).append(box)
        else:
            rows.append([box])
    arrays = [np.array(row, np.float64) for row in rows]
    return sorted(arrays, key=lambda row: float(np.median(row[:, 3])))


def _follows(row: list[list[float]], box: list[float], rule: ProposeRule) -> bool:
    """Whether a box stands at the height of the row's last ones; a tilted row is followed."""
    last = np.median(np.array(row[-3:]), axis=0)
    shared = min(last[3], box[3]) - max(last[1], box[1])
    lower = min(last[3] - last[1], box[3] - box[1])
    return bool(shared >= rule.level * lower and abs(last[3] - box[3]) < 0.4 * max(last[3] - last[1], box[3] - box[1]))


def runs(image: Image, row: Boxes, rule: ProposeRule = RULE) -> list[Boxes]:
    """A row's packs by product, from left to right."""
    looks = [_look(image, box) for box in row]
    parts: list[list[int]] = [[0]]
    for i in range(1, len(row)):
        gap = row[i][0] - row[i - 1][2]
        apart = gap > rule.near * float(np.median(row[:, 2] - row[:, 0]))
        mine = parts[-1]
        like = max(_likeness(looks[i], looks[j]) for j in mine[-2:])
        heights = (row[i][3] - row[i][1], float(np.median([row[j][3] - row[j][1] for j in mine])))
        if apart or like < rule.alike or max(heights) > rule.size * min(heights):
            parts.append([i])
        else:
            mine.append(i)
    return [row[part] for part in parts]


def facings_of(boxes: Boxes) -> int:
    """Packs in a slot: those found, and those for which a gap between two of them leaves room."""
    if len(boxes) < MARKS:
        return len(boxes)
    middles = (boxes[:, 0] + boxes[:, 2]) / 2
    steps = np.diff(middles)
    pitch = float(np.median(steps))
    return 1 + int(sum(max(1, round(step / pitch)) for step in steps))


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    colours: npt.NDArray[np.float32]
    picture: Image


def _look(image: Image, box: Sequence[float]) -> _Look:
    x0, y0, x1, y1 = (round(v) for v in box)
    crop = image[max(0, y0):max(y1, y0 + 2), max(0, x0):max(x1, x0 + 2)]
    inner = crop[:, crop.shape[1] // 8:max(1, crop.shape[1] - crop.shape[1] // 8)]
    hsv = cv2.cvtColor(inner, cv2.COLOR_BGR2HSV)
    colours = cv2.calcHist([hsv], [0, 1], None, [12, 6], [0, 180, 0, 256])
    # Blurred over its bins, so that a shade on the edge of two does not fall apart.
    colours = cv2.GaussianBlur(colours, (3, 3), 0.7)
    small = cv2.resize(crop, (20, 40), interpolation=cv2.INTER_AREA)
    return _Look(np.asarray(colours / max(1.0, float(colours.sum())), np.float32), np.asarray(small, np.uint8))


def _likeness(a: _Look, b: _Look) -> float:
    """Mean of what their colours have in common and of how their pictures correlate, best within a small shift."""
    common = float(np.minimum(a.colours, b.colours).sum())
    like = float(cv2.matchTemplate(a.picture, b.picture[3:-3, 3:-3], cv2.TM_CCOEFF_NORMED).max())
    return (common + like) / 2


def _region(name: str, slot: Boxes, before: Boxes | None, after: Boxes | None, shape: tuple[int, ...]) -> Region:
    """The slot's place: half the way to its neighbours, at most a third of a pack, and a little above and below."""
    h, w = shape[:2]
    width, height = np.median(slot[:, 2:] - slot[:, :2], axis=0)
    left, right = slot[:, 0].min(), slot[:, 2].max()
    free_left = width / 3 if before is None else min(width / 3, max(0.0, (left - before[:, 2].max()) / 2))
    free_right = width / 3 if after is None else min(width / 3, max(0.0, (after[:, 0].min() - right) / 2))
    x0, x1 = left - free_left, right + free_right
    y0, y1 = slot[:, 1].min() - 0.1 * height, slot[:, 3].max() + 0.05 * height
    corners = (max(0.0, x0 / w), max(0.0, y0 / h), min(1.0, x1 / w), min(1.0, y1 / h))
    return Region(name, *(round(float(share), 4) for share in corners))


def _shared(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float:
    return float(max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1])))


def _letters(n: int) -> str:
    return chr(ord("A") + n) if n < 26 else _letters(n // 26 - 1) + _letters(n % 26)
