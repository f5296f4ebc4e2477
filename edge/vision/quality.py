"""Whether a camera still sees what it saw when it was commissioned: dark, covered, frozen, moved, defocused. Pure.

What each is judged by, measured on rendered shelves from empty to full and on 18 photos of shelves, with noise and
JPEG of a camera, 960 px wide (`tests/bench/test_camera_quality.py`; all of 600 pictures with other stock, other light
or an arm were called good):

  defocused  by how wide the strongest edges are: 3.3 to 4.6 px in any sharp picture, 1.6 to 1.8 times the baseline's
             with a Gaussian blur of 2 px, which is always found. The density of edges, or the variance of the
             Laplacian, fall as much when a shelf sells out (density 0.053 to 0.013) as when it is blurred (to 0.023).
  moved      by phase correlation (Kuglin and Hines 1975) of small grey pictures, the whole and its four quarters: a
             shift comes out within 0.5% of the width whatever the stock. Packs side by side look shifted by one where
             some were taken, so a quarter that stands still outvotes the rest. Found on 32 shelves with other stock
             than at the commissioning, and on 18 photos: 3% off 29 and 18, 25% off 25 and 18, turned by 5 degrees 18
             and 16, nearer by 10% 17 and 16.
  covered    by a quarter of the picture with next to no structure: from full to empty a quarter keeps 0.55 of the
             baseline's deviation, behind paper or a hand 0.15.
  frozen     by pixels that do not change: a sensor's noise changes 15% of them or more from one JPEG to the next, the
             clock that a frozen camera draws into its picture 0.06%.

An arm before the lens looks covered or moved too: ask for motion first.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge.vision.detector import Image

OK = "ok"
VIEW_WIDTH = 240
EDGE_WIDTH = 960
LEAST_SIDE, LONGEST = 8, 8
"""Pixels that the shorter side has at least, and how many times as long the longer one may be."""
_CONTRAST = np.ones((21, 21), np.uint8)


@dataclass(frozen=True, slots=True)
class Rule:
    """When a picture is no good.

    Attributes:
        dark: mean below which it is, of 255.
        plain: standard deviation below which a picture or a quarter shows nothing, of 255.
        covered: the same as a share of the baseline's.
        blurred: how many times wider than the baseline's the strongest edges are.
        shift: of the picture's width or height, from which a camera has moved.
        trust: phase correlation from which the whole picture's shift is believed.
        trust_quarter: the same for a quarter's.
        pitch: a quarter's shift from here on is taken for equal packs side by side, one of which was taken.
        alike: correlation of two views below which they are another, where no shift explains it.
        noise: share of pixels that change from one picture of a live sensor to the next, at least.
        frozen_s: seconds without such a change; None where pictures have no noise, as rendered ones. Longer than the
            time between two key frames of an H.264 camera, which may send nothing new of a still scene in between.
    """

    dark: float = 12
    plain: float = 4
    covered: float = 0.25
    blurred: float = 1.5
    shift: float = 0.02
    trust: float = 0.2
    trust_quarter: float = 0.3
    pitch: float = 0.06
    alike: float = 0.45
    noise: float = 0.02
    frozen_s: float | None = 60


RULE = Rule()


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """What a camera saw at its commissioning.

    Attributes:
        mean: of the grey picture, 0 to 255.
        quarters: standard deviation of each quarter of the view: top left, top right, bottom left, bottom right.
        edge_px: width of the strongest edges, in pixels of a picture `EDGE_WIDTH` wide.
        view: grey picture `VIEW_WIDTH` wide.
    """

    mean: float
    quarters: tuple[float, float, float, float]
    edge_px: float
    view: Image

    def to_document(self) -> dict[str, Any]:
        """As JSON values, for a document store; the view as base64 of a PNG, some 30 kB."""
        _, png = cv2.imencode(".png", self.view)
        return {"mean": self.mean, "quarters": list(self.quarters), "edge_px": self.edge_px,
                "view": base64.b64encode(png.tobytes()).decode()}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Baseline:
        """The baseline that `to_document` gave; ValueError where the document is none."""
        try:
            png = np.frombuffer(base64.b64decode(document["view"], validate=True), np.uint8)
            view = cv2.imdecode(png, cv2.IMREAD_GRAYSCALE) if len(png) else None
            a, b, c, d = (float(value) for value in document["quarters"])
            mean, edge_px = float(document["mean"]), float(document["edge_px"])
        except (KeyError, TypeError, ValueError, cv2.error) as error:
            raise ValueError(f"no camera baseline: {type(error).__name__} {error}") from error
        if view is None or view.shape[1] != VIEW_WIDTH:
            raise ValueError(f"no camera baseline: its view is no picture {VIEW_WIDTH} px wide")
        return cls(mean, (a, b, c, d), edge_px, np.asarray(view, np.uint8))


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` is `ok` or what is wrong, a token for a reading's quality; `detail` is for the person at the box."""

    reason: str
    detail: str = ""

    @property
    def ok(self) -> bool:
        return self.reason == OK


