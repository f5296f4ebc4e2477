"""Modbus RTU devices on one RS-485 line: pymodbus's simulator behind a null modem of two pseudo-terminals.

    agent ── link ─ PtyPort ══ PtyPort ── ModbusSerialServer
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge.sim.serial import PtyPort


def xy_md02(address: int, climate: Callable[[], tuple[float, float]]) -> SimDevice:
    """XY-MD02 probe: input register 1 temperature as int16 / 10, 2 relative humidity / 10."""
    async def refresh(_function: int, start: int, _address: int, _count: int, registers: list[int],
                      _values: Any) -> ExcCodes | None:
        for register, value in enumerate(climate(), 1):
            registers[register - start] = round(value * 10) & 0xFFFF
        return None

    return SimDevice(address, [SimData(1, values=[0, 0], datatype=DataType.REGISTERS)], action=refresh)


def waveshare_io_8ch(address: int, door_open: Callable[[], bool]) -> SimDevice:
    """Waveshare Modbus RTU IO 8CH: discrete input 0 is the door's contact, 1 while it is open."""
    async def refresh(_function: int, start: int, _address: int, _count: int, registers: list[int],
                      _values: Any) -> ExcCodes | None:
        registers[-start] = int(door_open())
        return None

    return SimDevice(address, [SimData(0, values=[0], datatype=DataType.REGISTERS)], action=refresh)


class Rs485Line:
    """A line with its devices, served by an event loop of its own."""

    def __init__(self, link: Path, devices: Sequence[SimDevice]) -> None:
        self.port = PtyPort(link, self._to_server)
        self._far = PtyPort(None, self.port.write)
        self._devices = list(devices)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"rs485 {link}", daemon=True)
        self._thread.start()

    def wait_ready(self, timeout_s: float) -> bool:
        """Whether the devices answer by then."""
        return self._ready.wait(timeout_s)

    def close(self) -> None:
        """Stop answering and take the port away."""
        if not self._thread.is_alive():
            return
        self._ready.wait()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self.port.close()
        self._far.close()

    def _to_server(self, data: bytes) -> None:
        self._far.write(data)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            try:
                runner.run(self._serve())
            finally:
                self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = ModbusSerialServer(self._devices, port=self._far.path, baudrate=9600)
        await server.serve_forever(background=True)
        self._ready.set()
        await self._stop.wait()
        await server.shutdown()  # type: ignore[no-untyped-call]
