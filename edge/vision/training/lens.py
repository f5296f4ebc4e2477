"""What lens, sensor and encoder make of a picture: light, colour, glare, blur, noise, sharpening, JPEG."""

from __future__ import annotations

import cv2
import numpy as np

from edge.vision.detector import Image


def _tone(rng: np.random.Generator) -> Image:
    """Brightness, white balance, contrast and gamma as one table, (1, 256, 3)."""
    level = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    cast = 1 + rng.normal(0, 0.05, 3).astype(np.float32)
    level = level * np.float32(rng.uniform(0.65, 1.45)) * cast + np.float32(rng.uniform(-0.05, 0.05))
    if rng.random() < 0.5:
        pivot = rng.uniform(0.3, 0.6)
        level = (level - pivot) * rng.uniform(0.8, 1.7) + pivot
    level = np.power(level.clip(0, 1), rng.uniform(0.65, 1.5))
    return np.asarray((level * 255).round()[None], np.uint8)


def squeezed(image: Image, quality: int) -> Image:
    """The picture as JPEG of that quality, 0 to 100, shows it."""
    _, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def photograph(rng: np.random.Generator, image: Image) -> Image:
    """The picture as a camera delivers it; same size, BGR uint8."""
    height, width = image.shape[:2]
    shot = np.asarray(cv2.LUT(image, _tone(rng)), np.uint8)
    if rng.random() < 0.2:
        coarse = (rng.random((3, 3)) ** 3 * rng.uniform(20, 130)).astype(np.float32)
        glare = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
        shot = np.asarray(cv2.add(shot, cv2.merge((glare, glare, glare))), np.uint8)
    if rng.random() < 0.3:
        grey = cv2.cvtColor(cv2.cvtColor(shot, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        share = float(rng.uniform(0.4, 1.6))
        shot = np.asarray(cv2.addWeighted(shot, share, grey, 1 - share, 0), np.uint8)
    blurred = rng.random()
    if blurred < 0.35:
        shot = np.asarray(cv2.GaussianBlur(shot, (0, 0), float(rng.uniform(0.3, 1.1))), np.uint8)
    elif blurred < 0.4:
        size = int(rng.integers(2, 6))
        kernel = np.full((1, size) if rng.random() < 0.5 else (size, 1), 1 / size, np.float32)
        shot = np.asarray(cv2.filter2D(shot, -1, kernel), np.uint8)
    if rng.random() < 0.35:
        soft = cv2.GaussianBlur(shot, (0, 0), 1.0)
        more = float(rng.uniform(0.3, 1.2))
        shot = np.asarray(cv2.addWeighted(shot, 1 + more, soft, -more, 0), np.uint8)
    if rng.random() < 0.45:
        grain = rng.standard_normal((height, width), np.float32) * np.float32(rng.uniform(1, 9))
        shot = np.asarray(np.clip(shot + grain[..., None], 0, 255), np.uint8)
    if rng.random() < 0.6:
        shot = squeezed(shot, int(rng.integers(30, 95)))
    return shot
