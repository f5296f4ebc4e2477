"""Modbus RTU probes and contacts on a shared RS-485 line, each described by a device profile and not by code.

A request reads one run of adjacent registers or bits (Modbus application protocol V1.1b3, functions 2 to 4):

    ┌─────────┬──────────┬──────────┬───────┬───────────────┐
    │ address │ function │ register │ count │ CRC, low/high │
    │ 01      │ 04       │ 00 01    │ 00 02 │ 20 0B         │
    └─────────┴──────────┴──────────┴───────┴───────────────┘

Nothing is ever written to a device.
"""

from __future__ import annotations

import logging
import threading
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pymodbus.client import ModbusSerialClient
from pymodbus.exceptions import ConnectionException, ModbusIOException

from edge.clock import Clock
from edge.errors import ConfigError, Problem, SensorError
from edge.readings import OK, Reading
from edge.sensors.driver import SensorSettings, open_port, plugged

PROFILES = Path(__file__).parents[2] / "firmware_configs" / "devices"
# pymodbus logs an error for every lost answer; the sampler says it once.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)

Number = Annotated[Decimal, BeforeValidator(lambda value: str(value) if isinstance(value, float) else value)]
Registers = Mapping[tuple[int, int], int]
"""Raw values, 0 to 65535 or a bit, by (function, register)."""


class Settings(SensorSettings):
    """One device on a Modbus line; `device` names its profile, `xy-md02`."""

    driver: Literal["modbus"]
    device: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    address: int = Field(ge=1, le=247)
    baudrate: int | None = Field(None, ge=300, le=115200)
    parity: Literal["N", "E", "O"] | None = None
    timeout_s: float = Field(0.5, gt=0, le=5)

    @field_validator("device")
    @classmethod
    def _has_a_profile(cls, device: str) -> str:
        try:
            load_device(device)
        except ConfigError as error:
            raise ValueError("; ".join(map(str, error.problems))) from error
        return device


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SerialSettings(_Part):
    """How a device's line is set up when it leaves the factory."""

    baudrate: int = Field(default=9600, ge=300, le=115200)
    parity: Literal["N", "E", "O"] = "N"
    stopbits: Literal[1, 2] = 1


