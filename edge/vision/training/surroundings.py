"""What is round a shelf and is no product: rooms, signs, posters, customers, fridge doors."""

from __future__ import annotations

import cv2
import numpy as np

from edge.vision.detector import Image
from edge.vision.training.bank import Bank, sized
from edge.vision.training.canvas import Canvas, tint
from edge.vision.training.packs import choose_shape, colour, write, write_price


def _tiles(rng: np.random.Generator, image: Image) -> None:
    height, width = image.shape[:2]
    step, ink = int(rng.integers(10, 70)), tint(rng, 20, 240)
    lean = int(rng.integers(-40, 40))
    for x in range(-100, width + 100, step):
        cv2.line(image, (x, 0), (x + lean, height), ink, int(rng.integers(1, 4)), cv2.LINE_AA)
    for y in range(0, height, max(6, int(step * rng.uniform(0.3, 1.2)))):
        cv2.line(image, (0, y), (width, y), ink, 1)


def _lamps(rng: np.random.Generator, image: Image) -> None:
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 8))):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        dx, dy, thick = int(rng.integers(-100, 100)), int(rng.integers(-30, 30)), int(rng.integers(2, 12))
        cv2.line(image, (x, y), (x + dx, y + dy), (250, 252, 255), thick, cv2.LINE_AA)


