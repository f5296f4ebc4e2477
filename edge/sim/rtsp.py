"""A shelf camera over RTSP: RTP interleaved in the RTSP connection (RFC 2326, 10.12), JPEG as payload (RFC 2435)."""

from __future__ import annotations

import re
import select
import socketserver
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BufferedIOBase

from edge.clock import Clock, SystemClock
from edge.sim.feed import PERIOD_S, Feed, ServedCamera, where
from edge.sim.login import Login
from edge.sim.packs import Frame

RTP_JPEG = 26
RTP_HZ = 90_000
PAYLOAD = 1400
_MARKER = 0x80
_DQT, _SOF0, _SOS = 0xDB, 0xC0, 0xDA


@dataclass(frozen=True, slots=True)
class JpegParts:
    """What of a baseline JPEG travels: sizes in pixels, RFC 2435's type, both quantisation tables, the scan."""

    width: int
    height: int
    kind: int
    tables: bytes
    scan: bytes


def jpeg_parts(jpeg: bytes) -> JpegParts:
    """Take a baseline JPEG with the standard Huffman tables apart, as libjpeg writes it.

    Raises:
        ValueError: no such JPEG.
    """
    at, tables, size = 2, b"", (0, 0, -1)
    while at + 4 <= len(jpeg):
        mark, kind, length = struct.unpack_from(">BBH", jpeg, at)
        body = jpeg[at + 4:at + 2 + length]
        at += 2 + length
        if mark != 0xFF:
            break
        if kind == _DQT:
            for start in range(0, len(body), 65):
                tables += body[start + 1:start + 65]
        elif kind == _SOF0:
            height, width, _, _, sampling = struct.unpack_from(">HHBBB", body, 1)
            size = (width, height, {0x21: 0, 0x22: 1}.get(sampling, -1))
        elif kind == _SOS and len(tables) == 128 and size[2] >= 0:
            return JpegParts(*size, tables, jpeg[at:-2])
    raise ValueError("no baseline JPEG with two quantisation tables and 4:2:2 or 4:2:0 sampling")


def rtp_packets(parts: JpegParts, number: int, t_monotonic: float) -> Iterator[bytes]:
    """The RTP packets of one picture; `number` is the first packet's sequence number, the last has the marker set."""
    stamp = round(t_monotonic * RTP_HZ) & 0xFFFFFFFF
    at = 0
    while at < len(parts.scan):
        head = struct.pack(">II", at, parts.kind << 24 | 255 << 16 | parts.width // 8 << 8 | parts.height // 8)
        if at == 0:
            head += struct.pack(">BBH", 0, 0, len(parts.tables)) + parts.tables
        piece = parts.scan[at:at + PAYLOAD - len(head)]
        at += len(piece)
        marker = _MARKER if at >= len(parts.scan) else 0
        yield struct.pack(">BBHII", 0x80, marker | RTP_JPEG, number & 0xFFFF, stamp, 0xC0FFEE) + head + piece
        number += 1


class RtspCamera(ServedCamera):
    """Serves frames over RTSP to any number of players; only interleaved transport (`rtsp_transport=tcp`)."""

    def __init__(self, source: str, take: Callable[[], Frame], period_s: float = PERIOD_S,
                 clock: Clock | None = None) -> None:
        """`take` gives BGR uint8 frames with sides that are multiples of 8, up to 2040. A source with a name and a
        password asks for them. ConfigError where `source` is no rtsp:// address; OSError where the port is taken.
        """
        address = where(source, "rtsp")
        self.path, self.login, self.period_s = address.path or "/", Login(address), period_s
        server = _Server((address.host, address.port or 554), self)
        super().__init__(address.shown, Feed(take, period_s, address.shown, clock or SystemClock()), server)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = False

    def __init__(self, address: tuple[str, int], camera: RtspCamera) -> None:
        self.camera = camera
        super().__init__(address, _Handler)


class _Handler(socketserver.StreamRequestHandler):
    """One player's connection."""

    timeout = 1.0
    server: _Server

    def handle(self) -> None:
        try:
            while (request := _read_request(self.rfile)) is not None:
                method, url, headers = request
                self._answer(method, url, headers)
                if method == "PLAY":
                    with self.server.camera.feed.viewer():
                        self._play()
                    return
        except OSError:
            return  # the player left, or was silent before it played

    def _answer(self, method: str, url: str, headers: dict[str, str]) -> None:
        camera, body, more = self.server.camera, b"", ""
        status = "200 OK"
        if method == "OPTIONS":
            more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN\r\n"
        elif not camera.login.accepts(headers.get("authorization", ""), method):
            status, more = "401 Unauthorized", f"WWW-Authenticate: {camera.login.challenge}\r\n"
        elif not re.sub(r"^\w+://[^/]*", "", url).startswith(camera.path):
            status = "404 Not Found"
        elif method == "DESCRIBE":
            body, more = _sdp(camera.period_s), "Content-Type: application/sdp\r\n"
        elif method == "SETUP" and "TCP" not in headers.get("transport", ""):
            status = "461 Unsupported Transport"
        elif method == "SETUP":
            more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        self.wfile.write(f"RTSP/1.0 {status}\r\nCSeq: {headers.get('cseq', '0')}\r\nSession: 1;timeout=60\r\n{more}"
                         f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def _play(self) -> None:
        feed, packets = self.server.camera.feed, 0
        shot = feed.after(0)
        while shot is not None:
            parts = jpeg_parts(shot.jpeg)
            parts = replace(parts, scan=feed.garbled(parts.scan))
            for packet in rtp_packets(parts, packets, shot.t_monotonic):
                feed.send(struct.pack(">cBH", b"$", 0, len(packet)) + packet, self.wfile.write)
                packets += 1
            if select.select([self.connection], [], [], 0)[0]:
                request = _read_request(self.rfile)
                if request is None or request[0] == "TEARDOWN":
                    return
                self._answer(*request)
            shot = feed.after(shot.number)


def _read_request(file: BufferedIOBase) -> tuple[str, str, dict[str, str]] | None:
    """Method, URL and headers (lower case) of the next request; None at the end. The player's RTCP is skipped."""
    while (first := file.read(1)) == b"$":
        file.read(struct.unpack(">BH", file.read(3))[1])
    words = (first + file.readline(4096)).decode("latin-1").split()
    if len(words) < 2:
        return None
    headers = {}
    while line := file.readline(4096).decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    file.read(int(headers.get("content-length", "0")))
    return words[0], words[1], headers


def _sdp(period_s: float) -> bytes:
    return (f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=shelf\r\nt=0 0\r\nm=video 0 RTP/AVP {RTP_JPEG}\r\n"
            f"c=IN IP4 0.0.0.0\r\na=framerate:{1 / period_s:g}\r\na=control:track1\r\n").encode()
