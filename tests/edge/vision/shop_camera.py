"""A shop's frames made by hand, and a network camera that serves them."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

from edge.vision.detector import Floats, Image
from edge.vision.observe import small_view


def shelf(seed: int = 1, width: int = 640, height: int = 480) -> Image:
    """A still picture of packs side by side."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 60, np.uint8)
    for y in range(20, height - 100, 120):
        for x in range(10, width - 50, 50):
            cv2.rectangle(picture, (x, y), (x + 40, y + 95), [int(v) for v in rng.integers(60, 250, 3)], -1)
    return picture


def noisy(picture: Image, seed: int, gain: float = 1.0) -> Floats:
    """What a camera makes of it, shrunk."""
    rng = np.random.default_rng(seed)
    shot = picture * gain + rng.normal(0, 6, picture.shape)
    return small_view(np.clip(shot, 0, 255).astype(np.uint8))


def arm(picture: Image, x: int, sleeve: tuple[int, int, int] = (90, 120, 190)) -> Image:
    """The same with a customer's arm reaching in from below."""
    covered = picture.copy()
    cv2.line(covered, (x, picture.shape[0]), (x + 60, 120), sleeve, 90)
    return covered


def numbered(number: int, width: int = 320, height: int = 240) -> Image:
    """A frame that tells its number by its brightness, after JPEG too."""
    frame = np.full((height, width, 3), 20 + 10 * number, np.uint8)
    frame[:60] = 0
    return frame


def number_of(frame: Image) -> int:
    """The number of a frame made by `numbered`."""
    return round((float(np.median(frame)) - 20) / 10)


class MjpegServer:
    """A network camera: MJPEG over HTTP, which a test can stall or close."""

    def __init__(self) -> None:
        self.stalled = threading.Event()
        self.closing = threading.Event()
        self.number = 3
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    while not camera.closing.wait(0.02):
                        if not camera.stalled.is_set():
                            self._part()
                except OSError:
                    return

            def _part(self) -> None:
                _, data = cv2.imencode(".jpg", numbered(camera.number))
                head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
                self.wfile.write(head + data.tobytes() + b"\r\n")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing: the tests' output is the tests'."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/shelf.mjpg"

    def close(self) -> None:
        """End every stream and refuse new ones."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
