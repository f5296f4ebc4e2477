"""Every source keeps the same promises: newest frames, named failures, no secret told, nothing left open."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import SystemClock
from edge.errors import CameraError
from edge.sim.camera import sim_camera
from edge.vision.camera import Camera, Frame, load_picture, open_camera
from edge.vision.cameras.live import LiveCamera, Source
from edge.vision.cameras.mjpeg import Parts
from tests.conftest import free_port
from tests.edge.vision.shop_camera import MjpegServer, number_of, numbered


def _folder(tmp_path: Path) -> str:
    for number in (2, 1, 3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), numbered(number))
    (tmp_path / "notes.txt").write_text("no picture")
    return str(tmp_path)


def _video(tmp_path: Path) -> str:
    path = tmp_path / "shelf.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for number in (1, 2, 3):
        writer.write(numbered(number))
    writer.release()
    return str(path)


def read_until_it_fails(camera: Camera) -> str:
    """The reason; frames that were on their way may still come."""
    for _ in range(200):
        try:
            camera.read()
        except CameraError as error:
            return error.reason
    pytest.fail("the camera went on")


def read_until_it_is_back(camera: Camera) -> Frame:
    """The first frame after a fault."""
    pause = threading.Event()
    for _ in range(200):
        try:
            return camera.read()
        except CameraError:
            pause.wait(0.05)
    pytest.fail("the camera stayed away")


@pytest.mark.parametrize("make", [_folder, _video])
def test_pictures_come_in_order_and_then_end(tmp_path: Path, make: Callable[[Path], str]) -> None:
    camera = open_camera(make(tmp_path))
    frames = [camera.read() for _ in range(3)]
    assert [number_of(frame.image) for frame in frames] == [1, 2, 3]
    assert frames[0].image.shape == (240, 320, 3)
    assert frames[0].t_monotonic <= frames[1].t_monotonic <= frames[2].t_monotonic
    for _ in range(2):
        with pytest.raises(CameraError) as caught:
            camera.read()
        assert caught.value.reason == "end_of_pictures"
    camera.close()
    camera.close()


def test_stream_gives_what_the_camera_sees_now(mjpeg: MjpegServer) -> None:
    camera = open_camera(mjpeg.url)
    assert number_of(camera.read().image) == 3
    # Meanwhile frames pile up in the stream; none of them may come out once the scene has changed.
    mjpeg.number = 9
    seen = [number_of(camera.read().image) for _ in range(40)]
    assert seen[-1] == 9
    assert seen == sorted(seen)
    camera.close()


def test_stream_that_stalls_is_named_and_heals_itself(mjpeg: MjpegServer) -> None:
    camera = open_camera(mjpeg.url)
    camera.read()
    mjpeg.stalled.set()
    assert read_until_it_fails(camera) == "stalled"
    with pytest.raises(CameraError):
        camera.read()
    mjpeg.number = 5
    mjpeg.stalled.clear()
    assert number_of(read_until_it_is_back(camera).image) == 5
    camera.close()


def test_stream_that_ends_is_named(mjpeg: MjpegServer) -> None:
    camera = open_camera(mjpeg.url)
    camera.read()
    mjpeg.close()
    assert read_until_it_fails(camera) in {"stream_ended", "stalled"}
    camera.close()


def test_close_ends_the_camera_thread(mjpeg: MjpegServer) -> None:
    camera = open_camera(mjpeg.url)
    names = [thread.name for thread in threading.enumerate()]
    assert any(name.startswith("camera http") for name in names)
    camera.close()
    assert not any(thread.name.startswith("camera http") for thread in threading.enumerate())
    with pytest.raises(CameraError):
        camera.read()


@pytest.mark.parametrize("source", ["http://127.0.0.1:{}/shelf", "rtsp://127.0.0.1:{}/shelf", "/dev/video97", "97",
                                    "/dev/v4l/by-id/usb-none", "http://127.0.0.1:port/", "rtsp://127.0.0.1:port/",
                                    "http://user:secret@[::1/shelf", "HTTP://127.0.0.1:{}/shelf"])
def test_a_live_camera_that_is_not_there_is_named(source: str) -> None:
    camera = open_camera(source.format(free_port()))
    for _ in range(2):
        with pytest.raises(CameraError) as caught:
            camera.read()
        assert caught.value.reason == "no_camera"
    camera.close()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("no/such/folder", "missing"),
        ("gopher://shop/1", "unknown_source"),
        ("x" * 300, "missing"),
    ],
)
def test_sources_that_cannot_be_opened(source: str, reason: str) -> None:
    with pytest.raises(CameraError) as caught:
        open_camera(source)
    assert caught.value.reason == reason


def test_a_file_that_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "shelf.avi"
    path.write_bytes(b"not a video")
    with pytest.raises(CameraError) as caught:
        open_camera(str(path))
    assert caught.value.reason == "undecodable"


def test_truncated_picture_is_named_and_the_next_one_is_read(tmp_path: Path) -> None:
    _, data = cv2.imencode(".jpg", numbered(1))
    (tmp_path / "1.jpg").write_bytes(data.tobytes()[: len(data) // 4])
    (tmp_path / "2.jpg").write_bytes(b"")
    cv2.imwrite(str(tmp_path / "3.png"), numbered(3))
    camera: Camera = open_camera(str(tmp_path))
    for _ in range(2):
        with pytest.raises(CameraError) as caught:
            camera.read()
        assert caught.value.reason == "undecodable"
    assert number_of(camera.read().image) == 3
    camera.close()


def test_a_folder_without_a_picture_is_told_and_its_first_one_is_read(tmp_path: Path) -> None:
    with pytest.raises(CameraError) as caught:
        open_camera(str(tmp_path))
    assert (caught.value.reason, ".jpg" in caught.value.detail) == ("missing", True)
    cv2.imwrite(str(tmp_path / "1.png"), numbered(1))

    assert number_of(open_camera(str(tmp_path)).read().image) == 1


def test_a_cameras_own_mistake_is_named_and_its_thread_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    opened: list[int] = []

    def crash() -> Source:
        opened.append(1)
        raise ZeroDivisionError("rtsp://user:secret@camera")

    camera = LiveCamera(crash, "rtsp://***@camera", SystemClock())
    for _ in range(2):
        with pytest.raises(CameraError) as caught:
            camera.read()
        assert caught.value.reason == "crashed"
    while len(opened) < 2:
        threading.Event().wait(0.01)
    camera.close()

    told = "".join(capsys.readouterr())
    assert "ZeroDivisionError" in told
    assert "secret" not in told


def test_missing_picture(tmp_path: Path) -> None:
    with pytest.raises(CameraError) as caught:
        load_picture(tmp_path / "none.jpg")
    assert caught.value.reason == "missing"


_LEAVES = """
import sys
from edge.vision.camera import open_camera
camera = open_camera(sys.argv[1])
print(camera.read().image.shape)
"""


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_process_that_ends_with_an_open_camera_ends_well(scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{free_port()}/shelf"
    served = sim_camera(url, lambda: numbered(3))
    ended = subprocess.run([sys.executable, "-c", _LEAVES, url], capture_output=True, text=True, check=False)
    served.close()
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "(240, 320, 3)\n", "")


def test_something_that_is_no_mjpeg_stream_is_named() -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>the camera's own page</html>")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Page)
    serving = threading.Thread(target=server.serve_forever, args=(0.05,))
    serving.start()
    camera = open_camera(f"http://127.0.0.1:{server.server_port}/")
    with pytest.raises(CameraError) as caught:
        camera.read()
    camera.close()
    server.shutdown()
    server.server_close()
    serving.join()
    assert caught.value.reason == "not_mjpeg"
    assert "text/html" in caught.value.detail


_JPEGS = st.lists(st.binary(max_size=600), min_size=1, max_size=5)


@given(_JPEGS, st.lists(st.integers(1, 400), max_size=40), st.booleans(), st.sampled_from(["frame", '"--frame"']))
def test_parts_are_found_however_the_stream_is_cut(
        bodies: list[bytes], cuts: list[int], sized: bool, boundary: str) -> None:
    bodies = [body.replace(b"\r\n--", b"\r\n..") for body in bodies]
    stream = b"".join(
        b"--frame\r\nContent-Type: image/jpeg\r\n"
        + (b"Content-Length: %d\r\nX-Timestamp: %d.250000\r\n" % (len(body), i) if sized else b"") + b"\r\n" + body
        + b"\r\n" for i, body in enumerate(bodies)) + b"--frame--\r\n"
    parts, found, at = Parts(boundary), [], 0
    for size in [*cuts, len(stream)]:
        found += parts.feed(stream[at:at + size])
        at += size
    assert [body for body, _ in found] == bodies
    assert [stamp for _, stamp in found] == ([i + 0.25 for i in range(len(bodies))] if sized else [None] * len(bodies))


def test_a_stream_without_an_end_of_its_head_is_refused() -> None:
    parts = Parts("frame")
    assert parts.feed(b"\x00" * 8000) == []
    with pytest.raises(ValueError, match="head"):
        parts.feed(b"\x00" * 1000)


def test_a_part_that_claims_to_be_huge_is_refused() -> None:
    with pytest.raises(ValueError, match="16 MiB"):
        Parts("frame").feed(b"--frame\r\nContent-Length: 99999999999\r\n\r\n")
