"""Small packs are looked at again, closer, and each is told once."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.vision import closer
from edge.vision.card import Card, Closer
from edge.vision.detector import Detections, Image
from edge.vision.onnx import OnnxDetector

CARD = msgspec.convert(
    {
        "sha256": "0" * 64, "kind": "int8", "licence": "", "data": [], "seed": 0, "crops": 0, "input": (640, 640),
        "strides": (8, 16), "distances": (0.0, 1.0), "classes": ("product", "gap"),
        "thresholds": {"product": 0.4, "gap": 0.4}, "nms_iou": 0.5, "max_detections": 300, "closer": Closer(),
    },
    Card,
)  # fmt: skip
LABELS = ("product", "gap")


class Shelf:
    """Packs of a frame 1280 px wide, painted as (column, row) in its pixels, so that a part of it says where it lies.

    `seen` says with which score a pack of so many pixels in the input is found.
    """

    def __init__(self, boxes: list[tuple[int, int, int, int]], seen: tuple[tuple[float, float], ...]) -> None:
        self.boxes = np.array(boxes, np.float32).reshape(-1, 4)
        self.frame = np.zeros((960, 1280, 3), np.uint8)
        self.frame[..., 0], self.frame[..., 1] = np.arange(1280)[None] // 8, np.arange(960)[:, None] // 8
        self.sizes, self.scores = np.array(seen).T
        self.asked = 0

    def once(self, part: Image, thresholds: tuple[float, ...]) -> Detections:
        self.asked += 1
        h, w = part.shape[:2]
        # The corner is told to eight pixels, the rest by the first change of colour.
        x, y = (self._corner(part[..., 0][0], w), self._corner(part[..., 1][:, 0], h))
        boxes = self.boxes - np.array((x, y, x, y), np.float32)
        cut = boxes.clip(0, np.array((w, h, w, h), np.float32))
        there = ((cut[:, 2:] - cut[:, :2]) > 4).all(1)
        size = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1)) * 640 / max(h, w)
        scores = np.interp(size, self.sizes, self.scores).astype(np.float32)
        kept = there & (scores >= thresholds[0])
        return Detections(cut[kept], scores[kept], np.zeros(int(kept.sum()), np.int64), LABELS)

    @staticmethod
    def _corner(line: np.ndarray, length: int) -> int:
        first = int(np.argmax(line != line[0])) if (line != line[0]).any() else length
        return int(line[0]) * 8 + 8 - min(first, 8)


def row(width: int, number: int, y: int = 100) -> list[tuple[int, int, int, int]]:
    return [(40 + i * (width + 8), y, 40 + i * (width + 8) + width, y + 2 * width) for i in range(number)]


def test_large_packs_are_looked_at_once() -> None:
    shelf = Shelf(row(120, 8), ((10, 0.9), (300, 0.9)))
    found = closer.look(shelf.once, shelf.frame, (0.4, 0.4), CARD)
    assert shelf.asked == 1
    assert len(found) == 8


def test_a_card_may_forbid_a_closer_look_and_a_small_picture_would_show_no_more() -> None:
    shelf = Shelf(row(24, 20), ((8, 0.5), (40, 0.9)))
    closer.look(shelf.once, shelf.frame, (0.4, 0.4), msgspec.structs.replace(CARD, closer=None))
    assert shelf.asked == 1
    closer.look(shelf.once, shelf.frame[:480, :640], (0.4, 0.4), CARD)
    assert shelf.asked == 2


def test_small_packs_are_found_closer_and_told_once() -> None:
    # At the first look (17 px) unsure, at the closest (32 px) sure.
    packs = [*row(24, 30), *row(24, 30, 300), *row(24, 30, 620)]
    shelf = Shelf(packs, ((10, 0.1), (17, 0.37), (32, 0.9)))
    once = shelf.once(shelf.frame, (0.4, 0.4))
    assert len(once) == 0
    shelf.asked = 0
    found = closer.look(shelf.once, shelf.frame, (0.4, 0.4), CARD)
    assert shelf.asked == 1 + 4 + 4 + 6
    np.testing.assert_allclose(sorted(found.boxes.tolist()), sorted(np.array(packs, float).tolist()), atol=1)
    assert (np.diff(found.scores) <= 1e-6).all()
    assert found.bar == closer.HIGHER  # all are goods, and the valley lies among them


def test_what_is_hard_to_see_everywhere_is_told_sooner() -> None:
    packs = [*row(24, 30), *row(24, 30, 300), *row(24, 30, 620)]
    shelf = Shelf(packs, ((10, 0.42), (32, 0.36)))
    for plan, there in ((Closer(usual=0.7), len(packs)), (Closer(usual=0.7, steady=0.0), 0)):
        card = msgspec.structs.replace(CARD, closer=plan)
        assert len(closer.look(shelf.once, shelf.frame, (0.4, 0.4), card)) == there


@settings(max_examples=60, deadline=None)
@given(st.integers(20, 200), st.integers(20, 200), st.floats(-2, 0), st.floats(2.5, 5))
def test_the_valley_parts_two_groups_of_scores(few: int, many: int, middle: float, apart: float) -> None:
    rng = np.random.default_rng(few * many)
    low, high = rng.normal(middle - apart, 0.4, few), rng.normal(middle + apart, 0.4, many)
    scores = (1 / (1 + np.exp(-np.concatenate((high, low))))).astype(np.float32)
    assert scores[many:].max() < closer.valley(rng.permutation(scores)) < scores[:many].min()


def _bar(goods: float, others: float, number: int = 400) -> float:
    """The bar of a frame, a third of whose finds are goods of about that score."""
    rng = np.random.default_rng(0)
    logits = np.log(np.array((goods, others, others)) / (1 - np.array((goods, others, others))))
    scores = 1 / (1 + np.exp(-(np.resize(logits, number) + rng.normal(0, 0.3, number))))
    return closer._bar(scores.astype(np.float32), Closer())


def test_the_bar_follows_how_surely_goods_are_seen_within_bounds() -> None:
    assert 1.05 < _bar(0.8, 0.12) < closer.HIGHER
    assert closer.LOWER < _bar(0.4, 0.08) < 0.9
    assert _bar(0.95, 0.6) == closer.HIGHER
    assert _bar(0.12, 0.07) == closer.LOWER


def test_a_few_finds_more_change_the_bar_a_little() -> None:
    bars = np.array([_bar(0.35, 0.12, number) for number in range(10, 130)])
    assert bars[0] == 1
    assert (bars[closer.MANY - 10:] < 0.95).all()
    assert np.abs(np.diff(bars)).max() < 0.06


def test_a_shops_own_high_threshold_does_not_come_to_mean_never() -> None:
    packs = [*row(24, 30), *row(24, 30, 300)]
    shelf = Shelf(packs, ((10, 0.98), (32, 0.98)))
    assert len(closer.look(shelf.once, shelf.frame, (0.95, 0.4), CARD)) == len(packs)


def test_a_card_that_tells_few_does_not_change_what_counts() -> None:
    packs = [*row(24, 30), *row(24, 30, 300), *row(24, 30, 620)]
    shelf = Shelf(packs, ((10, 0.1), (17, 0.37), (32, 0.9)))
    few = closer.look(shelf.once, shelf.frame, (0.4, 0.4), msgspec.structs.replace(CARD, max_detections=7))
    assert (len(few), few.bar) == (7, closer.look(shelf.once, shelf.frame, (0.4, 0.4), CARD).bar)


def test_scores_that_are_all_alike_have_a_valley_too() -> None:
    assert closer.valley(np.full(30, 0.4, np.float32)) == pytest.approx(0.4)
    assert 0 <= closer.valley(np.array([0.0] * 20 + [1.0] * 20, np.float32)) <= 1


def test_what_is_not_asked_for_stays_unasked() -> None:
    shelf = Shelf(row(24, 20), ((8, 0.5), (40, 0.9)))
    asked: list[tuple[float, ...]] = []

    def once(frame: Image, thresholds: tuple[float, ...]) -> Detections:
        asked.append(thresholds)
        return shelf.once(frame, thresholds)

    closer.look(once, shelf.frame, (0.4, 1.0), CARD)
    assert len(asked) > 1
    assert set(asked) == {(CARD.closer.least if CARD.closer else 0, 1.0)}


def test_a_look_is_trusted_where_packs_are_neither_tiny_nor_as_large_as_a_tile() -> None:
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int))
    boxes = np.array(((0, 0, 12, 12), (0, 0, 50, 50), (0, 0, 180, 180), (0, 0, 600, 900)), np.float32)
    np.testing.assert_allclose(closer.trust(closer.Look(1.0, nothing), boxes, 1.0, Closer()), (0.5, 1, 0.5, 0.15))
    np.testing.assert_allclose(closer.trust(closer.Look(2.0, nothing), boxes, 1.0, Closer()), (1, 0.9, 0.25, 0.15))


@settings(max_examples=60, deadline=None)
@example(height=64, width=640, scale=1.0)
@given(st.integers(1, 4000), st.integers(1, 4000), st.floats(0.05, 1.2))
def test_tiles_cover_the_picture_and_fit_the_input(height: int, width: int, scale: float) -> None:
    rects = closer.tiles((height, width, 3), scale, 640)
    assert all(0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height for x0, y0, x1, y1 in rects)
    assert all(max(x1 - x0, y1 - y0) * scale <= 640 + scale for x0, y0, x1, y1 in rects)
    covered = np.zeros((height // 8 + 1, width // 8 + 1), bool)
    for x0, y0, x1, y1 in rects:
        covered[y0 // 8 : -(-y1 // 8), x0 // 8 : -(-x1 // 8)] = True
    assert covered[: -(-height // 8), : -(-width // 8)].all()


def test_the_shipped_detector_counts_its_inferences(detector: OnnxDetector) -> None:
    before = detector.inferences
    detector.detect(np.full((480, 640, 3), 128, np.uint8))
    assert detector.inferences == before + 1


@pytest.mark.parametrize("wrong", [
    {"scales": (0.5,)}, {"scales": (1.5,) * 9}, {"least": 2}, {"least": 0}, {"like": 1}, {"small": -4},
    {"sizes": (90, 24)}, {"sizes": (0, 90)}, {"steady": -1}, {"usual": 1e-12}, {"other": 1},
])  # fmt: skip
def test_a_card_with_an_impossible_closer_look_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Closer)


def test_a_pack_in_every_place_gives_a_bounded_number_of_inferences_and_no_nonsense() -> None:
    side, at_most, asked = 640, 300, 0

    def crowded(frame: Image, _least: tuple[float, ...]) -> Detections:
        nonlocal asked
        asked += 1
        x, y = np.meshgrid(np.linspace(0, 0.98, 100), np.linspace(0, 0.98, 100))
        corner = np.stack((x, y), -1).reshape(-1, 2) * (frame.shape[1], frame.shape[0])
        size = np.array((frame.shape[1], frame.shape[0])) * 0.009
        boxes = np.hstack((corner, corner + size)).astype(np.float32)
        scores = np.linspace(0.9, 0.2, len(boxes)).astype(np.float32)
        return Detections(boxes, scores, np.zeros(len(boxes), np.int64), ("product", "gap"))

    for shape in ((4320, 7680, 3), (40, 16000, 3), (16000, 40, 3)):
        asked = 0
        found = closer.look(crowded, np.zeros(shape, np.uint8), (0.36, 0.32), CARD)
        assert asked <= 1 + sum((scale * side // (side - closer.OVERLAP) + 1) ** 2 for scale in Closer().scales)
        assert len(found) <= at_most
        assert np.isfinite(found.boxes).all()
        assert np.isfinite(found.scores).all()
