"""Large pictures are looked at part by part, and what two parts show is found once."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.vision.detector import Detections, Image
from edge.vision.observe import Stand
from edge.vision.tiles import MOST, fitted, look, look_at, parts_of
from tests.edge.vision.goods import Goods

NARROW = (Stand("A1", 0.05, 0.1, 0.95, 0.4, 60),)
LARGE = (Stand("A1", 0.05, 0.1, 0.95, 0.8, 3),)


class Squares:
    """Finds each white square, whole or cut."""

    def __init__(self) -> None:
        self.asked = 0

    def detect(self, frame: Image) -> Detections:
        self.asked += 1
        n, _, stats, _ = cv2.connectedComponentsWithStats((frame[:, :, 0] > 127).astype(np.uint8))
        boxes = [(x, y, x + w, y + h) for x, y, w, h, _ in stats[1:n].tolist()]
        return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32),
                          np.zeros(len(boxes), np.int64))

    def detect_all(self, frame: Image) -> Detections:
        return self.detect(frame)


def test_a_picture_whose_packs_can_be_seen_is_not_cut() -> None:
    assert parts_of((720, 960, 3), (Stand("A1", 0.05, 0.1, 0.95, 0.4, 12),)) == ((0, 0, 960, 720),)
    assert parts_of((2160, 3840, 3), (Stand("A1", 0.05, 0.1, 0.95, 0.4, 12),)) == ((0, 0, 3840, 2160),)
    assert parts_of((720, 960, 3), ()) == ((0, 0, 960, 720),)


def test_a_4k_picture_of_narrow_packs_is_cut_where_its_slots_are() -> None:
    parts = parts_of((2160, 3840, 3), NARROW)
    assert 2 <= len(parts) <= MOST
    assert min(x0 for x0, _, _, _ in parts) == 0
    assert max(x1 for _, _, x1, _ in parts) == 3840
    below = (Stand("A1", 0.05, 0.8, 0.95, 0.9, 120),)
    assert min(y0 for _, y0, _, _ in parts_of((2160, 3840, 3), below)) > 1000


def test_a_small_picture_is_not_cut_for_it_would_show_no_more() -> None:
    assert parts_of((480, 640, 3), NARROW) == ((0, 0, 640, 480),)


@pytest.mark.parametrize(("facings", "shown"), [(5, 640), (60, 960)])
def test_a_picture_is_shrunk_where_the_planogram_says_that_its_packs_are_large(facings: int, shown: int) -> None:
    """The detector itself looks closer at a larger one, where it sees small packs."""
    widths: list[int] = []

    class Watching(Goods):
        def detect_all(self, frame: Image) -> Detections:
            widths.append(frame.shape[1])
            return super().detect_all(frame)

    look_at(Watching(np.array([[96, 60, 192, 120]], np.float32)), np.zeros((720, 960, 3), np.uint8),
            (Stand("A1", 0.05, 0.1, 0.95, 0.4, facings),))
    assert widths == [shown]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(2, 3790), st.integers(230, 810)), max_size=8))
def test_what_stands_in_two_parts_is_found_once(places: list[tuple[int, int]]) -> None:
    frame = np.zeros((2160, 3840, 3), np.uint8)
    apart: list[tuple[int, int]] = []
    for x, y in places:
        if all(abs(x - u) > 60 or abs(y - v) > 60 for u, v in apart):
            apart.append((x, y))
            frame[y:y + 40, x:x + 40] = 255
    detector = Squares()
    parts = parts_of(frame.shape, NARROW)
    found = look_at(detector, frame, NARROW)
    corners = sorted((float(x), float(y)) for x, y in found.boxes[:, :2])
    assert len(corners) == len(apart)
    assert all(abs(x - u) < 4 and abs(y - v) < 4 for (x, y), (u, v) in zip(corners, sorted(apart), strict=True))
    assert detector.asked == len(parts)


@pytest.mark.parametrize("shape", [(720, 960), (1080, 1920), (2160, 3840), (480, 640), (300, 200)])
def test_a_frame_is_fitted_to_the_input_and_its_boxes_are_the_frames(shape: tuple[int, int]) -> None:
    frame = np.zeros((*shape, 3), np.uint8)
    small = fitted(frame)
    assert max(small.shape[:2]) == min(640, max(shape))
    assert small.shape[1] / small.shape[0] == pytest.approx(shape[1] / shape[0], rel=0.01)
    box = np.array([[96, 60, 192, 120]], np.float32)
    found = look_at(Goods(box), frame, LARGE)
    np.testing.assert_allclose(found.boxes / (shape[1] / 960), box, rtol=0.01)


def test_gaps_are_found_where_the_detector_knows_them() -> None:
    box = np.array([[10, 10, 40, 60]], np.float32)
    frame = np.zeros((720, 960, 3), np.uint8)
    assert [found.labels[kind] for found in [look(Goods(box, box + 50), frame)] for kind in found.classes] == [
        "product", "gap"]
    assert look(Squares(), frame).labels == ("product",)
