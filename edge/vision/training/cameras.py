"""Photos as worse cameras show them: dim, soft, noisy, squeezed. A threshold must do there, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge.vision.detector import Floats, Image
from edge.vision.training.judge import Photo
from edge.vision.training.lens import squeezed


def _small(image: Image) -> Image:
    h, w = image.shape[:2]
    half = cv2.resize(image, (max(1, w // 2), max(1, h // 2)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(half, (w, h), interpolation=cv2.INTER_LINEAR), np.uint8)


def _noisy(image: Image) -> Image:
    # The same grain on each photo, so that a threshold can be chosen again.
    grain = np.random.default_rng(0).standard_normal(image.shape, np.float32)
    return np.asarray(np.clip(image + 18 * grain, 0, 255), np.uint8)


def _lit(gain: float, offset: float) -> Callable[[Image], Image]:
    return lambda image: np.asarray(cv2.convertScaleAbs(image, alpha=gain, beta=offset), np.uint8)


CAMERAS: dict[str, Callable[[Image], Image]] = {
    "dark": _lit(0.45, 0),
    "flat": _lit(0.45, 100),
    "harsh": _lit(1.8, -60),
    "soft": lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), 1.6), np.uint8),
    "small": _small,
    "squeezed": lambda image: squeezed(image, 12),
    "noisy": _noisy,
}


@dataclass(frozen=True, slots=True)
class Worse:
    """A photo as the camera of that name shows it; its labels are the same."""

    photo: Photo
    camera: str

    def load(self) -> tuple[Image, Floats, tuple[str, ...]]:
        image, boxes, names = self.photo.load()
        return CAMERAS[self.camera](image), boxes, names


def worse(photos: Sequence[Photo]) -> Iterator[Worse]:
    """Each photo as each of the cameras shows it."""
    return (Worse(photo, camera) for camera in CAMERAS for photo in photos)
