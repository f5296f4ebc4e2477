"""A stock of packs to put on shelves: drawn ones and, where a folder is given, cut-outs and package photos.

An entry is drawn once, larger than it is shown, and kept; it is a pure function of (seed, shape, number).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge.vision.detector import Image
from edge.vision.training.canvas import Sprite
from edge.vision.training.packs import SHAPES, draw_pack

EACH = 600
"""Drawn packs of a shape: all of them take half a gigabyte, and a long run sees each a hundred times."""
_NAMES = tuple(SHAPES)


class Bank:
    """Packs by shape; `pictures` holds `cutouts/*.webp` (BGRA) and `packages/*.jpg`."""

    def __init__(self, seed: int, pictures: Path | None = None) -> None:
        self.seed = seed
        self._kept: dict[tuple[str, int], Image] = {}
        self._cutouts = sorted((pictures / "cutouts").glob("*.webp")) if pictures else []
        self._packages = sorted((pictures / "packages").glob("*.jpg")) if pictures else []

    def pick(self, rng: np.random.Generator, name: str) -> Image:
        """A pack of a shape, BGRA; where there are photos, one in three is cut from them."""
        if self._cutouts and self._packages and rng.random() < 0.33:
            if rng.random() < 0.45:
                return self._photo("cutout", self._cutouts, int(rng.integers(len(self._cutouts))))
            return self._photo("package", self._packages, int(rng.integers(len(self._packages))))
        number = int(rng.integers(EACH))
        key = (name, number)
        if key not in self._kept:
            own = np.random.default_rng((self.seed, _NAMES.index(name), number))
            low, high = SHAPES[name].aspect
            aspect, h = own.uniform(low, high), int(own.integers(110, 190))
            h = h if aspect > 0.8 else int(h * 0.6)
            self._kept[key] = draw_pack(own, name, h, max(8, int(h / aspect)))
        return self._kept[key]

    def _photo(self, kind: str, paths: list[Path], number: int) -> Image:
        key = (kind, number)
        if key not in self._kept:
            image = np.asarray(cv2.imread(str(paths[number]), cv2.IMREAD_UNCHANGED), np.uint8)
            if image.shape[2] == 3:
                # A package fills the middle of its photo.
                h, w = image.shape[:2]
                own = np.random.default_rng((self.seed, 99, number))
                cut = own.uniform(0.16, 0.34, 4)
                image = image[int(h * cut[0]) : int(h * (1 - cut[1])), int(w * cut[2]) : int(w * (1 - cut[3]))]
                image = np.dstack((image, np.full(image.shape[:2], 255, np.uint8)))
            self._kept[key] = np.ascontiguousarray(image)
        return self._kept[key]


def recoloured(rng: np.random.Generator, pack: Image) -> Image:
    """The same print in other colours, as brands have varieties."""
    if rng.random() < 0.5:
        return pack
    pack = pack[..., [*rng.permutation(3).tolist(), 3]]
    if rng.random() < 0.2:
        pack = np.concatenate((255 - pack[..., :3], pack[..., 3:]), 2)
    return np.ascontiguousarray(pack)


def sized(pack: Image, h: int, w: int) -> Sprite:
    """A pack at (h, w), ready to paste."""
    how = cv2.INTER_AREA if h < pack.shape[0] else cv2.INTER_LINEAR
    image = np.asarray(cv2.resize(pack, (w, h), interpolation=how), np.uint8)
    if image[..., 3].min() > 250:
        return Sprite(np.ascontiguousarray(image[..., :3]), None)
    return Sprite(np.ascontiguousarray(image[..., :3]), (image[..., 3:] / 255).astype(np.float32))
