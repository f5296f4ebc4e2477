"""What every simulated camera is made of: pictures taken while somebody looks, faults on demand, and a server."""

from __future__ import annotations

import random
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np

from edge.clock import Clock
from edge.errors import ConfigError, Problem
from edge.sim.packs import Frame
from edge.vision.cameras.address import Address

QUALITY = 88
PERIOD_S = 0.5
TRICKLE_S, TRICKLE_PARTS = 0.5, 8


class CameraFault(StrEnum):
    """What goes wrong with a camera; `none` is a good one.

    `stall` keeps every connection open and sends nothing; `close` drops each connection, new ones too; `frozen`
    sends the same picture again and again; `garbage` sends noise as pictures; `slow` takes 4 s to send each picture.
    """

    NONE = "none"
    STALL = "stall"
    BLACK = "black"
    FROZEN = "frozen"
    CLOSE = "close"
    GARBAGE = "garbage"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture as it goes out: JPEG, its number from 1, and when it was taken (monotonic seconds)."""

    jpeg: bytes
    number: int
    t_monotonic: float


class Feed:
    """Pictures, each rendered and encoded once for all who look, and only while somebody looks."""

    def __init__(self, take: Callable[[], Frame], period_s: float, name: str, clock: Clock) -> None:
        self._take, self._period_s, self._clock = take, period_s, clock
        self._new = threading.Condition()
        self._shot = Shot(b"", 0, 0.0)
        self._fault, self._viewers, self._closed = CameraFault.NONE, 0, False
        self._rng = random.Random(name)
        self._thread = threading.Thread(target=self._render, name=f"render {name}", daemon=True)
        self._thread.start()

    @property
    def fault(self) -> CameraFault:
        """What is wrong now."""
        return self._fault

    def set_fault(self, fault: CameraFault) -> None:
        """From now on this goes wrong, or nothing."""
        with self._new:
            self._fault = fault
            self._new.notify_all()

    @contextmanager
    def viewer(self) -> Iterator[None]:
        """While somebody looks, pictures are taken."""
        with self._new:
            self._viewers += 1
            self._new.notify_all()
        try:
            yield
        finally:
            with self._new:
                self._viewers -= 1

    def after(self, number: int) -> Shot | None:
        """Wait for the first picture after that number; None where the connection is to end."""
        with self._new:
            self._new.wait_for(lambda: self._closed or self._fault is CameraFault.CLOSE or (
                self._shot.number > number and self._fault is not CameraFault.STALL))
            return None if self._closed or self._fault is CameraFault.CLOSE else self._shot

    def send(self, data: bytes, write: Callable[[bytes], object]) -> None:
        """Write a picture's bytes, a `slow` camera's in eight parts over 4 s."""
        if self._fault is not CameraFault.SLOW:
            write(data)
            return
        step = len(data) // TRICKLE_PARTS + 1
        for start in range(0, len(data), step):
            write(data[start:start + step])
            with self._new:
                self._new.wait_for(lambda: self._closed or self._fault is not CameraFault.SLOW, TRICKLE_S)

    def garbled(self, data: bytes) -> bytes:
        """The bytes, or noise in place of them where that is what goes wrong."""
        return self._rng.randbytes(len(data)) if self._fault is CameraFault.GARBAGE else data

    def close(self) -> None:
        """End the rendering and every wait."""
        with self._new:
            self._closed = True
            self._new.notify_all()
        self._thread.join()

    def _render(self) -> None:
        with self._new:
            while not self._closed:
                if self._viewers == 0 or self._fault in {CameraFault.STALL, CameraFault.CLOSE}:
                    self._new.wait()
                    continue
                t = self._clock.monotonic()
                self._shot = Shot(self._picture(), self._shot.number + 1, t)
                self._new.notify_all()
                self._new.wait_for(lambda: self._closed, max(0.0, self._period_s - (self._clock.monotonic() - t)))

    def _picture(self) -> bytes:
        if self._fault is CameraFault.FROZEN and self._shot.jpeg:
            return self._shot.jpeg
        picture = self._take()
        if self._fault is CameraFault.BLACK:
            picture = np.zeros_like(picture)
        return encode(picture)


def encode(picture: Frame) -> bytes:
    """The picture as a camera's JPEG."""
    ok, jpeg = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
    assert ok  # noqa: S101  # a uint8 picture always encodes
    return jpeg.tobytes()


class ServedCamera:
    """A feed and the server that shows it; a kind of camera says how one viewer is served."""

    def __init__(self, source: str, feed: Feed, server: socketserver.BaseServer) -> None:
        self.feed, self._server = feed, server
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05},
                                        name=f"camera {source}", daemon=True)
        self._thread.start()

    def set_fault(self, fault: CameraFault) -> None:
        """From now on this goes wrong, or nothing (`CameraFault.NONE`)."""
        self.feed.set_fault(fault)

    def close(self) -> None:
        """End every connection and free the port."""
        self.feed.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def where(source: str, scheme: str) -> Address:
    """Where a simulated camera is to listen; ConfigError where the address names no host and port."""
    address = Address.parse(source)
    if address.scheme != scheme or not address.host or not address.port:
        raise ConfigError(address.shown, (Problem("source", f"a virtual camera needs {scheme}://HOST:PORT/PATH"),))
    return address
