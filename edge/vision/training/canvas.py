"""What a scene is drawn on: a picture, the boxes of what was put there, and sprites to put."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge.vision.detector import Floats, Image

Box = tuple[float, float, float, float]
PRODUCT, GAP = 0, 1


class Sprite(NamedTuple):
    """A pack ready to paste: BGR (h, w, 3) and how much it covers, float32 (h, w, 1) in 0..1; None is all."""

    bgr: Image
    alpha: Floats | None


@dataclass(slots=True)
class Canvas:
    """A scene while it is drawn; boxes lie inside the picture."""

    image: Image
    boxes: list[Box] = field(default_factory=list)
    gaps: list[Box] = field(default_factory=list)
    rails: list[tuple[int, int, int, int]] = field(default_factory=list)

    def paste(self, sprite: Sprite, x: int, y: int, gain: float = 1.0, labelled: bool = True) -> None:
        """Put a sprite with its top left corner at (x, y), clipped; `gain` is its brightness."""
        h, w = sprite.bgr.shape[:2]
        height, width = self.image.shape[:2]
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
        if x1 <= x0 or y1 <= y0:
            return
        part = sprite.bgr[y0 - y : y1 - y, x0 - x : x1 - x]
        lit = part if gain == 1.0 else np.asarray(cv2.convertScaleAbs(part, alpha=gain), np.uint8)
        if sprite.alpha is None:
            self.image[y0:y1, x0:x1] = lit
        else:
            under = self.image[y0:y1, x0:x1]
            alpha = sprite.alpha[y0 - y : y1 - y, x0 - x : x1 - x]
            self.image[y0:y1, x0:x1] = under + (lit - under.astype(np.float32)) * alpha
        if labelled and (x1 - x0) * (y1 - y0) > 0.25 * w * h:
            self.boxes.append((x0, y0, x1, y1))

    def hide(self, x0: float, y0: float, x1: float, y1: float, share: float = 0.6) -> None:
        """Forget what something drawn over (x0, y0, x1, y1) covers by more than `share`."""

        def seen(box: Box) -> bool:
            w = min(box[2], x1) - max(box[0], x0)
            h = min(box[3], y1) - max(box[1], y0)
            return max(w, 0) * max(h, 0) < share * max((box[2] - box[0]) * (box[3] - box[1]), 1)

        self.boxes = [box for box in self.boxes if seen(box)]
        self.gaps = [box for box in self.gaps if seen(box)]

    def trim(self, x0: float, y0: float, x1: float, floor: float) -> None:
        """End at y0 the boxes between x0 and x1 that reach below it, to `floor` at most: what is there hides them."""

        def cut(box: Box) -> Box:
            hidden = box[1] < y0 < box[3] <= floor + 2 and x0 <= (box[0] + box[2]) / 2 <= x1
            return (box[0], box[1], box[2], y0) if hidden else box

        self.boxes = [cut(box) for box in self.boxes]

    def labels(self) -> tuple[Floats, npt.NDArray[np.int64]]:
        """All boxes (n, 4) and their classes (n,): products first, then gaps."""
        boxes = np.array([*self.boxes, *self.gaps], np.float32).reshape(-1, 4)
        return boxes, np.repeat((PRODUCT, GAP), (len(self.boxes), len(self.gaps)))


def tint(rng: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    """A grey between `low` and `high`, a little coloured (BGR)."""
    grey = int(rng.integers(low, high))
    spread = 18 if rng.random() < 0.4 else 6
    b, g, r = (int(np.clip(grey + rng.integers(-spread, spread + 1), 0, 255)) for _ in range(3))
    return b, g, r
