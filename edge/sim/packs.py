"""Packaged goods as a camera sees them from the front; each SKU has one look, chosen by its code."""

from __future__ import annotations

import colorsys
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]
Shape = Literal["box", "bottle", "can", "jar"]
WIDTH_TO_HEIGHT: dict[Shape, float] = {"box": 0.62, "bottle": 0.36, "can": 0.58, "jar": 0.72}
SHAPES: tuple[Shape, ...] = ("jar", "box", "can", "bottle")
WHITE: Colour = (240, 242, 244)


@dataclass(frozen=True, slots=True)
class Box:
    """A place in the picture: left, top, width and height in pixels."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, slots=True)
class Look:
    """How a SKU's pack looks; colours are BGR."""

    shape: Shape
    brand: Colour
    second: Colour
    stripes: int
    text: str

    @property
    def width_to_height(self) -> float:
        return WIDTH_TO_HEIGHT[self.shape]


def look_of(sku: str, product: str) -> Look:
    """The look of a SKU; the same code always looks the same."""
    code = zlib.crc32(sku.encode())
    rng = random.Random(code)
    hue = rng.random()
    second = _colour(hue + rng.uniform(0.3, 0.6), 0.6, 0.9)
    return Look(SHAPES[code % len(SHAPES)], _colour(hue, 0.75, 0.8), second, rng.randint(1, 3), product or sku)


def draw_pack(frame: Frame, box: Box, look: Look, rng: random.Random, turned: float = 0.0) -> None:
    """Draw one pack into `frame`, parts outside of the picture left out; `rng` makes each unit a little different.

    A round one stands `turned` by that share of its width, so that its label is not in the middle.
    """
    pack, mask = _pack(box.w, box.h, look, turned)
    tone = rng.uniform(0.94, 1.04)
    x0, y0 = max(0, box.x), max(0, box.y)
    x1, y1 = min(frame.shape[1], box.x + box.w), min(frame.shape[0], box.y + box.h)
    if x0 >= x1 or y0 >= y1:
        return
    inner = (slice(y0 - box.y, y1 - box.y), slice(x0 - box.x, x1 - box.x))
    alpha = mask[inner].astype(np.float32)[..., None] / 255
    under = frame[y0:y1, x0:x1]
    frame[y0:y1, x0:x1] = np.clip(pack[inner] * tone * alpha + under * (1 - alpha), 0, 255).astype(np.uint8)


def _colour(hue: float, saturation: float, value: float) -> Colour:
    r, g, b = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(b * 255), round(g * 255), round(r * 255)


def _pack(w: int, h: int, look: Look, turned: float) -> tuple[Frame, Frame]:
    pack = np.full((h, w, 3), look.brand, np.uint8)
    mask = np.zeros((h, w), np.uint8)
    label = _SHAPES[look.shape](pack, mask, look)
    _draw_label(pack, label, look)
    if turned and look.shape != "box":
        rows = slice(label.y, label.y + label.h)
        pack[rows] = np.roll(pack[rows], round(turned * w), axis=1)
    across = np.linspace(-1, 1, w, dtype=np.float32)
    round_ = look.shape != "box"
    shade = 1.08 - (0.45 if round_ else 0.10) * across ** 2 + (0.18 * np.exp(-((across + 0.45) / 0.12) ** 2)
                                                              if round_ else 0)
    lit = np.clip(pack * shade[None, :, None], 0, 255).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(lit, contours, -1, tuple(c * 0.35 for c in look.brand), 2, cv2.LINE_AA)
    return lit, mask


