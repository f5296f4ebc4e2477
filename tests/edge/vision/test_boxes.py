"""Letterbox, decode and suppression against their definitions, written out one box at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.vision.boxes import GREY, Letterbox, decode, letterbox, suppress, to_frame
from edge.vision.detector import Detections, Floats

seeds = st.integers(0, 2**32 - 1)


def _iou(a: Floats, b: Floats) -> float:
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(w, 0.0) * max(h, 0.0)
    return float(shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared))


def _some(seed: int, n: int, classes: int = 2) -> Detections:
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 60, (n, 2)), rng.uniform(5, 40, (n, 2))
    scores = rng.permutation(np.linspace(0.1, 0.9, n)) if n else np.empty(0)
    return Detections(
        np.concatenate((corner, corner + size), 1).astype(np.float32),
        scores.astype(np.float32),
        rng.integers(0, classes, n),
    )


@given(seeds, st.integers(0, 30))
def test_suppress_is_the_greedy_rule(seed: int, n: int) -> None:
    found = _some(seed, n)
    kept: list[int] = []
    for i in np.argsort(-found.scores):
        rivals = (k for k in kept if found.classes[k] == found.classes[i])
        if all(_iou(found.boxes[i], found.boxes[k]) <= 0.5 for k in rivals):
            kept.append(int(i))
    result = suppress(found, 0.5, 300)
    np.testing.assert_array_equal(result.boxes, found.boxes[kept])
    np.testing.assert_array_equal(result.scores, found.scores[kept])
    np.testing.assert_array_equal(result.classes, found.classes[kept])


@given(seeds, st.integers(1, 30), st.integers(1, 5))
def test_suppress_keeps_the_best_of_too_many_of_each_class(seed: int, n: int, at_most: int) -> None:
    everything = suppress(_some(seed, n), 0.5, 300)
    few = suppress(_some(seed, n), 0.5, at_most)
    for kind in (0, 1):
        np.testing.assert_array_equal(
            few.scores[few.classes == kind], everything.scores[everything.classes == kind][:at_most]
        )
    assert (np.diff(few.scores) <= 0).all()


DISTANCES = (0.0, 1.0, 3.0, 8.0)


@given(seeds, st.floats(0.02, 0.98), st.floats(0.02, 0.98))
def test_decode_is_the_formula(seed: int, first: float, second: float) -> None:
    rng = np.random.default_rng(seed)
    maps = [rng.normal(0, 2, (18, 3, 4)).astype(np.float32), rng.normal(0, 2, (18, 2, 2)).astype(np.float32)]
    wanted = []
    for level, stride in zip(maps, (8, 16), strict=True):
        for kind, y, x in np.ndindex(2, *level.shape[1:]):
            score = 1 / (1 + math.exp(-float(level[kind, y, x])))
            if score < (first, second)[kind]:
                continue
            sides = []
            for logits in level[2:, y, x].reshape(4, 4).tolist():
                shares = [math.exp(logit) for logit in logits]
                mean = sum(share * far for share, far in zip(shares, DISTANCES, strict=True)) / sum(shares)
                sides.append(mean * stride)
            cx, cy = (x + 0.5) * stride, (y + 0.5) * stride
            wanted.append((cx - sides[0], cy - sides[1], cx + sides[2], cy + sides[3], score, kind))
    found = decode(maps, (8, 16), (first, second), DISTANCES)
    assert len(found) == len(wanted)
    expected = np.array(wanted, np.float64).reshape(-1, 6)
    np.testing.assert_allclose(found.boxes, expected[:, :4], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected[:, 4], rtol=1e-4)
    np.testing.assert_array_equal(found.classes, expected[:, 5])


@pytest.mark.parametrize("level", [1e4, -1e4])
def test_decode_survives_maps_that_overflow(level: float) -> None:
    wild = np.full((17, 2, 2), level, np.float32)
    wild[1] = 1e4
    found = decode([wild], (8,), (0.5,), DISTANCES)
    assert np.isfinite(found.boxes).all()
    assert np.isin(found.scores, (0, 1)).all()


@given(st.integers(1, 700), st.integers(1, 700))
@settings(max_examples=40)
def test_a_box_comes_back_to_its_place_in_the_frame(w: int, h: int) -> None:
    frame = np.zeros((h, w, 3), np.uint8)
    canvas, fit = letterbox(frame, 640, 640)
    assert canvas.shape == (640, 640, 4)
    box = np.array(((0.25 * w, 0.25 * h, 0.75 * w, 0.75 * h),), np.float32)
    seen = box * fit.scale + (fit.left, fit.top, fit.left, fit.top)
    found = Detections(seen.astype(np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
    back = to_frame(found, fit, w, h, ("product",))
    np.testing.assert_allclose(back.boxes, box, atol=0.02)


@pytest.mark.parametrize(("w", "h"), [(640, 480), (480, 640), (640, 640), (640, 1), (7, 640)])
def test_the_frame_lies_in_the_canvas_as_it_is_and_all_else_is_grey(w: int, h: int) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (h, w, 3), np.uint8)
    canvas, fit = letterbox(frame, 640, 640)
    inner = (slice(fit.top, fit.top + h), slice(fit.left, fit.left + w))
    np.testing.assert_array_equal(canvas[inner][..., :3], frame)
    canvas[inner] = GREY
    assert (canvas == GREY).all()


def test_boxes_are_clipped_to_the_frame_and_those_outside_are_left_out() -> None:
    boxes = np.array(((-5, -5, 5, 5), (200, 200, 220, 220)), np.float32)
    found = Detections(boxes, np.ones(2, np.float32), np.zeros(2, np.int64))
    kept = to_frame(found, Letterbox(1, 0, 0), 100, 100, ("product",))
    assert kept.boxes.tolist() == [[0, 0, 5, 5]]
    assert kept.labels == ("product",)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_decode_at_the_ends_of_the_scale(threshold: float) -> None:
    level = np.zeros((17, 2, 2), np.float32)
    assert len(decode([level], (8,), (threshold,), DISTANCES)) == (4 if threshold == 0 else 0)
