"""RTSP streams and USB cameras through OpenCV.

Behaviour of OpenCV's FFmpeg backend that this module answers (measured with opencv 5.0, RTSP from GStreamer and ours):
  timeouts only count with an explicit CAP_FFMPEG; by default a stalled stream blocks `read()` for 30 s;
  with more decoder threads than one, each holds a frame back, and a stalled stream gives these out as if they were
  new, each after the read timeout; with one thread a single one is left with H.264, and none with JPEG;
  after the timeout the handle is dead for good, `isOpened()` still true and `read()` false: only a new one helps;
  frames pile up while nobody reads, and CAP_PROP_BUFFERSIZE is not supported: `Pace` tells which are old;
  opening waits 2 to 4 s to measure the frame rate, which nobody needs: 0.1 to 0.9 s with `fpsprobesize` 0;
  the time stamps of a session may start over once, when the camera's first RTCP report comes.
"""

from __future__ import annotations

import os
from collections.abc import Callable

# OpenCV reads these when a capture opens. FFmpeg would tell of every lost packet, and of addresses, on stderr; V4L2
# waits 10 s for a frame.
os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp|fpsprobesize;0")
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "3")

import cv2
import numpy as np

from edge.clock import Clock
from edge.errors import CameraError
from edge.vision.cameras.address import Address
from edge.vision.cameras.live import OPEN_S, READ_S, Arrival, LiveCamera
from edge.vision.cameras.pace import Pace
from edge.vision.detector import Image

LIMITS = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(OPEN_S * 1000), cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(READ_S * 1000),
          cv2.CAP_PROP_N_THREADS, 1]


class Capture:
    """One open `cv2.VideoCapture`, a `Source`."""

    def __init__(self, open_capture: Callable[[], cv2.VideoCapture], name: str, clock: Clock) -> None:
        """CameraError `no_camera` where it does not open, after `OPEN_S` at the latest."""
        self._name, self._clock = name, clock
        self._pace = Pace(clock.monotonic())
        self._capture = open_capture()
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError("no_camera", f"{name} does not answer or sends no video")

    def next(self) -> Arrival:
        began = self._clock.monotonic()
        good = self._capture.grab()
        now = self._clock.monotonic()
        if now - began > 0.9 * READ_S:  # after a timeout even a "good" frame is an old one
            raise CameraError("stalled", f"{self._name} sent no frame for {now - began:.1f} s")
        if not good:
            raise CameraError("stream_ended", f"{self._name} closed the stream, or was unplugged")
        return Arrival(self._pace.step(now, self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000), self._retrieve)

    def close(self) -> None:
        self._capture.release()

    def _retrieve(self) -> Image | None:
        good, image = self._capture.retrieve()
        return np.asarray(image, np.uint8) if good else None


def open_rtsp(source: str, clock: Clock) -> LiveCamera:
    """The stream at an rtsp:// or rtsps:// address, over TCP."""
    address = Address.parse(source)
    return LiveCamera(lambda: Capture(lambda: cv2.VideoCapture(address.full, cv2.CAP_FFMPEG, LIMITS), address.shown,
                                      clock), address.shown, clock)


def open_device(source: str, clock: Clock) -> LiveCamera:
    """The USB camera N, /dev/videoN, or better /dev/v4l/by-id/..., which stays the same when it is plugged in again."""
    device = f"/dev/video{source}" if source.isdecimal() else source
    return LiveCamera(lambda: Capture(lambda: cv2.VideoCapture(device, cv2.CAP_V4L2), device, clock), device, clock)
