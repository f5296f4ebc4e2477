"""A shelf camera as MJPEG over HTTP or over RTSP, at the address where the profile looks for it."""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from edge.clock import Clock, SystemClock
from edge.errors import ConfigError, Problem
from edge.sim.feed import PERIOD_S, Feed, ServedCamera, where
from edge.sim.login import Login
from edge.sim.packs import Frame
from edge.sim.rtsp import RtspCamera
from edge.vision.cameras.address import Address

BOUNDARY = "frame"


class MjpegCamera(ServedCamera):
    """Serves frames over HTTP as `multipart/x-mixed-replace`."""

    def __init__(self, source: str, take: Callable[[], Frame], period_s: float = PERIOD_S,
                 clock: Clock | None = None) -> None:
        """`take` gives the frame of this moment, BGR uint8. A source with a name and a password asks for them
        (HTTP digest). ConfigError where `source` is no http:// address; OSError where the port is taken.
        """
        address = where(source, "http")
        self._path, self._login = address.path or "/", Login(address)
        server = _Server((address.host, address.port or 80), self)
        super().__init__(address.shown, Feed(take, period_s, address.shown, clock or SystemClock()), server)

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one viewer until it leaves or the camera closes."""
        if handler.path != self._path:
            handler.send_error(404)
            return
        if not self._login.accepts(handler.headers.get("Authorization", ""), handler.command):
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", self._login.challenge)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        try:
            with self.feed.viewer():
                self._send_all(handler)
        except OSError:
            return  # the viewer left

    def _send_all(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        handler.end_headers()
        shot = self.feed.after(0)
        while shot is not None:
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(shot.jpeg)}\r\n\r\n".encode()
            self.feed.send(head + self.feed.garbled(shot.jpeg) + b"\r\n", handler.wfile.write)
            shot = self.feed.after(shot.number)


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


# The scheme of an address -> the camera that a virtual shop puts there.
KINDS: dict[str, Callable[[str, Callable[[], Frame]], ServedCamera]] = {"http": MjpegCamera, "rtsp": RtspCamera}


def sim_camera(source: str, take: Callable[[], Frame]) -> ServedCamera:
    """A camera at `source`; ConfigError where none can be simulated there, OSError where the port is taken."""
    address = Address.parse(source)
    if address.scheme not in KINDS:
        raise ConfigError(address.shown, (Problem(
            "source", "a virtual camera needs " + " or ".join(f"{kind}://HOST:PORT/PATH" for kind in KINDS)),))
    return KINDS[address.scheme](source, take)
