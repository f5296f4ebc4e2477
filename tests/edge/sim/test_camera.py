"""The simulated cameras, as OpenCV and a plain HTTP client see them."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ConfigError
from edge.sim.camera import MjpegCamera, sim_camera
from edge.sim.feed import CameraFault, encode
from edge.sim.packs import Frame
from edge.sim.rtsp import PAYLOAD, RtspCamera, jpeg_parts, rtp_packets
from edge.vision.cameras.capture import LIMITS
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
    camera.set_fault(CameraFault.STALL)
    stalled_at = take.frames
    viewer.drain()
    assert take.frames == stalled_at
    camera.set_fault(CameraFault.NONE)
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


@pytest.mark.parametrize("source", ["/dev/video0", "http://127.0.0.1/cam", "rtsps://127.0.0.1:1/x"])
def test_a_camera_of_another_kind_cannot_be_simulated(source: str) -> None:
    with pytest.raises(ConfigError, match="http"):
        sim_camera(source, Counter())


def opened(source: str) -> cv2.VideoCapture:
    return cv2.VideoCapture(source, cv2.CAP_FFMPEG, LIMITS)


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_the_address_says_which_camera_it_is(scheme: str) -> None:
    source = f"{scheme}://127.0.0.1:{free_port()}/cam-1"
    camera, capture = sim_camera(source, Counter()), opened(source)
    ok, frame = capture.read()
    capture.release()
    camera.close()
    assert ok
    assert frame.shape == (120, 160, 3)
    assert abs(float(frame.mean()) - 90) < 3


def detailed(seed: int = 1) -> Frame:
    """A picture with something in it."""
    rng = np.random.default_rng(seed)
    return np.asarray(cv2.resize(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8), (960, 720)), np.uint8)


def test_a_picture_comes_through_rtp_as_it_was_encoded() -> None:
    source = f"rtsp://127.0.0.1:{free_port()}/cam-1"
    camera, capture = RtspCamera(source, detailed, period_s=0.05), opened(source)
    ok, frame = capture.read()
    capture.release()
    camera.close()
    want = cv2.imdecode(np.frombuffer(encode(detailed()), np.uint8), cv2.IMREAD_COLOR)
    assert ok
    assert want is not None
    assert float(cv2.absdiff(frame, want.astype(np.uint8)).mean()) < 3  # FFmpeg and libjpeg round colours differently


def test_rtp_time_stamps_are_those_of_the_pictures() -> None:
    source = f"rtsp://127.0.0.1:{free_port()}/cam-1"
    camera, capture = RtspCamera(source, Counter(), period_s=0.1), opened(source)
    stamps = []
    for _ in range(5):
        assert capture.grab()
        stamps.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    capture.release()
    camera.close()
    assert min(np.diff(stamps)) > 80


@given(st.binary(min_size=1, max_size=9000), st.integers(0, 0xFFFF))
def test_rtp_packets_hold_the_whole_scan_once_and_in_order(scan: bytes, number: int) -> None:
    parts = replace(jpeg_parts(encode(detailed())), scan=scan)
    packets = list(rtp_packets(parts, number, 1.0))
    whole = b""
    for i, packet in enumerate(packets):
        assert len(packet) <= PAYLOAD + 12
        assert struct.unpack_from(">H", packet, 2)[0] == (number + i) & 0xFFFF
        assert bool(packet[1] & 0x80) == (packet is packets[-1])
        assert struct.unpack_from(">I", packet, 12)[0] == len(whole)
        whole += packet[12 + 8 + (4 + 128 if i == 0 else 0):]
    assert whole == scan


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"GIF89a" * 40, encode(detailed())[:200]])
def test_what_is_no_baseline_jpeg_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="baseline JPEG"):
        jpeg_parts(data)


def test_rtsp_refuses_another_path_and_datagrams() -> None:
    port = free_port()
    camera = RtspCamera(f"rtsp://127.0.0.1:{port}/cam-1", Counter())
    asked = {
        f"DESCRIBE rtsp://127.0.0.1:{port}/other RTSP/1.0\r\nCSeq: 1\r\n\r\n": "404",
        f"SETUP rtsp://127.0.0.1:{port}/cam-1/track1 RTSP/1.0\r\nCSeq: 1\r\n"
        "Transport: RTP/AVP;unicast;client_port=5000-5001\r\n\r\n": "461",
    }
    for request, status in asked.items():
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            sock.sendall(request.encode())
            assert sock.recv(4096).split()[1].decode() == status
    camera.close()


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_camera_with_a_password_wants_it(scheme: str) -> None:
    port = free_port()
    camera = sim_camera(f"{scheme}://admin:pa55@127.0.0.1:{port}/cam-1", Counter())
    looks = {login: opened(f"{scheme}://{login}127.0.0.1:{port}/cam-1") for login in ("", "admin:no@", "admin:pa55@")}
    seen = {login: capture.isOpened() for login, capture in looks.items()}
    for capture in looks.values():
        capture.release()
    camera.close()
    assert seen == {"": False, "admin:no@": False, "admin:pa55@": True}


def test_scripted_faults_change_what_is_sent(served: tuple[MjpegCamera, str, Counter]) -> None:
    camera, source, take = served
    viewer = Viewer(source)
    good = viewer.jpeg()
    camera.set_fault(CameraFault.BLACK)
    viewer.until(lambda jpeg: mean_of(jpeg) == 0)
    camera.set_fault(CameraFault.GARBAGE)
    viewer.until(lambda jpeg: mean_of(jpeg) is None)
    camera.set_fault(CameraFault.NONE)
    viewer.until(lambda jpeg: jpeg == good)
    camera.set_fault(CameraFault.FROZEN)
    viewer.jpeg()
    before = take.frames
    assert [viewer.jpeg() == good for _ in range(5)] == [True] * 5
    assert take.frames - before <= 1
    camera.set_fault(CameraFault.CLOSE)
    with pytest.raises(EOFError):
        viewer.until(lambda _: False)
    viewer.close()


def mean_of(jpeg: bytes) -> int | None:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else round(float(np.asarray(image).mean()))


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

    def until(self, wanted: Callable[[bytes], bool]) -> None:
        """Read parts up to one that is wanted."""
        while not wanted(self.jpeg()):
            pass

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
