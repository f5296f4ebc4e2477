"""MJPEG over HTTP: `multipart/x-mixed-replace`, one JPEG a part.

Read here and not by FFmpeg, because that gives no time stamps to tell old frames by, decodes every frame (2.8% of a
core at 1280 x 720 and 10 a second, against 0.1% here), and keeps the camera's own bytes, which a recording is to hold.
"""

from __future__ import annotations

import http.client
import re
import socket
import urllib.error
import urllib.request
from collections import deque
from functools import partial
from typing import IO

from edge.clock import Clock
from edge.errors import CameraError
from edge.vision.cameras.address import Address
from edge.vision.cameras.frame import decode
from edge.vision.cameras.live import OPEN_S, READ_S, Arrival, LiveCamera
from edge.vision.cameras.pace import Pace

HEAD_BYTES = 8192
PART_BYTES = 16 * 1024 * 1024
CHUNK = 64 * 1024


class Parts:
    """Takes a multipart stream apart as it comes. Pure.

    Parts end by their Content-Length, or at the boundary where they name none. A part's `X-Timestamp`, which
    mjpg-streamer and the ESP32 camera send, is the camera's own time in seconds.
    """

    def __init__(self, boundary: str) -> None:
        """`boundary` as in Content-Type; some cameras write its two dashes there too."""
        self._end = b"\r\n--" + boundary.strip('"').removeprefix("--").encode("latin-1")
        self._buffer = bytearray()
        self._length: int | None = None
        self._stamp: float | None = None
        self._in_body = False

    def feed(self, data: bytes) -> list[tuple[bytes, float | None]]:
        """The whole parts that are now there, with their stamps.

        Raises:
            ValueError: no multipart stream: a head without an end, a part over 16 MiB.
        """
        self._buffer += data
        found = []
        while self._head() and (body := self._body()) is not None:
            found.append((body, self._stamp))
        return found

    def _head(self) -> bool:
        """Whether the buffer stands in a body now."""
        if self._in_body:
            return True
        end = re.search(rb"\r?\n\r?\n", self._buffer.lstrip(b"\r\n"))
        if end is None:
            if len(self._buffer) > HEAD_BYTES:
                raise ValueError("a part without an end of its head")
            return False
        skipped = len(self._buffer) - len(self._buffer.lstrip(b"\r\n"))
        head = self._buffer[skipped:skipped + end.start()].decode("latin-1")
        length = re.search(r"(?im)^content-length:\s*(\d+)", head)
        stamp = re.search(r"(?im)^x-timestamp:\s*(\d+\.\d+)\s*$", head)
        self._length = int(length[1]) if length else None
        self._stamp = float(stamp[1]) if stamp else None
        del self._buffer[:skipped + end.end()]
        self._in_body = True
        return True

    def _body(self) -> bytes | None:
        if max(self._length or 0, len(self._buffer)) > PART_BYTES + CHUNK:
            raise ValueError("a part over 16 MiB")
        end = self._buffer.find(self._end) if self._length is None else self._length
        if end < 0 or len(self._buffer) < end:
            return None
        body = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._in_body = False
        return body


class MjpegStream:
    """One open stream, a `Source`."""

    def __init__(self, address: Address, clock: Clock) -> None:
        """CameraError `no_camera`, `no_login` or `not_mjpeg`, after about `OPEN_S` at the latest."""
        self._name, self._clock = address.shown, clock
        self._response, self._socket = _ask(address)
        kind = self._response.headers.get_content_type()
        if not kind.startswith("multipart/"):
            self._response.close()
            raise CameraError("not_mjpeg", f"{self._name} answers {kind}, not multipart/x-mixed-replace")
        self._parts = Parts(str(self._response.headers.get_param("boundary", "")))
        self._ready: deque[tuple[bytes, float | None]] = deque()
        self._pace = Pace(clock.monotonic())

    def next(self) -> Arrival:
        end = self._clock.monotonic() + READ_S
        while not self._ready:
            left = end - self._clock.monotonic()
            if left <= 0:  # it trickles
                raise self._stalled()
            self._socket.settimeout(left)
            self._ready.extend(self._more())
        jpeg, stamp = self._ready.popleft()
        return Arrival(self._pace.step(self._clock.monotonic(), stamp), partial(decode, jpeg), jpeg)

    def close(self) -> None:
        self._response.close()

    def _stalled(self) -> CameraError:
        return CameraError("stalled", f"{self._name} sent no frame for {READ_S:.0f} s")

    def _more(self) -> list[tuple[bytes, float | None]]:
        try:
            data = self._response.read1(CHUNK)
            parts = self._parts.feed(data)
        except TimeoutError as error:
            raise self._stalled() from error
        except ValueError as error:
            raise CameraError("undecodable", f"{self._name}: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            raise CameraError("stream_ended", f"{self._name}: {type(error).__name__}") from error
        if not data:
            raise CameraError("stream_ended", f"{self._name} closed the stream")
        return parts


class _Refusal(urllib.request.BaseHandler):
    """Ends the connection whose answer asked for the login, which urllib leaves to the garbage collector."""

    handler_order = 100

    def http_error_401(self, _request: object, answer: IO[bytes], *_: object) -> None:
        answer.close()


def _ask(address: Address) -> tuple[http.client.HTTPResponse, socket.socket]:
    """The answer to a GET, and its socket; the login goes out only where it is asked for, basic or digest."""
    logins = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), _Refusal(),  # a camera is a neighbour
        urllib.request.HTTPBasicAuthHandler(logins), urllib.request.HTTPDigestAuthHandler(logins))
    try:
        logins.add_password(None, address.bare, address.user, address.password)
        response = opener.open(address.bare, timeout=OPEN_S)
    except urllib.error.HTTPError as error:
        error.close()
        reason = "no_login" if error.code in {401, 403} else "no_camera"
        raise CameraError(reason, f"{address.shown} answers {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        # Only the kind of error: its text may hold the address as it was given.
        raise CameraError("no_camera", f"{address.shown} does not answer ({type(error).__name__})") from None
    # The socket is the only way to a timeout for each wait; http.client keeps it here since Python 3.0.
    return response, response.fp.raw._sock


def open_mjpeg(source: str, clock: Clock) -> LiveCamera:
    """The MJPEG stream at an http:// or https:// address."""
    address = Address.parse(source)
    return LiveCamera(lambda: MjpegStream(address, clock), address.shown, clock)
