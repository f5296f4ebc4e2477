"""A picture is judged by what its camera saw at the commissioning, whatever stands on the shelf today."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.documents import SyncedJSONStorage
from edge.sim.feed import encode
from edge.sim.scene import Scene
from edge.vision.camera import load_picture
from edge.vision.detector import Image
from edge.vision.quality import RULE, Baseline, Stillness, assess, baseline_of, edge_px, still_step


@dataclass(frozen=True)
class Slot:
    """A facing row in the picture."""

    name: str
    region: tuple[float, float, float, float]
    capacity: int = 6
    depth: int = 1

    @property
    def sku(self) -> str:
        return f"400638133{self.name}"

    @property
    def product(self) -> str:
        return self.name


SLOTS = [Slot(f"{row}{column}", (0.04 + 0.48 * column, 0.05 + 0.31 * row, 0.48 + 0.48 * column, 0.33 + 0.31 * row))
         for row in range(3) for column in range(2)]
SCENE = Scene(SLOTS, 7)


def shelf(seed: int, gain: float = 1.0, arm: str | None = None) -> Image:
    """The shelf with stock by that seed, as a camera's JPEG."""
    rng = np.random.default_rng(seed)
    picture = SCENE.render({slot.name: int(rng.integers(0, slot.capacity + 1)) for slot in SLOTS}, seed * 997.0, arm)
    return sent(np.clip(picture * gain, 0, 255).astype(np.uint8))


