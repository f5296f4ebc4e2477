"""What one camera's frames say of its slots: a frame in, a level for each slot or a reason out. No camera, no clock.

    frame ─▶ dark? covered? frozen? ─▶ laid over the commissioning picture, or misaligned
          ─▶ somebody in front? ─▶ nothing changed? the answer of before ─▶ detector ─▶ how full each slot is
          ─▶ much less than before, or not looked at for long? defocused, or a part covered?
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.vision.align import WIDE, Alignment, Seen, align
from edge.vision.detector import Detector, Floats, Image
from edge.vision.fullshelf import UNMOVED, FullShelf
from edge.vision.observe import (
    MOTION,
    Mask,
    MotionRule,
    MotionState,
    Stand,
    beginning,
    between,
    changed,
    count_facings,
    gain,
    little,
    motion_step,
    small_view,
    unchanged,
)
from edge.vision.quality import RULE, Stillness, assess, glance, still_step, unusable
from edge.vision.slots import Fill, canvas_size
from edge.vision.tiles import look_at

BLIND_SD = 0.5
"""Deviation of a count by boxes alone, in facings."""
CHECK_FRAMES, SUSPICIOUS = 60, 0.75
"""The lens is looked after at the latest after so many frames, and where less than this share is left on the shelf or
of the picture's detail."""
ROUNDING = 2
"""Pixels by which a frame of the commissioning picture's shape may be higher than it, both at the canvas's width."""
LENS = dataclasses.replace(RULE, shift=math.inf, alike=-1.0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a frame says: how full each slot is, or the `reason` why it says nothing.

    `moved` is how far the camera was pushed since commissioning, as a share of the picture's width; None where that
    is not known.
    """

    fills: tuple[Fill, ...] = ()
    reason: str = ""
    moved: float | None = None


class ShelfEye:
    """Judges a camera's frames one after another."""

    def __init__(self, stands: Sequence[Stand], detector: Detector, full: FullShelf | None = None,
                 motion: MotionRule = MOTION) -> None:
        """Without a picture of the `full` shelf boxes are counted, and a camera that was pushed is not noticed."""
        self.stands = tuple(stands)
        self.inferences = 0
        self._detector, self._full, self._rule = detector, full, motion
        self._motion: MotionState | None = None
        self._free: Mask | None = None
        self._between: Mask | None = None
        self._place: Alignment | None = None
        self._before: Seen | None = None
        self._judged: tuple[Fill, ...] = ()
        self._shown: Floats | None = None
        self._still: Stillness | None = None
        self._unchecked, self._crisp = CHECK_FRAMES, 0.0
        self._counted: tuple[Floats, tuple[Fill, ...]] | None = None

    def judge(self, image: Image, t: float = 0.0) -> Verdict:
        """What the frame says, BGR uint8 (h, w, 3), taken at monotonic time `t`."""
        odd = self._odd(image)
        if odd:
            return Verdict(reason=odd)
        shrunk = image if self._full is None else self._full.shrunk(image)
        thumb = thumbnail(shrunk)
        self._still = still_step(self._still, thumb, t)
        plain = glance(thumb, self._still.lasted(t))
        if not plain.ok:
            return Verdict(reason=plain.reason)
        if self._full is None:
            return self._by_boxes(image)
        if self._between is None or self._between.shape != thumb.shape[:2]:
            self._between = between(self.stands, thumb.shape)
        place = align(self._full.reference, thumb, self._before, self._between)
        if place is None:
            # What is too blurred to be laid over the picture is blurred; a camera turned to a wall is not covered.
            return Verdict(reason="defocused" if self._harm(self._full, image, thumb) == "defocused" else "misaligned")
        canvas = self._full.canvas(shrunk, place)
        small, hole = self._filled(self._full, small_view(canvas), place)
        begun = self._begun(self._full, small, place)
        self._motion, moving = motion_step(begun, small, self._rule, self._free_of(small), hole)
        if moving:
            return Verdict(reason="blocked", moved=place.moved)
        self._before = Seen(thumb, place)
        return self._by_picture(self._full, image, (thumb, canvas, small), place)

    def _odd(self, image: Image) -> str:
        """Why the frame is none of this camera's, or nothing."""
        odd = unusable(image)
        if odd is not None:
            return odd.reason
        other = self._full is not None and abs(canvas_size(image.shape)[1] - self._full.size[1]) > ROUNDING
        return "misaligned" if other else ""

    def _free_of(self, small: Floats) -> Mask:
        if self._free is None or self._free.shape != small.shape[:2]:
            self._free = between(self.stands, small.shape)
        return self._free

    def _begun(self, full: FullShelf, small: Floats, place: Alignment) -> MotionState:
        """What is known of the background: the commissioning picture, at first and after the camera was pushed."""
        known, self._place = self._place, place
        if self._motion is not None and known is not None and (
                known is place or np.allclose(known.matrix, place.matrix, atol=1e-3)):
            return self._motion
        return beginning(small, full.small, self._free_of(small), self._rule)

    def _filled(self, full: FullShelf, small: Floats, place: Alignment) -> tuple[Floats, Mask | None]:
        """Beyond the frame's edge, what the background was; and where that is."""
        if place.moved < UNMOVED:
            return small, None
        inside = cv2.resize(full.inside(place), small.shape[1::-1], interpolation=cv2.INTER_AREA) > 250
        if inside.all() or not inside.any():
            return small, None
        known = full.small if self._motion is None else self._motion.background
        light = gain(small[inside], known[inside])
        return np.asarray(np.where(inside[..., None], small, known * light), np.float32), ~inside

    def _by_picture(self, full: FullShelf, image: Image, views: tuple[Image, Image, Floats],
                    place: Alignment) -> Verdict:
        """How full the slots are; one that shows what it showed when it was last judged keeps its answer.

        A frame in which no slot changed costs no inference. `views`: the thumbnail, the canvas and its small view.
        """
        thumb, canvas, small = views
        new = None if self._shown is None else changed(self._shown, small)
        same = {} if new is None else {
            stand.slot: fill for stand, fill in zip(self.stands, self._judged, strict=True) if little(crop(new, stand))}
        self._unchecked += 1
        crisp = crispness(thumb)
        due = self._unchecked >= CHECK_FRAMES or crisp < SUSPICIOUS * self._crisp
        fills = tuple(same.values())
        if len(same) < len(self.stands):
            self.inferences += 1
            fills = full.fills(image, place, canvas, same)
        if due or self._less(fills):
            harm = self._harm(full, image, thumb)
            if harm:
                return Verdict(reason=harm, moved=place.moved)
            self._unchecked, self._crisp = 0, crisp
        self._judged = fills
        if self._shown is None:
            self._shown = small.copy()
        for stand in self.stands:
            if stand.slot not in same:
                crop(self._shown, stand)[:] = crop(small, stand)
        return Verdict(fills, moved=place.moved)

    def _less(self, fills: tuple[Fill, ...]) -> bool:
        """Whether so much less is there than before that the lens may be at fault."""
        before = sum(fill.facings for fill in self._judged)
        return not self._judged or sum(fill.facings for fill in fills) < SUSPICIOUS * before

    def _harm(self, full: FullShelf, image: Image, thumb: Image) -> str:
        """What has happened to the lens, or nothing. Where the camera looks, the alignment knows better."""
        light = min(1.0, float(thumb.mean()) / max(1.0, full.sharp.mean))
        a, b, c, d = (light * deviation for deviation in full.sharp.quarters)
        # With half of the lamps out, a quarter without goods has as little contrast as one behind paper.
        verdict = assess(image, dataclasses.replace(full.sharp, quarters=(a, b, c, d)), 0.0, LENS)
        return "" if verdict.ok else verdict.reason

    def _by_boxes(self, image: Image) -> Verdict:
        """Boxes counted; a frame that shows what the last counted one showed costs no inference."""
        small = small_view(image)
        self._motion, moving = motion_step(self._motion, small, self._rule, self._free_of(small))
        if moving:
            return Verdict(reason="settling" if self._motion.agreed < self._rule.warm else "blocked")
        if self._counted is not None and unchanged(self._counted[0], small):
            return Verdict(self._counted[1])
        self.inferences += 1
        found = look_at(self._detector, image, self.stands)
        counts = count_facings(found, image.shape, self.stands)
        fills = tuple(
            Fill(stand.slot, n := counts[stand.slot], n * stand.depth, min(1.0, n / stand.facings), BLIND_SD, 0.5)
            for stand in self.stands)
        self._counted = small, fills
        return Verdict(fills)


def thumbnail(image: Image) -> Image:
    """The frame in grey, 320 pixels wide: enough to see whether it is dark, and where it lies."""
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    h, w = grey.shape
    how = cv2.INTER_AREA if w >= 2 * WIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (WIDE, max(1, round(h * WIDE / w))), interpolation=how), np.uint8)


def crispness(thumb: Image) -> float:
    """How much fine detail a thumbnail has, for its light: less where goods are gone, or where it is blurred."""
    return cv2.norm(cv2.Laplacian(thumb, cv2.CV_16S), cv2.NORM_L1) / (cv2.sumElems(thumb)[0] + thumb.size)


def crop(small: npt.NDArray[Any], stand: Stand) -> npt.NDArray[Any]:
    """The part of a shrunk frame in which a slot lies."""
    h, w = small.shape[:2]
    return small[int(stand.y0 * h):math.ceil(stand.y1 * h), int(stand.x0 * w):math.ceil(stand.x1 * w)]
