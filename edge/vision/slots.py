"""How full each slot is: the shelf's own pictures, the detector's goods and its gaps, weighed together. Pure.

    full shelf ─▶ per slot: rows of places, and how its product looks there              (`learn`, once)
    frame, laid over that picture ─▶ where along each row does it look so (normalised correlation)?
                                    and where did the detector find goods, or a gap?
               ─▶ chance that a pack stands at each place ─▶ facings, units, fill, out of stock, how sure

What stands behind the front row cannot be seen: units are facings times depth, and the deviation says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.vision.detector import Detections, Image
from edge.vision.observe import Stand

CANVAS = 480
"""Width, in pixels, of the picture that slots are judged in."""
LEAST_PACK = 4
"""Pixels of the canvas that a pack is wide and high at least."""
PACK = 16
"""Width, in pixels, to which a pack is shrunk before it is compared: more tells no more, and costs its square."""
UNLIKE, LIKE, LIKE_STEP = 0.3, (0.45, 0.65), 0.06
"""A place that correlates by so much less than the product's packs do with one another may as well hold it as not,
within bounds; and by which step the odds grow by e.

Measured on rendered shelves: 0.88 to 1.00 where it stands, -0.04 to 0.42 where nothing does, to 0.65 where another one.
"""
BOX, BOX_STEP, BOX_MOST = 0.35, 0.12, 2.5
GAP_ODDS = 1.5
LEAST_NCC, STRANGE_BOX = 0.4, 0.5
"""What correlates less is no candidate; and goods that the detector is so sure of, unlike the product, are another."""
Boxes = npt.NDArray[np.float64]
Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One row of a slot's facings, in canvas pixels: where it is, its pack's size, and its look shrunk by `scale`.

    A place that correlates by `like` may as well hold the product as not.
    """

    look: Image
    like: float
    scale: float
    size: tuple[int, int]
    top: int
    left: int
    right: int
    facings: int

    @property
    def pitch(self) -> float:
        """From one place to the next."""
        return (self.right - self.left) / self.facings


@dataclass(frozen=True, slots=True, eq=False)
class SlotLook:
    """What commissioning taught of a slot; one whose packs are too small to be told apart has no rows."""

    stand: Stand
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Fill:
    """How full a slot is in one frame.

    Attributes:
        facings: packs seen in front.
        units: facings times depth.
        fill: share of the full slot.
        sd: standard deviation of `facings`.
        confidence: the chance that `facings` is exactly right.
        reason: why there is no level, or empty: `other_goods`, `out_of_view`, `too_small`.
    """

    slot: str
    facings: int
    units: int
    fill: float
    sd: float
    confidence: float
    reason: str = ""

    @property
    def out_of_stock(self) -> bool:
        """Whether nothing stands there, as far as can be told."""
        return not self.reason and self.facings == 0


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """A frame laid over the commissioning picture.

    Attributes:
        canvas: BGR, CANVAS pixels wide.
        inside: uint8, 255 where the frame reaches; None where it shows all.
        goods: boxes (n, 4) of the detector's goods in canvas pixels; `scores` beside them.
        gaps: boxes (m, 4) of its gaps.
    """

    canvas: Image
    inside: Image | None
    goods: Boxes
    scores: npt.NDArray[np.float64]
    gaps: Boxes


