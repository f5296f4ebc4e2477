"""A shelf camera as MJPEG over HTTP, at the address where the profile looks for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import cv2

from edge.errors import ConfigError, Problem
from edge.sim.packs import Frame

BOUNDARY = "frame"
QUALITY = 88
PERIOD_S = 0.5


class MjpegCamera:
    """Serves frames, each rendered and encoded once for all who look, and only while somebody looks."""

    def __init__(self, source: str, take: Callable[[], Frame], period_s: float = PERIOD_S) -> None:
        """`take` gives the frame of this moment, BGR uint8. ConfigError where `source` is no http:// address;
        OSError where the port is taken.
        """
        url = urlsplit(source)
        if url.scheme != "http" or not url.hostname or not url.port:
            raise ConfigError(source, (Problem("source", "a virtual camera needs http://HOST:PORT/PATH"),))
        self._path, self._take, self._period_s = url.path or "/", take, period_s
        self._new = threading.Condition()
        self._jpeg, self._number, self._viewers = b"", 0, 0
        self._stalled, self._closed = False, False
        self._server = _Server((url.hostname, url.port), self)
        self._threads = (
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05},
                             name=f"camera {source}", daemon=True),
            threading.Thread(target=self._render, name=f"render {source}", daemon=True),
        )
        for thread in self._threads:
            thread.start()

    def stall(self, stalled: bool = True) -> None:
        """Stop sending frames while keeping every connection open, as a hung camera does; False goes on."""
        with self._new:
            self._stalled = stalled
            self._new.notify_all()

    def close(self) -> None:
        """End every connection and free the port."""
        with self._new:
            self._closed = True
            self._new.notify_all()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()

    def _render(self) -> None:
        with self._new:
            while not self._closed:
                if self._viewers == 0 or self._stalled:
                    self._new.wait()
                    continue
                ok, jpeg = cv2.imencode(".jpg", self._take(), (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
                assert ok  # noqa: S101  # a uint8 picture always encodes
                self._jpeg, self._number = jpeg.tobytes(), self._number + 1
                self._new.notify_all()
                self._new.wait_for(lambda: self._closed, self._period_s)

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one viewer until it leaves or the camera closes."""
        if handler.path != self._path:
            handler.send_error(404)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        handler.end_headers()
        with self._new:
            self._viewers += 1
            self._new.notify_all()
        try:
            self._send_all(handler)
        except OSError:
            return  # the viewer left
        finally:
            with self._new:
                self._viewers -= 1

    def _send_all(self, handler: BaseHTTPRequestHandler) -> None:
        sent = self._number
        while True:
            with self._new:
                self._new.wait_for(lambda: self._closed or (self._number != sent and not self._stalled))  # noqa: B023
                if self._closed:
                    return
                jpeg, sent = self._jpeg, self._number
            handler.wfile.write(f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                                .encode() + jpeg + b"\r\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, address: tuple[str, int], camera: MjpegCamera) -> None:
        self.camera = camera
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    timeout = 1.0
    server: _Server

    def do_GET(self) -> None:  # http.server's name
        self.server.camera.serve(self)

    def log_message(self, *_: object) -> None:
        """Say nothing: a viewer each second is no news."""
