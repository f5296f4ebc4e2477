"""Training examples: a pure function of (seed, number), so that a run can go on where it stopped."""

# PyTorch's classes are Any where the extra is not installed, and partly untyped where it is.
# mypy: disallow-subclassing-any=false, warn-return-any=false, disallow-untyped-calls=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from edge.vision.training.bank import Bank
from edge.vision.training.judge import classes_of
from edge.vision.training.labels import Labelled
from edge.vision.training.network import CLASSES
from edge.vision.training.render import Scene
from edge.vision.training.scenes import crop, scene

CROPS_PER_SCENE = 4
PHOTO_SHARE = 0.5
_INPUT = 640


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A crop, and for each class whether its labels say all that is there."""

    crop: Scene
    known: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """RGB (b, 3, size, size), uint8 until it is where the network is; boxes (n, 4), classes (n,), known (b, c)."""

    images: Tensor
    boxes: list[Tensor]
    classes: list[Tensor]
    known: Tensor

    def to(self, device: Any) -> Batch:
        """The same batch where the network is, RGB in [0, 1]."""
        boxes, classes = ([each.to(device) for each in own] for own in (self.boxes, self.classes))
        return Batch(self.images.to(device).float() / 255, boxes, classes, self.known.to(device))


class Crops(IterableDataset[Example]):
    """Endless crops of scenes `first`, `first + 1`, ... of one seed; with `photos`, half are cut from those.

    Several workers share the scenes out: each takes every n-th.
    """

    def __init__(self, seed: int, first: int, pictures: Path | None = None, photos: Sequence[Labelled] = ()) -> None:
        super().__init__()
        self.seed = seed
        self.first = first
        self.pictures = pictures
        self.photos = tuple(photos)
        self.known = tuple(name in classes_of(self.photos) for name in CLASSES)

    def __iter__(self) -> Iterator[Example]:
        cv2.setNumThreads(1)
        worker = get_worker_info()
        bank, number = Bank(self.seed, self.pictures), self.first + (worker.id if worker else 0)
        while True:
            rng = np.random.default_rng((self.seed, number))
            if self.photos and rng.random() < PHOTO_SHARE:
                (whole, scale), known = self._photo(rng), self.known
            else:
                (whole, scale), known = scene(rng, bank), (True,) * len(CLASSES)
            for _ in range(CROPS_PER_SCENE):
                yield Example(crop(rng, whole, scale), known)
            number += worker.num_workers if worker else 1

    def _photo(self, rng: np.random.Generator) -> tuple[Scene, float]:
        photo = self.photos[int(rng.integers(len(self.photos)))]
        image, boxes, names = photo.load()
        classes = np.array([CLASSES.index(name) for name in names], np.int64)
        return Scene(image, boxes, classes), float(_INPUT / max(image.shape[:2]) * rng.uniform(0.8, 1.4))


def collate(examples: list[Example]) -> Batch:
    """BGR crops and their boxes as one batch."""
    stacked = np.stack([each.crop.image[..., ::-1] for each in examples]).transpose(0, 3, 1, 2)
    images = torch.from_numpy(np.ascontiguousarray(stacked))
    boxes = [torch.from_numpy(each.crop.boxes.reshape(-1, 4)) for each in examples]
    classes = [torch.from_numpy(each.crop.classes) for each in examples]
    return Batch(images, boxes, classes, torch.tensor([each.known for each in examples]))
