"""A watched camera: readings per slot, reasons instead of counts, no inference for an unchanged frame."""

from __future__ import annotations

import threading
from decimal import Decimal

import numpy as np
import pytest

from edge.clock import ManualClock, SystemClock
from edge.errors import CameraError
from edge.readings import Reading
from edge.vision.camera import Frame
from edge.vision.detector import Detections, Image
from edge.vision.eye import BLIND_SD, ShelfEye
from edge.vision.observe import Stand
from edge.vision.watch import CameraWatch
from tests.edge.vision.shop_camera import MjpegServer, arm, shelf

STANDS = (Stand("A1", 0, 0, 0.5, 1, 4), Stand("A2", 0.5, 0, 1, 1, 4))
BLACK = np.zeros((480, 640, 3), np.uint8)


class Script:
    """A camera that shows what it is told to, and fails where it is told to."""

    def __init__(self, *frames: Image | CameraError) -> None:
        self.frames = list(frames)
        self.opened = self.closed = 0

    def open(self) -> Script:
        self.opened += 1
        return self

    def read(self) -> Frame:
        frame = self.frames.pop(0)
        if isinstance(frame, CameraError):
            raise frame
        return Frame(frame, 1000.0)

    def close(self) -> None:
        self.closed += 1


class TwoBoxes:
    """A detector that always sees one pack on the left, and counts how often it was asked."""

    asked = 0

    def detect(self, frame: Image) -> Detections:
        self.asked += 1
        assert frame.dtype == np.uint8
        boxes = np.array(((10, 10, 50, 90), (60, 10, 100, 90), (400, 10, 440, 90)), np.float32)
        return Detections(boxes, np.ones(3, np.float32), np.zeros(3, np.int64))

    def detect_all(self, frame: Image) -> Detections:
        return self.detect(frame)


def _watch(camera: Script) -> tuple[CameraWatch, TwoBoxes]:
    detector = TwoBoxes()
    return CameraWatch("cam-1", camera.open, ShelfEye(STANDS, detector), ManualClock(1000.0)), detector


def _qualities(readings: tuple[Reading, ...]) -> set[str]:
    return {reading.quality for reading in readings}


def test_a_still_shelf_becomes_a_count_per_slot() -> None:
    watch, _ = _watch(Script(shelf(), shelf()))
    assert _qualities(watch.sample()) == {"bad:settling"}
    assert watch.sample() == (
        Reading("cam-1", "facings/A1", 1000.0, Decimal(2), "count", sd=BLIND_SD),
        Reading("cam-1", "facings/A2", 1000.0, Decimal(1), "count", sd=BLIND_SD),
    )


def test_a_frame_that_did_not_change_costs_no_inference() -> None:
    sold = shelf()
    sold[20:116, 110:151] = 60
    watch, detector = _watch(Script(*[shelf()] * 5, sold))
    for _ in range(5):
        watch.sample()
    assert detector.asked == 1
    assert _qualities(watch.sample()) == {"ok"}
    assert detector.asked == 2


@pytest.mark.parametrize(
    ("picture", "reason"), [(BLACK, "dark"), (BLACK + 90, "covered"), (arm(shelf(), 200), "blocked")]
)
def test_a_frame_that_cannot_be_counted_gives_the_reason(picture: Image, reason: str) -> None:
    watch, detector = _watch(Script(shelf(), shelf(), picture, shelf()))
    watch.sample()
    watch.sample()
    readings = watch.sample()
    assert _qualities(readings) == {f"bad:{reason}"}
    assert [reading.value for reading in readings] == [None, None]
    assert detector.asked == 1
    assert _qualities(watch.sample()) == {"ok"}


def test_a_live_camera_heals_itself_and_is_not_closed_for_its_faults() -> None:
    camera = Script(shelf(), shelf(), CameraError("stalled", "rtsp://***@shop"), shelf())
    watch, _ = _watch(camera)
    watch.sample()
    watch.sample()

    assert _qualities(watch.sample()) == {"bad:stalled"}
    assert _qualities(watch.sample()) == {"ok"}
    assert (camera.opened, camera.closed) == (1, 0)


def test_pictures_that_came_to_their_end_begin_anew() -> None:
    camera = Script(shelf(), shelf(), CameraError("end_of_pictures"), shelf())
    watch, _ = _watch(camera)
    watch.sample()
    watch.sample()
    assert _qualities(watch.sample()) == {"bad:end_of_pictures"}
    assert (camera.opened, camera.closed) == (1, 1)
    assert _qualities(watch.sample()) == {"ok"}
    assert (camera.opened, camera.closed) == (2, 1)
    watch.close()
    watch.close()
    assert camera.closed == 2


def test_read_raises_what_sample_reports() -> None:
    camera = Script(CameraError("stalled"))
    watch, _ = _watch(camera)
    with pytest.raises(CameraError, match="stalled"):
        watch.read()
    assert camera.closed == 0


def test_a_stream_that_stalls_recovers_by_itself(mjpeg: MjpegServer) -> None:
    watch = CameraWatch("cam-1", mjpeg.url, ShelfEye(STANDS, TwoBoxes()), SystemClock())
    seen = [_qualities(watch.sample()) for _ in range(3)]
    assert seen[-1] == {"ok"}
    mjpeg.stalled.set()
    reasons: set[str] = set()
    while not reasons - {"ok"}:
        reasons |= _qualities(watch.sample())
    assert reasons - {"ok"} == {"bad:stalled"}
    mjpeg.stalled.clear()
    after: set[str] = set()
    while "ok" not in after:  # pytest's own timeout bounds it
        after |= _qualities(watch.sample())
        threading.Event().wait(0.05)
    assert after <= {"ok", "bad:stalled", "bad:no_camera", "bad:settling", "bad:blocked"}
    watch.close()


def test_a_camera_that_is_not_there_gives_no_value_and_is_tried_again() -> None:
    watch = CameraWatch("cam-1", "/dev/video97", ShelfEye(STANDS, TwoBoxes()), ManualClock(5.0))
    for _ in range(2):
        readings = watch.sample()
        assert _qualities(readings) == {"bad:no_camera"}
        assert {reading.t for reading in readings} == {5.0}