GOOD = Verdict(OK)


@dataclass(frozen=True, slots=True, eq=False)
class Stillness:
    """The last picture that was new, in grey, and since when none was, in monotonic seconds."""

    pixels: Image
    since: float

    def lasted(self, t: float) -> float:
        """Seconds without a new picture at time `t`."""
        return max(0.0, t - self.since)


def baseline_of(image: Image) -> Baseline:
    """What the camera sees now, as what it is to see from now on. `image`: BGR uint8 (h, w, 3)."""
    view = _view(image)
    a, b, c, d = (float(part.std()) for part in _quarters(view))
    return Baseline(float(view.mean()), (a, b, c, d), edge_px(image), view)


def still_step(state: Stillness | None, image: Image, t: float, rule: Rule = RULE) -> Stillness:
    """The state after a picture taken at monotonic time `t`: a new reference where enough pixels changed."""
    pixels = _grey(image)
    if (state is None or state.pixels.shape != pixels.shape
            or np.count_nonzero(state.pixels != pixels) >= rule.noise * pixels.size):
        return Stillness(pixels, t)
    return state


def assess(image: Image, baseline: Baseline | None = None, still_s: float = 0.0, rule: Rule = RULE) -> Verdict:
    """What is wrong with a picture, the worst first.

    Args:
        image: BGR uint8 (h, w, 3).
        baseline: from the camera's commissioning; without it only `dark`, `covered` and `frozen` are found.
        still_s: how long no picture was new (`Stillness.lasted`).
        rule: the limits.
    """
    odd = unusable(image)
    if odd is not None:
        return odd
    view = _view(image)
    return (_lit(view, rule) or _covered(view, baseline, rule) or _frozen(still_s, rule)
            or (_moved(view, baseline, rule) or _blurred(image, baseline, rule) if baseline else None) or GOOD)


