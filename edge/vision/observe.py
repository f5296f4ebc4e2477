"""What a frame is worth and what its boxes mean; pure functions of arrays and values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.vision.detector import Detections, Floats, Image

OK = "ok"
SHRINK = 8
BESIDE = 0.04
"""Goods lie beside their slots with no more than this share of what changed."""
MANY = 3000
"""From so many values on, a fifth of them tells the median well enough."""
HOLE = 8
"""How far, in pixels of a shrunk frame, foreground goes on where a pushed camera sees nothing."""
Mask = npt.NDArray[np.bool_]


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


@dataclass(frozen=True, slots=True)
class Stand(Region):
    """A region with what the planogram says of it: packs in its front rows, and units behind each, itself included."""

    facings: int = 1
    depth: int = 1

    def __post_init__(self) -> None:
        Region.__post_init__(self)  # a class with slots is made anew: `super()` would look for the first one
        if self.facings < 1 or self.depth < 1:
            raise ValueError(f"a slot has at least one facing, and one unit in it: {self}")


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
    # OpenCV halves at once, and takes twice as long for an eighth as for three halves.
    while w % 2 == h % 2 == 0 and w >= 2 * size[0] and h >= 2 * size[1]:
        w, h = w // 2, h // 2
        image = np.asarray(cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA), np.uint8)
    if (w, h) != size:
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return image.astype(np.float32)


def _apart(a: Floats, b: Floats) -> Floats:
    """How far each pixel is apart, in its most different channel: a blue sleeve before a grey wall counts."""
    # A maximum over the last axis, three values long, takes fifteen times as long.
    blue, green, red = cv2.split(cv2.absdiff(a, b))
    return np.asarray(cv2.max(cv2.max(blue, green), red), np.float32)


def unchanged(before: Floats | None, small: Floats, grey: float = 10, share: float = 0.0005) -> bool:
    """Whether a shrunk frame shows the same as one before: hardly a pixel moved by more than `grey`.

    A facing of 20 x 36 px in a 640 px frame is about 0.2 % of it, four times the share allowed.
    """
    if before is None or before.shape != small.shape:
        return False
    return little(changed(before, small, grey), share)


def changed(before: Floats, small: Floats, grey: float = 10) -> Mask:
    """Which pixels of a shrunk frame are another than in one before, by more than `grey`."""
    return np.asarray(_apart(small, before) > grey)


def little(mask: Mask, share: float = 0.0005) -> bool:
    """Whether so few pixels changed that nothing has."""
    return _share(mask) <= share


def _share(mask: Mask) -> float:
    """How much of a mask is set, 0 to 1."""
    return float(np.count_nonzero(mask) / mask.size)


@dataclass(frozen=True, slots=True)
class MotionRule:
    """When somebody is in front of the shelf.

    A pixel is foreground where it differs from the background by over `grey` after the lights' common change is
    taken out; in a picture darker than `bright`, by less. An arm or a person reaches in over the frame's edge, packs
    that came or went do not: a frame shows somebody where over `reach` of it is foreground joined to its edge, or
    over `share` of what lies between the slots is foreground. A pixel that stays as it is for `settle` frames becomes
    background: an arm moves on, a restocked shelf does not; what is joined to the edge must stay for `linger`, for
    people stand and think. The first `warm` frames must agree before there is a background.
    """

    grey: float = 20
    bright: float = 80
    reach: float = 0.012
    share: float = 0.12
    settle: int = 6
    linger: int = 20
    warm: int = 2


@dataclass(frozen=True, slots=True, eq=False)
class MotionState:
    """The background, the frame before, for how many frames each pixel has stood still, and frames that agreed."""

    background: Floats
    previous: Floats
    still: npt.NDArray[np.int32]
    agreed: int


MOTION = MotionRule()


def gain(small: Floats, background: Floats) -> float:
    """The lights' common change; the median ignores whatever covers less than half of the frame."""
    return min(max(_middle((_some(small) + 1) / (_some(background) + 1)), 0.25), 4.0)


def _some(values: Floats) -> Floats:
    """The values of a shrunk frame in a row, of many every fifth: steps of five meet all three channels."""
    return values.ravel()[::5 if values.size > MANY else 1]


