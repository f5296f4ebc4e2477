"""A frame, what gives frames, and pictures from bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from edge.errors import CameraError
from edge.vision.detector import Image

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A picture (BGR uint8), when it was taken, in seconds of the monotonic clock, and its JPEG where it came as one.

    A live camera's time is the latest that is certain: the picture is no older than it says, but may be younger by
    the time between two frames. What the camera itself takes to send a picture is not known to anybody and not in it.
    """

    image: Image
    t_monotonic: float
    jpeg: bytes | None = None


class Camera(Protocol):
    """Somewhere frames come from."""

    def read(self) -> Frame:
        """The newest frame.

        CameraError where there is none. A live camera heals itself: it may be read again, or closed and opened.
        """

    def close(self) -> None:
        """Let the device go; safe to call twice."""


def decode(data: bytes) -> Image | None:
    """The picture in these bytes; None where they are no picture, or only a part of one."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:  # a header that claims more pixels than OpenCV takes
        return None
    return None if image is None else np.asarray(image, np.uint8)


def load_picture(path: Path) -> Image:
    """The picture in a file; CameraError `missing` or `undecodable`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CameraError("missing", f"{path}: {error.strerror}") from error
    image = decode(data)
    if image is None:
        raise CameraError("undecodable", f"{path} is no picture, or only a part of one")
    return image
