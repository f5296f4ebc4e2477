"""Crops for training, cut from rendered scenes: a pure function of (seed, scene number), so it can resume."""

# PyTorch's classes are Any where the extra is not installed, and partly untyped where it is.
# mypy: disallow-subclassing-any=false, warn-return-any=false, disallow-untyped-calls=false

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from edge.vision.detector import Image
from edge.vision.training.render import Boxes, Scene, clip, photograph, render_empty, render_shelf

CROP = 416
CROPS_PER_SCENE = 4


@dataclass(frozen=True, slots=True)
class Batch:
    """RGB in [0, 1], (b, 3, CROP, CROP), and the boxes of each picture (n, 4) in its pixels."""

    images: Tensor
    boxes: list[Tensor]


def crop(rng: np.random.Generator, scene: Scene, size: int = CROP) -> tuple[Image, Boxes]:
    """A random square of the scene at a random scale, sometimes mirrored, as the camera would deliver it."""
    height, width = scene.image.shape[:2]
    side = int(size * np.exp(rng.uniform(np.log(0.75), np.log(2.3))))
    side = min(side, height, width)
    x, y = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
    part = scene.image[y : y + side, x : x + side]
    scale = size / side
    image = cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    boxes = clip(scene.boxes - (x, y, x, y), side, side, keep=0.2).astype(np.float32) * np.float32(scale)
    if rng.random() < 0.5:
        image = image[:, ::-1]
        boxes = boxes[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (size, 0, size, 0)
    return photograph(rng, np.ascontiguousarray(image)), boxes.astype(np.float32)


class Crops(IterableDataset[tuple[Image, Boxes]]):
    """Endless crops of scenes `first`, `first + 1`, ... of one seed."""

    def __init__(self, seed: int, first: int) -> None:
        super().__init__()
        self.seed = seed
        self.first = first

    def __iter__(self) -> Iterator[tuple[Image, Boxes]]:
        cv2.setNumThreads(1)
        number = self.first
        while True:
            rng = np.random.default_rng((self.seed, number))
            scene = render_empty(rng) if rng.random() < 0.06 else render_shelf(rng)
            for _ in range(CROPS_PER_SCENE):
                yield crop(rng, scene)
            number += 1


def collate(crops: list[tuple[Image, Boxes]]) -> Batch:
    """BGR crops and their boxes as one batch."""
    stacked = np.stack([image[..., ::-1] for image, _ in crops]).transpose(0, 3, 1, 2)
    images = torch.from_numpy(np.ascontiguousarray(stacked)).float().div_(255)
    return Batch(images, [torch.from_numpy(boxes.reshape(-1, 4)) for _, boxes in crops])
