"""What a detector is and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What a detector saw in one frame, best first.

    Attributes:
        boxes: float32 (n, 4), x0 y0 x1 y1 in the frame's pixels, inside the frame.
        scores: float32 (n,), 0 to 1.
        classes: int64 (n,), index into `labels`.
        labels: the names of the classes, as the model's card says.
        bar: by how much more than usual goods had to score in this frame; 1 but for frames that were looked at closer.
    """

    boxes: Floats
    scores: Floats
    classes: npt.NDArray[np.int64]
    labels: tuple[str, ...] = ("product",)
    bar: float = 1.0

    def __len__(self) -> int:
        return len(self.scores)


class Detector(Protocol):
    """Finds goods in a frame."""

    def detect(self, frame: Image) -> Detections:
        """The goods in a BGR frame, uint8 (h, w, 3)."""

    def detect_all(self, frame: Image) -> Detections:
        """Goods and gaps; `labels` and `classes` say which is which."""