def sent(picture: Image) -> Image:
    decoded = cv2.imdecode(np.frombuffer(encode(picture), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(decoded, np.uint8)


def noisy(picture: Image, seed: int = 0) -> Image:
    shot = picture + np.random.default_rng(seed).normal(0, 3, picture.shape)
    return np.clip(shot, 0, 255).astype(np.uint8)


def warped(picture: Image, dx: float = 0.0, dy: float = 0.0, zoom: float = 1.0) -> Image:
    height, width = picture.shape[:2]
    to = cv2.getRotationMatrix2D((width / 2, height / 2), 0, zoom)
    to[:, 2] += (dx * width, dy * height)
    return np.asarray(cv2.warpAffine(picture, to, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)


def blurred(picture: Image, px: float) -> Image:
    return noisy(np.asarray(cv2.GaussianBlur(picture, (0, 0), px), np.uint8))


def half_covered(picture: Image) -> Image:
    covered = picture.copy()
    covered[:, picture.shape[1] // 2:] = 170
    return noisy(covered)


FULL = sent(SCENE.render({slot.name: slot.capacity for slot in SLOTS}, 0))
EMPTY = sent(SCENE.render({}, 0))
BASELINE = baseline_of(FULL)


def test_what_was_commissioned_is_good() -> None:
    assert assess(FULL, BASELINE).ok


@pytest.mark.parametrize("was", [FULL, EMPTY, shelf(1)], ids=["full", "empty", "some"])
def test_stock_and_light_that_change_are_no_fault(was: Image) -> None:
    baseline = baseline_of(was)
    looks = [EMPTY, FULL] + [shelf(seed, 0.6 + seed % 5 / 8) for seed in range(2, 20)]
    assert {assess(look, baseline).reason for look in looks} == {"ok"}


@pytest.mark.parametrize(("spoil", "reason"), [
    (lambda image: (image * 0.04).astype(np.uint8), "dark"),
    (lambda image: noisy(np.zeros_like(image)), "dark"),
    (lambda image: noisy(np.full_like(image, 180)), "covered"),
    (half_covered, "covered"),
    (lambda image: blurred(image, 2.5), "defocused"),
    (lambda image: blurred(image, 4), "defocused"),
    (lambda image: noisy(warped(image, 0.03)), "moved"),
    (lambda image: noisy(warped(image, -0.04, 0.05)), "moved"),
    (lambda image: noisy(warped(image, 0.3)), "moved"),
    (lambda image: image[:, 120:-120], "moved"),
], ids=["dark", "black", "paper", "half covered", "blur 2.5", "blur 4", "3%", "4% and 5%", "30%", "crop"])
def test_each_fault_is_told_by_its_name(spoil: Callable[[Image], Image], reason: str) -> None:
    for look in (FULL, shelf(3)):
        verdict = assess(spoil(look), BASELINE)
        assert verdict.reason == reason, verdict
        assert verdict.detail


def test_a_shelf_that_sold_out_is_as_sharp_as_a_full_one() -> None:
    assert edge_px(EMPTY) == pytest.approx(edge_px(FULL), rel=0.15)
    assert edge_px(blurred(FULL, 2)) > 1.5 * edge_px(FULL)


def test_without_a_baseline_only_what_needs_none_is_found() -> None:
    assert assess(noisy(np.zeros_like(FULL))).reason == "dark"
    assert assess(noisy(np.full_like(FULL, 180))).reason == "covered"
    assert assess(blurred(FULL, 4)).ok
    assert assess(warped(FULL, 0.2)).ok


def test_the_same_picture_for_long_is_frozen_though_its_clock_goes_on() -> None:
    state: Stillness | None = None
    for t in range(0, 90, 10):
        look = FULL.copy()
        cv2.putText(look, f"10:00:{t:02}", (20, 40), cv2.FONT_HERSHEY_SIMPLEX, 1, (255, 255, 255), 2)
        state = still_step(state, sent(look), float(t))
        assert assess(look, BASELINE, state.lasted(t)).reason == ("frozen" if t >= 60 else "ok")


def test_a_sensor_with_its_noise_is_never_frozen() -> None:
    state: Stillness | None = None
    for t in range(0, 90, 10):
        state = still_step(state, sent(noisy(FULL, t)), float(t))
        assert state.lasted(t) == 0


def test_rendered_pictures_without_noise_may_be_still() -> None:
    assert assess(FULL, BASELINE, 1e6, replace(RULE, frozen_s=None)).ok


def test_a_baseline_survives_the_device_documents(tmp_path: Path) -> None:
    storage = SyncedJSONStorage(tmp_path / "documents.json")
    storage.write({"baselines": {"1": BASELINE.to_document()}})
    kept = Baseline.from_document((storage.read() or {})["baselines"]["1"])
    assert np.array_equal(kept.view, BASELINE.view)
    assert (kept.mean, kept.quarters, kept.edge_px) == (BASELINE.mean, BASELINE.quarters, BASELINE.edge_px)
    assert assess(warped(FULL, 0.05), kept).reason == "moved"


_LEAF = st.none() | st.floats() | st.text(max_size=9)
_JSON = st.recursive(_LEAF, lambda inner: st.lists(inner, max_size=5), max_leaves=6)


@given(st.dictionaries(st.sampled_from(["mean", "quarters", "edge_px", "view"]), _JSON))
def test_a_document_that_is_no_baseline_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no camera baseline"):
        Baseline.from_document(document)


def test_a_baseline_whose_picture_is_cut_is_refused() -> None:
    document = json.loads(json.dumps(BASELINE.to_document()))
    document["view"] = document["view"][:400]
    with pytest.raises(ValueError, match="no camera baseline"):
        Baseline.from_document(document)


@given(st.integers(8, 60), st.integers(8, 60), st.integers(0, 255))
def test_any_picture_gets_a_verdict(height: int, width: int, grey: int) -> None:
    image = noisy(np.full((height, width, 3), grey, np.uint8))
    assert assess(image, baseline_of(image)).reason in {"ok", "dark", "covered"}


def test_photos_of_shelves_are_told_from_their_spoilt_copies(shared: Path) -> None:
    for path in sorted((shared / "eval" / "val").glob("*.jpg"))[:6]:
        photo = np.asarray(cv2.resize(load_picture(path), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
        baseline = baseline_of(photo)
        assert assess(noisy((photo * 0.7).astype(np.uint8)), baseline).ok
        assert assess(noisy(warped(photo, 0.04)), baseline).reason == "moved"
        assert assess(noisy(warped(photo, zoom=1.1)), baseline).reason == "moved"
        assert assess(blurred(photo, 3), baseline).reason == "defocused"


@pytest.mark.parametrize("image", [
    FULL[..., 0], FULL[..., :1], np.dstack((FULL, FULL[..., :1])), FULL.astype(np.float32), FULL[:0], FULL[:8],
    FULL[:60], np.full(FULL.shape, np.nan),
], ids=["grey", "one channel", "four", "floats", "nothing", "a line", "a band", "NaN"])
def test_what_is_no_picture_of_a_shelf_is_told_and_not_judged(image: np.ndarray) -> None:
    verdict = assess(image)
    assert verdict.reason == "undecodable"
    assert verdict.detail


def test_a_baseline_of_one_tone_tells_another_picture_apart_without_a_division_by_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not assess(FULL, baseline_of(np.zeros_like(FULL))).ok
