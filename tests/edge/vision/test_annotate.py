"""What a person is shown: a copy, large enough, with every box and region on it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import CameraError
from edge.vision.annotate import annotate, look
from edge.vision.detector import Detections, Image
from edge.vision.observe import Region
from tests.edge.vision.shop_camera import shelf


class Fixed:
    def detect(self, frame: Image) -> Detections:
        del frame
        boxes = np.array(((10, 20, 50, 115), (60, 20, 100, 115)), np.float32)
        return Detections(boxes, np.array((0.9, 0.8), np.float32), np.zeros(2, np.int64))

    def detect_all(self, frame: Image) -> Detections:
        return self.detect(frame)


def test_drawn_on_a_copy_that_can_be_read() -> None:
    picture = shelf()
    before = picture.copy()
    drawn = annotate(picture, Fixed().detect(picture), (Region("A1", 0.5, 0.5, 1, 1),))
    np.testing.assert_array_equal(picture, before)
    assert max(drawn.shape) >= 1000
    zoom = drawn.shape[1] / picture.shape[1]
    plain = annotate(picture, Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64)))
    changed = (drawn != plain).any(2)
    for x, y in ((50, 60), (60, 110), (320, 400), (500, 240)):
        assert changed[int(y * zoom) - 3 : int(y * zoom) + 4, int(x * zoom) - 3 : int(x * zoom) + 4].any()


def test_look_gives_a_table_with_the_drawing(tmp_path: Path) -> None:
    path = tmp_path / "shelf.png"
    cv2.imwrite(str(path), shelf())
    seen = look(path, Fixed())
    assert seen.quality == "ok"
    assert [(row.number, row.product, row.score) for row in seen.rows] == [(1, "product", 0.9), (2, "product", 0.8)]
    assert (seen.rows[0].x0, seen.rows[0].y1) == (10, 115)


@pytest.mark.parametrize(("content", "reason"), [(None, "missing"), (b"", "undecodable"), (b"text", "undecodable")])
def test_a_photo_that_is_none(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "photo.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CameraError) as caught:
        look(path, Fixed())
    assert caught.value.reason == reason
    assert "photo.jpg" in str(caught.value)
