"""What the Modbus devices of a cold chain have in their registers, as their documents say: one function for each make.

Every function takes what the device measures now, in degrees Celsius, and gives its bank of registers. A probe that
is not there is None, as is one that is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from edge.sim.rs485 import Bank

Climate = Callable[[], tuple[float, float]]
"""Degrees Celsius and relative humidity in %."""
Probes = Callable[[], Sequence[float | None]]
Inputs = Callable[[], Sequence[bool]]


def tenths(value: float) -> int:
    """A register of a value with one decimal; negative ones are two's complement."""
    return round(value * 10) & 0xFFFF


def xy_md02(climate: Climate) -> Bank:
    """XY-MD02: input register 1 temperature in tenths, 2 humidity in tenths; holding ones set it up."""
    def now() -> Mapping[int, Mapping[int, int]]:
        temperature, humidity = climate()
        return {4: {1: tenths(temperature), 2: tenths(humidity)}, 3: {0x101: 1, 0x102: 9600, 0x103: 0, 0x104: 0}}
    return now


def md02_hundredths(climate: Climate) -> Bank:
    """The other MD02, with hundredths; its address is in 0x0100."""
    def now() -> Mapping[int, Mapping[int, int]]:
        temperature, humidity = climate()
        return {4: {1: tenths(temperature * 10), 2: tenths(humidity * 10)}, 3: {0x100: 1, 0x101: 9600}}
    return now


def shtc3_fc03(climate: Climate) -> Bank:
    """The SHTC3 clone: holding registers, humidity first."""
    def now() -> Mapping[int, Mapping[int, int]]:
        temperature, humidity = climate()
        return {3: {0: tenths(humidity), 1: tenths(temperature)}}
    return now


def rs485_th(climate: Climate) -> Bank:
    """RS485-TH: holding registers, temperature first."""
    def now() -> Mapping[int, Mapping[int, int]]:
        temperature, humidity = climate()
        return {3: {0: tenths(temperature), 1: tenths(humidity)}}
    return now


def r4dcb08(probes: Probes) -> Bank:
    """R4DCB08: holding registers 0 to 7, 0x8000 where there is no sensor; corrections follow, its line at 0x00FD."""
    def now() -> Mapping[int, Mapping[int, int]]:
        seen = [*probes(), *[None] * 8][:8]
        values = {at: 0x8000 if value is None else tenths(value) for at, value in enumerate(seen)}
        return {3: values | dict.fromkeys(range(8, 16), 0) | {0xFD: 0, 0xFE: 1, 0xFF: 3}}
    return now


def comwintop_pt1000(probes: Probes, *, shorted: Sequence[int] = ()) -> Bank:
    """ComWinTop PT1000: an open circuit reads 6500, one that is `shorted` (from 0) reads -1800."""
    def now() -> Mapping[int, Mapping[int, int]]:
        seen = [*probes(), *[None] * 8][:8]
        values = {at: 6500 if value is None else tenths(value) for at, value in enumerate(seen)}
        return {3: values | dict.fromkeys(shorted, -1800 & 0xFFFF)}
    return now


def dixell_xjp60d(probes: Probes, *, low: float = -40.0, high: float = 40.0) -> Bank:
    """Dixell XJP60D: from 256, value and status of six probes: 0 well, 1 below `low`, 2 above `high`, 3 probe error."""
    def now() -> Mapping[int, Mapping[int, int]]:
        seen = [*probes(), *[None] * 6][:6]
        pairs = [(0x7FFF, 3) if value is None else (tenths(value), 1 if value < low else 2 if value > high else 0)
                 for value in seen]
        return {3: {256 + at: word for at, word in enumerate(word for pair in pairs for word in pair)}}
    return now


def dixell_xr75cx(probes: Probes, door_alarm: Callable[[], bool]) -> Bank:
    """Dixell XR75CX: three probes from 256, status in 1280, alarms in 3328 with the door in bit 3 of the high byte."""
    def now() -> Mapping[int, Mapping[int, int]]:
        values = {256 + at: 0x7FFF if value is None else tenths(value) for at, value in enumerate(probes())}
        return {3: values | {1280: 1, 3328: 0x0800 if door_alarm() else 0}}
    return now


def danfoss_ak_cc55(probes: Probes, *, offset: int = 0, alarm: bool = False) -> Bank:
    """Danfoss AK-CC55: S5, S3, S4, thermostat, alarm and food temperature by PNU, `offset` away on the wire."""
    def now() -> Mapping[int, Mapping[int, int]]:
        named = zip((1011, 2530, 2531, 2532, 2578, 2702), [*probes(), *[None] * 6], strict=False)
        values = {pnu: -2732 & 0xFFFF if value is None else tenths(value) for pnu, value in named}
        return {3: {pnu + offset: word for pnu, word in (values | {2007: 14, 2541: int(alarm)}).items()}}
    return now


def carel_ir33(probes: Probes, *, offset: int = 0, set_point: float = -20.0) -> Bank:
    """Carel ir33: defrost probes 0 and 1, virtual probe 2, probes 3 to 6, set point 15, extremes 20, 21 and 26, 27."""
    def now() -> Mapping[int, Mapping[int, int]]:
        seen = [*probes(), *[None] * 7][:7]
        values = {at: 0x8000 if value is None else tenths(value) for at, value in enumerate(seen)}
        values |= {15: tenths(set_point), 20: tenths(9.9), 21: tenths(-24.0), 26: tenths(-30.0), 27: tenths(10.0)}
        return {3: {at + offset: word for at, word in values.items()}}
    return now


def waveshare_io_8ch(inputs: Inputs) -> Bank:
    """Waveshare Modbus RTU IO 8CH: discrete inputs 0 to 7, 1 for a closed circuit; its relays are coils."""
    def now() -> Mapping[int, Mapping[int, int]]:
        closed = [*inputs(), *[False] * 8][:8]
        return {2: {at: int(value) for at, value in enumerate(closed)}, 1: dict.fromkeys(range(8), 0)}
    return now


class Room(Protocol):
    """What a simulated device measures: the air of a fridge, and its door."""

    def climate(self) -> tuple[float, float]:
        """Degrees Celsius and relative humidity in %."""

    @property
    def door_open(self) -> bool:
        """Whether the door is open now."""


def _probes(room: Room, count: int) -> Probes:
    """As many probes in one room: each a little further from its cold end."""
    return lambda: [room.climate()[0] + 0.3 * at for at in range(count)]


IN_A_ROOM: dict[str, Callable[[Room], Bank]] = {
    "xy-md02": lambda room: xy_md02(room.climate),
    "md02-hundredths": lambda room: md02_hundredths(room.climate),
    "shtc3-fc03": lambda room: shtc3_fc03(room.climate),
    "rs485-th": lambda room: rs485_th(room.climate),
    "r4dcb08": lambda room: r4dcb08(_probes(room, 2)),
    "comwintop-pt1000": lambda room: comwintop_pt1000(_probes(room, 2)),
    "dixell-xjp60d": lambda room: dixell_xjp60d(_probes(room, 4)),
    "dixell-xr75cx": lambda room: dixell_xr75cx(_probes(room, 3), lambda: room.door_open),
    "danfoss-ak-cc55": lambda room: danfoss_ak_cc55(_probes(room, 6)),
    "carel-ir33": lambda room: carel_ir33(_probes(room, 4)),
    "waveshare-io-8ch": lambda room: waveshare_io_8ch(lambda: [room.door_open]),
}
"""Every shipped profile's device, as it would be in one room."""