def _panes(rng: np.random.Generator, image: Image) -> None:
    """Windows, doors or panels in frames: what a large pack might be taken for."""
    height, width = image.shape[:2]
    x0, y0 = int(rng.integers(-width // 4, width)), int(rng.integers(-height // 4, height))
    w, h = int(width * rng.uniform(0.08, 0.5)), int(height * rng.uniform(0.08, 0.5))
    bright, frame = tint(rng, 120, 256) if rng.random() < 0.7 else colour(rng), tint(rng, 10, 240)
    for i in range(int(rng.integers(1, 4))):
        for j in range(int(rng.integers(1, 4))):
            corner = (x0 + i * w, y0 + j * h)
            cv2.rectangle(image, corner, (corner[0] + w, corner[1] + h), bright, -1)
            cv2.rectangle(image, corner, (corner[0] + w, corner[1] + h), frame, int(rng.integers(1, 8)))


def room(rng: np.random.Generator, height: int, width: int) -> Image:
    """Wall, ceiling or floor: plain, lit unevenly, tiled, with lamps or with large letters."""
    # Drawn at half its size: it is never looked at closely, and takes a quarter of the time.
    half = _room(rng, height // 2 + 1, width // 2 + 1)
    return np.asarray(cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _room(rng: np.random.Generator, height: int, width: int) -> Image:
    image = np.empty((height, width, 3), np.uint8)
    image[:] = tint(rng, 30, 235) if rng.random() < 0.8 else colour(rng)
    if rng.random() < 0.45:
        _tiles(rng, image)
    if rng.random() < 0.25:
        _lamps(rng, image)
    if rng.random() < 0.3:
        _panes(rng, image)
    for _ in range(int(rng.integers(0, 4)) if rng.random() < 0.6 else 0):
        write(rng, image, (int(rng.integers(0, width)), int(rng.integers(0, height))),
              int(rng.integers(50, 300)), colour(rng))  # fmt: skip
    if rng.random() < 0.3:
        speckle = rng.standard_normal((height // 2, width // 2), np.float32) * np.float32(rng.uniform(6, 30))
        image = np.clip(image + cv2.resize(speckle, (width, height))[..., None], 0, 255).astype(np.uint8)
    coarse = rng.uniform(0.65, 1.15, (3, 4)).astype(np.float32)
    light = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(image * light[..., None], 0, 255), np.uint8)


def hanging_tags(rng: np.random.Generator, canvas: Canvas) -> None:
    """Offers that hang from the rails before the goods below, which stay goods."""
    paper, ink = colour(rng), colour(rng)
    often, priced = rng.uniform(0.2, 0.9), rng.random() < 0.5
    for x0, x1, y, thick in canvas.rails:
        if rng.random() > often:
            continue
        wide, tall = int(thick * rng.uniform(0.9, 2.0)) + 3, int(thick * rng.uniform(0.8, 1.8)) + 3
        for x in range(x0 + int(rng.integers(0, 40)), x1, wide + int(rng.integers(2, 120))):
            if rng.random() < 0.6:
                top = y + int(rng.integers(0, thick))
                cv2.rectangle(canvas.image, (x, top), (x + wide, top + tall), paper, -1)
                middle = (x + wide // 2, top + tall // 2)
                if wide > 12 and priced:
                    write_price(rng, canvas.image, middle, (int(wide * 0.8), int(tall * 0.8)), ink)
                elif wide > 12:
                    write(rng, canvas.image, middle, int(wide * 0.8), ink)


def _signs(rng: np.random.Generator, canvas: Canvas, size: float) -> None:
    height, width = canvas.image.shape[:2]
    for _ in range(int(rng.integers(1, 4))):
        w, h = int(size * rng.uniform(0.3, 2.0)) + 12, int(size * rng.uniform(0.25, 1.3)) + 10
        x, y = int(rng.integers(0, width - 10)), int(rng.integers(0, height - 10))
        cv2.rectangle(canvas.image, (x, y), (x + w, y + h), colour(rng), -1)
        if rng.random() < 0.5:
            inside = int(w * rng.uniform(0.5, 0.9)), h // 2
            write_price(rng, canvas.image, (x + w // 2, y + int(h * 0.65)), inside, colour(rng))
        write(rng, canvas.image, (x + w // 2, y + h // 4), int(w * rng.uniform(0.4, 0.8)), colour(rng))
        canvas.hide(x, y, x + w, y + h)


def _strips(rng: np.random.Generator, canvas: Canvas, size: float) -> None:
    """Clip strips and banners that hang down before the shelf."""
    height, width = canvas.image.shape[:2]
    x, w = int(rng.integers(0, width)), max(4, int(size * rng.uniform(0.1, 0.4)))
    top, ink, paper = int(rng.integers(-40, height // 2)), colour(rng), colour(rng)
    for y in range(top, min(height, top + int(size * rng.uniform(1, 4))), max(5, int(w * rng.uniform(0.6, 1.4)))):
        cv2.rectangle(canvas.image, (x, y), (x + w, y + int(w * 0.9)), paper if rng.random() < 0.7 else ink, -1)
        canvas.hide(x, y, x + w, y + w)


def _customer(rng: np.random.Generator, canvas: Canvas) -> None:
    height, width = canvas.image.shape[:2]
    x, w = int(rng.integers(0, width)), int(rng.integers(60, 180))
    top, cloth = int(rng.uniform(0, 0.6) * height), colour(rng)
    cv2.ellipse(canvas.image, (x, height), (w, height - top), 0, 180, 360, cloth, -1, cv2.LINE_AA)
    cv2.circle(canvas.image, (x, top), w // 2, (120, 150, 200), -1, cv2.LINE_AA)
    canvas.hide(x - 0.7 * w, top, x + 0.7 * w, height)


def in_front(rng: np.random.Generator, canvas: Canvas, bank: Bank, pitch: float) -> None:
    """What hangs or stands before the shelf: tags, signs, posters, a customer."""
    height, width = canvas.image.shape[:2]
    if rng.random() < 0.35:
        hanging_tags(rng, canvas)
    if rng.random() < 0.25:
        _signs(rng, canvas, pitch)
    if rng.random() < 0.12:
        _strips(rng, canvas, pitch)
    if rng.random() < 0.15:
        # A poster looks like a pack, only larger.
        h, w = int(pitch * rng.uniform(1.5, 4)), int(pitch * rng.uniform(1.5, 4))
        x, y = int(rng.integers(-60, width - 40)), int(rng.choice((-10, rng.integers(0, height - 40))))
        canvas.paste(sized(bank.pick(rng, choose_shape(rng)), h, w), x, y, labelled=False)
        canvas.hide(x, y, x + w, y + h)
    if rng.random() < 0.05:
        _customer(rng, canvas)


def glass_doors(rng: np.random.Generator, canvas: Canvas, edges: list[int]) -> None:
    """A fridge before the goods: frames, tubes of light, a shine on the glass, cold or warm light."""
    height, width = canvas.image.shape[:2]
    frame, post = tint(rng, 10, 230), int(rng.integers(5, 24))
    shine = np.zeros((height // 8, width // 8), np.float32)
    for _ in range(int(rng.integers(0, 4))):
        x, lean, w = int(rng.integers(0, width // 8)), int(rng.integers(-30, 30)), int(rng.integers(2, 14))
        corners = np.array(((x, 0), (x + w, 0), (x + w + lean, height // 8), (x + lean, height // 8)), np.int32)
        cv2.fillPoly(shine, [corners], float(rng.uniform(8, 50)))
    shine = np.asarray(cv2.resize(cv2.GaussianBlur(shine, (0, 0), 2), (width, height)), np.float32)
    cast = rng.uniform(0.85, 1.1, 3).astype(np.float32)
    canvas.image[:] = np.clip(canvas.image * cast + shine[..., None], 0, 255)
    for x in edges:
        if rng.random() < 0.7:
            lamp = x + int(rng.integers(-post, post + 1))
            cv2.line(canvas.image, (lamp, 0), (lamp, height), (252, 252, 250), int(rng.integers(2, 8)))
        cv2.rectangle(canvas.image, (x - post // 2, 0), (x + post // 2, height), frame, -1)
        if rng.random() < 0.5:
            y = int(rng.uniform(0.3, 0.6) * height)
            cv2.rectangle(canvas.image, (x + post, y), (x + post + 5, y + height // 6), tint(rng, 60, 240), -1)
