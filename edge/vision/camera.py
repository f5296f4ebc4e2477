"""Frames from streams, devices, folders and video files; always the newest that a stream has.

Behaviour of OpenCV's FFmpeg backend that this module answers (measured with opencv 5.0):
  a stalled stream first gives old frames as if they were new, each after the read timeout;
  then the handle is dead for good, `isOpened()` still true and `read()` false at once;
  frames pile up while nobody reads; timeouts only count with an explicit CAP_FFMPEG.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

# FFmpeg would write every lost packet to stderr; OpenCV reads this when its first capture opens.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import numpy as np
import structlog

from edge.clock import Clock, SystemClock
from edge.errors import CameraError
from edge.vision.detector import Image

log = structlog.get_logger(__name__)
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

OPEN_MS = 4000
READ_MS = 2000
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
_KEYS = "user|usr|username|login|pass|pwd|password|passwd|token|auth|secret|key"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A picture (BGR uint8) and when it was taken, in seconds of the monotonic clock."""

    image: Image
    t_monotonic: float


class Camera(Protocol):
    """Somewhere frames come from."""

    def read(self) -> Frame:
        """The newest frame; CameraError where there is none, and then the camera is to be closed."""

    def close(self) -> None:
        """Let the device go; safe to call twice."""


def redact(url: str) -> str:
    """The same address without names, passwords and tokens, for errors and logs."""
    hidden = re.sub(r"^(\w+://).*@", r"\1***@", url)
    return re.sub(rf"(?i)\b({_KEYS})=[^&/\s]*", r"\1=***", hidden)


def load_picture(path: Path) -> Image:
    """The picture in a file; CameraError `missing` or `undecodable`."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise CameraError("missing", f"{path}: {error.strerror}") from error
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except cv2.error as error:  # a header that claims more pixels than OpenCV takes
        raise CameraError("undecodable", f"{path}: {error.err}") from error
    if image is None:
        raise CameraError("undecodable", f"{path} is no picture, or only a part of one")
    return np.asarray(image, np.uint8)


class FolderCamera:
    """The pictures of a folder in the order of their names, then `end_of_pictures`."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._clock = clock
        self._paths: Iterator[Path] = iter(sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES))

    def read(self) -> Frame:
        path = next(self._paths, None)
        if path is None:
            raise CameraError("end_of_pictures", "every picture of the folder was read")
        return Frame(load_picture(path), self._clock.monotonic())

    def close(self) -> None:
        self._paths = iter(())


class VideoFile:
    """The frames of a video file, each of them, then `end_of_pictures`."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError("undecodable", f"{path} is no video")

    def read(self) -> Frame:
        good, image = self._capture.read()
        if not good:
            raise CameraError("end_of_pictures", "every frame of the video was read")
        return Frame(np.asarray(image, np.uint8), self._clock.monotonic())

    def close(self) -> None:
        self._capture.release()


class LiveCamera:
    """A stream or device: one thread takes every frame as it comes and decodes only the one asked for."""

    def __init__(self, open_capture: Callable[[], cv2.VideoCapture], name: str, clock: Clock) -> None:
        self.name = name
        self._clock = clock
        self._changed = threading.Condition()
        self._wanted = self._stopped = False
        self._frame: Frame | None = None
        self._failed = ""
        self._capture = open_capture()
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError("no_camera", f"{name} does not answer or sends no video")
        self._thread = threading.Thread(target=self._grab, name=f"camera {name}", daemon=True)
        self._thread.start()

    def read(self) -> Frame:
        """A frame that arrived after this call; waits for the read timeout and a little more."""
        with self._changed:
            self._frame, self._wanted = None, True
            self._changed.wait_for(lambda: self._frame or self._failed or self._stopped, READ_MS / 1000 + 0.5)
            self._wanted = False
            if self._frame is not None:
                return self._frame
            raise CameraError(self._failed or "stalled", self.name)

    def close(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        # A grab in progress ends with the read timeout; the thread itself lets the handle go.
        self._thread.join(READ_MS / 1000 + 5)

    def _grab(self) -> None:
        """Keep the stream drained until it fails or the camera is closed."""
        try:
            while not self._stopped and not self._failed:
                self._take()
        finally:
            self._capture.release()

    def _take(self) -> None:
        began = self._clock.monotonic()
        good = self._capture.grab()
        now = self._clock.monotonic()
        with self._changed:
            if not good or now - began > 0.9 * READ_MS / 1000:
                # After a timeout even a "good" frame is an old one.
                self._failed = "stalled" if now - began > 0.9 * READ_MS / 1000 else "stream_ended"
            elif self._wanted:
                decoded, image = self._capture.retrieve()
                if decoded:
                    self._frame = Frame(np.asarray(image, np.uint8), now)
            self._changed.notify_all()


def _stream(source: str, clock: Clock) -> Camera:
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_MS]
    return LiveCamera(lambda: cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits), redact(source), clock)


def _device(source: str, clock: Clock) -> Camera:
    number = int(source.removeprefix("/dev/video"))
    return LiveCamera(lambda: cv2.VideoCapture(number, cv2.CAP_V4L2), f"/dev/video{number}", clock)


def _file(source: str, clock: Clock) -> Camera:
    path = Path(source.removeprefix("file://"))
    if path.is_dir():
        return FolderCamera(path, clock)
    if not path.is_file():
        raise CameraError("missing", f"there is no folder, video or device {redact(source)}")
    return VideoFile(path, clock)


# How a source is written -> what opens it; the first that matches.
SOURCES: tuple[tuple[str, Callable[[str, Clock], Camera]], ...] = (
    (r"https?://", _stream),
    (r"rtsps?://", _stream),
    (r"(/dev/video)?\d+$", _device),
    (r"(?!\w+://)|file://", _file),
)


def open_camera(source: str, clock: Clock | None = None) -> Camera:
    """The camera at `source`: an http(s) MJPEG or rtsp address, /dev/videoN or N, a folder, a video file.

    Raises:
        CameraError: `no_camera` (within 4 s), `missing`, `undecodable` or `unknown_source`.
    """
    for pattern, opener in SOURCES:
        if re.match(pattern, source):
            return opener(source, clock or SystemClock())
    raise CameraError("unknown_source", f"{redact(source)} is no http, rtsp, file, folder or device")
