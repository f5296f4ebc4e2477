"""Real RTSP and MJPEG servers on loopback, stopped, killed and faulty: cameras notice, heal and never lie of age."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from edge.clock import SystemClock
from edge.errors import CameraError
from edge.sim.camera import sim_camera
from edge.sim.feed import CameraFault, ServedCamera
from edge.vision.camera import Camera, Frame, open_camera
from tests.conftest import free_port, wait_for_port
from tests.edge.vision.clock_camera import clock_camera, clock_picture, time_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
CLOCK = SystemClock()
PERIOD_S = 0.2
ON_THE_WAY_S = 0.15
"""What drawing, encoding and loopback may take on a busy machine; a frame that piled up is off by seconds."""
SCHEMES = ("http", "rtsp")


def urls() -> list[str]:
    return [f"{scheme}://127.0.0.1:{free_port()}/shelf" for scheme in SCHEMES]


def truthful(frame: Frame) -> Frame:
    """The frame, held against its own picture: no older than its age says."""
    assert frame.t_monotonic <= time_of(frame.image) + ON_THE_WAY_S
    return frame


def fault_of(camera: Camera) -> str:
    """Read on until the camera fails, and tell why; every frame until then must be truthful."""
    while True:
        try:
            truthful(camera.read())
        except CameraError as error:
            return error.reason


def fresh(camera: Camera, after: float) -> Frame:
    """Read on until there is a frame that was taken after that time."""
    pause = threading.Event()
    while True:
        try:
            frame = truthful(camera.read())
        except CameraError:
            pause.wait(0.05)
        else:
            if time_of(frame.image) > after:
                return frame


@contextmanager
def opened(addresses: list[str]) -> Iterator[list[Camera]]:
    cameras = [open_camera(address, CLOCK) for address in addresses]
    try:
        yield cameras
    finally:
        for camera in cameras:
            camera.close()


def test_cameras_that_are_stopped_killed_and_come_back_are_never_older_than_they_say() -> None:
    addresses = urls()
    rss = []
    with opened(addresses) as cameras:
        for _ in range(3):
            with ExitStack() as stack:
                servers = [stack.enter_context(clock_camera(address, PERIOD_S)) for address in addresses]
                for camera in cameras:
                    fresh(camera, CLOCK.monotonic())
                for server in servers:
                    server.send_signal(signal.SIGSTOP)
                assert [fault_of(camera) for camera in cameras] == ["stalled", "stalled"]
                for server in servers:
                    server.send_signal(signal.SIGCONT)
                again = CLOCK.monotonic()
                for camera in cameras:
                    fresh(camera, again)
            for camera in cameras:
                assert fault_of(camera) in {"stream_ended", "no_camera", "stalled"}
            rss.append(psutil.Process(os.getpid()).memory_info().rss)
    assert rss[-1] - rss[0] < 20 * 1024 * 1024


def test_after_a_standstill_of_the_camera_or_of_this_box_no_frame_looks_newer_than_it_is() -> None:
    addresses, pause = urls(), threading.Event()
    with ExitStack() as stack:
        servers = [stack.enter_context(clock_camera(address, 0.05)) for address in addresses]
        cameras = stack.enter_context(opened(addresses))
        for camera in cameras:
            fresh(camera, CLOCK.monotonic())
        for server in servers:
            server.send_signal(signal.SIGSTOP)
        pause.wait(1.5)
        for server in servers:
            server.send_signal(signal.SIGCONT)
        for camera in cameras:
            for _ in range(20):
                truthful(camera.read())
        stop_me = f"kill -STOP {os.getpid()}; sleep 1.5; kill -CONT {os.getpid()}"
        os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", stop_me], dict(os.environ)), 0)
        for camera in cameras:
            for _ in range(20):
                truthful(camera.read())


@contextmanager
def simulated(addresses: list[str]) -> Iterator[list[ServedCamera]]:
    served = [sim_camera(address, lambda: clock_picture(CLOCK.monotonic())) for address in addresses]
    try:
        yield served
    finally:
        for each in served:
            each.close()


def test_every_scripted_fault_is_named_and_healed() -> None:
    addresses = urls()
    with simulated(addresses) as served, opened(addresses) as cameras:
        for fault, reasons in {
            CameraFault.GARBAGE: {"undecodable", "stream_ended"},  # FFmpeg gives up at once
            CameraFault.SLOW: {"stalled"},
            CameraFault.CLOSE: {"stream_ended", "no_camera"},
        }.items():
            for each in served:
                each.set_fault(fault)
            found = [fault_of(camera) for camera in cameras]
            assert set(found) <= reasons, (fault, found)
            for each in served:
                each.set_fault(CameraFault.NONE)
            again = CLOCK.monotonic()
            for camera in cameras:
                fresh(camera, again)


def test_black_and_frozen_pictures_come_through_as_they_are() -> None:
    addresses = urls()
    with simulated(addresses) as served, opened(addresses) as cameras:
        for camera in cameras:
            fresh(camera, 0)
        for each in served:
            each.set_fault(CameraFault.BLACK)
        for camera in cameras:
            while camera.read().image.mean() > 20:
                pass
        for each in served:
            each.set_fault(CameraFault.FROZEN)
        for camera in cameras:
            camera.read()
            assert np.array_equal(camera.read().image, camera.read().image)


@pytest.fixture
def gst_url() -> Iterator[str]:
    """H.264 by GStreamer, which decodes and buffers otherwise than JPEG."""
    script = Path(__file__).parents[1] / "bench" / "gst_rtsp.py"
    look = "import gi; gi.require_version('GstRtspServer', '1.0')"
    python = shutil.which("python3", path="/usr/bin")
    if python is None or subprocess.run([python, "-c", look], capture_output=True, check=False).returncode:
        pytest.skip("needs apt install gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-{base,good,bad,ugly} python3-gi")
    port = free_port()
    with subprocess.Popen([python, script, str(port)]) as server:
        wait_for_port(port)
        yield f"rtsp://127.0.0.1:{port}/shelf"
        server.kill()


def test_h264_frames_are_no_older_than_they_say_from_the_first_on(gst_url: str) -> None:
    with opened([gst_url]) as (camera,):
        fresh(camera, 0)
        for _ in range(8):
            truthful(camera.read())
