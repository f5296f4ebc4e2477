"""A recording holds what the camera sent, byte for byte, is good up to wherever it was cut, and plays as a camera."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import ManualClock, SystemClock
from edge.errors import CameraError
from edge.sim.camera import MjpegCamera
from edge.sim.feed import encode
from edge.vision.camera import Frame, open_camera
from edge.vision.cameras.recording import FrameRecorder, Recorded, read_recording, record_frames
from tests.conftest import free_port
from tests.edge.vision.shop_camera import number_of, numbered

SOURCE = "rtsp://admin:pw-Q9z@10.0.0.9/shelf"


class Numbered:
    """A camera that gives one frame each second of a clock, and fails once."""

    def __init__(self, clock: ManualClock, frames: int) -> None:
        self._clock, self._left, self._fails = clock, iter(range(1, frames + 1)), True

    def read(self) -> Frame:
        if self._fails:
            self._fails = False
            raise CameraError("stalled", "once")
        number = next(self._left, None)
        if number is None:
            raise CameraError("end_of_pictures")
        self._clock.advance(1.0)
        return Frame(numbered(number), self._clock.monotonic())

    def close(self) -> None: ...


def made(path: Path, frames: int = 5) -> Path:
    """A recording of that many frames, a second apart."""
    clock = ManualClock(1000.0)
    with FrameRecorder(path, "cam-1", SOURCE, clock) as recorder:
        faults: list[CameraError] = []
        record_frames(Numbered(clock, frames), recorder, lambda: True, faults.append)
        assert [fault.reason for fault in faults] == ["stalled", "end_of_pictures"]
        assert recorder.frames == frames
        assert recorder.bytes == path.stat().st_size
    return path


def test_a_recording_says_what_it_is_and_tells_no_password(tmp_path: Path) -> None:
    data = made(tmp_path / "ticket").read_bytes()
    first, second, _ = data.split(b"\n", 2)
    assert first == b"cornergrid recording 1 frames"
    assert json.loads(second) == {"camera": "rtsp://***@10.0.0.9/shelf", "sensor": "cam-1", "began": 1000.0}
    assert b"Q9z" not in data
    assert b"admin" not in data


def test_frames_come_back_in_order_with_their_times(tmp_path: Path) -> None:
    recorded = list(read_recording(made(tmp_path / "ticket")))
    assert [frame.t for frame in recorded] == [1.0, 2.0, 3.0, 4.0, 5.0]
    camera = open_camera(f"replay-fast:{tmp_path / 'ticket'}")
    assert [number_of(camera.read().image) for _ in range(5)] == [1, 2, 3, 4, 5]
    with pytest.raises(CameraError, match="end_of_pictures"):
        camera.read()


def test_a_recording_is_not_written_over(tmp_path: Path) -> None:
    path = made(tmp_path / "ticket")
    with pytest.raises(FileExistsError):
        FrameRecorder(path, "cam-1", SOURCE, SystemClock())


@given(st.integers(0, 20_000))
def test_wherever_a_recording_is_cut_its_whole_frames_are_good(
        tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    whole = _whole(tmp_path_factory)
    data, want = whole.read_bytes(), list(read_recording(whole))
    ends = [_end_of(whole, k) for k in range(1, len(want) + 1)]
    path = whole.with_name("cut")
    path.write_bytes(data[:cut])
    header_is_whole = cut >= data.index(b"\n") + 1
    assert frames_of(path) == (want[:sum(cut >= end for end in ends)] if header_is_whole else "undecodable")


def frames_of(path: Path) -> list[Recorded] | str:
    """The frames, or the reason why there are none."""
    try:
        return list(read_recording(path))
    except CameraError as error:
        return error.reason


_MADE: list[Path] = []


def _whole(factory: pytest.TempPathFactory) -> Path:
    if not _MADE:
        _MADE.append(made(factory.mktemp("whole") / "ticket"))
    return _MADE[0]


def _end_of(path: Path, frames: int) -> int:
    """Where the JPEG of that frame ends in the file."""
    data, recorded = path.read_bytes(), list(read_recording(path))
    at = 0
    for frame in recorded[:frames]:
        at = data.index(frame.jpeg, at) + len(frame.jpeg)
    return at


@given(st.integers(0, 2**16), st.integers(1, 255))
def test_a_flipped_byte_ends_the_recording_and_is_never_played(
        tmp_path_factory: pytest.TempPathFactory, at: int, flip: int) -> None:
    whole = _whole(tmp_path_factory)
    data = bytearray(whole.read_bytes())
    data[at % len(data)] ^= flip
    path = whole.with_name("flipped")
    path.write_bytes(data)
    found, want = frames_of(path), list(read_recording(whole))
    assert found == "undecodable" or found == want[:len(found)]


@pytest.mark.parametrize("content", [b"", b"cornergrid recording 1 serial\n{}\n", b"\xff\xd8\xff\xe0" * 99])
def test_another_file_is_no_recording_of_frames(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(CameraError) as caught:
        open_camera(f"replay:{tmp_path / 'other'}")
    assert caught.value.reason == "undecodable"
    assert "cornergrid recording 1 frames" in caught.value.detail


def test_a_recording_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CameraError) as caught:
        open_camera(f"replay:{tmp_path / 'none'}")
    assert caught.value.reason == "missing"


def test_a_replay_at_its_own_pace_gives_the_newest_frame_that_is_due(tmp_path: Path) -> None:
    clock = ManualClock(50.0)
    camera = open_camera(f"replay:{made(tmp_path / 'ticket')}", clock)
    first = camera.read()
    assert (number_of(first.image), first.t_monotonic) == (1, 50.0)
    clock.advance(2.5)
    newest = camera.read()
    assert (number_of(newest.image), newest.t_monotonic) == (3, 52.0)
    clock.advance(60.0)
    assert number_of(camera.read().image) == 5
    with pytest.raises(CameraError, match="end_of_pictures"):
        camera.read()


def test_a_replay_waits_for_the_next_frame_and_may_be_closed_meanwhile(tmp_path: Path) -> None:
    camera = open_camera(f"replay:{made(tmp_path / 'ticket')}", ManualClock(50.0))
    camera.read()
    closer = threading.Timer(0.05, camera.close)
    closer.start()
    with pytest.raises(CameraError, match="closed"):
        camera.read()
    closer.join()


def test_a_cameras_own_jpeg_is_kept_byte_for_byte(tmp_path: Path) -> None:
    url, numbers = f"http://127.0.0.1:{free_port()}/shelf", count(1)
    served = MjpegCamera(url, lambda: numbered(next(numbers) % 9), period_s=0.02)
    camera = open_camera(url)
    with FrameRecorder(tmp_path / "ticket", "cam-1", url, SystemClock()) as recorder:
        left = iter(range(5))
        record_frames(camera, recorder, lambda: next(left, None) is not None, lambda error: pytest.fail(str(error)))
    camera.close()
    served.close()
    sent = {encode(numbered(number)) for number in range(9)}
    assert {frame.jpeg for frame in read_recording(tmp_path / "ticket")} <= sent


_WRITER = """
import sys
from pathlib import Path
import numpy as np
from edge.clock import SystemClock
from edge.vision.camera import Frame
from edge.vision.cameras.recording import FrameRecorder
clock = SystemClock()
recorder = FrameRecorder(Path(sys.argv[1]), "cam-1", "0", clock)
noise = np.random.default_rng(1).integers(0, 255, (240, 320, 3), np.uint8)
while True:
    recorder.keep(Frame(noise, clock.monotonic()))
    print(recorder.frames, flush=True)
"""


def test_kill_minus_nine_leaves_every_frame_that_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "ticket"
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        kept = 0
        while kept < 20:
            kept = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
    frames = list(read_recording(path))
    assert len(frames) >= kept
    assert np.all(np.diff([frame.t for frame in frames]) > 0)
