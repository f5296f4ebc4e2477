"""What stands before the goods on a board and hides or crosses their feet: trays, lips, wires, raised rails."""

from __future__ import annotations

import cv2
import numpy as np

from edge.vision.training.canvas import Canvas, tint
from edge.vision.training.packs import colour, write

Span = tuple[int, int]
"""From x0 to x1."""


def tray(rng: np.random.Generator, canvas: Canvas, span: Span, floor: int, tall: int) -> None:
    """The front of a shelf-ready tray before packs `tall` px high that stand on `floor`."""
    (x0, x1), high = span, max(2, int(tall * rng.uniform(0.08, 0.3)))
    cv2.rectangle(canvas.image, (x0, floor - high), (x1, floor), colour(rng), -1)
    canvas.trim(x0, floor - high, x1, floor)
    if high > 7 and rng.random() < 0.6:
        write(rng, canvas.image, ((x0 + x1) // 2, floor - high // 2), int((x1 - x0) * 0.5), colour(rng))


def cardboard(rng: np.random.Generator, canvas: Canvas, span: Span, y: int, size: tuple[int, int]) -> None:
    """The printed fronts of trays side by side; `size` is their height and the row's."""
    thick, clear = size
    paper = (int(rng.integers(60, 130)), int(rng.integers(110, 170)), int(rng.integers(150, 210)))
    x, wide = span[0], int(clear * rng.uniform(1.5, 4)) + 10
    paint = paper if rng.random() < 0.7 else colour(rng)
    while x < span[1]:
        cv2.rectangle(canvas.image, (x, y), (min(x + wide - 2, span[1]), y + thick), paint, -1)
        if thick > 7:
            write(rng, canvas.image, (x + wide // 2, y + thick // 2), int(wide * 0.7), (40, 50, 60))
        x += wide


def fence(rng: np.random.Generator, canvas: Canvas, span: Span, floor: int, clear: int) -> None:
    """A fence of wire or a strip of clear plastic before the goods, which stay whole."""
    height, width = canvas.image.shape[:2]
    (x0, x1), top = span, floor - max(3, int(clear * rng.uniform(0.08, 0.38)))
    grey = tint(rng, 90, 255)
    thick = 1 if clear < 60 else int(rng.integers(1, 4))
    if rng.random() < 0.5:
        area = canvas.image[max(top, 0) : max(min(floor, height), 0), max(x0, 0) : max(min(x1, width), 0)]
        share = rng.uniform(0.05, 0.35)
        area[:] = (area * (1 - share) + np.array(grey) * share).astype(np.uint8)
        cv2.line(canvas.image, (x0, top), (x1, top), grey, thick)
        return
    for y in np.linspace(top, floor, int(rng.integers(2, 4)))[:-1].astype(int).tolist():
        cv2.line(canvas.image, (x0, y), (x1, y), grey, thick, cv2.LINE_AA)
    for x in range(x0, x1, max(8, int(clear * rng.uniform(0.15, 1.5)))):
        cv2.line(canvas.image, (x, top), (x, floor), grey, thick, cv2.LINE_AA)


def raised(canvas: Canvas, span: Span, top: int, floor: int) -> None:
    """The goods' labels end where a rail from `top` to `floor` hides the goods' feet; what it hides is forgotten."""
    if top >= floor:
        return
    canvas.hide(span[0], top, span[1], floor, share=0.7)
    canvas.trim(span[0], top, span[1], floor)
