"""Pictures of a folder and frames of a video file, each of them and in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edge.clock import Clock
from edge.errors import CameraError
from edge.vision.cameras.address import redact
from edge.vision.cameras.frame import Camera, Frame, load_picture

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


class FolderCamera:
    """The pictures of a folder in the order of their names, then `end_of_pictures`."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """CameraError `missing` where there is none."""
        self._clock = clock
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
        if not paths:
            raise CameraError("missing", f"{folder} holds no picture: {', '.join(sorted(PICTURES))}")
        self._paths: Iterator[Path] = iter(paths)

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


def open_file(source: str, clock: Clock) -> Camera:
    """The folder or video file at a path or file:// address."""
    path = Path(source.removeprefix("file://"))
    try:
        if path.is_dir():
            return FolderCamera(path, clock)
        there = path.is_file()
    except OSError as error:
        raise CameraError("missing", f"{redact(source)}: {error.strerror}") from error
    if not there:
        raise CameraError("missing", f"there is no folder, video or device {redact(source)}")
    return VideoFile(path, clock)
