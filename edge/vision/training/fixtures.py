"""Fixtures full of goods: shelves with rails, pegs, stacks of cases, with facings, depth and gaps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np

from edge.vision.detector import Image
from edge.vision.training.bank import Bank
from edge.vision.training.canvas import Canvas, tint
from edge.vision.training.facings import (
    Group,
    Row,
    Style,
    choose_group,
    choose_style,
    draw_behind,
    draw_column,
    draw_side,
)
from edge.vision.training.fronts import cardboard, fence, raised, tray
from edge.vision.training.packs import Colour, colour, tag, write

LIP = 0.1
"""How far people draw an empty place below its board, as a share of its height."""


def _gap(
    rng: np.random.Generator, canvas: Canvas, row: Row, span: tuple[float, float], tall: float, facings: int = 0
) -> None:
    """Label an empty place as people do, where it is wide enough to be one.

    A box for each facing that is missing, or where that cannot be seen for what would be one; a little higher than its
    neighbours, and down over the front edge of the board.
    """
    height, width = canvas.image.shape[:2]
    high = min(row.clear, tall * rng.uniform(1.0, 1.2))
    number = facings or max(1, round((span[1] - span[0]) / (0.8 * high)))
    edges = np.linspace(*span, number + 1).clip(0, width).tolist()
    top, bottom = max(row.floor - high, 0), min(row.floor + LIP * high, height)
    for x0, x1 in pairwise(edges):
        if x1 - x0 >= max(5, 0.22 * (bottom - top)) and bottom - top > 6:
            canvas.gaps.append((x0, top, x1, bottom))


def _run(rng: np.random.Generator, style: Style, number: int) -> range:
    """Which columns of a group are missing."""
    if rng.random() >= style.missing:
        return range(0)
    many = int(rng.integers(1, number + 1)) if rng.random() < 0.5 else 1
    start = int(rng.integers(0, number - many + 1))
    return range(start, start + many)


def fill_row(rng: np.random.Generator, canvas: Canvas, row: Row, style: Style, bank: Bank) -> None:
    """Groups of like facings from left to right; what is missing is labelled a gap."""
    x, last = row.x0 + int(rng.integers(0, max(2, row.clear // 6))), row.clear * style.fill[1]
    while x < row.x1 - 8:
        if rng.random() < style.empty:
            wide = int(min(row.clear * rng.uniform(0.35, 3.0), row.x1 - x))
            _gap(rng, canvas, row, (x, x + wide), max(last, 0.6 * row.clear))
            x += wide
            continue
        group = choose_group(rng, style, row, bank)
        many = 1 if rng.random() < style.alone else int(rng.integers(1, 4 if rng.random() < 0.3 else 9))
        number = min(many, (row.x1 - x - group.side) // group.step)
        if number < 1:
            break
        # The camera sees the side that depth runs to.
        left = group.side if row.towards < x else 0
        gone = _facings(rng, canvas, row, style, group, x + left, number)
        if left and 0 not in gone:
            draw_side(rng, canvas, row, group, x, right=False)
        if group.side and not left and number - 1 not in gone:
            draw_side(rng, canvas, row, group, x + (number - 1) * group.step + group.w, right=True)
        last = group.h * group.stack
        x += number * group.step + group.side
        x += int(rng.integers(0, 3) if rng.random() < style.tight else 0.15 * group.w)


def _facings(
    rng: np.random.Generator, canvas: Canvas, row: Row, style: Style, group: Group, x: int, number: int
) -> range:
    """A product's facings from `x` on, and what stands behind and before them; which are missing."""
    gone = _run(rng, style, number) if group.w > 0.2 * group.h else range(0)
    left_behind = rng.random() < 0.2
    for i in range(number):
        if group.deep and (i not in gone or left_behind):
            draw_behind(rng, canvas, row, group, x + i * group.step)
    for i in range(number):
        if i not in gone:
            draw_column(rng, canvas, row, group, x + i * group.step, style)
    if gone:
        tall, spare = group.h * group.stack, group.step - group.w
        span = x + gone.start * group.step - spare, x + gone.stop * group.step
        # Facings much narrower than high are not told apart in an empty place.
        _gap(rng, canvas, row, span, tall, len(gone) if group.w > 0.4 * tall else 0)
    elif style.kind != "pegs" and rng.random() < 0.08:
        tray(rng, canvas, (x, x + number * group.step), row.floor, group.h)
    return gone


