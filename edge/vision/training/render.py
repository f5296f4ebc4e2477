"""Shelf scenes with known boxes, as a shop's camera sees them: a pure function of a NumPy Generator.

A scene is a fixture in a room: rows of goods on boards with price rails, or hanging on pegs, with
gaps, shadows, depth behind the front row; then the camera: perspective, blur, noise, colour, JPEG.
What shops have and detectors take for goods is drawn without boxes: signs, letters, tiles, kick plates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from edge.vision.detector import Image
from edge.vision.training.packs import SHAPES, choose_shape, colour, draw_pack, write

Boxes = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture (h, w, 3) BGR uint8 with its goods' boxes (n, 4), x0 y0 x1 y1 in pixels, inside the picture."""

    image: Image
    boxes: Boxes


@dataclass(slots=True)
class _Canvas:
    """A scene while it is drawn."""

    image: Image
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    rails: list[tuple[int, int, int, int]] = field(default_factory=list)

    def paste(self, pack: Image, x: int, y: int, gain: float = 1.0, labelled: bool = True) -> None:
        """Blend a BGRA pack with its top left corner at (x, y), clipped; `gain` is its brightness."""
        h, w = pack.shape[:2]
        height, width = self.image.shape[:2]
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
        if x1 <= x0 or y1 <= y0:
            return
        part = pack[y0 - y : y1 - y, x0 - x : x1 - x]
        alpha = part[..., 3:].astype(np.float32) / 255
        under = self.image[y0:y1, x0:x1]
        lit = np.minimum(part[..., :3] * np.float32(gain), 255)
        self.image[y0:y1, x0:x1] = (lit * alpha + under * (1 - alpha)).astype(np.uint8)
        seen = (x1 - x0) * (y1 - y0) / (w * h)
        if labelled and seen > 0.25:
            self.boxes.append((x0, y0, x1, y1))


