"""Where a frame lies over the commissioning picture: a camera that was pushed is put right, or told. Pure.

    edges of both ─▶ the last known place still fits? ─▶ that one
                  ─▶ else marks of the picture, each looked for near its place ─▶ a shift, turn and zoom (RANSAC)
                     (of the frame before, too: its goods are today's)
                  ─▶ else the edges as a whole, over small turns and zooms
                  ─▶ the same marks again, nearer ─▶ a homography ─▶ fits?
                  ─▶ else, or pushed further than `most`: misaligned

Goods come and go, somebody covers a part, lamps fail: so marks are found by normalised correlation, most may be
missing, and only the share of the picture's patches that look alike is asked for, never the likeness of the whole.
Phase correlation of the whole frame was tried first: with half of the goods gone it was off by up to 15 px of 960.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from edge.vision.detector import Floats, Image

Matrix = npt.NDArray[np.float64]
Picture = TypeVar("Picture", Image, Floats)
Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]
WIDE = 320
PATCHES = (12, 9)
ALIKE = 0.45
"""Correlation from which on two patches show the same."""
MARKS, MARK, FAR, NEAR = 240, 8, 30, 5
"""How many marks, their half size, and how far each is looked for, in pixels of a picture WIDE pixels wide."""
FOUND, ALONE = 0.6, 0.04
"""Least correlation of a mark that is found, and by how much it must beat its own other places."""

LEAST, GUESSES = 8, 3
CHANGED, SOME, MUCH, STIRRED = 24, 0.03, 0.15, 0.003
"""A push changes, by so much grey, more than `SOME` of a picture, or more than `STIRRED` of what lies between slots."""
SURE, TURNED = 0.6, 0.1
"""A place that is less alike may be upside down; and by how much more alike it then is when it is turned over."""
TURNS, ZOOMS = (-2.0, -1.0, 0.0, 1.0, 2.0), (0.97, 1.0, 1.03)


@dataclass(frozen=True, slots=True)
class AlignRule:
    """From which share of alike patches a place fits, and how far, as a share of the width, it is put right.

    A place at which less than the share `drop` of what was alike before still is, is looked for anew; another place
    must keep the share `keep` of it, since boards and rows of like packs fit at many places by a third.
    """

    fits: float = 0.3
    drop: float = 0.75
    keep: float = 0.6
    most: float = 0.14


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """A frame's place: `matrix` (3, 3) takes its coordinates, as shares of its size, to those of the picture.

    Attributes:
        moved: how far the picture's corners lie apart at most, as a share of its width.
        alike: share of the patches with any structure that look alike, 0 to 1.
    """

    matrix: Matrix
    moved: float
    alike: float


RULE = AlignRule()
STILL = Alignment(np.eye(3), 0.0, 1.0)


def _grey(image: Image, width: int) -> Image:
    h, w = image.shape[:2]
    size = (width, max(1, round(h * width / w)))
    small = image if (w, h) == size else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY) if small.ndim == 3 else small, np.uint8)


def _smooth(grey: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), 0.8), np.uint8)


def edges(grey: Image) -> Floats:
    """How strong each pixel's edge is, against what is usual around it: half the light changes nothing."""
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0).astype(np.float32)
    strong = cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    usual = cv2.blur(strong, (31, 31)) + 4.0
    return np.asarray(np.minimum(strong / usual, 4.0), np.float32)


def _patches(picture: Floats) -> Floats:
    """The picture cut into patches, (rows * columns, pixels), each less its own mean."""
    columns, rows = PATCHES
    h, w = picture.shape[0] // rows, picture.shape[1] // columns
    cut = picture[:h * rows, :w * columns].reshape(rows, h, columns, w).swapaxes(1, 2).reshape(rows * columns, -1)
    return np.asarray(cut - cut.mean(1, keepdims=True), np.float32)


