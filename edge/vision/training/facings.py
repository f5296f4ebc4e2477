"""Facings of one product on a board: which pack, how large and how many, what stands behind and beside them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edge.vision.detector import Image
from edge.vision.training.bank import Bank, recoloured, sized
from edge.vision.training.canvas import Canvas, Sprite
from edge.vision.training.packs import SHAPES, choose_shape

FLAT = ("flat", "tub", "box", "multi", "can", "bag")


@dataclass(frozen=True, slots=True)
class Style:
    """What one fixture holds and how tidy it is.

    Attributes:
        kind: "shelf", "pegs", "cases" (stacked on the floor, no rails) or "trays" (the same, in cardboard).
        shapes: the shapes of its packs.
        missing: how often facings are missing, 0..1.
        empty: how often a place of a product is wholly sold out, 0..1.
        tight: how often packs touch, 0..1.
        gain: brightness of the goods.
        deep: how often further packs show behind the front row, 0..1.
        alone: how often a product has a single facing, its neighbours unlike it, 0..1.
        sides: how often a row of boxes shows the side of its last one, 0..1.
        fill: how much of the height that is clear its goods take, from and to.
    """

    kind: str
    shapes: tuple[str, ...]
    missing: float
    empty: float
    tight: float
    gain: float
    deep: float
    alone: float
    sides: float
    fill: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Row:
    """One board: goods stand on `floor` between x0 and x1 with `clear` px above.

    `above` is how far the camera looks down on it (-1 from below .. 1 from above), `towards` the x that
    depth runs to.
    """

    x0: int
    x1: int
    floor: int
    clear: int
    above: float
    towards: float


def choose_style(rng: np.random.Generator) -> Style:
    """A random fixture: some full, some with gaps, some sold out."""
    kind = str(rng.choice(("shelf", "pegs", "cases", "trays"), p=(0.71, 0.11, 0.1, 0.08)))
    full = rng.random() < 0.25
    low = rng.uniform(0.45, 0.85)
    return Style(
        kind=kind,
        shapes=tuple(choose_shape(rng) for _ in range(int(rng.integers(1, 7)))),
        missing=0.0 if full else float(rng.uniform(0.02, 0.22)),
        empty=0.0 if full or rng.random() < 0.4 else float(rng.choice((rng.uniform(0, 0.1), rng.uniform(0.2, 0.9)),
                                                                      p=(0.9, 0.1))),
        tight=float(rng.uniform(0.5, 1.0)),
        gain=float(rng.uniform(0.75, 1.1)),
        deep=0.0 if rng.random() < 0.25 else float(rng.uniform(0.5, 1.0)),
        alone=float(rng.uniform(0.5, 0.95)) if rng.random() < 0.25 else 0.15,
        sides=float(rng.uniform(0.2, 1.0)) if kind != "pegs" and rng.random() < 0.35 else 0.0,
        fill=(low, float(rng.uniform(low + 0.05, 1.0))) if kind in ("shelf", "pegs") else (0.94, 1.0),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """Facings of one product: the pack, its size on the shelf, the columns' distance, packs on each other.

    `side` is how wide the side of the last one looks, 0 where it is not seen.
    """

    pack: Sprite
    h: int
    w: int
    step: int
    stack: int
    deep: bool
    back: Sprite
    side: int


def choose_group(rng: np.random.Generator, style: Style, row: Row, bank: Bank) -> Group:
    name = str(rng.choice(style.shapes)) if rng.random() < 0.9 else choose_shape(rng)
    pack: Image = recoloured(rng, bank.pick(rng, name))
    aspect = pack.shape[0] / pack.shape[1] * rng.uniform(0.92, 1.3)
    levels = 1
    if aspect < 0.8 or (name in FLAT and aspect < 1.6 and rng.random() < 0.4):
        levels = int(rng.integers(1, np.clip(row.clear // 24, 1, 4) + 1))
    fill = rng.uniform(*style.fill)
    h = row.clear * fill / levels
    w = h / aspect
    if w > row.clear * 1.7:
        h, w = h * row.clear * 1.7 / w, row.clear * 1.7
    h, w = max(6, round(h)), max(4, round(w))
    near = rng.random() < style.tight
    space = int(rng.choice((0, 0, 1, 1, 2))) if near else int(w * rng.uniform(0.05, 0.22))
    space += int(w * rng.uniform(0.05, 0.3)) if style.kind == "pegs" else 0
    front, deep = sized(pack, h, w), style.kind == "shelf" and rng.random() < style.deep
    smaller = sized(pack, max(4, round(h * 0.92)), max(3, round(w * 0.94))) if deep else front
    side = 0
    if not SHAPES[name].round and _rectangular(front) and rng.random() < style.sides:
        side = max(3, int(min(w * rng.uniform(0.15, 0.9), row.clear * 0.7)))
    return Group(front, h, w, w + space, levels, deep, smaller, side)


def _rectangular(pack: Sprite) -> bool:
    """Whether a pack fills its rectangle, but for smooth edges."""
    return pack.alpha is None or float(pack.alpha.mean()) > 0.97


def draw_behind(rng: np.random.Generator, canvas: Canvas, row: Row, group: Group, x: int) -> None:
    """The next pack of the column, further from the camera, in shade."""
    lift = row.clear * 0.1 * row.above + 0.03 * group.h
    shift = np.clip((row.towards - x) / canvas.image.shape[1], -1, 1) * 0.35 * group.w
    gain = float(rng.uniform(0.3, 0.75))
    # Two deep: the further one is darker, smaller steps away.
    for far in (1.8, 1.0):
        top = round(row.floor - group.h * group.stack - far * lift + 0.06 * group.h)
        for level in range(group.stack):
            canvas.paste(group.back, x + round(far * shift), top + level * group.h, gain / far, labelled=False)


def draw_column(rng: np.random.Generator, canvas: Canvas, row: Row, group: Group, x: int, style: Style) -> None:
    stack = group.stack if group.side or rng.random() < 0.8 else int(rng.integers(1, group.stack + 1))
    floor = row.floor + (int(rng.integers(-1, 2)) if group.h > 14 else 0)
    turned = group.pack
    if rng.random() < 0.08:
        turned = _lean(rng, group)
    if rng.random() < 0.35 and group.stack == 1:
        # The side of the pack that faces the middle of the picture's depth.
        shift = int(np.clip((row.towards - x) / canvas.image.shape[1], -1, 1) * 0.25 * group.w)
        dark = tuple(int(c) for c in group.pack.bgr.mean((0, 1)) * style.gain * rng.uniform(0.35, 0.7))
        lift = int(row.clear * 0.06 * row.above)
        x0 = x if shift < 0 else x + group.w
        side = ((x0, floor), (x0 + shift, floor - lift), (x0 + shift, floor - group.h - lift), (x0, floor - group.h))
        cv2.fillConvexPoly(canvas.image, np.array(side, np.int32), dark)
    for level in range(stack):
        y = floor - group.h * (level + 1)
        jitter = int(rng.integers(-1, 2)) if group.w > 12 else 0
        canvas.paste(turned, x + jitter, y, float(style.gain * rng.uniform(0.88, 1.08)))
        if style.kind == "pegs":
            cv2.line(canvas.image, (x + group.w // 2, y - 3), (x + group.w // 2, y + 3), (200, 200, 200), 1)


def draw_side(rng: np.random.Generator, canvas: Canvas, row: Row, group: Group, x: int, right: bool) -> None:
    """The side of the boxes at a row's end, from `x` on; it is no facing."""
    tall, wide = group.h * group.stack, group.side
    foot = tall - max(0, int(row.clear * 0.1 * row.above))
    top = foot - int(tall * rng.uniform(0.82, 0.97))
    corners = np.array(((0, 0), (wide, top), (wide, foot), (0, tall)), np.float32)
    if not right:
        corners = np.array(((0, top), (wide, 0), (wide, tall), (0, foot)), np.float32)
    front = np.tile(group.pack.bgr, (group.stack, 1, 1))
    flat = np.array(((0, 0), (group.w, 0), (group.w, tall), (0, tall)), np.float32)
    turned = cv2.warpPerspective(front, cv2.getPerspectiveTransform(flat, corners), (wide, tall))
    mask = np.zeros((tall, wide, 1), np.float32)
    cv2.fillConvexPoly(mask, corners.astype(np.int32), 1.0)
    side = Sprite(np.asarray(turned, np.uint8), mask)
    canvas.paste(side, x, row.floor - tall, float(rng.uniform(0.4, 0.9)), labelled=False)


def _lean(rng: np.random.Generator, group: Group) -> Sprite:
    h, w = group.h, group.w
    alpha = np.ones((h, w, 1), np.float32) if group.pack.alpha is None else group.pack.alpha
    turn = cv2.getRotationMatrix2D((w / 2, h), float(rng.normal(0, 3)), 0.97)
    bgr = np.asarray(cv2.warpAffine(group.pack.bgr, turn, (w, h)), np.uint8)
    return Sprite(bgr, np.asarray(cv2.warpAffine(alpha, turn, (w, h)), np.float32).reshape(h, w, 1))
