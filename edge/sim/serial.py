"""A serial port that is a pseudo-terminal, at the path where the profile looks for it."""

from __future__ import annotations

import os
import select
import termios
import threading
import tty
from collections.abc import Callable
from pathlib import Path

_SPEEDS = {getattr(termios, f"B{rate}"): rate for rate in (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)}


class PtyPort:
    """The device's end of a serial line; the agent opens the other end at `link`.

    `on_bytes` is called in the port's own thread with what the agent wrote. Bytes that nobody reads are dropped
    when the line is full, as on a wire.
    """

    def __init__(self, link: Path | None, on_bytes: Callable[[bytes], None]) -> None:
        """Open a raw pseudo-terminal and point `link` at it, replacing one that a killed shop left behind.

        OSError where `link` is a real file or cannot be made.
        """
        self.link = link
        self._on_bytes = on_bytes
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._open()

    def write(self, data: bytes) -> None:
        """Send bytes to the agent; lost where the port is unplugged or its buffer is full."""
        with self._lock:
            if self._thread is None:
                return
            try:
                os.write(self._master, data)
            except BlockingIOError:
                return

    def baudrate(self) -> int:
        """The speed at which the agent's end is set up: a pseudo-terminal keeps it, though it means nothing to it."""
        with self._lock:
            return 0 if self._thread is None else _SPEEDS.get(termios.tcgetattr(self._slave)[5], 0)

    def unplug(self) -> None:
        """Take the device away: the agent's end fails and the path is gone."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is None:
            return
        os.write(self._waker, b"x")
        thread.join()
        if self.link is not None and self.link.is_symlink() and os.readlink(self.link) == self.path:
            self.link.unlink()
        for fd in (self._master, self._slave, self._wake, self._waker):
            os.close(fd)

    def replug(self) -> None:
        """Bring the device back, behind a new pseudo-terminal at the same path."""
        if self._thread is None:
            self._open()

    def close(self) -> None:
        """Unplug for good."""
        self.unplug()

    def _open(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._wake, self._waker = os.pipe()
        try:
            self._point()
        except OSError:
            for fd in (self._master, self._slave, self._wake, self._waker):
                os.close(fd)
            raise
        self._thread = threading.Thread(target=self._run, name=f"pty {self.link or self.path}", daemon=True)
        self._thread.start()

    def _point(self) -> None:
        if self.link is None:
            return
        if self.link.exists() and not self.link.is_symlink():
            raise FileExistsError(f"{self.link} is there already and is no virtual port")
        self.link.parent.mkdir(parents=True, exist_ok=True)
        part = self.link.with_name(f".{self.link.name}.part")
        part.unlink(missing_ok=True)
        part.symlink_to(self.path)
        os.replace(part, self.link)

    def _run(self) -> None:
        # The slave stays open here, so that an agent that closes its end does not hang the line up.
        while True:
            ready, _, _ = select.select([self._master, self._wake], [], [])
            if self._wake in ready:
                return
            self._on_bytes(os.read(self._master, 4096))
