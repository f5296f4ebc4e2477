"""A camera's frames kept in a file with their times, and played back from it: a support ticket and a test's fixture.

    cornergrid recording 1 frames
    {"camera": "rtsp://***@10.0.0.9/shelf", "sensor": "cam-1", "began": 1772439600.0}
    frame <seconds since began> <bytes> <CRC-32, hex, of this line up to here and the bytes>
    <the JPEG's bytes>
    frame ...

Each frame is written by one `write`, so whatever ends the recording leaves a file that is good up to its last whole
frame; a disk's bit error ends it there too. A camera that sends JPEG is kept byte for byte, another one is encoded at
quality 95.
"""

from __future__ import annotations

import json
import re
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2

from edge.clock import Clock
from edge.errors import CameraError
from edge.vision.cameras.address import redact
from edge.vision.cameras.frame import Camera, Frame, decode

HEADER = b"cornergrid recording 1 frames\n"
QUALITY = 95
_FRAME = re.compile(rb"(frame (\d+\.\d{6}) (\d{1,9}) )([0-9a-f]{8})\n")
_LINE = 4096


@dataclass(frozen=True, slots=True)
class Recorded:
    """One frame of a recording: seconds since its begin, and the JPEG."""

    t: float
    jpeg: bytes


class FrameRecorder:
    """Writes frames to a file, which may not be there yet. Use with `with`, or close it."""

    def __init__(self, path: Path, sensor: str, source: str, clock: Clock) -> None:
        """`sensor` is the profile's name of the camera, `source` its address, kept without its password.

        OSError where the file is there already or cannot be written.
        """
        self.frames = 0
        self.bytes = 0
        self._began = clock.monotonic()
        about = {"camera": redact(source), "sensor": sensor, "began": clock.now()}
        self._file: BinaryIO = path.open("xb", buffering=0)
        self._write(HEADER + json.dumps(about).encode() + b"\n")

    def keep(self, frame: Frame) -> None:
        """Append one frame; OSError where the disk takes no more."""
        jpeg = frame.jpeg
        if jpeg is None:
            _, encoded = cv2.imencode(".jpg", frame.image, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
            jpeg = encoded.tobytes()
        t = max(0.0, frame.t_monotonic - self._began)
        head = b"frame %.6f %d " % (t, len(jpeg))
        self._write(b"%s%08x\n%s\n" % (head, zlib.crc32(jpeg, zlib.crc32(head)), jpeg))
        self.frames += 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> FrameRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view):]
        self.bytes += len(data)


def record_frames(camera: Camera, recorder: FrameRecorder, go_on: Callable[[], bool],
                  failed: Callable[[CameraError], None]) -> None:
    """Keep every frame that `camera` gives while `go_on()`; a fault is told to `failed`, and the camera read on.

    Ends by itself at `end_of_pictures`.
    """
    pause = threading.Event()
    while go_on():
        try:
            recorder.keep(camera.read())
        except CameraError as error:
            failed(error)
            if error.reason == "end_of_pictures":
                return
            pause.wait(0.2)  # a camera that is lost says so at once


def read_recording(path: Path) -> Iterator[Recorded]:
    """The frames of a recording up to its last whole one.

    Raises:
        CameraError: `missing`, or `undecodable` where the file is no recording of frames.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise CameraError("missing", f"{path}: {error.strerror}") from error
    with file:
        if file.readline(_LINE) != HEADER:
            raise CameraError("undecodable", f"{path} is no recording of a camera; its first line would be "
                                             f"'{HEADER.decode().strip()}'")
        file.readline(_LINE)
        while (found := _FRAME.fullmatch(file.readline(_LINE))) is not None:
            jpeg = file.read(int(found[3]))
            if zlib.crc32(jpeg, zlib.crc32(found[1])) != int(found[4], 16):
                return
            file.read(1)
            yield Recorded(float(found[2]), jpeg)


class Replay:
    """A recording as a camera: at its own pace, always its newest frame, or each frame as fast as it is read."""

    def __init__(self, path: Path, clock: Clock, fast: bool) -> None:
        self._clock, self._fast = clock, fast
        self._frames = read_recording(path)
        self._next = next(self._frames, None)
        self._shift: float | None = None
        self._closed = threading.Event()

    def read(self) -> Frame:
        """The newest frame that is due, or the next one once it is; `end_of_pictures` after the last."""
        now = self._clock.monotonic()
        recorded = self._take()
        if self._fast:
            return _frame(recorded, now)
        if self._shift is None:
            self._shift = now - recorded.t
        while self._next is not None and self._next.t + self._shift <= now:
            recorded = self._take()
        due = recorded.t + self._shift
        if due > now and self._closed.wait(due - now):
            raise CameraError("closed", "the recording was closed")
        return _frame(recorded, due)

    def close(self) -> None:
        """Give no more frames, and end a wait for the next."""
        self._closed.set()
        self._next = None

    def _take(self) -> Recorded:
        recorded, self._next = self._next, None if self._next is None else next(self._frames, None)
        if recorded is None:
            raise CameraError("end_of_pictures", "every frame of the recording was read")
        return recorded


def _frame(recorded: Recorded, t: float) -> Frame:
    image = decode(recorded.jpeg)
    if image is None:
        raise CameraError("undecodable", "the camera sent this frame broken")
    return Frame(image, t, recorded.jpeg)


def open_replay(source: str, clock: Clock) -> Camera:
    """`replay:FILE` at the recording's own pace, `replay-fast:FILE` as fast as it is read."""
    kind, _, path = source.partition(":")
    return Replay(Path(path), clock, fast=kind == "replay-fast")