class Point(_Part):
    """One quantity: where it stands, how it is coded, and which values mean that there is none."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    function: Literal[2, 3, 4]
    at: int = Field(alias="register", ge=0, le=0xFFFF)  # BaseModel has a `register` of its own
    type: Literal["int16", "uint16", "bit"]
    scale: Number = Decimal(1)
    unit: Literal["Cel", "%RH", ""] = ""
    sentinels: tuple[int, ...] = ()
    min: Number | None = None
    max: Number | None = None

    @model_validator(mode="after")
    def _bits_come_from_function_2(self) -> Self:
        if (self.type == "bit") != (self.function == 2):
            raise ValueError("function 2 reads bits, functions 3 and 4 read int16 or uint16")
        return self


class DeviceProfile(_Part):
    """One make of device: `firmware_configs/devices/<name>.toml`."""

    title: str
    evidence: Literal["documented", "interop-verified", "hardware-verified"]
    source: str
    serial: SerialSettings = SerialSettings()
    points: tuple[Point, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_name_once(self) -> Self:
        names = [point.name for point in self.points]
        if len(set(names)) != len(names):
            raise ValueError("two points have the same name")
        return self


def load_device(name: str, folder: Path = PROFILES) -> DeviceProfile:
    """A device profile by its name; ConfigError with every mistake where it cannot be used."""
    path = folder / f"{name}.toml"
    try:
        return DeviceProfile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.toml"))) or "none"
        raise ConfigError(str(path), (Problem("device", f"no profile for {name!r}", f"known: {known}"),)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), (Problem("file", f"is not TOML: {error}"),)) from error
    except ValidationError as error:
        raise ConfigError(str(path), tuple(
            Problem(".".join(map(str, detail["loc"])) or "profile", detail["msg"],
                    "remove it" if detail["type"] == "extra_forbidden" else f"given {detail['input']!r:.60}")
            for detail in error.errors())) from error


def blocks(profile: DeviceProfile) -> tuple[tuple[int, int, int], ...]:
    """The requests that read a device: (function, first register, count), one for each run of adjacent registers."""
    found: list[tuple[int, int, int]] = []
    for function, register in sorted({(point.function, point.at) for point in profile.points}):
        if found and found[-1][0] == function and sum(found[-1][1:]) == register and found[-1][2] < 125:
            found[-1] = (function, found[-1][1], found[-1][2] + 1)
        else:
            found.append((function, register, 1))
    return tuple(found)


def decode_points(profile: DeviceProfile, registers: Registers, sensor: str, t: float) -> tuple[Reading, ...]:
    """Readings of every point; a point at a sentinel, out of range or not there is "no value", for that point only."""
    return tuple(_decode_point(point, registers.get((point.function, point.at)), sensor, t)
                 for point in profile.points)


def _decode_point(point: Point, raw: int | None, sensor: str, t: float) -> Reading:
    def bad(reason: str) -> Reading:
        return Reading(sensor, point.name, t, None, point.unit, f"bad:{reason}")

    if raw is None:
        return bad("missing")
    if raw in point.sentinels:
        return bad("no_probe")
    if point.type == "bit":
        return Reading(sensor, point.name, t, bool(raw), point.unit, OK)
    value = (raw - 0x10000 if point.type == "int16" and raw > 0x7FFF else raw) * point.scale
    if (point.min is not None and value < point.min) or (point.max is not None and value > point.max):
        return bad("out_of_range")
    return Reading(sensor, point.name, t, value, point.unit, OK)


class Line:
    """One RS-485 line, opened once and shared by its devices, asked one at a time."""

    def __init__(self, port: str, serial: SerialSettings) -> None:
        self.port, self.serial = port, serial
        self.users = 0
        self._lock = threading.Lock()
        self._client: ModbusSerialClient | None = None
        self._heard = False

    def connect(self) -> None:
        """Open the port where it is not; SensorError `no_port`, `no_permission` or `port_busy`."""
        with self._lock:
            self._connected()

    def read(self, address: int, block: tuple[int, int, int], timeout_s: float) -> list[int]:
        """The registers or bits of one request, in about twice `timeout_s` at most.

        SensorError `no_answer`, `bad_frame` (bytes, but no whole frame with a right CRC), `exception_<code>` of the
        device, or `unplugged`.
        """
        with self._lock:
            client = self._connected()
            try:
                return self._request(client, address, block, timeout_s)
            except ConnectionException as error:
                self._drop()
                raise SensorError("unplugged", f"{self.port}: {error}") from error
            except ModbusIOException as error:
                heard = "bytes came, but no answer with a right CRC" if self._heard else "silence"
                raise SensorError("bad_frame" if self._heard else "no_answer",
                                  f"address {address} on {self.port}: {heard} in {timeout_s} s") from error
            except SensorError as error:
                if error.reason == "unplugged":
                    self._drop()
                raise

    def close(self) -> None:
        """Let the port go."""
        with self._lock:
            self._drop()

    def _request(self, client: ModbusSerialClient, address: int, block: tuple[int, int, int],
                 timeout_s: float) -> list[int]:
        function, register, count = block
        ask = {2: client.read_discrete_inputs, 3: client.read_holding_registers, 4: client.read_input_registers}
        self._heard = False
        client.comm_params.timeout_connect = timeout_s
        with plugged(self.port):
            response = ask[function](register, count=count, device_id=address)
        if response.isError():
            raise SensorError(f"exception_{response.exception_code}", f"address {address} on {self.port}, "
                              f"function {function}, register {register}")
        values = [int(bit) for bit in response.bits[:count]] if function == 2 else list(response.registers)
        if len(values) != count:
            raise SensorError("bad_frame", f"address {address} on {self.port}: {len(values)} values, not {count}")
        return values

    def _connected(self) -> ModbusSerialClient:
        if self._client is None:
            client = ModbusSerialClient(self.port, retries=0, trace_packet=self._listen)
            # pymodbus only says that a port did not open; opened here, it says why.
            client.socket = open_port(self.port, **self.serial.model_dump(), timeout=0.5, write_timeout=0.5)
            self._client = client
        return self._client

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()  # type: ignore[no-untyped-call]
            self._client = None

    def _listen(self, sending: bool, data: bytes) -> bytes:
        self._heard = self._heard or (not sending and bool(data))
        return data


_lines: dict[str, Line] = {}
_lines_lock = threading.Lock()


def _join(port: str, serial: SerialSettings) -> Line:
    """The line at `port`, with one user more; SensorError `line_settings` where others use it differently."""
    with _lines_lock:
        line = _lines.setdefault(port, Line(port, serial))
        if line.serial != serial:
            raise SensorError("line_settings", f"{port} is open with {line.serial}, not {serial}: "
                              "devices on one line share baud rate and parity")
        line.users += 1
        return line


def _leave(line: Line) -> None:
    with _lines_lock:
        line.users -= 1
        if line.users == 0:
            del _lines[line.port]
            line.close()


class Device:
    """One open device on a line."""

    def __init__(self, settings: Settings, profile: DeviceProfile, clock: Clock) -> None:
        """SensorError where the line cannot be opened."""
        self._settings, self._profile, self._clock = settings, profile, clock
        self._line: Line | None = None
        line = _join(settings.port, serial_of(settings, profile))
        try:
            line.connect()
        except SensorError:
            _leave(line)
            raise
        self._line = line

    def read(self) -> tuple[Reading, ...]:
        """One reading for each point of the device profile."""
        if self._line is None:
            raise SensorError("closed", self._settings.name)
        registers: dict[tuple[int, int], int] = {}
        for function, first, count in blocks(self._profile):
            values = self._line.read(self._settings.address, (function, first, count), self._settings.timeout_s)
            registers.update({(function, first + i): value for i, value in enumerate(values)})
        return decode_points(self._profile, registers, self._settings.name, self._clock.now())

    def close(self) -> None:
        """Leave the line; the last device to leave closes the port."""
        if self._line is not None:
            _leave(self._line)
            self._line = None


def serial_of(settings: Settings, profile: DeviceProfile) -> SerialSettings:
    """The device's factory settings, with what the shop's profile says otherwise."""
    return profile.serial.model_copy(update={
        key: value for key, value in (("baudrate", settings.baudrate), ("parity", settings.parity)) if value})


def open_driver(settings: Settings, clock: Clock) -> Device:
    """An open device; SensorError where its line cannot be opened, ConfigError for a bad device profile."""
    return Device(settings, load_device(settings.device), clock)


def quantities(settings: Settings) -> tuple[tuple[str, str], ...]:
    """(quantity, unit) of every point in the device's profile; ConfigError where that cannot be used."""
    return tuple((point.name, point.unit) for point in load_device(settings.device).points)
