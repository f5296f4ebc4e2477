"""The camera, as OpenCV sees it over HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import cv2
import numpy as np
import pytest

from edge.errors import ConfigError
from edge.sim.camera import MjpegCamera
from edge.sim.packs import Frame
from tests.conftest import free_port


class Counter:
    """Gives grey frames, and counts them."""

    def __init__(self) -> None:
        self.frames = 0

    def __call__(self) -> Frame:
        self.frames += 1
        return np.full((120, 160, 3), 90, np.uint8)


@pytest.fixture
def served() -> Iterator[tuple[MjpegCamera, str, Counter]]:
    source, take = f"http://127.0.0.1:{free_port()}/cam-1.mjpg", Counter()
    camera = MjpegCamera(source, take, period_s=0.05)
    yield camera, source, take
    camera.close()


def test_opencv_decodes_a_live_frame(served: tuple[MjpegCamera, str, Counter]) -> None:
    _, source, take = served
    assert take.frames == 0  # nobody looks, nothing is drawn
    capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG)
    ok, frame = capture.read()
    capture.release()
    assert ok
    assert frame.shape == (120, 160, 3)
    assert abs(float(frame.mean()) - 90) < 3


def test_two_viewers_share_each_frame(served: tuple[MjpegCamera, str, Counter]) -> None:
    _, source, take = served
    viewers = [Viewer(source) for _ in range(2)]
    before = take.frames
    for _ in range(5):
        for viewer in viewers:
            assert viewer.jpeg().startswith(b"\xff\xd8")
    assert take.frames - before < 10
    for viewer in viewers:
        viewer.close()


def test_a_stalled_camera_keeps_the_line_and_goes_on_later(served: tuple[MjpegCamera, str, Counter]) -> None:
    camera, source, take = served
    viewer = Viewer(source)
    viewer.jpeg()
    camera.stall()
    stalled_at = take.frames
    viewer.drain()
    assert take.frames == stalled_at
    camera.stall(False)
    assert viewer.jpeg().startswith(b"\xff\xd8")
    viewer.close()


def test_another_path_is_not_found(served: tuple[MjpegCamera, str, Counter]) -> None:
    _, source, _ = served
    viewer = Viewer(source.replace("cam-1", "other"))
    assert b"404" in viewer.status
    viewer.close()


def test_closing_ends_its_threads_and_frees_the_port() -> None:
    before = set(threading.enumerate())
    source = f"http://127.0.0.1:{free_port()}/cam-1.mjpg"
    for _ in range(2):
        camera = MjpegCamera(source, Counter())
        viewer = Viewer(source)
        viewer.jpeg()
        camera.close()
        viewer.close()
        assert set(threading.enumerate()) == before


def test_a_camera_of_another_kind_cannot_be_simulated() -> None:
    with pytest.raises(ConfigError, match="http"):
        MjpegCamera("rtsp://127.0.0.1/cam", Counter())


class Viewer:
    """An HTTP client that reads one part after the other."""

    def __init__(self, source: str) -> None:
        host, port = source.split("/")[2].split(":")
        self._sock = socket.create_connection((host, int(port)), timeout=5)
        self._sock.sendall(f"GET /{source.split('/')[3]} HTTP/1.0\r\n\r\n".encode())
        self._file = self._sock.makefile("rb")
        self.status = self._file.readline()
        while self._file.readline().strip():
            pass

    def jpeg(self) -> bytes:
        length = 0
        while line := self._file.readline():
            if line.lower().startswith(b"content-length"):
                length = int(line.split(b":")[1])
            if not line.strip() and length:
                return self._file.read(length)
        raise EOFError

    def drain(self) -> None:
        """Read what is still on its way, until nothing comes for a while."""
        self._sock.settimeout(0.3)
        with suppress(TimeoutError):
            while True:
                self.jpeg()
        self._sock.settimeout(5)
        self._file = self._sock.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self._sock.close()
