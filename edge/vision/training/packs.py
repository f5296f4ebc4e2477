"""Packs of goods drawn from random numbers alone: bottles, cans, boxes, bags, with print and shading.

Every function is a pure function of a NumPy Generator and sizes in pixels. A pack is a BGRA uint8
picture that fills its canvas, so that the canvas is the pack's bounding box.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.vision.detector import Image

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of pack: height over width, its outline, and how light falls on it."""

    aspect: tuple[float, float]
    outline: tuple[tuple[float, float], ...]
    round: bool = False
    soft: bool = False
    weight: float = 1.0


RECTANGLE = ((0, 0), (1, 0), (1, 1), (0, 1))
SHAPES = {
    "box": Shape((0.8, 2.3), RECTANGLE, weight=3.0),
    "flat": Shape((0.22, 0.8), RECTANGLE, weight=1.5),
    "bottle": Shape(
        (2.2, 4.2),
        ((0.36, 0), (0.64, 0), (0.65, 0.16), (0.9, 0.32), (1, 0.42), (1, 1), (0, 1), (0, 0.42), (0.1, 0.32),
         (0.35, 0.16)),
        round=True, weight=2.2,
    ),
    "soda": Shape(
        (2.6, 3.6),
        ((0.38, 0), (0.62, 0), (0.62, 0.1), (0.85, 0.22), (0.99, 0.34), (0.93, 0.55), (1, 0.72), (0.97, 1),
         (0.03, 1), (0, 0.72), (0.07, 0.55), (0.01, 0.34), (0.15, 0.22), (0.38, 0.1)),
        round=True, weight=2.2,
    ),
    "can": Shape(
        (1.1, 2.2),
        ((0.06, 0), (0.94, 0), (1, 0.06), (1, 0.94), (0.94, 1), (0.06, 1), (0, 0.94), (0, 0.06)),
        round=True, weight=1.8,
    ),
    "jar": Shape(
        (0.95, 1.9),
        ((0.1, 0), (0.9, 0), (0.9, 0.16), (1, 0.24), (1, 0.97), (0.95, 1), (0.05, 1), (0, 0.97), (0, 0.24),
         (0.1, 0.16)),
        round=True, weight=1.4,
    ),
    "bag": Shape(
        (0.95, 1.7),
        ((0.03, 0), (0.97, 0), (0.92, 0.07), (1, 0.35), (0.99, 0.9), (0.94, 1), (0.05, 1), (0, 0.88),
         (0.01, 0.33), (0.08, 0.07)),
        soft=True, weight=1.6,
    ),
    "carton": Shape((1.7, 3.0), ((0.1, 0), (0.9, 0), (0.9, 0.05), (1, 0.2), (1, 1), (0, 1), (0, 0.2), (0.1, 0.05)),
                    weight=1.2),
    "tub": Shape((0.45, 1.0), ((0, 0), (1, 0), (0.98, 0.14), (0.88, 1), (0.12, 1), (0.02, 0.14)), round=True,
                 weight=1.0),
    "pouch": Shape((1.2, 2.0), ((0.05, 0), (0.95, 0), (1, 0.9), (0.9, 1), (0.1, 1), (0, 0.9)), soft=True, weight=1.0),
    "tube": Shape((2.4, 4.0),
                  ((0, 0), (1, 0), (0.85, 0.82), (0.8, 0.82), (0.8, 1), (0.2, 1), (0.2, 0.82), (0.15, 0.82)),
                  round=True, weight=0.6),
    "pump": Shape((2.0, 3.4),
                  ((0.22, 0), (0.62, 0), (0.62, 0.06), (0.56, 0.07), (0.56, 0.16), (0.72, 0.18), (0.74, 0.24),
                   (0.95, 0.32), (1, 0.45), (1, 0.96), (0.95, 1), (0.05, 1), (0, 0.96), (0, 0.45), (0.05, 0.32),
                   (0.26, 0.24), (0.28, 0.18), (0.44, 0.16), (0.44, 0.05), (0.22, 0.05)),
                  round=True, weight=1.0),
    "flask": Shape((1.5, 2.9),
                   ((0.3, 0), (0.7, 0), (0.72, 0.15), (0.9, 0.2), (1, 0.34), (0.97, 0.6), (0.99, 0.9), (0.92, 1),
                    (0.08, 1), (0.01, 0.9), (0.03, 0.6), (0, 0.34), (0.1, 0.2), (0.28, 0.15)),
                   round=True, weight=1.8),
    "blister": Shape((1.2, 2.4), RECTANGLE, weight=0.8),
    "multi": Shape((0.4, 0.9), RECTANGLE, weight=0.9),
    "slim": Shape((2.6, 5.0), RECTANGLE, weight=0.9),
    "heap": Shape((0.3, 0.7), ((0.05, 0.1), (0.3, 0), (0.75, 0.02), (0.97, 0.15), (1, 0.8), (0.9, 1), (0.1, 1),
                               (0, 0.85)), soft=True, weight=0.7),
}  # fmt: skip
# How much of a pack's height its cap or rim takes.
CAPS = {"bottle": 0.09, "soda": 0.07, "jar": 0.18, "can": 0.05, "tub": 0.14, "flask": 0.15, "pump": 0.16}
# Cola, green glass, orange, water, wine, brown glass (BGR).
DRINKS = ((14, 16, 26), (40, 110, 30), (20, 110, 230), (205, 200, 190), (30, 15, 60), (20, 45, 85), (18, 14, 16))
_NAMES = tuple(SHAPES)
_WEIGHTS = np.array([shape.weight for shape in SHAPES.values()]) / sum(s.weight for s in SHAPES.values())
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_SIMPLEX)