def canvas_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Width and height of the canvas for a frame of the given shape."""
    return CANVAS, max(1, round(CANVAS * shape[0] / shape[1]))


def split(found: Detections, boxes: Boxes) -> tuple[Boxes, npt.NDArray[np.float64], Boxes]:
    """Goods, their scores, and gaps; `boxes` are the found ones in other coordinates."""
    gap = np.array([found.labels[kind] == "gap" for kind in found.classes], bool).reshape(-1)
    return boxes[~gap], found.scores[~gap].astype(np.float64), boxes[gap]


def learn(full: Laid, stands: Sequence[Stand]) -> tuple[SlotLook, ...]:
    """What the picture of the full shelf teaches of each slot."""
    return tuple(_learn(full, stand) for stand in stands)


def _learn(full: Laid, stand: Stand) -> SlotLook:
    left, top, right, bottom = _pixels(stand, full.canvas)
    if right - left < LEAST_PACK * stand.facings or bottom - top < LEAST_PACK:
        return SlotLook(stand, ())
    x, y = (full.goods[:, 0] + full.goods[:, 2]) / 2, (full.goods[:, 1] + full.goods[:, 3]) / 2
    mine = full.goods[(x >= left) & (x < right) & (y >= top) & (y < bottom)]
    if not 0.5 * stand.facings <= len(mine) <= 1.5 * stand.facings:
        pitch = (right - left) / stand.facings
        places = left + pitch * (np.arange(stand.facings) + 0.5)
        mine = np.stack((places - 0.45 * pitch, np.full(stand.facings, top), places + 0.45 * pitch,
                         np.full(stand.facings, bottom)), 1)
    groups = _rows(mine)
    share = stand.facings / sum(len(group) for group in groups)
    rows = [_row(full.canvas, group, (left, right), max(1, round(len(group) * share))) for group in groups]
    return SlotLook(stand, tuple(rows))


def _rows(boxes: Boxes) -> list[Boxes]:
    """Boxes by the row they stand in, from the top; a row begins where the middles jump by over half a pack."""
    order = boxes[np.argsort(boxes[:, 1] + boxes[:, 3])]
    middles, height = (order[:, 1] + order[:, 3]) / 2, float(np.median(order[:, 3] - order[:, 1]))
    return np.split(order, np.nonzero(np.diff(middles) > 0.5 * height)[0] + 1)


def _row(canvas: Image, boxes: Boxes, sides: tuple[int, int], facings: int) -> Row:
    """The row's pack: of all packs in it the one that looks most like the others."""
    w, h = np.median(boxes[:, 2:] - boxes[:, :2], axis=0)
    w, h = min(float(w), 1.1 * (sides[1] - sides[0]) / facings), float(h)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    top = max(0, round(float(np.median(middle[:, 1])) - h / 2))
    cut = [canvas[top:top + round(h), max(0, round(x - w / 2)):round(x - w / 2) + round(w)] for x in middle[:, 0]]
    largest = max((look.shape for look in cut), key=math.prod)
    look, own = _most_usual([look for look in cut if look.shape == largest])
    scale, like = min(1.0, PACK / look.shape[1]), min(max(own - UNLIKE, LIKE[0]), LIKE[1])
    return Row(_shrunk(look, scale), like, scale, (look.shape[1], look.shape[0]), top, sides[0], sides[1], facings)


def _shrunk(image: Image, scale: float) -> Image:
    # Down to a half, the line between two pixels tells as much as the mean over areas, in a seventh of the time.
    how = cv2.INTER_LINEAR if scale >= 0.5 else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=how), np.uint8)


def _most_usual(looks: list[Image]) -> tuple[Image, float]:
    """The look most like the others, and how like they are to it, most of them."""
    likeness = np.array([[float(cv2.matchTemplate(a, b, cv2.TM_CCOEFF_NORMED)[0, 0]) for b in looks] for a in looks])
    best = int(likeness.sum(1).argmax())
    return looks[best], float(np.median(likeness[best]))


def estimate(laid: Laid, looks: Sequence[SlotLook]) -> tuple[Fill, ...]:
    """How full each slot is in the frame."""
    # Few numbers each: plain lists of them are quicker than arrays.
    goods = [((x0 + x1) / 2, (y0 + y1) / 2, score)
             for (x0, y0, x1, y1), score in zip(laid.goods.tolist(), laid.scores.tolist(), strict=True)]
    gaps = [(x0, x1, (y0 + y1) / 2) for x0, y0, x1, y1 in laid.gaps.tolist()]
    return tuple(
        _fill(look.stand, [_places(laid, row, goods, gaps) for row in look.rows]) if look.rows
        else Fill(look.stand.slot, 0, 0, 0.0, 0.0, 0.0, "too_small") for look in looks)


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """The candidates of one row: chance that the product stands there, that other goods do, and places not in view."""

    chances: tuple[float, ...]
    strange: int
    hidden: float


