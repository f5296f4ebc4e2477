"""A recording as a serial port: a pseudo-terminal that answers as the recorded device did."""

from __future__ import annotations

import os
import select
import threading
import tty
from pathlib import Path

from edge.sensors.recording import Exchange, load

SCHEME = "replay:"


class ReplayPort:
    """The recorded device behind a pseudo-terminal; `path` is the port to open.

    A request that was recorded is answered with what followed it the next time that it was made; after the
    recording's end, and to any other request, the line stays silent.
    """

    def __init__(self, file: Path) -> None:
        """ConfigError where the file is no recording."""
        self._left = list(load(file).exchanges())
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, name=f"replay {file}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take the device away; safe to call twice."""
        if not self._thread.is_alive():
            return
        os.write(self._waker, b"x")
        self._thread.join()
        for fd in (self._master, self._slave, self._wake, self._waker):
            os.close(fd)

    def _run(self) -> None:
        if self._left and not self._left[0].request and not self._play(self._left.pop(0)):
            return
        heard = b""
        while True:
            ready, _, _ = select.select([self._master, self._wake], [], [])
            if self._wake in ready:
                return
            heard += os.read(self._master, 4096)
            at = next((i for i, each in enumerate(self._left) if each.request == heard), None)
            if at is not None:
                played, self._left[: at + 1], heard = self._left[at], [], b""
                if not self._play(played):
                    return
            elif not any(each.request.startswith(heard) for each in self._left):
                heard = b""

    def _play(self, exchange: Exchange) -> bool:
        """Say what was said, in time; False where the port was closed meanwhile."""
        before = 0.0
        for after, data in exchange.replies:
            stopped, _, _ = select.select([self._wake], [], [], max(0.0, after - before))
            if stopped:
                return False
            before = after
            if not self._say(data):
                return False
        return True

    def _say(self, data: bytes) -> bool:
        """Wait while the line is full; False where the port was closed meanwhile."""
        while data:
            stopped, _, _ = select.select([self._wake], [self._master], [])
            if stopped:
                return False
            data = data[os.write(self._master, data):]
        return True