def _tint(rng: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    grey = rng.integers(low, high)
    b, g, r = (int(np.clip(grey + rng.integers(-18, 19), 0, 255)) for _ in range(3))
    return b, g, r


def _room(rng: np.random.Generator, height: int, width: int) -> Image:
    """Wall, ceiling or floor: plain, lit unevenly, tiled, or with large letters."""
    image = np.empty((height, width, 3), np.uint8)
    image[:] = _tint(rng, 30, 230) if rng.random() < 0.75 else colour(rng)
    if rng.random() < 0.5:
        step = int(rng.integers(20, 120))
        ink = _tint(rng, 20, 240)
        lean = int(rng.integers(-60, 60))
        for x in range(-60, width + 60, step):
            cv2.line(image, (x, 0), (x + lean, height), ink, int(rng.integers(1, 4)))
        for y in range(0, height, max(6, int(step * rng.uniform(0.3, 1.2)))):
            cv2.line(image, (0, y), (width, y), ink, 1)
    for _ in range(int(rng.integers(0, 4))):
        write(rng, image, (int(rng.integers(0, width)), int(rng.integers(0, height))),
              int(rng.integers(100, 600)), colour(rng))  # fmt: skip
    if rng.random() < 0.3:
        speckle = rng.normal(0, rng.uniform(10, 40), (height // 3, width // 3, 1)).astype(np.float32)
        image = np.clip(image + cv2.resize(speckle, (width, height))[..., None], 0, 255).astype(np.uint8)
    coarse = rng.uniform(0.6, 1.2, (3, 4)).astype(np.float32)
    light = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(image * light[..., None], 0, 255), np.uint8)


def _rail(rng: np.random.Generator, canvas: _Canvas, x0: int, x1: int, y: int, thick: int) -> None:
    """The front edge of a board with its price tags."""
    canvas.rails.append((x0, x1, y, thick))
    base = _tint(rng, 60, 250) if rng.random() < 0.7 else colour(rng)
    cv2.rectangle(canvas.image, (x0, y), (x1, y + thick), base, -1)
    cv2.line(canvas.image, (x0, y + thick), (x1, y + thick), (20, 20, 20), 1)
    if thick < 6 or rng.random() < 0.15:
        return
    x, paper = x0 + int(rng.integers(0, 30)), _tint(rng, 190, 256) if rng.random() < 0.7 else colour(rng)
    while x < x1:
        wide = int(thick * rng.uniform(1.2, 2.6))
        tall = int(thick * rng.uniform(0.75, 1.25))
        cv2.rectangle(canvas.image, (x, y + 1), (x + wide, y + tall), paper, -1)
        if thick > 10:
            write(rng, canvas.image, (x + wide // 2, y + tall // 2), int(wide * 0.7), (30, 30, 30))
        x += wide + int(rng.exponential(40)) + 4


def _hanging_tags(rng: np.random.Generator, canvas: _Canvas) -> None:
    """Offers that hang from the rails before the goods below, which stay goods."""
    paper, ink = colour(rng), colour(rng)
    often = rng.uniform(0.2, 0.9)
    for x0, x1, y, thick in canvas.rails:
        if rng.random() > often:
            continue
        wide, tall = int(thick * rng.uniform(1.0, 2.2)) + 3, int(thick * rng.uniform(0.9, 2.2)) + 3
        for x in range(x0 + int(rng.integers(0, 40)), x1, wide + int(rng.integers(2, 90))):
            if rng.random() < 0.7:
                top = y + int(rng.integers(0, thick))
                cv2.rectangle(canvas.image, (x, top), (x + wide, top + tall), paper, -1)
                if wide > 12:
                    write(rng, canvas.image, (x + wide // 2, top + tall // 2), int(wide * 0.8), ink)


def _lean(rng: np.random.Generator, pack: Image) -> Image:
    """The same pack a little turned, as customers leave them."""
    h, w = pack.shape[:2]
    turn = cv2.getRotationMatrix2D((w / 2, h), float(rng.normal(0, 2.5)), 0.98)
    return np.asarray(cv2.warpAffine(pack, turn, (w, h)), np.uint8)


@dataclass(frozen=True, slots=True)
class _Row:
    """One board: where goods stand and how much room is above."""

    x0: int
    x1: int
    floor: int
    clear: int
    gain: float
    tidy: float
    pegs: bool


def _group_size(rng: np.random.Generator, name: str, row: _Row) -> tuple[int, int]:
    """Height and width of a product for this row, in pixels."""
    low, high = SHAPES[name].aspect
    if low < 1.2 and (rng.random() < 0.6 or high < 1.1):
        # Low packs stand on each other up to the board above.
        h = row.clear / rng.integers(1, np.clip(row.clear // 24, 1, 5) + 1) * rng.uniform(0.8, 1.0)
    else:
        h = row.clear * rng.uniform(0.6, 1.0)
    w = h / rng.uniform(low, high)
    return max(7, int(h)), max(5, int(min(w, row.clear * 1.6)))


def _facing(rng: np.random.Generator, canvas: _Canvas, row: _Row, pack: Image, x: int, deep: bool, stack: int) -> None:
    """One column of a product: what stands behind, then the front, then what is stacked on it."""
    h, w = pack.shape[:2]
    floor = row.floor + int(rng.integers(-1, 2))
    if deep and not row.pegs:
        lift = max(1, int(h * rng.uniform(0.02, 0.07)))
        canvas.paste(pack, x + int(rng.integers(-2, 3)), floor - h * stack - lift, row.gain * 0.55, labelled=False)
    for level in range(stack):
        turned = _lean(rng, pack) if rng.random() < row.tidy * 0.3 else pack
        y = floor - h * (level + 1)
        canvas.paste(turned, x + int(rng.integers(-1, 2)), y, row.gain * rng.uniform(0.9, 1.08))
        if row.pegs:
            cv2.line(canvas.image, (x + w // 2, y - 3), (x + w // 2, y + 3), (200, 200, 200), 2)


def _fill_row(rng: np.random.Generator, canvas: _Canvas, row: _Row, family: list[str], fullness: float) -> None:
    """Groups of like facings from left to right, with gaps."""
    x = row.x0 + int(rng.integers(0, 12))
    while x < row.x1 - 8:
        name = str(rng.choice(family))
        h, w = _group_size(rng, name, row)
        if x + w > row.x1:
            h, w = max(6, h * (row.x1 - x) // w), row.x1 - x
        pack = draw_pack(rng, name, h, w)
        spacing = int(rng.choice((0, 0, 1, 2, 4))) if rng.random() < 0.75 else int(w * rng.uniform(0.05, 0.45))
        spacing += int(w * 0.2) if row.pegs else 0
        room = max(1, row.clear // h)
        stack = int(rng.integers(1, min(room, 6) + 1)) if room > 1 and rng.random() < 0.85 else 1
        start, deep = x, rng.random() < 0.6
        for _ in range(int(rng.integers(1, 4) if w > 90 else rng.integers(1, 9))):
            if rng.random() < fullness:
                _facing(rng, canvas, row, pack, x, deep, stack if rng.random() < 0.85 else max(1, stack - 1))
            x += w + spacing
            if x + w > row.x1:
                break
        if rng.random() < 0.1:
            # A shelf-ready tray hides the feet of its packs.
            lip = max(2, int(h * rng.uniform(0.08, 0.25)))
            cv2.rectangle(canvas.image, (start, row.floor - lip), (x - spacing, row.floor), colour(rng), -1)
        x += int(w * rng.uniform(0.3, 3)) if rng.random() < 0.08 else int(rng.integers(0, 5))


def _shade(canvas: _Canvas, x0: int, x1: int, top: int, bottom: int, dark: float) -> None:
    """The shadow of the board above, fading downwards."""
    area = canvas.image[max(top, 0) : max(bottom, 0), max(x0, 0) : max(x1, 0)]
    if area.size:
        fade = np.linspace(dark, 1, len(area), dtype=np.float32)[:, None, None]
        area[:] = (area * fade).astype(np.uint8)


def _back_panel(rng: np.random.Generator, canvas: _Canvas, x0: int, x1: int, y0: int, y1: int, pegs: bool) -> None:
    cv2.rectangle(canvas.image, (x0, y0), (x1, y1), _tint(rng, 15, 220), -1)
    ink, step = _tint(rng, 20, 200), int(rng.integers(8, 40))
    if pegs:
        for y in range(max(y0, 0), y1, step):
            cv2.line(canvas.image, (x0, y), (x1, y), ink, 1)
    elif rng.random() < 0.3:
        for x in range(x0, x1, step):
            cv2.line(canvas.image, (x, y0), (x, y1), ink, 1)


def _unit(rng: np.random.Generator, canvas: _Canvas, x0: int, x1: int, pitch: float) -> None:
    """One upright fixture between x0 and x1, from header to kick plate."""
    height = canvas.image.shape[0]
    y = int(rng.uniform(-0.6, 0.25) * pitch)
    end = height + pitch if rng.random() < 0.6 else height - rng.uniform(0, 0.2) * height
    if y > 12 and rng.random() < 0.6:
        cv2.rectangle(canvas.image, (x0, 0), (x1, y), colour(rng), -1)
        write(rng, canvas.image, ((x0 + x1) // 2, y // 2), int((x1 - x0) * rng.uniform(0.2, 0.8)), colour(rng))
    pegged = rng.random() < 0.08
    family = [choose_shape(rng) for _ in range(int(rng.integers(1, 6)))]
    # Some fixtures are full, some sold out: an empty back panel must not look like goods.
    fullness = float(rng.choice((1.0, rng.uniform(0.6, 1.0), rng.uniform(0.1, 0.6), 0.0), p=(0.5, 0.3, 0.12, 0.08)))
    gain, tidy = rng.uniform(0.75, 1.1), rng.uniform(0, 1)
    while y < end:
        step = int(pitch * rng.uniform(0.75, 1.3))
        thick = max(3, int(step * rng.uniform(0.05, 0.16)))
        clear = max(14, int((step - thick) * rng.uniform(0.8, 1.0)))
        bottom = y + step - thick
        _back_panel(rng, canvas, x0, x1, y, bottom, pegged)
        _fill_row(rng, canvas, _Row(x0, x1, bottom, clear, gain, tidy, pegged), family, fullness)
        _shade(canvas, x0, x1, y, y + int(step * rng.uniform(0.15, 0.5)), rng.uniform(0.35, 0.95))
        if not pegged:
            _rail(rng, canvas, x0, x1, bottom, thick)
        y += step
    if y < height:
        cv2.rectangle(canvas.image, (x0, y), (x1, y + int(0.3 * pitch)), _tint(rng, 20, 120), -1)


def _hide(canvas: _Canvas, x0: float, y0: float, x1: float, y1: float, share: float = 0.6) -> None:
    """Forget the boxes that something drawn over (x0, y0, x1, y1) covers by more than `share`."""

    def covered(box: tuple[float, float, float, float]) -> float:
        w = min(box[2], x1) - max(box[0], x0)
        h = min(box[3], y1) - max(box[1], y0)
        return max(w, 0) * max(h, 0) / max((box[2] - box[0]) * (box[3] - box[1]), 1)

    canvas.boxes = [box for box in canvas.boxes if covered(box) < share]


def _in_front(rng: np.random.Generator, canvas: _Canvas) -> None:
    """What hangs or stands before the shelf: signs, posts, a customer."""
    height, width = canvas.image.shape[:2]
    if rng.random() < 0.4:
        _hanging_tags(rng, canvas)
    if rng.random() < 0.3:
        for _ in range(int(rng.integers(1, 4))):
            w, h = int(rng.integers(30, 200)), int(rng.integers(25, 140))
            x, y = int(rng.integers(0, width - 30)), int(rng.integers(0, height - 25))
            cv2.rectangle(canvas.image, (x, y), (x + w, y + h), colour(rng), -1)
            write(rng, canvas.image, (x + w // 2, y + h // 2), int(w * 0.8), colour(rng))
            _hide(canvas, x, y, x + w, y + h)
    if rng.random() < 0.25:
        # A poster looks like a pack, only larger.
        h, w = int(rng.integers(120, 420)), int(rng.integers(150, 600))
        x, y = int(rng.integers(-60, width - 60)), int(rng.choice((0, rng.integers(0, height - 60))))
        canvas.paste(draw_pack(rng, "box", h, w), x, y, labelled=False)
        _hide(canvas, x, y, x + w, y + h)
    if rng.random() < 0.08:
        x, w = int(rng.integers(0, width)), int(rng.integers(60, 180))
        top, cloth = int(rng.uniform(0, 0.6) * height), colour(rng)
        cv2.ellipse(canvas.image, (x, height), (w, height - top), 0, 180, 360, cloth, -1, cv2.LINE_AA)
        cv2.circle(canvas.image, (x, top), w // 2, (120, 150, 200), -1, cv2.LINE_AA)
        _hide(canvas, x - 0.7 * w, top, x + 0.7 * w, height)


def _perspective(rng: np.random.Generator, image: Image, boxes: Boxes) -> tuple[Image, Boxes]:
    """The scene from another place: corners moved by some 4 %, boxes around the moved corners."""
    height, width = image.shape[:2]
    corners = np.array(((0, 0), (width, 0), (width, height), (0, height)), np.float32)
    moved = corners + rng.normal(0, 0.042, (4, 2)).astype(np.float32) * (width, height)
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    backdrop = tuple(int(v) for v in rng.integers(0, 255, 3))
    warped = cv2.warpPerspective(image, matrix, (width, height), borderValue=backdrop)
    if not len(boxes):
        return np.asarray(warped, np.uint8), boxes
    x0, y0, x1, y1 = boxes.T
    # The middles of the sides lie closer to a leaning pack than its corners do.
    xm, ym = (x0 + x1) / 2, (y0 + y1) / 2
    points = np.stack((np.stack((x0, ym), 1), np.stack((x1, ym), 1), np.stack((xm, y0), 1), np.stack((xm, y1), 1)), 1)
    seen = cv2.perspectiveTransform(points.astype(np.float32), matrix)
    return np.asarray(warped, np.uint8), clip(np.concatenate((seen.min(1), seen.max(1)), 1), width, height)


def clip(boxes: Boxes, width: int, height: int, keep: float = 0.4) -> Boxes:
    """Boxes cut to the picture, without those of which less than `keep` is left or under 3 px."""
    inside = boxes.copy()
    inside[:, 0::2] = inside[:, 0::2].clip(0, width)
    inside[:, 1::2] = inside[:, 1::2].clip(0, height)
    size, before = inside[:, 2:] - inside[:, :2], boxes[:, 2:] - boxes[:, :2]
    left = size.clip(0).prod(1) / np.maximum(before.prod(1), 1e-6)
    return np.asarray(inside[(left > keep) & (size > 3).all(1)], np.float32)


def photograph(rng: np.random.Generator, image: Image) -> Image:
    """What lens, sensor and encoder do: gain, colour cast, gamma, glare, blur, noise, JPEG."""
    height, width = image.shape[:2]
    shot = image.astype(np.float32) * rng.uniform(0.65, 1.25) * rng.uniform(0.88, 1.12, 3).astype(np.float32)
    if rng.random() < 0.25:
        coarse = (rng.random((3, 3)) ** 3 * rng.uniform(20, 130)).astype(np.float32)
        shot += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    shot = np.power(np.clip(shot, 0, 255) / 255, rng.uniform(0.7, 1.45)) * 255
    if rng.random() < 0.3:
        grey = shot.mean(2, keepdims=True)
        shot = grey + (shot - grey) * rng.uniform(0.2, 1.3)
    if rng.random() < 0.6:
        shot = cv2.GaussianBlur(shot, (0, 0), float(rng.uniform(0.3, 1.5)))
    if rng.random() < 0.6:
        coarse = rng.normal(0, rng.uniform(1, 9), (height, width, 1)).astype(np.float32)
        shot = shot + coarse
    image = np.clip(shot, 0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        _, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))))
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return image


def render_shelf(rng: np.random.Generator, width: int = 960, height: int = 960) -> Scene:
    """A shelf scene before the camera's own effects (`photograph`), boxes inside the picture."""
    canvas = _Canvas(_room(rng, height, width))
    rows = float(np.exp(rng.uniform(np.log(2.4), np.log(14))))
    units = int(rng.choice((1, 1, 2, 3)))
    edges = np.linspace(rng.uniform(-0.1, 0.06), rng.uniform(0.94, 1.1), units + 1) * width
    for left, right in pairwise(edges):
        _unit(rng, canvas, int(left), int(right), height / rows * rng.uniform(0.9, 1.1))
        if rng.random() < 0.5:
            post = int(rng.integers(3, 16))
            cv2.rectangle(canvas.image, (int(left), 0), (int(left) + post, height), _tint(rng, 20, 230), -1)
    _in_front(rng, canvas)
    boxes = np.array(canvas.boxes, np.float32).reshape(-1, 4)
    image, boxes = _perspective(rng, canvas.image, clip(boxes, width, height))
    return Scene(image, boxes)


def render_empty(rng: np.random.Generator, width: int = 960, height: int = 960) -> Scene:
    """A place without goods: room, signs, empty boards."""
    canvas = _Canvas(_room(rng, height, width))
    for _ in range(int(rng.integers(0, 7))):
        y = int(rng.integers(0, height))
        _rail(rng, canvas, int(rng.integers(-50, width // 2)), width, y, int(rng.integers(4, 40)))
    _in_front(rng, canvas)
    return Scene(canvas.image, np.empty((0, 4), np.float32))
