"""Modbus RTU probes, controllers and door contacts on a shared RS-485 line, each a profile and no code.

    Settings ─▶ device profile ─▶ blocks ─▶ Line: one device at a time ─▶ registers ─▶ decode_points ─▶ Reading

Nothing is ever written to a device. How a line is shared stands in `modbus_line.py`, what a profile may say in
`modbus_profile.py`.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from edge.clock import Clock
from edge.errors import ConfigError, Problem, SensorError
from edge.readings import Reading
from edge.sensors.driver import SensorSettings
from edge.sensors.modbus_line import Line, join_line, leave_line
from edge.sensors.modbus_profile import (
    DeviceProfile,
    Parity,
    Point,
    SerialSettings,
    blocks,
    decode_points,
    load_device,
)

Contact = Literal["normally-open", "normally-closed"]


class Settings(SensorSettings):
    """One device on a Modbus line; `device` names its profile, `xy-md02`, or is the path of another, `./mine.toml`."""

    driver: Literal["modbus"]
    device: str = Field(pattern=r"^([a-z0-9][a-z0-9-]*|.+\.toml)$")
    address: int = Field(ge=1, le=247)
    baudrate: int | None = Field(None, ge=300, le=115200)
    parity: Parity | None = None
    stopbits: Literal[1, 2] | None = None
    timeout_s: float = Field(0.5, gt=0, le=5)
    offset: Literal[-1, 0, 1] | None = Field(
        None, description="added to the profile's register numbers on the wire, where the profile leaves that open")
    points: tuple[str, ...] = Field(
        (), description="only these points of the profile are reported; all of them where there are none")
    contacts: dict[str, Contact] = Field(
        {}, description="inputs with a door's contact, by their point: normally-closed is a circuit that is closed "
                        "while the door is. They are reported as `open`, or `open/<point>` where there are several; "
                        "inputs without a contact are not reported then")

    @field_validator("device")
    @classmethod
    def _has_a_profile(cls, device: str) -> str:
        try:
            load_device(device)
        except ConfigError as error:
            raise ValueError("; ".join(map(str, error.problems))) from error
        return device

    @model_validator(mode="after")
    def _fits_the_profile(self) -> Self:
        profile = load_device(self.device)
        kinds = {point.name: point.type for point in profile.points}
        for name in (*self.points, *self.contacts):
            if name not in kinds:
                raise ValueError(f"{self.device} has no point {name}: known are {', '.join(kinds)}")
        if numbers := [name for name in self.contacts if kinds[name] != "bit"]:
            raise ValueError(f"contacts are inputs, and {', '.join(numbers)} of {self.device} is a number")
        if self.offset is not None and self.offset not in profile.offsets:
            raise ValueError(f"the offset of {self.device} is {' or '.join(map(str, profile.offsets))}")
        return self


def device_of(settings: Settings) -> DeviceProfile:
    """The device's profile as the shop uses it: the points that it reports, at their places on the wire.

    ConfigError where it cannot be used.
    """
    profile = load_device(settings.device).on_wire(settings.offset)
    return profile.model_copy(update={"points": tuple(point for point in profile.points if _wanted(settings, point))})


def _wanted(settings: Settings, point: Point) -> bool:
    if point.name in settings.contacts:
        return True
    if settings.points:
        return point.name in settings.points
    return point.type != "bit" or not settings.contacts


def serial_of(settings: Settings, profile: DeviceProfile) -> SerialSettings:
    """The device's factory settings, with what the shop's profile says otherwise."""
    return profile.serial.model_copy(
        update=settings.model_dump(include={"baudrate", "parity", "stopbits"}, exclude_none=True))


def line_problems(sensors: Iterable[Settings]) -> Iterator[Problem]:
    """What cannot be on one line: devices that are set up differently, or are another make at the same address."""
    on_line: dict[str, list[Settings]] = defaultdict(list)
    for sensor in sensors:
        on_line[sensor.port].append(sensor)
    for port, together in on_line.items():
        ways = {str(serial_of(sensor, load_device(sensor.device))): sensor.name for sensor in together}
        if len(ways) > 1:
            said = ", ".join(f"{name} {way}" for way, name in ways.items())
            yield Problem("sensors", f"{port} is one line, and its devices are set up differently: {said}",
                          "set the devices to one baud rate and parity, and say so with baudrate, parity, stopbits")
        makes: dict[int, Settings] = {}
        for sensor in together:
            first = makes.setdefault(sensor.address, sensor)
            if first.device != sensor.device:
                yield Problem("sensors", f"{first.name} and {sensor.name} are both at address {sensor.address} of "
                              f"{port}", "give each device an address of its own, one at a time on the line")


class Device:
    """One open device on a line."""

    def __init__(self, settings: Settings, profile: DeviceProfile, clock: Clock) -> None:
        """SensorError where the line cannot be opened."""
        self._settings, self._profile, self._clock = settings, profile, clock
        self._blocks = blocks(profile)
        self._line: Line | None = None
        line = join_line(settings.port, serial_of(settings, profile), clock)
        try:
            line.connect()
        except SensorError:
            leave_line(line)
            raise
        line.join(settings.address, settings.period_s, settings.timeout_s)
        self._line = line

    def read(self) -> tuple[Reading, ...]:
        """One reading for each point of the device profile."""
        if self._line is None:
            raise SensorError("closed", self._settings.name)
        registers = self._line.read(self._settings.address, self._blocks)
        readings = decode_points(self._profile, registers, self._settings.name, self._clock.now())
        return tuple(_as_door(self._settings.contacts, reading) for reading in readings)

    def close(self) -> None:
        """Leave the line; the last device to leave closes the port."""
        if self._line is not None:
            leave_line(self._line)
            self._line = None


def _as_door(contacts: dict[str, Contact], reading: Reading) -> Reading:
    """A contact's reading as its door's: open is true."""
    contact = contacts.get(reading.quantity)
    if contact is None:
        return reading
    # A circuit that is closed reads true; a normally-closed contact's is closed while the door is.
    is_open = None if reading.value is None else bool(reading.value) == (contact == "normally-open")
    return dataclasses.replace(reading, quantity=_door(contacts, reading.quantity), value=is_open)


def _door(contacts: dict[str, Contact], point: str) -> str:
    return "open" if len(contacts) == 1 else f"open/{point}"


def open_driver(settings: Settings, clock: Clock) -> Device:
    """An open device; SensorError where its line cannot be opened, ConfigError for a bad device profile."""
    return Device(settings, device_of(settings), clock)


def quantities(settings: Settings) -> tuple[tuple[str, str], ...]:
    """(quantity, unit) of every point that is reported; ConfigError where the device's profile cannot be used."""
    return tuple((_door(settings.contacts, point.name) if point.name in settings.contacts else point.name, point.unit)
                 for point in device_of(settings).points)
