"""Frames from streams, devices, folders, video files and recordings; always the newest that a stream has."""

from __future__ import annotations

import re
from collections.abc import Callable

from edge.clock import Clock, SystemClock
from edge.errors import CameraError
from edge.vision.cameras.address import redact
from edge.vision.cameras.capture import open_device, open_rtsp
from edge.vision.cameras.files import open_file
from edge.vision.cameras.frame import Camera, Frame, load_picture
from edge.vision.cameras.mjpeg import open_mjpeg
from edge.vision.cameras.recording import open_replay

__all__ = ["SOURCES", "Camera", "Frame", "load_picture", "open_camera", "redact"]

# How a source is written -> what opens it; the first that matches.
SOURCES: tuple[tuple[str, Callable[[str, Clock], Camera]], ...] = (
    (r"https?://", open_mjpeg),
    (r"rtsps?://", open_rtsp),
    (r"(/dev/video)?\d+$|/dev/v4l/", open_device),
    (r"replay(-fast)?:", open_replay),
    (r"(?!\w+://)|file://", open_file),
)


def open_camera(source: str, clock: Clock | None = None) -> Camera:
    """The camera at `source`: an http(s) MJPEG or rtsp(s) address, /dev/videoN, N or /dev/v4l/by-id/..., a folder,
    a video file, or a recording as `replay:FILE` or `replay-fast:FILE`.

    A live camera opens behind and heals itself; its `read` tells what is wrong (`edge.vision.cameras.live`).

    Raises:
        CameraError: `missing`, `undecodable` or `unknown_source`.
    """
    for pattern, opener in SOURCES:
        if re.match(pattern, source, re.IGNORECASE):
            return opener(source, clock or SystemClock())
    raise CameraError("unknown_source", f"{redact(source)} is no http, rtsp, replay, file, folder or device")