def _box(pack: Frame, mask: Frame, look: Look) -> Box:
    h, w = mask.shape
    mask[:] = 255
    cv2.rectangle(pack, (0, 0), (w, h // 16), tuple(c * 0.7 for c in look.brand), -1)
    cv2.circle(pack, (w // 2, round(h * 0.75)), round(w * 0.32), look.second, -1, cv2.LINE_AA)
    return Box(round(w * 0.06), round(h * 0.18), round(w * 0.88), round(h * 0.30))


def _bottle(pack: Frame, mask: Frame, look: Look) -> Box:
    h, w = mask.shape
    neck = (round(w * 0.33), round(w * 0.67))
    outline = np.array([(neck[0], 0), (neck[1], 0), (neck[1], h * 0.16), (w * 0.94, h * 0.34), (w - 1, h * 0.40),
                        (w - 1, h * 0.97), (w * 0.94, h - 1), (w * 0.06, h - 1), (0, h * 0.97), (0, h * 0.40),
                        (w * 0.06, h * 0.34), (neck[0], h * 0.16)], np.int32)
    cv2.fillPoly(mask, [outline], 255)
    pack[:] = tuple(round(c * 0.45) for c in look.brand)
    pack[: round(h * 0.07)] = look.second
    return Box(0, round(h * 0.44), w, round(h * 0.36))


def _can(pack: Frame, mask: Frame, look: Look) -> Box:
    h, w = mask.shape
    metal = tuple(round(170 + 0.1 * c) for c in look.brand)
    cv2.ellipse(mask, (w // 2, round(h * 0.05)), (w // 2 - 1, round(h * 0.05)), 0, 0, 360, 255, -1)
    cv2.ellipse(mask, (w // 2, round(h * 0.95)), (w // 2 - 1, round(h * 0.05)), 0, 0, 360, 255, -1)
    mask[round(h * 0.05):round(h * 0.95)] = 255
    pack[: round(h * 0.10)] = metal
    cv2.ellipse(pack, (w // 2, round(h * 0.05)), (w // 2 - 3, round(h * 0.04)), 0, 0, 360, (215, 216, 218), -1)
    pack[round(h * 0.93):] = metal
    return Box(0, round(h * 0.28), w, round(h * 0.34))


def _jar(pack: Frame, mask: Frame, look: Look) -> Box:
    h, w = mask.shape
    cv2.rectangle(mask, (round(w * 0.10), 0), (round(w * 0.90), round(h * 0.20)), 255, -1)
    body = round(h * 0.20)
    cv2.rectangle(mask, (0, body + 8), (w, h - 8), 255, -1)
    cv2.rectangle(mask, (8, body), (w - 8, h), 255, -1)
    pack[body:] = tuple(round(c * 0.55) for c in look.brand)
    pack[: body - 3] = look.second
    for x in range(0, w, 7):
        cv2.line(pack, (x, 2), (x, body - 5), tuple(c * 0.8 for c in look.second), 1)
    return Box(0, round(h * 0.38), w, round(h * 0.44))


_SHAPES: dict[Shape, Callable[[Frame, Frame, Look], Box]] = {"box": _box, "bottle": _bottle, "can": _can, "jar": _jar}


def _draw_label(pack: Frame, at: Box, look: Look) -> None:
    cv2.rectangle(pack, (at.x, at.y), (at.x + at.w, at.y + at.h), WHITE, -1)
    band = max(2, at.h // 14)
    for stripe in range(look.stripes):
        y = at.y + band * (1 + 2 * stripe)
        cv2.rectangle(pack, (at.x, y), (at.x + at.w, y + band - 1), look.second, -1)
    words = [word for word in look.text.upper().split() if len(word) > 1 and word[0].isalpha()][:2] or [look.text]
    y = at.y + band * (2 * look.stripes + 1)
    room = (at.y + at.h - y) / len(words)
    for word in words:
        (text_w, _), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, 1.0, 2)
        scale = min(at.w * 0.80 / text_w, room * 0.6 / 22)
        y += round(room * 0.9)
        x = at.x + round((at.w - text_w * scale) / 2)
        cv2.putText(pack, word, (x, y), cv2.FONT_HERSHEY_DUPLEX, scale, look.brand, 1, cv2.LINE_AA)
