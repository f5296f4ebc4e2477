"""Every source keeps the same promises: newest frames, named failures, no secret told, nothing left open."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import CameraError
from edge.vision.camera import Camera, load_picture, open_camera, redact
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


def test_stream_that_stalls_is_named_and_can_be_opened_again(mjpeg: MjpegServer) -> None:
    camera = open_camera(mjpeg.url)
    camera.read()
    mjpeg.stalled.set()
    assert read_until_it_fails(camera) == "stalled"
    with pytest.raises(CameraError):
        camera.read()
    camera.close()
    mjpeg.stalled.clear()
    again = open_camera(mjpeg.url)
    assert number_of(again.read().image) == 3
    again.close()


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


def _refused() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_refused_port_is_named_without_the_password(scheme: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CameraError) as caught:
        open_camera(f"{scheme}://admin:s3cret@{_refused()}/shelf")
    assert caught.value.reason == "no_camera"
    assert "s3cret" not in str(caught.value)
    assert "admin" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("/dev/video97", "no_camera"),
        ("97", "no_camera"),
        ("no/such/folder", "missing"),
        ("gopher://shop/1", "unknown_source"),
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


def test_missing_picture(tmp_path: Path) -> None:
    with pytest.raises(CameraError) as caught:
        load_picture(tmp_path / "none.jpg")
    assert caught.value.reason == "missing"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://admin:pw@10.0.0.9:554/s1", "rtsp://***@10.0.0.9:554/s1"),
        ("rtsp://admin:p@ss/w@10.0.0.9/s1", "rtsp://***@10.0.0.9/s1"),
        ("http://10.0.0.9/snap?user=a&pwd=b&ch=1", "http://10.0.0.9/snap?user=***&pwd=***&ch=1"),
        ("rtsp://10.0.0.9/user=a&password=b&channel=1", "rtsp://10.0.0.9/user=***&password=***&channel=1"),
        ("http://10.0.0.9/shelf", "http://10.0.0.9/shelf"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_redact(url: str, shown: str) -> None:
    assert redact(url) == shown


_SECRET = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1).map(lambda s: "Q9z" + s)


@given(_SECRET)
def test_redact_tells_no_password_of_any_shape(secret: str) -> None:
    assert "Q9z" not in redact(f"rtsp://admin:{secret}@camera.example/stream")
