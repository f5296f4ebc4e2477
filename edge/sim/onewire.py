"""The kernel's 1-wire tree, as files: a thermometer's folder appears, is read, and goes.

    OneWire(folder) ── put("28-0316a2794bff", 23.125) ─▶ folder/28-0316a2794bff/w1_slave
    SimThermometer(folder/28-0316a2794bff, celsius) ── every 0.75 s ─▶ the same, by itself
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

Fault = Literal["none", "bad-crc", "power-on", "low-power", "shorted", "silent", "garbled"]
REFRESH_S = 0.75
"""As long as a conversion takes."""
_POWER_ON, _LOW_POWER = 0x0550, 0x07FF


def scratchpad(celsius: float, *, failed: bool = False) -> bytes:
    """The nine bytes of a DS18B20 at twelve bits: sixteenths of a degree, and their checksum."""
    raw = round(celsius * 16)
    low, high = (raw & 0xFFFF).to_bytes(2, "little")
    body = bytes((low, high, 0x4B, 0x46, 0x7F, 0xFF, 0x0C if failed else 0x10 - (raw & 0xF), 0x10))
    return body + bytes((_crc8(body),))


def w1_slave(celsius: float, fault: Fault = "none") -> bytes:
    """What the kernel's file says of a thermometer (w1_therm.rst), or of one with a fault."""
    if fault == "silent":
        return b""
    if fault == "garbled":
        return b"ff ff ff ff ff ff\n"
    raw = {"power-on": _POWER_ON / 16, "low-power": _LOW_POWER / 16}.get(fault, celsius)
    data = bytes(9) if fault == "shorted" else scratchpad(raw, failed=fault in ("power-on", "low-power"))
    came = bytes((data[0] ^ 0x08, *data[1:])) if fault == "bad-crc" else data
    verdict = "NO" if fault == "bad-crc" else "YES"
    value = int.from_bytes(data[:2], "little", signed=True)
    thousandths = abs(value) * 1000 // 16 * (-1 if value < 0 else 1)
    return (f"{came.hex(' ')} : crc={_crc8(came[:8]):02x} {verdict}\n"
            f"{data.hex(' ')} t={thousandths}\n").encode()


class OneWire:
    """A tree of thermometers under a folder, like /sys/bus/w1/devices."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, name: str, celsius: float, fault: Fault = "none") -> Path:
        """A thermometer, new or as it is now; its folder, which a sensor's `port` names."""
        place = self.folder / name
        place.mkdir(exist_ok=True)
        part = place / ".w1_slave.part"
        part.write_bytes(w1_slave(celsius, fault))
        os.replace(part, place / "w1_slave")
        return place

    def unplug(self, name: str) -> None:
        """Its folder goes, as the kernel's does after some searches without it."""
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def close(self) -> None:
        """All of them go."""
        shutil.rmtree(self.folder, ignore_errors=True)


class SimThermometer:
    """One thermometer that measures `celsius()` every `REFRESH_S`; `fault` may be set at any time."""

    def __init__(self, place: Path, celsius: Callable[[], float]) -> None:
        self.fault: Fault = "none"
        self._wire, self._name, self._celsius = OneWire(place.parent), place.name, celsius
        self._stop = threading.Event()
        self._wire.put(self._name, celsius())
        self._thread = threading.Thread(target=self._live, name=f"thermometer {self._name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Its folder goes."""
        self._stop.set()
        self._thread.join()
        self._wire.unplug(self._name)

    def _live(self) -> None:
        while not self._stop.wait(REFRESH_S):
            self._wire.put(self._name, self._celsius(), self.fault)


def _crc8(data: bytes) -> int:
    """The 1-wire checksum by its table-free shift form (Maxim application note 27)."""
    crc = 0
    for byte in data:
        for bit in range(8):
            mixed = (crc ^ byte >> bit) & 1
            crc = crc >> 1 ^ (0x8C if mixed else 0)
    return crc