def _shade(image: Image, x0: int, x1: int, top: int, bottom: int, dark: float) -> None:
    """The shadow of the board above, fading downwards."""
    area = image[max(top, 0) : max(bottom, 0), max(x0, 0) : max(x1, 0)]
    if area.size:
        fade = np.linspace(dark, 1, len(area), dtype=np.float32)[:, None, None]
        area[:] = (area * fade).astype(np.uint8)


def _panel(rng: np.random.Generator, image: Image, row: Row, kind: str, paint: Colour, board: Colour) -> None:
    """The back of the shelf, in shade, and the board's top or the underside of the one above."""
    y0, y1 = row.floor - row.clear, row.floor
    cv2.rectangle(image, (row.x0, y0), (row.x1, y1), paint, -1)
    step = max(4, int(row.clear * rng.uniform(0.05, 0.25)))
    ink = tuple(int(c * 0.55) for c in paint)
    if kind == "pegs" or rng.random() < 0.25:
        for y in range(max(y0, 0), y1, step):
            if step > 5 and rng.random() < 0.9:
                xs = np.arange(row.x0, row.x1, step)
                for x in xs[(xs >= 0) & (xs < image.shape[1])].tolist():
                    image[y : y + 2, x : x + 2] = ink
    elif rng.random() < 0.3:
        for x in range(row.x0, row.x1, step * 2):
            cv2.line(image, (x, y0), (x, y1), ink, 1)
    seen = int(row.clear * 0.32 * abs(row.above))
    if kind == "shelf" and seen > 1:
        at = (y1 - seen, y1) if row.above > 0 else (y0, y0 + seen)
        cv2.rectangle(image, (row.x0, at[0]), (row.x1, at[1]), board, -1)
        if rng.random() < 0.3:
            for x in range(row.x0, row.x1, max(5, step)):
                slant = int(np.clip((row.towards - x) / max(image.shape[1], 1), -1, 1) * seen * 1.5)
                cv2.line(image, (x, y1), (x + slant, y1 - seen), ink, 1)


def rail(rng: np.random.Generator, canvas: Canvas, x0: int, x1: int, y: int, thick: int) -> None:
    """The front edge of a board with its price tags."""
    canvas.rails.append((x0, x1, y, thick))
    base = tint(rng, 60, 250) if rng.random() < 0.75 else colour(rng)
    cv2.rectangle(canvas.image, (x0, y), (x1, y + thick), base, -1)
    cv2.line(canvas.image, (x0, y + thick), (x1, y + thick), (20, 20, 20), 1)
    if thick < 4 or rng.random() < 0.15:
        return
    x, paper = x0 + int(rng.integers(0, 30)), tint(rng, 190, 256) if rng.random() < 0.7 else colour(rng)
    apart = rng.uniform(2, 60)
    while x < x1:
        wide, tall = int(thick * rng.uniform(1.0, 2.6)), int(thick * rng.uniform(0.75, 1.35))
        tag(rng, canvas.image, (x, y + 1), (wide, tall), paper)
        x += wide + int(rng.exponential(apart)) + 2


