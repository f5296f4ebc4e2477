"""Pictures as the network gets them: scenes at the scale of real photos, and squares cut from them."""

from __future__ import annotations

import cv2
import numpy as np

from edge.vision.training.bank import Bank
from edge.vision.training.lens import photograph
from edge.vision.training.render import Scene, clip, render_empty, render_shelf

CROP = 416


def scene(rng: np.random.Generator, bank: Bank, size: int = CROP) -> tuple[Scene, float]:
    """A scene for crops of `size`, and the scale at which its boards are as far apart as on fitted photos.

    On photos fitted into the input the distance is some 80 px, seldom under 40 or over 160; near cameras see more,
    and a closer look at a tile 1.5 to 2.4 times as much.
    """
    pitch = float(np.clip(np.exp(rng.normal(np.log(115), 0.52)), 26, 340))
    scale = float(rng.uniform(0.55, 0.95))
    side = int(size / scale * 1.3)
    render = render_empty if rng.random() < 0.04 else render_shelf
    return render(rng, bank, side, pitch / scale), scale


def crop(rng: np.random.Generator, whole: Scene, scale: float, size: int = CROP) -> Scene:
    """A random square of the scene, sometimes mirrored, as the camera would deliver it."""
    height, width = whole.image.shape[:2]
    side = int(min(size / scale * rng.uniform(0.85, 1.2), height, width))
    x, y = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
    part = whole.image[y : y + side, x : x + side]
    how = cv2.INTER_AREA if rng.random() < 0.7 else cv2.INTER_LINEAR
    image = cv2.resize(part, (size, size), interpolation=how)
    boxes, kept = clip(whole.boxes - np.array((x, y, x, y), np.float32), side, side, keep=0.25)
    boxes = boxes[kept] * np.float32(size / side)
    if rng.random() < 0.5:
        image = image[:, ::-1]
        boxes = boxes[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (size, 0, size, 0)
    shot = photograph(rng, np.ascontiguousarray(image))
    return Scene(shot, boxes.astype(np.float32), whole.classes[kept])
