"""Serial devices on real pseudo-terminals: an adapter that can be pulled and plugged, and what answers behind it."""

from __future__ import annotations

import asyncio
import os
import select
import threading
import tty
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import SimDevice

Answer = Callable[[bytes], bytes]


def silent(_: bytes) -> bytes:
    """A device that is there and says nothing."""
    return b""


class Adapter:
    """A serial adapter under a stable path.

    `answer(bytes heard)` gives the bytes that the device sends back; `unasked` it says every 20 ms by itself.
    """

    def __init__(self, path: Path, answer: Answer = silent) -> None:
        self.path, self.answer = path, answer
        self.unasked = b""
        self._fds: tuple[int, ...] = ()
        self._thread: threading.Thread | None = None
        self.plug()

    def plug(self) -> None:
        """Appear at the path, on a new terminal each time, as adapters do."""
        master, slave = os.openpty()
        tty.setraw(slave)
        quit_read, quit_write = os.pipe()
        self._fds = (master, slave, quit_read, quit_write)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(slave))
        self._thread = threading.Thread(target=self._serve, args=(master, quit_read), daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> None:
        """Speak unasked."""
        os.write(self._fds[0], data)

    def unplug(self) -> None:
        """Go away in the middle of anything."""
        if self._thread:
            os.write(self._fds[3], b"q")
            self._thread.join()
            self._thread = None
            self.path.unlink(missing_ok=True)
            for fd in self._fds:
                os.close(fd)

    def _serve(self, master: int, quit_read: int) -> None:
        while True:
            ready, _, _ = select.select([master, quit_read], [], [], 0.02)  # `unasked` may be set at any time
            if quit_read in ready:
                return
            with suppress(BlockingIOError):
                os.write(master, self.answer(os.read(master, 256)) if ready else self.unasked)


def replies(table: dict[bytes, bytes]) -> Answer:
    """A device that knows these requests and is silent to all others."""
    heard = bytearray()

    def answer(data: bytes) -> bytes:
        heard.extend(data)
        for request, reply in table.items():
            if request in heard:
                heard.clear()
                return reply
        return b""

    return answer


@contextmanager
def modbus_simulator(path: Path, devices: list[SimDevice]) -> Iterator[None]:
    """pymodbus's own simulator behind `path`: two terminals joined by a pump thread, like a null modem."""
    ours, theirs = Adapter(path), Adapter(path.with_name("server"))
    ours.answer, theirs.answer = _relay(theirs), _relay(ours)
    started = threading.Event()
    loop = asyncio.new_event_loop()
    servers: list[ModbusSerialServer] = []

    async def serve() -> None:
        server = ModbusSerialServer(devices, port=str(theirs.path), baudrate=9600)
        servers.append(server)
        await server.serve_forever(background=True)
        started.set()
        await server.serving

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield
    finally:
        shutdown: Coroutine[Any, Any, None] = servers[0].shutdown()  # type: ignore[no-untyped-call]
        asyncio.run_coroutine_threadsafe(shutdown, loop).result(10)
        thread.join(10)
        loop.run_until_complete(asyncio.sleep(0))  # the transport's last callbacks
        loop.close()
        ours.unplug()
        theirs.unplug()


def _relay(other: Adapter) -> Answer:
    def pass_on(data: bytes) -> bytes:
        other.send(data)
        return b""

    return pass_on