def _header(rng: np.random.Generator, canvas: Canvas, x0: int, x1: int, y: int) -> None:
    """The band with the aisle's name over a fixture."""
    deep = int(y * rng.uniform(0.2, 1.0)) if y > 60 else y
    paint = colour(rng) if rng.random() < 0.6 else tint(rng, 20, 250)
    cv2.rectangle(canvas.image, (x0, y - deep), (x1, y), paint, -1)
    for _ in range(int(rng.integers(0, 3))):
        place = (int(rng.integers(x0, x1 + 1)), y - deep // 2)
        write(rng, canvas.image, place, max(20, int((x1 - x0) * rng.uniform(0.15, 0.8))), colour(rng))


@dataclass(frozen=True, slots=True)
class Build:
    """How one fixture is made: colours of its back and boards, the shadow there, how its boards end in front.

    `reach` is how far down the shadow falls on the goods, as a share of a row; `thin` is a rail's share of one;
    `hidden` is how far the rail stands up before the goods, as a share of what is clear.
    """

    panel: Colour
    board: Colour
    dark: float
    reach: float
    thin: float
    fenced: bool
    hidden: float


def _build(rng: np.random.Generator, kind: str) -> Build:
    shelf = kind == "shelf"
    return Build(
        panel=tint(rng, 8, 120) if rng.random() < 0.55 else tint(rng, 60, 235),
        board=tint(rng, 60, 245),
        dark=float(rng.uniform(0.2, 0.95)),
        reach=float(rng.uniform(0.15, 0.6)),
        thin=float(rng.uniform(0.05, 0.18) if rng.random() < 0.8 else rng.uniform(0.18, 0.3)),
        fenced=shelf and rng.random() < 0.15,
        hidden=float(rng.uniform(0.05, 0.25)) if shelf and rng.random() < 0.12 else 0.0,
    )


def _level(
    rng: np.random.Generator, canvas: Canvas, row: Row, thick: int, style: Style, build: Build, bank: Bank
) -> None:
    """One row of goods with its board, `thick` px from above, and what is before them."""
    (x0, x1), floor, top = (row.x0, row.x1), row.floor, row.floor - row.clear
    _panel(rng, canvas.image, row, style.kind, build.panel, build.board)
    # Behind the goods it is darker than on them: the shadow falls on the panel first, then lightly on all.
    _shade(canvas.image, x0, x1, top, floor, build.dark)
    edge = int(thick * 0.6) if style.kind == "trays" else 0
    fill_row(rng, canvas, row if not edge else replace(row, floor=floor + edge), style, bank)
    reach = int((row.clear + thick) * build.reach)
    _shade(canvas.image, x0, x1, top, top + reach, min(1.0, build.dark + 0.2))
    if edge:
        cardboard(rng, canvas, (x0, x1), floor, (thick, row.clear))
        canvas.trim(x0, floor, x1, floor + edge)
    elif thick:
        if build.fenced:
            fence(rng, canvas, (x0, x1), floor, row.clear)
        up = int(row.clear * build.hidden)
        raised(canvas, (x0, x1), floor - up, floor)
        rail(rng, canvas, x0, x1, floor - up, thick + up)


def unit(rng: np.random.Generator, canvas: Canvas, x0: int, x1: int, pitch: float, bank: Bank) -> None:
    """One upright fixture between x0 and x1, from header to kick plate."""
    height = canvas.image.shape[0]
    style, eye = choose_style(rng), rng.uniform(0.1, 0.9) * height
    y = int(rng.uniform(-0.8, 0.2) * pitch) if rng.random() < 0.7 else int(rng.uniform(0, 0.35) * height)
    end = height + pitch if rng.random() < 0.6 else height * rng.uniform(0.7, 1.0)
    if y > 12 and rng.random() < 0.6:
        _header(rng, canvas, x0, x1, y)
    build = _build(rng, style.kind)
    towards, even = rng.uniform(-0.3, 1.3) * canvas.image.shape[1], rng.random() < 0.6
    step = int(pitch * rng.uniform(0.85, 1.15))
    while y < end:
        step = step if even else int(pitch * rng.uniform(0.7, 1.35))
        thick = 0 if style.kind == "cases" else max(2, int(step * build.thin))
        floor = y + step - thick
        above = float(np.clip((floor - eye) / height * 2.2, -1, 1))
        row = Row(x0, x1, floor, max(12, step - thick), above, towards)
        _level(rng, canvas, row, thick, style, build, bank)
        y += step
    if y < height:
        cv2.rectangle(canvas.image, (x0, y), (x1, y + int(rng.uniform(0.1, 0.5) * pitch)), tint(rng, 15, 120), -1)
