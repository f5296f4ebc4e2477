"""What a frame is worth and what its boxes mean; pure functions of arrays and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.vision.detector import Detections, Floats, Image

OK = "ok"
SHRINK = 8


@dataclass(frozen=True, slots=True)
class Region:
    """Where a slot lies in the frame, as shares of its width and height."""

    slot: str
    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not (0 <= self.x0 < self.x1 <= 1 and 0 <= self.y0 < self.y1 <= 1):
            raise ValueError(f"a region lies inside 0..1 with x0 < x1 and y0 < y1: {self}")


def count_facings(found: Detections, shape: tuple[int, ...], regions: Sequence[Region]) -> dict[str, int]:
    """Facings per slot: the boxes whose centre lies in the slot's region (left and top edge included).

    `shape` is the frame's, (h, w, ...).
    """
    size = np.array((shape[1], shape[0]))
    x, y = ((found.boxes[:, :2] + found.boxes[:, 2:]) / 2 / size).T
    return {
        r.slot: int(((x >= r.x0) & (x < r.x1) & (y >= r.y0) & (y < r.y1)).sum()) for r in regions
    }  # fmt: skip


def small_view(image: Image) -> Floats:
    """The frame at an eighth of its size, (h, w, 3) float32, which averages the sensor's noise away."""
    h, w = image.shape[:2]
    size = (max(1, w // SHRINK), max(1, h // SHRINK))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)


def frame_quality(image: Image) -> str:
    """`ok`, `dark` (mean under 12 of 255) or `covered` (deviation under 4: nothing but one tone).

    Measured on the shrunk frame: noise alone keeps a covered lens' full-size deviation up.
    """
    small = small_view(image).mean(2)
    if float(small.mean()) < 12:
        return "dark"
    if float(small.std()) < 4:
        return "covered"
    return OK


def _apart(a: Floats, b: Floats) -> Floats:
    """How far each pixel is apart, in its most different channel: a blue sleeve before a grey wall counts."""
    return np.asarray(np.abs(a - b).max(2), np.float32)


def unchanged(before: Floats | None, small: Floats, grey: float = 10, share: float = 0.0005) -> bool:
    """Whether a shrunk frame shows the same as one before: hardly a pixel moved by more than `grey`.

    A facing of 20 x 36 px in a 640 px frame is about 0.2 % of it, four times the share allowed.
    """
    if before is None or before.shape != small.shape:
        return False
    return float((_apart(small, before) > grey).mean()) <= share


@dataclass(frozen=True, slots=True)
class MotionRule:
    """When somebody is in front of the shelf.

    A pixel is foreground where it differs from the background by over `grey` after the lights' common
    change is taken out. An arm or a person reaches in over the frame's edge, packs that came or went do
    not: a frame shows somebody where over `reach` of it is foreground joined to its edge, or over `share`
    is foreground at all. A pixel that stays as it is for `settle` frames becomes background: an arm moves
    on, a restocked shelf does not. The first `warm` frames must agree before there is a background.
    """

    grey: float = 20
    reach: float = 0.012
    share: float = 0.12
    settle: int = 6
    warm: int = 2


@dataclass(frozen=True, slots=True, eq=False)
class MotionState:
    """The background, the frame before, for how many frames each pixel has stood still, and frames that agreed."""

    background: Floats
    previous: Floats
    still: npt.NDArray[np.int32]
    agreed: int


MOTION = MotionRule()


def _gain(small: Floats, background: Floats) -> float:
    """The lights' common change; the median ignores whatever covers less than half of the frame."""
    return float(np.clip(np.median((small + 1) / (background + 1)), 0.25, 4.0))


def _reached(foreground: npt.NDArray[np.bool_]) -> float:
    """The share of the frame that is foreground joined to the frame's edge."""
    # Closed first: where a sleeve has the wall's colour, the arm falls into pieces.
    # The margin keeps what only comes near the frame's edge from being joined to it.
    margin = np.pad(foreground.astype(np.uint8), 3)
    closed = cv2.morphologyEx(margin, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))[3:-3, 3:-3]
    _, blobs = cv2.connectedComponents(np.ascontiguousarray(closed), connectivity=8)
    edge = np.concatenate((blobs[0], blobs[-1], blobs[:, 0], blobs[:, -1]))
    return float(np.isin(blobs, edge[edge > 0]).mean())


def motion_step(state: MotionState | None, small: Floats, rule: MotionRule = MOTION) -> tuple[MotionState, bool]:
    """The next state, and whether this frame must not be counted: somebody moves, or nothing is known yet."""
    if state is None or state.background.shape != small.shape:
        return MotionState(small, small, np.zeros(small.shape[:2], np.int32), 1), rule.warm > 1
    lit = state.background * _gain(small, state.background)
    moved = _apart(small, state.previous * _gain(small, state.previous)) > rule.grey / 2
    still = np.where(moved, 0, state.still + 1).astype(np.int32)
    foreground = _apart(small, lit) > rule.grey
    somebody = float(foreground.mean()) > rule.share or _reached(foreground) > rule.reach
    if state.agreed < rule.warm:
        agreed = 1 if somebody else state.agreed + 1
        return MotionState(small, small, still, agreed), agreed < rule.warm
    background = np.where((still >= rule.settle)[..., None], small, lit).astype(np.float32)
    return MotionState(background, small, still, state.agreed), somebody