def choose_shape(rng: np.random.Generator) -> str:
    """The name of a random shape, common ones more often."""
    return str(rng.choice(_NAMES, p=_WEIGHTS))


def colour(rng: np.random.Generator) -> Colour:
    """A colour as goods have it (BGR): often white or saturated, sometimes dark or pastel."""
    kind = rng.random()
    hue = int(rng.choice((2, 6, 12, 20, 26, 45, 60, 85, 105, 118, 140, 170)) + rng.integers(-4, 5)) % 180
    if kind < 0.2:
        saturation, value = int(rng.integers(0, 25)), int(rng.integers(200, 256))
    elif kind < 0.3:
        saturation, value = int(rng.integers(0, 60)), int(rng.integers(15, 70))
    elif kind < 0.45:
        saturation, value = int(rng.integers(40, 110)), int(rng.integers(150, 250))
    else:
        saturation, value = int(rng.integers(130, 256)), int(rng.integers(90, 250))
    bgr = cv2.cvtColor(np.array([[[hue, saturation, value]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    return int(bgr[0]), int(bgr[1]), int(bgr[2])


def write(rng: np.random.Generator, image: Image, centre: tuple[int, int], width: int, ink: Colour) -> None:
    """A word of random letters, `width` pixels wide, around `centre`."""
    letters = string.ascii_uppercase if rng.random() < 0.6 else string.ascii_lowercase
    _put(rng, image, "".join(rng.choice(list(letters), int(rng.integers(3, 9)))), centre, (width, width), ink)


def write_price(
    rng: np.random.Generator, image: Image, centre: tuple[int, int], size: tuple[int, int], ink: Colour
) -> None:
    """A price as labels and offers have it, around `centre`, as large as fits into `size` (w, h)."""
    whole = int(rng.integers(1, 10) if rng.random() < 0.7 else rng.integers(10, 300))
    word = f"{rng.choice(('', '$', '-'))}{whole}"
    if rng.random() < 0.7:
        word = f"{whole}{rng.choice(('.', ',', ' '))}{rng.integers(0, 20) * 5:02d}"
    _put(rng, image, word, centre, size, ink)


def _put(
    rng: np.random.Generator, image: Image, word: str, centre: tuple[int, int], size: tuple[int, int], ink: Colour
) -> None:
    font = int(rng.choice(_FONTS))
    thick = int(rng.integers(1, 4)) if size[0] > 40 else 1
    (w, h), _ = cv2.getTextSize(word, font, 1.0, thick)
    scale = max(0.15, min(size[0] / max(w, 1), size[1] / max(h, 1)))
    place = (int(centre[0] - w * scale / 2), int(centre[1] + h * scale / 2))
    cv2.putText(image, word, place, font, scale, ink, thick, cv2.LINE_AA)


def _picture(rng: np.random.Generator, image: Image, x0: int, y0: int, x1: int, y1: int) -> None:
    """A blob of fruit-like ellipses inside the given rectangle."""
    for _ in range(int(rng.integers(2, 7))):
        centre = (int(rng.integers(x0, max(x1, x0 + 1))), int(rng.integers(y0, max(y1, y0 + 1))))
        axes = (max(2, int((x1 - x0) * rng.uniform(0.1, 0.4))), max(2, int((y1 - y0) * rng.uniform(0.1, 0.4))))
        cv2.ellipse(image, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour(rng), -1, cv2.LINE_AA)


def _bands(rng: np.random.Generator, image: Image) -> None:
    h, w = image.shape[:2]
    for _ in range(int(rng.integers(0, 4))):
        y, thick = int(rng.integers(0, h)), max(1, int(h * rng.uniform(0.02, 0.25)))
        if rng.random() < 0.7:
            cv2.rectangle(image, (0, y), (w, y + thick), colour(rng), -1)
        else:
            slope = int(rng.uniform(-0.6, 0.6) * h)
            cv2.line(image, (0, y), (w, y + slope), colour(rng), thick, cv2.LINE_AA)


def _ground(rng: np.random.Generator, image: Image) -> None:
    """What print lies on, in place: a run of colours, a soft photo-like texture, a pattern."""
    h, w = image.shape[:2]
    kind = rng.random()
    if kind < 0.3:
        ends = np.array((colour(rng), colour(rng)), np.float32)
        along = np.linspace(0, 1, h, dtype=np.float32)[:, None, None] if rng.random() < 0.6 else np.linspace(
            0, 1, w, dtype=np.float32)[None, :, None]  # fmt: skip
        image[:] = (ends[0] + (ends[1] - ends[0]) * along).astype(np.uint8)
    elif kind < 0.45:
        coarse = np.array([colour(rng) for _ in range(20)], np.uint8).reshape(5, 4, 3)
        image[:] = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)
        grain = rng.normal(0, rng.uniform(4, 30), (h // 2 + 1, w // 2 + 1)).astype(np.float32)
        image[:] = np.clip(image + cv2.resize(grain, (w, h))[..., None], 0, 255)
    elif kind < 0.55:
        ink, step = colour(rng), int(rng.integers(4, 24))
        for at in range(0, w + h, step):
            cv2.line(image, (at, 0), (at - h, h), ink, max(1, step // 3), cv2.LINE_AA)


def _small_print(rng: np.random.Generator, image: Image) -> None:
    """A block of lines too small to read, broken into words."""
    h, w = image.shape[:2]
    ink, x0, x1 = colour(rng), int(w * rng.uniform(0.05, 0.5)), int(w * rng.uniform(0.6, 0.97))
    y, step = int(h * rng.uniform(0.1, 0.8)), int(rng.integers(3, 7))
    for line in range(int(rng.integers(2, 8))):
        x = x0
        while x < x1:
            word = int(rng.integers(3, 14))
            cv2.line(image, (x, y + step * line), (min(x + word, x1), y + step * line), ink, max(1, step // 3))
            x += word + 3


def print_label(rng: np.random.Generator, image: Image) -> None:
    """Print on a pack, in place: ground, bands, a picture, a logo, words and lines of small text."""
    h, w = image.shape[:2]
    _ground(rng, image)
    _bands(rng, image)
    if rng.random() < 0.5:
        _picture(rng, image, int(w * 0.15), int(h * rng.uniform(0.3, 0.6)), int(w * 0.85), int(h * 0.95))
    if rng.random() < 0.65:
        centre = (w // 2, int(h * rng.uniform(0.15, 0.55)))
        axes = (max(2, int(w * rng.uniform(0.2, 0.48))), max(2, int(h * rng.uniform(0.05, 0.2))))
        if rng.random() < 0.6:
            cv2.ellipse(image, centre, axes, 0, 0, 360, colour(rng), -1, cv2.LINE_AA)
        else:
            cv2.rectangle(image, (centre[0] - axes[0], centre[1] - axes[1]),
                          (centre[0] + axes[0], centre[1] + axes[1]), colour(rng), -1)  # fmt: skip
        write(rng, image, centre, int(axes[0] * 1.7), colour(rng))
    for _ in range(int(rng.integers(0, 3))):
        write(rng, image, (w // 2, int(h * rng.uniform(0.1, 0.9))), int(w * rng.uniform(0.4, 1.0)), colour(rng))
    for _ in range(int(rng.integers(0, 3)) if h > 24 else 0):
        _small_print(rng, image)


def _light(rng: np.random.Generator, shape: Shape, h: int, w: int) -> npt.NDArray[np.float32]:
    """How bright each pixel of a pack is, (h, w) around 1."""
    u = np.linspace(0, 1, w, dtype=np.float32)[None, :]
    if shape.round:
        edge = rng.uniform(0.35, 0.75)
        light = edge + (1 - edge) * np.sin(np.pi * u).clip(0, 1) ** rng.uniform(0.5, 1.0)
        stripe = rng.uniform(0.15, 0.85)
        light = light + rng.uniform(0, 0.5) * np.exp(-(((u - stripe) / 0.06) ** 2))
        return np.broadcast_to(light, (h, w)).astype(np.float32)
    if shape.soft:
        coarse = rng.uniform(0.7, 1.25, (5, 4)).astype(np.float32)
        return np.asarray(cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC), np.float32)
    light = np.broadcast_to(1 + rng.uniform(-0.15, 0.15) * (u - 0.5), (h, w)).astype(np.float32)
    if rng.random() < 0.4:
        # The side of a box that the camera also sees, in shade.
        side = max(1, int(w * rng.uniform(0.05, 0.2)))
        columns = slice(0, side) if rng.random() < 0.5 else slice(w - side, w)
        light[:, columns] *= rng.uniform(0.45, 0.85)
    if rng.random() < 0.25:
        light[: max(1, int(h * rng.uniform(0.03, 0.12)))] *= rng.uniform(1.0, 1.3)
    return light


def _content(rng: np.random.Generator, image: Image, name: str) -> None:
    """What a blister card or a shrink-wrapped multipack shows of what is in it."""
    h, w = image.shape[:2]
    if name == "blister":
        cv2.circle(image, (w // 2, int(h * 0.06)), max(2, w // 14), (30, 30, 30), -1)
        centre, axes = (w // 2, int(h * rng.uniform(0.5, 0.7))), (int(w * rng.uniform(0.2, 0.42)), int(h * 0.25))
        cv2.ellipse(image, centre, axes, 0, 0, 360, colour(rng), -1, cv2.LINE_AA)
        cv2.ellipse(image, centre, axes, 0, 200, 320, (245, 245, 245), 2, cv2.LINE_AA)
    elif name == "multi" and rng.random() < 0.6:
        across, tint = int(rng.integers(3, 8)), colour(rng)
        for i in range(across):
            x = int((i + 0.5) * w / across)
            cv2.circle(image, (x, h // 2), int(0.42 * w / across), tint, -1, cv2.LINE_AA)
            cv2.circle(image, (x, h // 2), int(0.42 * w / across), (200, 200, 205), 1, cv2.LINE_AA)


def _cap(rng: np.random.Generator, image: Image, name: str) -> None:
    h, w = image.shape[:2]
    depth = CAPS.get(name, 0.0)
    if depth and rng.random() < 0.85:
        metal = int(rng.integers(120, 230))
        ink = (metal, metal, metal) if name == "can" else colour(rng)
        cv2.rectangle(image, (0, 0), (w, int(h * depth)), ink, -1)
        if name == "can":
            cv2.rectangle(image, (0, int(h * 0.95)), (w, h), ink, -1)


def _band(rng: np.random.Generator, image: Image, top: int, tall: int) -> None:
    """A printed label round the body, in place, `tall` px from `top` on."""
    label = np.empty((max(2, tall), image.shape[1], 3), np.uint8)
    label[:] = colour(rng)
    print_label(rng, label)
    image[top : top + len(label)] = label[: len(image) - top]


def _drink(rng: np.random.Generator, image: Image) -> None:
    """A clear bottle, in place: liquid up to the neck, the light in it, a band of paper round its middle."""
    h, w = image.shape[:2]
    image[:] = DRINKS[int(rng.integers(len(DRINKS)))]
    empty = int(h * rng.uniform(0.08, 0.26))
    image[:empty] = 0.5 * image[:empty] + 0.5 * rng.uniform(60, 230)
    for _ in range(int(rng.integers(1, 4))):
        x, thick = int(rng.uniform(0.05, 0.9) * w), max(1, int(w * rng.uniform(0.02, 0.1)))
        y0, y1 = int(h * rng.uniform(0.1, 0.5)), int(h * rng.uniform(0.6, 1.0))
        image[y0:y1, x : x + thick] = np.clip(image[y0:y1, x : x + thick] + rng.uniform(40, 170), 0, 255)
    _band(rng, image, int(h * rng.uniform(0.36, 0.58)), int(h * rng.uniform(0.14, 0.38)))


def tag(rng: np.random.Generator, image: Image, corner: tuple[int, int], size: tuple[int, int], paper: Colour) -> None:
    """A price label, its top left corner and (w, h) given: a price, print, a bar code."""
    (x, y), (w, h) = corner, size
    cv2.rectangle(image, corner, (x + w, y + h), paper, -1)
    if h <= 9:
        cv2.line(image, (x + w // 4, y + h // 2), (x + w // 2, y + h // 2), (40, 40, 40), 1)
        return
    dark = (30, 30, 30) if rng.random() < 0.8 else colour(rng)
    wide = rng.uniform(0.35, 0.7)
    middle = x + int(w * rng.uniform(wide / 2, 1 - wide / 2)), y + int(h * rng.uniform(0.4, 0.6))
    write_price(rng, image, middle, (int(w * wide), int(h * 0.7)), dark)
    if rng.random() < 0.5:
        for line in range(int(rng.integers(1, 3))):
            y1 = y + 2 + 3 * line
            cv2.line(image, (x + 2, y1), (x + int(w * rng.uniform(0.3, 0.95)), y1), (70, 70, 70), 1)
    if rng.random() < 0.4:
        for x1 in range(x + 2, x + int(w * 0.4), 2):
            cv2.line(image, (x1, y + int(0.7 * h)), (x1, y + h - 2), dark, 1)


def draw_pack(rng: np.random.Generator, name: str, h: int, w: int) -> Image:
    """One pack of the shape `name`, BGRA (h, w, 4); the same texture serves a row of facings."""
    shape = SHAPES[name]
    image = np.empty((h, w, 3), np.uint8)
    image[:] = colour(rng)
    if name in ("soda", "bottle") and rng.random() < 0.6:
        _drink(rng, image)
    elif name in ("bottle", "soda", "jar", "tube", "pump", "flask") and rng.random() < 0.75:
        # A label on part of the body; the rest shows the content.
        top, bottom = int(h * rng.uniform(0.35, 0.5)), int(h * rng.uniform(0.7, 0.95))
        _band(rng, image, top, bottom - top)
    else:
        print_label(rng, image)
    _content(rng, image, name)
    _cap(rng, image, name)
    lit = np.clip(image * _light(rng, shape, h, w)[..., None], 0, 255).astype(np.uint8)
    points = np.array(shape.outline) * (w - 1, h - 1)
    mask = np.zeros((h, w), np.uint8)
    cv2.fillPoly(mask, [points.round().astype(np.int32)], 255, cv2.LINE_AA)
    if rng.random() < 0.5:
        ink = tuple(int(c * rng.uniform(0.2, 0.7)) for c in colour(rng))
        cv2.polylines(lit, [points.round().astype(np.int32)], True, ink, 1, cv2.LINE_AA)
    if name in ("bottle", "soda", "jar", "flask", "pump") and rng.random() < 0.25:
        mask = (mask * rng.uniform(0.6, 0.95)).astype(np.uint8)
    return np.dstack((lit, mask))
