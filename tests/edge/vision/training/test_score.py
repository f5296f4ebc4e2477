"""Average precision and count error against cases worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.vision.training.score import Judged, accuracy, average_precision, best_threshold, count_error

A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)
FAR = (90, 90, 99, 99)
Box = tuple[float, float, float, float]


def photo(truth: list[Box], *found: tuple[Box, float]) -> Judged:
    return Judged(
        np.array(truth, np.float32).reshape(-1, 4),
        np.array([box for box, _ in found], np.float32).reshape(-1, 4),
        np.array([score for _, score in found], np.float32),
    )


@pytest.mark.parametrize(
    ("photos", "ap"),
    [
        # Everything found, nothing else.
        ([photo([A, B], (A, 0.9), (B, 0.8))], 1.0),
        # Half found: precision 1 at recalls 0 to .5, which are 51 of the 101 points.
        ([photo([A, B], (A, 0.9))], 51 / 101),
        # A wrong one first: precision 1/2 wherever recall is reached.
        ([photo([A], (FAR, 0.9), (A, 0.8))], 0.5),
        # A wrong one last costs nothing.
        ([photo([A], (A, 0.9), (FAR, 0.8))], 1.0),
        # The same thing found twice: the second is wrong. 1 up to recall .5, then 2/3.
        ([photo([A, B], (A, 0.9), (A, 0.8), (B, 0.7))], (51 + 50 * 2 / 3) / 101),
        # Photos are ranked together: right .9, wrong .8, right .7 of three: 34 points at 1, 33 at 2/3.
        ([photo([A, B], (A, 0.9)), photo([C], (FAR, 0.8), (C, 0.7))], (34 + 33 * 2 / 3) / 101),
        ([photo([A])], 0.0),
        ([photo([])], 0.0),
    ],
)
def test_average_precision_by_hand(photos: list[Judged], ap: float) -> None:
    assert average_precision(photos, 0.5) == pytest.approx(ap, abs=1e-6)


def test_precision_looks_at_the_300_best_and_a_count_at_all() -> None:
    places: list[Box] = [(float(20 * i), 0.0, float(20 * i + 10), 10.0) for i in range(310)]
    crowded = [photo(places, *((place, 0.9 - i / 1000) for i, place in enumerate(places)))]
    assert average_precision(crowded, 0.5) == pytest.approx(97 / 101)  # recall 300 of 310, .967
    assert accuracy(crowded, 0.3).count_mape == 0


def test_overlap_decides_at_each_threshold() -> None:
    # 10 x 10 moved by 2: 80 shared of 120, an overlap of 2/3.
    moved = [photo([A], ((2, 0, 12, 10), 0.9))]
    assert average_precision(moved, 0.65) == 1
    assert average_precision(moved, 0.7) == 0
    figures = accuracy(moved, 0.5)
    assert (figures.ap50, figures.ap75, figures.ap) == (1, 0, 0.4)


def test_a_detection_takes_the_truth_it_fits_best_even_when_another_is_near() -> None:
    near: list[Box] = [(0, 0, 10, 10), (3, 0, 13, 10)]
    assert average_precision([photo(near, ((3, 0, 13, 10), 0.9), ((0, 0, 10, 10), 0.8))], 0.5) == 1


def test_count_error_by_hand() -> None:
    photos = [photo([A, B], (A, 0.9), (B, 0.3)), photo([A, B, C], (A, 0.9), (B, 0.8), (C, 0.7), (FAR, 0.6))]
    assert count_error(photos, 0.5) == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert count_error(photos, 0.65) == pytest.approx((1 / 2 + 0) / 2)
    assert count_error(photos, 0.3) == pytest.approx((0 + 1 / 3) / 2)
    assert best_threshold(photos) <= 0.3
    sooner = replace(photos[0], bar=0.5)
    assert count_error([sooner], 0.6) == 0 < count_error([photos[0]], 0.6)


def test_a_lucky_score_does_not_choose_the_threshold() -> None:
    # One of ten is missed from .31 to .65; at .30 none is, and a little lower there are thirty too many.
    found = [(A, 0.652)] * 9 + [(B, 0.302)] + [(C, 0.295)] * 30
    shelf = photo([A] * 10, *found)
    assert [count_error([shelf], t) for t in (0.29, 0.30, 0.31, 0.65)] == pytest.approx([3.0, 0.0, 0.1, 0.1])
    assert 0.32 <= best_threshold([shelf]) <= 0.63
    # The same at the lowest score that may be chosen, below which nothing is known.
    low = photo([A] * 10, *[(A, 0.652)] * 9, (B, 0.0545), *[(C, 0.0445)] * 30)
    assert best_threshold([low]) > 0.06


@given(st.integers(0, 2**32 - 1))
def test_figures_stay_between_none_and_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    photos = []
    for _ in range(3):
        corners = rng.uniform(0, 50, (8, 2))
        boxes = np.concatenate((corners, corners + rng.uniform(4, 20, (8, 2))), 1).astype(np.float32)
        photos.append(Judged(boxes[:5], boxes[2:], np.sort(rng.random(6)).astype(np.float32)[::-1]))
    aps = [average_precision(photos, iou) for iou in (0.5, 0.75, 0.95)]
    assert 0 < aps[2] <= aps[1] <= aps[0] <= 1