def _middle(values: Floats) -> float:
    """The median, the upper one of two."""
    return float(np.partition(values, values.size // 2)[values.size // 2])


def _reached(foreground: Mask, free: Mask | None, hole: Mask | None) -> Mask:
    """The foreground that is joined to the frame's edge, or to a hole at it, and is not goods alone."""
    into = (foreground if hole is None else _into(foreground, hole)).astype(np.uint8)
    if not (into[0].any() or into[-1].any() or into[:, 0].any() or into[:, -1].any()):
        return np.zeros(foreground.shape, bool)
    # Closed first: where a sleeve has the wall's colour, the arm falls into pieces.
    # The margin keeps what only comes near the frame's edge from being joined to it.
    margin = cv2.copyMakeBorder(into, 3, 3, 3, 3, cv2.BORDER_CONSTANT, value=0)
    closed = cv2.morphologyEx(margin, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))[3:-3, 3:-3]
    _, blobs = cv2.connectedComponents(np.ascontiguousarray(closed), connectivity=8)
    edge = np.concatenate((blobs[0], blobs[-1], blobs[:, 0], blobs[:, -1]))
    shown = blobs if hole is None else np.where(hole, 0, blobs)
    people = [blob for blob in np.unique(edge[edge > 0]) if not _goods(foreground & (shown == blob), free)]
    return np.asarray(np.isin(shown, people), bool)


def _goods(blob: Mask, free: Mask | None) -> bool:
    """Whether a blob keeps within slots: what is sold or filled up at the frame's edge is nobody's arm."""
    return free is not None and float((blob & free).sum()) <= max(2.0, BESIDE * float(blob.sum()))


def beginning(small: Floats, picture: Floats, free: Mask, rule: MotionRule = MOTION) -> MotionState:
    """A state to begin with where a picture without anybody is known: it is the background between the slots."""
    lit = picture * gain(small[free], picture[free])
    background = np.where(free[..., None], lit, small).astype(np.float32)
    return MotionState(background, small, np.zeros(small.shape[:2], np.int32), rule.warm)


def between(stands: Sequence[Region], shape: tuple[int, ...]) -> Mask:
    """Which pixels of a frame of that shape lie in no slot; all, where the slots leave hardly any."""
    h, w = shape[:2]
    free = np.ones((h, w), bool)
    for stand in stands:
        free[int(stand.y0 * h):math.ceil(stand.y1 * h), int(stand.x0 * w):math.ceil(stand.x1 * w)] = False
    return free if float(free.mean()) > 0.05 else np.ones((h, w), bool)


def _into(foreground: Mask, hole: Mask) -> Mask:
    """The foreground, and as much of a hole as it would fill if it went on there: an arm does, a pack within does not.
    """
    grown, kernel = foreground.astype(np.uint8), np.ones((3, 3), np.uint8)
    for _ in range(HOLE):
        grown = np.where(hole, cv2.dilate(grown, kernel), grown)
    return np.asarray(grown, bool)


def motion_step(state: MotionState | None, small: Floats, rule: MotionRule = MOTION, free: Mask | None = None,
                hole: Mask | None = None) -> tuple[MotionState, bool]:
    """The next state, and whether this frame must not be counted: somebody moves, or nothing is known yet.

    `free` are the pixels of no slot (`between`), None where that is not known: in a slot goods come and go by
    themselves. `hole` are the pixels that the frame does not show; they are to be as the background is.
    """
    if state is None or state.background.shape != small.shape:
        return MotionState(small, small, np.zeros(small.shape[:2], np.int32), 1), rule.warm > 1
    # The background was put into the light of the frame before, so one gain is that frame's, too.
    light = gain(small, state.background)
    lit = state.background * light
    grey = rule.grey * min(max(_middle(_some(small)) / rule.bright, 0.4), 1.0)
    moved = _apart(small, state.previous * light) > grey / 2
    still = state.still + 1
    still[moved] = 0
    foreground = _apart(small, lit) > grey
    joined = _reached(foreground, free, hole)
    covered = foreground if free is None else foreground[free]
    somebody = _share(covered) > rule.share or _share(joined) > rule.reach
    if state.agreed < rule.warm:
        agreed = 1 if somebody else state.agreed + 1
        return MotionState(small, small, still, agreed), agreed < rule.warm
    stays = still >= (np.where(joined, rule.linger, rule.settle) if somebody else rule.settle)
    background = np.asarray(np.where(stays[..., None], small, lit), np.float32)
    return MotionState(background, small, still, state.agreed), somebody
