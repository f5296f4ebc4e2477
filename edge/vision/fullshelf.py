"""The commissioning picture of a full shelf, and every later frame judged by it. Pure but for the detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from edge.vision.align import STILL, Alignment, Reference, laid_over, to_picture
from edge.vision.detector import Detector, Image
from edge.vision.observe import Stand, small_view
from edge.vision.quality import baseline_of
from edge.vision.slots import Fill, Laid, SlotLook, canvas_size, estimate, learn, split
from edge.vision.tiles import look_at

UNMOVED = 0.001
"""Pushed by less, a frame is taken as it lies."""


class FullShelf:
    """What a camera's picture of its full shelf teaches."""

    def __init__(self, picture: Image, stands: Sequence[Stand], detector: Detector) -> None:
        """`picture` is BGR; one inference finds the packs in it."""
        self.stands = tuple(stands)
        self.reference = Reference(picture)
        self.size = canvas_size(picture.shape)
        self._detector = detector
        self._inside = STILL, np.full(self.size[::-1], 255, np.uint8)
        canvas = self.shrunk(picture)
        self.small = small_view(canvas)
        self.sharp = baseline_of(picture)
        full = self.seen(picture, STILL, canvas)
        self.looks: tuple[SlotLook, ...] = learn(full, self.stands)

    def shrunk(self, image: Image) -> Image:
        """The frame at the canvas's size, as it lies."""
        return np.asarray(cv2.resize(image, self.size, interpolation=cv2.INTER_AREA), np.uint8)

    def canvas(self, shrunk: Image, place: Alignment) -> Image:
        """A shrunk frame as the commissioning picture would show it."""
        return shrunk if place.moved < UNMOVED else laid_over(shrunk, place, self.size)

    def inside(self, place: Alignment) -> Image:
        """Where the canvas shows the frame, 255, and where it lies outside of it, 0."""
        if self._inside[0] is not place:
            whole = np.full(self.size[::-1], 255, np.uint8)
            self._inside = place, whole if place.moved < UNMOVED else laid_over(whole, place, self.size)
        return self._inside[1]

    def seen(self, image: Image, place: Alignment, canvas: Image) -> Laid:
        """The frame, its goods and its gaps in the canvas; costs an inference for each part of a large picture."""
        found = look_at(self._detector, image, self.stands)
        h, w = image.shape[:2]
        corners = found.boxes.reshape(-1, 2) / (w, h)
        boxes = (to_picture(place.matrix, corners) * self.size).reshape(-1, 4)
        goods, scores, gaps = split(found, boxes)
        return Laid(canvas, None if place.moved < UNMOVED else self.inside(place), goods, scores, gaps)

    def fills(self, image: Image, place: Alignment, canvas: Image,
              known: Mapping[str, Fill] | None = None) -> tuple[Fill, ...]:
        """How full each slot is; the slots of `known` did not change and are taken from there."""
        known = known or {}
        laid = self.seen(image, place, canvas)
        changed = [look for look in self.looks if look.stand.slot not in known]
        new = {fill.slot: fill for fill in estimate(laid, changed)}
        return tuple(known.get(stand.slot) or new[stand.slot] for stand in self.stands)