def unusable(image: npt.NDArray[Any]) -> Verdict | None:
    """Why this is no picture that could be judged: BGR uint8 (h, w, 3), with sides of a camera's; None where it is."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        return Verdict("undecodable", f"no BGR picture of 8 bits, but {image.dtype} {image.shape}")
    short, long = sorted(image.shape[:2])
    if short < LEAST_SIDE or long > LONGEST * short:
        return Verdict("undecodable", f"{image.shape[1]} x {image.shape[0]} pixels are no picture of a shelf")
    return None


def glance(grey: Image, still_s: float, rule: Rule = RULE) -> Verdict:
    """What is wrong with a grey picture (h, w), as far as it shows without comparing it with another."""
    view = _view(grey)
    return _lit(view, rule) or _covered(view, None, rule) or _frozen(still_s, rule) or GOOD


def edge_px(image: Image) -> float:
    """How wide the strongest edges are, in pixels of a picture `EDGE_WIDTH` wide: contrast over steepness.

    The median over the 1% of pixels with the steepest grey after a light smoothing, which keeps noise out.
    """
    grey = _grey(image)
    if grey.shape[1] > EDGE_WIDTH:
        grey = _shrunk(grey, EDGE_WIDTH)
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0).astype(np.float32)
    steep = cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(smooth, cv2.CV_32F, 0, 1) / 8)
    contrast = cv2.dilate(smooth, _CONTRAST) - cv2.erode(smooth, _CONTRAST)
    strong = steep >= max(float(np.quantile(steep, 0.99)), 1e-3)
    return float(np.median(contrast[strong] / steep[strong])) if strong.any() else float(_CONTRAST.shape[0])


def _lit(view: Image, rule: Rule) -> Verdict | None:
    mean, _ = _tone(view)
    if mean < rule.dark:
        return Verdict("dark", f"mean brightness {mean:.0f} of 255: is the light on, the lens free?")
    return None


def _covered(view: Image, baseline: Baseline | None, rule: Rule) -> Verdict | None:
    if _tone(view)[1] < rule.plain:
        return Verdict("covered", "nothing but one tone: is the lens free?")
    if baseline is None:
        return None
    plain = [part.std() < max(rule.plain, rule.covered * was)
             for part, was in zip(_quarters(view), baseline.quarters, strict=True)]
    if any(plain):
        return Verdict("covered", f"{sum(plain)} of 4 quarters of the picture show nothing: is the lens free?")
    return None


def _frozen(still_s: float, rule: Rule) -> Verdict | None:
    if rule.frozen_s is not None and still_s >= rule.frozen_s:
        return Verdict("frozen", f"the same picture for {still_s:.0f} s: switch the camera off and on")
    return None


def _moved(view: Image, baseline: Baseline, rule: Rule) -> Verdict | None:
    if view.shape != baseline.view.shape:
        return Verdict("moved", "the picture has another shape than at the commissioning: commission it again")
    whole, *quarters = _shifts(baseline.view, view)
    sure = [quarter.length for quarter in quarters if quarter.sure >= rule.trust_quarter]
    stays = bool(sure) and min(sure) < rule.shift * 0.75
    if whole.sure >= rule.trust and whole.length >= rule.shift and not stays:
        return Verdict("moved", f"off by {whole.dx:+.1%} of the width and {whole.dy:+.1%} of the height: aim it as it "
                                "was, or mark the slots again")
    if len(sure) >= 2 and rule.shift <= max(sure) < rule.pitch and not stays:
        return Verdict("moved", "turned, or nearer or farther: aim it as it was, or mark the slots again")
    alike = _likeness(baseline.view, view)
    if whole.sure < rule.trust and alike < rule.alike:
        return Verdict("moved", f"it looks at something else (correlation {alike:.2f}): aim it as it was")
    return None


def _likeness(a: Image, b: Image) -> float:
    """Correlation; none with a picture of one tone."""
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0


def _blurred(image: Image, baseline: Baseline, rule: Rule) -> Verdict | None:
    times = edge_px(image) / baseline.edge_px
    if times >= rule.blurred:
        return Verdict("defocused", f"edges are {times:.1f} times as wide as they were: clean and focus the lens")
    return None


@dataclass(frozen=True, slots=True)
class _Shift:
    """How far a piece of the view is off, as shares of the whole view's width and height, and how sure that is."""

    dx: float
    dy: float
    sure: float

    @property
    def length(self) -> float:
        return math.hypot(self.dx, self.dy)


def _shifts(before: Image, now: Image) -> Iterator[_Shift]:
    """The shift of the whole, then of each quarter."""
    height, width = before.shape
    for a, b in zip((before, *_quarters(before)), (now, *_quarters(now)), strict=True):
        window = cv2.createHanningWindow((a.shape[1], a.shape[0]), cv2.CV_32F)
        (dx, dy), sure = cv2.phaseCorrelate(a.astype(np.float32), b.astype(np.float32), window)
        yield _Shift(dx / width, dy / height, sure)


def _quarters(view: Image) -> tuple[Image, Image, Image, Image]:
    y, x = view.shape[0] // 2, view.shape[1] // 2
    return view[:y, :x], view[:y, x:2 * x], view[y:2 * y, :x], view[y:2 * y, x:2 * x]


def _tone(grey: Image) -> tuple[float, float]:
    """Mean and standard deviation."""
    mean, deviation = cv2.meanStdDev(grey)
    return float(mean[0, 0]), float(deviation[0, 0])


def _grey(image: Image) -> Image:
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _view(image: Image) -> Image:
    grey = _grey(image)
    # From so near, the mean over areas tells no more than the line between two pixels, and takes five times as long.
    return _shrunk(grey, VIEW_WIDTH, cv2.INTER_AREA if grey.shape[1] >= 2 * VIEW_WIDTH else cv2.INTER_LINEAR)


def _shrunk(grey: Image, width: int, how: int = cv2.INTER_AREA) -> Image:
    height = max(4, round(grey.shape[0] * width / grey.shape[1]))
    return np.asarray(cv2.resize(grey, (width, height), interpolation=how), np.uint8)