class Reference:
    """The commissioning picture, made ready to be compared."""

    def __init__(self, picture: Image) -> None:
        grey = _grey(picture, WIDE)
        self.shape = grey.shape
        self.edges = edges(grey)
        self._patches = _patches(self.edges)
        self._length = np.linalg.norm(self._patches, axis=1)
        self._structured = self._length > 0.5 * float(np.median(self._length))
        smooth = _smooth(grey)
        self._marks = _marks(smooth)
        self._looks = [_around(smooth, mark, MARK) for mark in self._marks]

    def alike(self, seen: Image, place: Matrix) -> float:
        """The share of structured patches that look alike where the grey frame lies at `place` (in pixels)."""
        patches = _patches(edges(_laid(seen, place)))
        length = np.linalg.norm(patches, axis=1)
        likeness = (patches * self._patches).sum(1) / np.maximum(length * self._length, 1e-6)
        return float((likeness[self._structured] > ALIKE).mean()) if self._structured.any() else 0.0

    def found(self, seen: Image, near: Matrix) -> list[Matrix]:
        """The places, in pixels, at which many of the picture's marks are found near `near`, at most `GUESSES`.

        A row of like packs looks alike one pack further, too.
        """
        here, there = self._matches(seen, near, FAR)
        places: list[Matrix] = []
        while len(here) >= LEAST and len(places) < GUESSES:
            step, kept = cv2.estimateAffinePartial2D(there, here, method=cv2.RANSAC, ransacReprojThreshold=2.0)
            if step is None or int(kept.sum()) < LEAST:
                break
            places.append(self._refined(seen, np.vstack((step, (0.0, 0.0, 1.0))) @ near))
            left = kept.ravel() == 0
            here, there = here[left], there[left]
        return places

    def swept(self, seen: Image) -> list[Matrix]:
        """The places where the edges as a whole fit best, over all small turns and zooms: slow, and needs no marks."""
        h, w = seen.shape
        inner = self.edges[h // 8:h - h // 8, w // 8:w - w // 8]
        found: list[tuple[float, Matrix]] = []
        seen_edges = edges(seen)
        for degrees in TURNS:
            for zoom in ZOOMS:
                turn = np.vstack((cv2.getRotationMatrix2D((w / 2, h / 2), degrees, zoom), (0.0, 0.0, 1.0)))
                likeness = cv2.matchTemplate(_laid(seen_edges, turn), inner, cv2.TM_CCOEFF_NORMED)
                _, best, _, (x, y) = cv2.minMaxLoc(likeness)
                shift = np.array([[1.0, 0.0, w // 8 - x], [0.0, 1.0, h // 8 - y], [0.0, 0.0, 1.0]])
                found.append((best, shift @ turn))
        found.sort(key=lambda each: -each[0])
        return [self._refined(seen, place) for _, place in found[:GUESSES]]

    def _refined(self, seen: Image, place: Matrix) -> Matrix:
        """The place made exact by the marks close to it; a homography where they say so all over the picture."""
        here, there = self._matches(seen, place, NEAR)
        if len(here) < LEAST:
            return place
        step, _ = cv2.estimateAffinePartial2D(there, here, method=cv2.RANSAC, ransacReprojThreshold=1.5)
        if step is None:
            return place
        simple = np.vstack((step, (0.0, 0.0, 1.0)))
        whole, kept = cv2.findHomography(there, here, cv2.RANSAC, 1.5)
        if whole is None or not _spread(here[kept.ravel() > 0], self.shape):
            whole = simple
        return np.asarray(whole @ place, np.float64)

    def _matches(self, seen: Image, place: Matrix, reach: int) -> tuple[Points, Points]:
        """Marks of the picture, and where the frame, laid at `place`, shows them."""
        laid = _smooth(_laid(seen, place))
        here: list[tuple[float, float]] = []
        there: list[tuple[float, float]] = []
        for (x, y), look in zip(self._marks, self._looks, strict=True):
            window = _around(laid, (x, y), MARK + reach)
            if window.shape != (2 * (MARK + reach) + 1,) * 2:
                continue
            likeness = cv2.matchTemplate(window, look, cv2.TM_CCOEFF_NORMED)
            _, best, _, (u, v) = cv2.minMaxLoc(likeness)
            if best < FOUND:
                continue
            likeness[max(0, v - 3):v + 4, max(0, u - 3):u + 4] = -1
            if reach > NEAR and float(likeness.max()) > best - ALONE:
                continue  # one of many alike: which of them it is, only its neighbours know
            here.append((x, y))
            there.append((x + u - reach, y + v - reach))
        return np.array(here, np.float64).reshape(-1, 2), np.array(there, np.float64).reshape(-1, 2)


def _spread(points: Points, shape: tuple[int, ...]) -> bool:
    """Whether enough points lie in each quarter of the picture."""
    right, low = points[:, 0] > shape[1] / 2, points[:, 1] > shape[0] / 2
    return all(int((side & level).sum()) >= LEAST for side in (right, ~right) for level in (low, ~low))


def _marks(grey: Image) -> list[tuple[int, int]]:
    margin = MARK + NEAR
    inside = np.zeros(grey.shape, np.uint8)
    inside[margin:-margin, margin:-margin] = 255
    corners = cv2.goodFeaturesToTrack(grey, MARKS, 0.01, 7, mask=inside, blockSize=5)
    return [] if corners is None else [(int(x), int(y)) for x, y in corners.reshape(-1, 2)]


def _around(grey: Image, at: tuple[int, int], half: int) -> Image:
    x, y = at
    return grey[max(0, y - half):y + half + 1, max(0, x - half):x + half + 1]


def _laid(seen: Picture, place: Matrix) -> Picture:
    return cv2.warpPerspective(seen, place, seen.shape[::-1], flags=cv2.INTER_LINEAR,  # type: ignore[return-value]
                               borderMode=cv2.BORDER_REPLICATE)  # OpenCV keeps the type of what it is given


class Seen:
    """A frame that was put right, and its place: its goods are today's, the commissioning picture's are not."""

    def __init__(self, image: Image, place: Alignment) -> None:
        self.grey, self.place = _grey(image, WIDE), place

    @cached_property
    def reference(self) -> Reference:
        """The frame, ready to be compared."""
        return Reference(self.grey)

    def shows(self, image: Image, free: Mask | None) -> bool:
        """Whether a frame shows the same but for some goods, so that the camera was not pushed in between.

        `free` are the pixels, of a picture WIDE pixels wide, in which no goods come and go.
        """
        grey = _grey(image, WIDE)
        if grey.shape != self.grey.shape:
            return False
        changed = cv2.absdiff(grey, self.grey) > CHANGED
        share = np.count_nonzero(changed) / changed.size
        if share <= SOME or free is None or share > MUCH:
            return bool(share <= SOME)
        return bool(np.count_nonzero(changed & free) <= STIRRED * np.count_nonzero(free))


def align(reference: Reference, image: Image, before: Seen | None = None, free: Mask | None = None,
          rule: AlignRule = RULE) -> Alignment | None:
    """The frame's place over the picture, tried first where the frame `before` lay; None where it is misaligned.

    `free`: see `Seen.shows`.
    """
    seen = _grey(image, WIDE)
    if seen.shape != reference.shape:
        return None
    known = STILL if before is None else before.place
    if before is not None and before.shows(seen, free):
        return known
    unit = np.diag([seen.shape[1], seen.shape[0], 1.0])
    last = place = unit @ known.matrix @ np.linalg.inv(unit)
    alike = reference.alike(seen, place)
    if alike < max(rule.fits, rule.drop * known.alike):
        places = [] if before is None else [place @ each for each in before.reference.found(seen, np.eye(3))]
        places += reference.found(seen, place)
        alike, place = _best(reference, seen, [place, *places])
        if alike < max(rule.fits, rule.drop * known.alike):
            alike, place = _best(reference, seen, [place, *reference.swept(seen)])
    if alike < SURE and _turned_over(reference, seen, alike):
        return None
    matrix = np.linalg.inv(unit) @ place @ unit
    moved = _moved(matrix, seen.shape[0] / seen.shape[1])
    elsewhere = before is not None and place is not last
    if alike < max(rule.fits, rule.keep * known.alike if elsewhere else 0.0) or not moved <= rule.most:
        return None
    return Alignment(matrix / matrix[2, 2], moved, alike)


def _turned_over(reference: Reference, seen: Image, alike: float) -> bool:
    """Whether the frame is more alike upside down: boards and rails fit by a third that way, too."""
    turned = (np.asarray(cv2.flip(seen, way), np.uint8) for way in (0, -1))
    return any(reference.alike(each, np.eye(3)) > alike + TURNED for each in turned)


def _best(reference: Reference, seen: Image, places: list[Matrix]) -> tuple[float, Matrix]:
    """The place that fits best; the first unless another is clearly better."""
    rated = [(reference.alike(seen, place) + (0.02 if n == 0 else 0.0), place) for n, place in enumerate(places)]
    return max(rated, key=lambda each: each[0])


def _moved(matrix: Matrix, ratio: float) -> float:
    """How far the frame's corners lie from the picture's, as a share of the width; `ratio` is height to width."""
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float64)
    away = (to_picture(matrix, corners) - corners) * (1.0, ratio)
    return float(np.linalg.norm(away, axis=1).max())


def to_picture(matrix: Matrix, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Points (n, 2) of the frame, as shares of its size, in the picture's."""
    if len(points) == 0:
        return np.zeros((0, 2))
    return np.asarray(cv2.perspectiveTransform(np.asarray(points, np.float64)[None], matrix)[0], np.float64)


def laid_over(image: Image, alignment: Alignment, size: tuple[int, int]) -> Image:
    """The frame as the commissioning picture would show it, `size` (width, height); black where it does not reach."""
    h, w = image.shape[:2]
    to, out = np.diag([size[0], size[1], 1.0]), np.diag([1 / w, 1 / h, 1.0])
    return np.asarray(cv2.warpPerspective(image, to @ alignment.matrix @ out, size, flags=cv2.INTER_LINEAR), np.uint8)
