"""What every sensor driver is, and the serial port that most of them share."""

from __future__ import annotations

import errno
import os
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import serial
from pydantic import BaseModel, ConfigDict, Field, field_validator

from edge.errors import SensorError
from edge.readings import Reading
from edge.sensors.recording import Tap
from edge.sensors.replay import SCHEME, ReplayPort

KILOGRAMS = {"kg": Decimal(1), "g": Decimal("0.001"), "lb": Decimal("0.45359237"), "oz": Decimal("0.028349523125")}
"""Mass units by their exact factor to kg (international avoirdupois pound, 1959)."""


class Driver(Protocol):
    """One open device, read from one thread."""

    def read(self) -> tuple[Reading, ...]:
        """Ask once, in bounded time; SensorError with a reason where the device gave nothing usable."""

    def close(self) -> None:
        """Let the device go. Never raises, and may be called again."""


class SensorSettings(BaseModel):
    """What a shop's profile says of any sensor: its name, its port and how often to read and report it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=63)
    port: str = Field(min_length=1, description="serial port by a stable name, like /dev/serial/by-id/..., "
                      "or replay:FILE")
    period_s: float = Field(1.0, ge=0.05, description="seconds between two readings")
    report_s: float = Field(60.0, gt=0, description="readings are reported on change, or after this long")

    @field_validator("name")
    @classmethod
    def _not_slot(cls, name: str) -> str:
        if name == "slot":
            raise ValueError("slot/... names the stock of a slot, so no sensor can be called slot")
        return name


_REASONS = {
    errno.ENOENT: "no_port", errno.ENXIO: "no_port", errno.ENODEV: "no_port",
    errno.EACCES: "no_permission", errno.EPERM: "no_permission",
    errno.EINVAL: "port_settings",
    errno.ENOTTY: "not_serial", errno.EISDIR: "not_serial",
    errno.EAGAIN: "port_busy", errno.EBUSY: "port_busy",
}
_WORDS = {
    "no_permission": "no permission: the user belongs in the group dialout",
    "port_busy": "in use by another program",
    "not_serial": "is no serial port",
}
"""What a person reads, where the system's own word does not help."""

_taps: dict[str, Tap] = {}


@contextmanager
def tapped(port: str, tap: Tap) -> Iterator[None]:
    """Ports of this name that are opened meanwhile tell `tap` every byte that goes over them."""
    _taps[port] = tap
    try:
        yield
    finally:
        del _taps[port]


def tap_of(port: str) -> Tap | None:
    """Who listens to this port now, for a device that is no serial one."""
    return _taps.get(port)


class _Port(serial.Serial):  # type: ignore[misc]  # pyserial ships no types
    """A serial port that may be listened to, and that may be a recording."""

    tap: Tap | None = None
    replay: ReplayPort | None = None

    def read(self, size: int = 1) -> bytes:
        data: bytes = super().read(size)
        if data and self.tap is not None:
            self.tap("<", data)
        return data

    def write(self, data: bytes) -> int | None:
        sent: int | None = super().write(data)
        if self.tap is not None:
            self.tap(">", bytes(data))
        return sent

    def close(self) -> None:
        super().close()
        if self.replay is not None:
            self.replay.close()


def open_port(port: str, **settings: Any) -> serial.Serial:
    """A serial port for this process alone; SensorError `no_port`, `no_permission`, `port_busy`, `not_serial`, or
    `port_settings` where it cannot do what is asked.

    `port` may be `replay:FILE`, a recording (ConfigError where it is none). `settings` are pyserial's: baudrate,
    bytesize, parity, stopbits, timeout, write_timeout.
    """
    replay = ReplayPort(Path(port.removeprefix(SCHEME))) if port.startswith(SCHEME) else None
    try:
        opened = _open(replay.path if replay else port, settings)
    except (OSError, termios.error, ValueError) as error:
        if replay:
            replay.close()
        # pyserial tells some failures in words alone, and the system's own error stands behind its own.
        number = _number(error) or _number(error.__context__)
        reason = _REASONS.get(number, "no_port")
        raise SensorError(reason, f"{port}: {_WORDS.get(reason) or _in_words(error, number)}") from error
    opened.tap, opened.replay = tap_of(port), replay
    return opened


def _open(port: str, settings: dict[str, Any]) -> _Port:
    try:
        return _Port(port, exclusive=True, **settings)
    except termios.error as error:
        # glibc refuses 7 bits or parity on a pseudo-terminal, whose bytes pass unchanged anyway (pyserial #196).
        if error.args[0] != errno.EINVAL or not Path(port).resolve().is_relative_to("/dev/pts"):
            raise
        return _Port(port, exclusive=True, **settings | {"bytesize": 8, "parity": "N"})


@contextmanager
def plugged(port: str) -> Iterator[None]:
    """SensorError `unplugged` for everything that pyserial raises when an adapter goes away.

    Those are SerialException, OSError and termios.error, which is not an OSError.
    """
    try:
        yield
    except (OSError, termios.error) as error:
        raise SensorError("unplugged", f"{port}: {_in_words(error, _number(error))}") from error


def _number(error: BaseException | None) -> int:
    """The system's number of an error, 0 where it has none."""
    first = next(iter(error.args), 0) if error is not None else 0
    return first if isinstance(first, int) else 0


def _in_words(error: BaseException, number: int) -> str:
    """Once, and without the port's name, which pyserial says twice."""
    return os.strerror(number) if number else str(error)
