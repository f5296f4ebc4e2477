"""A detector that knows where a scene's packs stand, and errs as it is told to."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from edge.sim.packs import look_of
from edge.sim.scene import RAIL_SHARE, Scene
from edge.sim.shelves import ShelfSlot
from edge.vision.detector import Detections, Image

LABELS = ("product", "gap")


def packs(slots: tuple[ShelfSlot, ...], size: tuple[int, int] = (960, 720)) -> dict[str, np.ndarray]:
    """Boxes of each slot's packs when it is full, in pixels."""
    boxes: dict[str, np.ndarray] = {}
    for slot in slots:
        x0, y0, x1, y1 = (share * side for share, side in zip(slot.region, (*size, *size), strict=True))
        board = y1 - (y1 - y0) * RAIL_SHARE
        pitch = (x1 - x0) / slot.facings
        ratio = look_of(slot.sku, slot.product).width_to_height
        w = min(pitch * 0.9, (board - y0) * ratio * 0.92)
        h = min(w / ratio, (board - y0) * 0.92)
        middle = x0 + pitch * (np.arange(slot.facings) + 0.5)
        boxes[slot.name] = np.stack((middle - w / 2, np.full(slot.facings, board - h), middle + w / 2,
                                     np.full(slot.facings, board)), 1).astype(np.float32)
    return boxes


class Goods:
    """Answers with the same boxes whatever it is shown; `asked` counts how often.

    They are given for a frame 960 pixels wide, and are answered for any size of it.
    """

    def __init__(self, goods: np.ndarray, gaps: np.ndarray | None = None) -> None:
        self.goods, self.gaps, self.asked = goods, np.zeros((0, 4), np.float32) if gaps is None else gaps, 0

    def detect(self, frame: Image) -> Detections:
        self.asked += 1
        n, scale = len(self.goods), frame.shape[1] / 960
        return Detections((self.goods * scale).astype(np.float32), np.full(n, 0.9, np.float32), np.zeros(n, np.int64),
                          LABELS)

    def detect_all(self, frame: Image) -> Detections:
        self.asked += 1
        n, m, scale = len(self.goods), len(self.gaps), frame.shape[1] / 960
        return Detections((np.concatenate((self.goods, self.gaps)) * scale).astype(np.float32),
                          np.full(n + m, 0.9, np.float32), np.repeat((0, 1), (n, m)).astype(np.int64), LABELS)


class Blind(Goods):
    """Finds nothing."""

    def __init__(self) -> None:
        super().__init__(np.zeros((0, 4), np.float32))


def render(slots: tuple[ShelfSlot, ...], levels: Mapping[str, int], seed: int = 1, light: float = 1.0) -> Image:
    return np.asarray(Scene(slots, seed, untidy=True).render(levels, 0.0, light=light), np.uint8)


def large(image: Image, times: int) -> Image:
    return np.asarray(cv2.resize(image, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC), np.uint8)
