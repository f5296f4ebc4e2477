"""A camera whose pictures tell when they were taken, in a process of its own: `clock_camera.py URL [PERIOD_S]`.

CLOCK_MONOTONIC is the machine's, so another process can hold a frame's age against its picture.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edge.clock import SystemClock
from edge.sim.camera import MjpegCamera
from edge.sim.rtsp import RtspCamera
from edge.vision.detector import Image
from tests.conftest import wait_for_port

WIDTH, HEIGHT, BITS, ROWS = 320, 240, 40, 5
CELL_W, CELL_H = WIDTH // (BITS // ROWS), HEIGHT // ROWS
_NOISE = np.random.default_rng(1)


def clock_picture(t_monotonic: float, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image:
    """A picture with the time in milliseconds in 40 black or white cells, and a sensor's noise."""
    bits = [round(t_monotonic * 1000) >> bit & 1 for bit in range(BITS)]
    cells = np.array(bits, np.int16).reshape(ROWS, -1) * 150 + 50
    width, height = size
    grey = np.kron(cells, np.ones((height // ROWS, width // (BITS // ROWS)), np.int16))
    noisy = np.clip(grey + _NOISE.normal(0, 4, grey.shape), 0, 255).astype(np.uint8)
    return np.repeat(noisy[..., None], 3, 2)


def time_of(image: Image) -> float:
    """When a picture by `clock_picture` was taken, monotonic seconds."""
    height = image.shape[0]
    grey = image[..., 1].astype(float)
    cells = grey[:height // ROWS * ROWS].reshape(ROWS, height // ROWS, BITS // ROWS, -1).mean((1, 3)).ravel()
    return sum(int(cell > 125) << bit for bit, cell in enumerate(cells)) / 1000


@contextmanager
def clock_camera(url: str, period_s: float = 0.05) -> Iterator[subprocess.Popen[bytes]]:
    """The camera at `url` in a process of its own, listening; it is ended at last, stopped or not."""
    port = int(url.rpartition("@")[2].rpartition("://")[2].partition("/")[0].rpartition(":")[2])
    root = Path(__file__).parents[3]
    process = subprocess.Popen([sys.executable, "-m", "tests.edge.vision.clock_camera", url, str(period_s)], cwd=root)
    try:
        wait_for_port(port)
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def main(url: str, period_s: str = "0.05") -> None:
    """Serve until killed."""
    clock = SystemClock()
    kind = RtspCamera if url.startswith("rtsp") else MjpegCamera
    kind(url, lambda: clock_picture(clock.monotonic()), float(period_s))
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
