"""Cameras whose servers are stopped for 30 s, resumed, killed and started again, 50 times over; prints what it saw.

`CORNERGRID_CYCLES=3 CORNERGRID_STOP_S=8 pytest -s -m bench tests/bench/test_camera_soak.py` is a short one. H.264 from
GStreamer is one of the cameras where Debian's packages for it are installed (`gst_rtsp.py`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from edge.clock import SystemClock
from edge.errors import CameraError
from edge.vision.camera import Camera, open_camera
from tests.conftest import free_port, wait_for_port
from tests.edge.vision.clock_camera import time_of

pytestmark = [pytest.mark.bench, pytest.mark.timeout(7200)]
CYCLES = int(os.environ.get("CORNERGRID_CYCLES", "50"))
STOP_S = float(os.environ.get("CORNERGRID_STOP_S", "30"))
ROOT = Path(__file__).parents[2]
DEBIAN = "/usr/bin/python3"
GST = [DEBIAN, str(Path(__file__).with_name("gst_rtsp.py"))]
CLOCK = SystemClock()


@dataclass(slots=True)
class Watched:
    """A camera, its server, and what was seen of it."""

    name: str
    url: str
    command: list[str]
    camera: Camera
    server: subprocess.Popen[bytes]
    good: float = 0.0
    bad: float = 0.0
    frames: int = 0
    younger_by: list[float] = field(default_factory=list)
    seen: dict[str, list[float]] = field(default_factory=dict)

    def look(self, stop: threading.Event) -> None:
        """Read on, as an agent does, and hold each frame's age against its picture."""
        while not stop.is_set():
            try:
                frame = self.camera.read()
            except CameraError:
                self.bad = CLOCK.monotonic()
                stop.wait(0.05)
                continue
            taken = time_of(frame.image)
            self.younger_by.append(frame.t_monotonic - taken)
            self.frames += 1
            self.good = taken

    def within(self, what: str, since: float, happened: str) -> None:
        """Wait until the camera failed (`bad`) or showed a picture taken (`good`) after `since`, up to 60 s."""
        pause = threading.Event()
        while getattr(self, happened) <= since and CLOCK.monotonic() < since + 60:
            pause.wait(0.02)
        self.seen.setdefault(what, []).append(CLOCK.monotonic() - since)


def start(name: str, port: int) -> Watched:
    scheme = "http" if name == "MJPEG" else "rtsp"
    url = f"{scheme}://127.0.0.1:{port}/shelf"
    command = [*GST, str(port)] if "GStreamer" in name else [
        sys.executable, "-m", "tests.edge.vision.clock_camera", url, "0.2"]
    server = subprocess.Popen(command, cwd=ROOT)
    wait_for_port(port)
    return Watched(name, url, command, open_camera(url, CLOCK), server)


def all_at_once(cameras: list[Watched], what: str, since: float, happened: str) -> None:
    waits = [threading.Thread(target=each.within, args=(what, since, happened)) for each in cameras]
    for wait in waits:
        wait.start()
    for wait in waits:
        wait.join()


def cycle(cameras: list[Watched], pause: threading.Event) -> None:
    all_at_once(cameras, "warm", CLOCK.monotonic(), "good")
    stopped = CLOCK.monotonic()
    for each in cameras:
        each.server.send_signal(signal.SIGSTOP)
    all_at_once(cameras, "stop noticed", stopped, "bad")
    pause.wait(max(0.0, STOP_S - (CLOCK.monotonic() - stopped)))
    resumed = CLOCK.monotonic()
    for each in cameras:
        each.server.send_signal(signal.SIGCONT)
    all_at_once(cameras, "fresh after it goes on", resumed, "good")
    killed = CLOCK.monotonic()
    for each in cameras:
        each.server.kill()
        each.server.wait()
    all_at_once(cameras, "kill noticed", killed, "bad")
    pause.wait(2)
    for each in cameras:
        each.server = subprocess.Popen(each.command, cwd=ROOT)
    for each in cameras:
        wait_for_port(int(each.url.split(":")[2].partition("/")[0]))
    all_at_once(cameras, "fresh after it started again", CLOCK.monotonic(), "good")


def has_gst() -> bool:
    look = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if not Path(DEBIAN).exists():
        return False
    return subprocess.run([DEBIAN, "-c", look], check=False, capture_output=True).returncode == 0


def test_fifty_stops_and_kills() -> None:
    names = ["MJPEG", "RTSP JPEG"] + (["RTSP H.264, GStreamer"] if has_gst() else [])
    cameras, stop, pause = [start(name, free_port()) for name in names], threading.Event(), threading.Event()
    readers = [threading.Thread(target=each.look, args=(stop,)) for each in cameras]
    for reader in readers:
        reader.start()
    rss = []
    try:
        for i in range(CYCLES):
            cycle(cameras, pause)
            rss.append(psutil.Process().memory_info().rss / 2 ** 20)
            print(f"cycle {i + 1} of {CYCLES}: RSS {rss[-1]:.1f} MiB, {threading.active_count()} threads", flush=True)
    finally:
        stop.set()
        for each in cameras:
            each.server.kill()
            each.server.wait()
        for reader in readers:
            reader.join()
        for each in cameras:
            each.camera.close()
    print(f"\n{CYCLES} cycles of {STOP_S:.0f} s stopped, then killed")
    for each in cameras:
        print(f"  {each.name}: {each.frames} frames, none looked newer than it was by more than "
              f"{max(each.younger_by):.3f} s")
        for what, took in each.seen.items():
            print(f"    {what}: {sorted(took)[len(took) // 2]:.2f} s, at most {max(took):.2f} s")
    print(f"  RSS {rss[0]:.1f} MiB after the first cycle, {rss[len(rss) // 5]:.1f} after a fifth, {rss[-1]:.1f} "
          "at the end")
    assert threading.active_count() == 1