def _fill(stand: Stand, rows: list[_Places]) -> Fill:
    hidden = sum(row.hidden for row in rows)
    strange = sum(row.strange for row in rows)
    chances = [chance for row in rows for chance in row.chances]
    seen = min(sum(chance > 0.5 for chance in chances), stand.facings)
    facings = min(round(seen + hidden * seen / max(1.0, stand.facings - hidden)), stand.facings)
    reason = ""
    if hidden > 0.34 * stand.facings:
        reason = "out_of_view"
    elif strange > max(1, seen):
        reason = "other_goods"
    var = sum(chance * (1 - chance) for chance in chances) + 0.25 * hidden
    sure = math.prod(max(chance, 1 - chance) for chance in chances) * 0.5 ** hidden
    return Fill(stand.slot, facings, facings * stand.depth, facings / stand.facings, round(math.sqrt(var), 3),
                round(sure, 3), reason)


def _places(laid: Laid, row: Row, goods: list[Triple], gaps: list[Triple]) -> _Places:
    """`goods`: middle and score of each; `gaps`: left, right and the middle's height."""
    w, h = row.size
    slack = max(3, h // 12)
    y0, y1 = max(0, row.top - slack), min(laid.canvas.shape[0], row.top + h + slack)
    x0, x1 = max(0, row.left - w // 8), min(laid.canvas.shape[1], row.right + w // 8)
    strip = _shrunk(laid.canvas[y0:y1, x0:x1], row.scale)
    if strip.shape[0] < row.look.shape[0] or strip.shape[1] < row.look.shape[1]:
        return _Places((), 0, float(row.facings))
    likeness = cv2.matchTemplate(strip, row.look, cv2.TM_CCOEFF_NORMED).max(0)
    boxes = [(x, score) for x, y, score in goods if row.left <= x < row.right and y0 <= y < y1]
    found: list[float] = []
    strange = 0
    for x, like, score in _candidates(likeness, boxes, (x0 + w / 2, row.scale), 0.6 * row.pitch):
        if like < row.like and score > STRANGE_BOX:
            strange += 1
            continue
        odds = (like - row.like) / LIKE_STEP + min(max((score - BOX) / BOX_STEP, -BOX_MOST), BOX_MOST)
        found.append(odds - GAP_ODDS * any(left < x < right and y0 < y < y1 for left, right, y in gaps))
    hidden = 0 if laid.inside is None else _hidden(laid.inside, row, (y0, y1))
    chances = tuple(1 / (1 + math.exp(-min(max(odds, -30.0), 30.0))) for odds in found[:2 * row.facings])
    return _Places(chances, strange, float(hidden))


def _hidden(inside: Image, row: Row, span: tuple[int, int]) -> int:
    """How many of the row's places the frame does not show."""
    centres = row.left + row.pitch * (np.arange(row.facings) + 0.5)
    half = row.size[0] / 2
    return sum(float(inside[span[0]:span[1], max(0, round(x - half)):round(x + half)].mean()) < 0.8 * 255
               for x in centres)


def _candidates(likeness: npt.NDArray[np.floating], boxes: list[tuple[float, float]], at: tuple[float, float],
                apart: float) -> list[tuple[float, float, float]]:
    """Places that look like the product or hold a box: x, likeness, score; the likeliest first, `apart` at least.

    `at` is where the first value of `likeness` lies, and how many of them there are to a pixel.
    """
    begin, scale = at
    free, taken = np.array(likeness, np.float64), list[tuple[float, float, float]]()
    while float(free.max()) > LEAST_NCC:
        best = int(free.argmax())
        x = begin + best / scale
        score = max((each for where, each in boxes if abs(where - x) < 0.8 * apart), default=0.0)
        taken.append((x, float(likeness[best]), score))
        free[max(0, round(best - apart * scale)):round(best + apart * scale) + 1] = -1
    for where, score in sorted(boxes, key=lambda box: -box[1]):
        if all(abs(where - x) >= 0.8 * apart for x, _, _ in taken):
            near = int(np.clip(round((where - begin) * scale), 0, len(likeness) - 1))
            taken.append((where, float(likeness[max(0, near - 3):near + 4].max()), score))
    return taken


def _pixels(stand: Stand, canvas: Image) -> tuple[int, int, int, int]:
    h, w = canvas.shape[:2]
    return round(stand.x0 * w), round(stand.y0 * h), round(stand.x1 * w), round(stand.y1 * h)
