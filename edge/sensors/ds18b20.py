"""DS18B20 thermometers on a 1-wire bus, through the kernel's sysfs.

Reading `w1_slave` makes one conversion, which takes up to 750 ms, and gives the nine bytes of the scratchpad twice
(kernel w1_therm.rst): as they came, with the kernel's verdict on their checksum, and as they were kept.

    72 01 4b 46 7f ff 0e 10 57 : crc=57 YES      low high TH TL config, three reserved bytes, CRC-8 of the eight
    72 01 4b 46 7f ff 0e 10 57 t=23125           thousandths of a degree Celsius

A recording keeps each reading of that file as what it said, and `replay:FILE` as the port says them again in turn.

The three lies of this chip are no value: 85 degrees, which it shows after a loss of power; 127.94, which it shows
where power was short; and zero degrees with a right checksum, which a shorted bus shows.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from edge.clock import Clock
from edge.errors import SensorError
from edge.readings import OK, Reading
from edge.sensors.driver import SensorSettings, tap_of
from edge.sensors.recording import load
from edge.sensors.replay import SCHEME

LOWEST, HIGHEST = Decimal(-55), Decimal(125)
POWER_ON = Decimal(85)
UNCONVERTED = 0x0C
"""Byte 6 after a conversion that failed (kernel w1_therm.rst, features bit 1)."""
AGREES = Decimal(5)
"""85 degrees count where the reading before was so near."""
LONGEST = 256
DEVICES = Path("/sys/bus/w1/devices")
"""Where the kernel lists what is on the bus."""
_SCRATCHPAD = r"((?:[0-9a-f]{2} ){9})"
_SHAPE = re.compile(rf"{_SCRATCHPAD}: crc=([0-9a-f]{{2}}) (YES|NO)\n{_SCRATCHPAD}t=(-?\d{{1,6}})\n?")
_WHERE = re.compile(r"28-[0-9a-f]{12}")


def is_thermometer(port: str) -> bool:
    """Whether that is the name of a thermometer's folder."""
    return _WHERE.fullmatch(Path(port).name) is not None


class Settings(SensorSettings):
    """One thermometer; `port` is its folder, named after the number engraved in the chip, or a recording."""

    driver: Literal["ds18b20"]
    port: str = Field(min_length=1, description="the thermometer's folder, like /sys/bus/w1/devices/28-0316a2794bff, "
                      "or replay:FILE")
    period_s: float = Field(5.0, ge=1.0, description="seconds between two readings; a conversion takes 0.75")

    @field_validator("port")
    @classmethod
    def _is_a_thermometer(cls, port: str) -> str:
        if not port.startswith(SCHEME) and not is_thermometer(port):
            raise ValueError(f"{port!r} is no thermometer's folder: `ls -d /sys/bus/w1/devices/28-*` shows them")
        return port


@dataclass(frozen=True, slots=True)
class Sample:
    """One conversion: degrees Celsius, and whether the chip says that it made none."""

    celsius: Decimal
    failed: bool


def decode(text: bytes) -> Sample:
    """What a `w1_slave` file says.

    SensorError `no_answer` where it is empty, `truncated`, `bad_frame`, `bad_checksum`, or `short_circuit`.
    """
    if not text.strip():
        raise SensorError("no_answer", "the file is empty: the thermometer does not answer")
    shown = text.decode("ascii", "replace")
    found = _SHAPE.fullmatch(shown)
    if found is None:
        begun = re.match(r"(?:[0-9a-f]{2} ){0,9}", shown)
        cut = len(shown) < 50 and begun is not None and begun.end() > 0
        raise SensorError("truncated" if cut else "bad_frame", repr(shown[:80]))
    came, kept = bytes.fromhex(found[1]), bytes.fromhex(found[4])
    if found[3] != "YES" or crc8(came[:8]) != came[8] or came[8] != int(found[2], 16):
        raise SensorError("bad_checksum", f"{found[1]}: noise, or a cable that is too long")
    if not any(came):
        raise SensorError("short_circuit", "all bytes are 0, and so their checksum is right: the bus is shorted")
    if came != kept or _thousandths(came) != int(found[5]):
        raise SensorError("bad_frame", f"its two lines do not agree: {shown[:120]!r}")
    return Sample(Decimal(found[5]).scaleb(-3), came[6] == UNCONVERTED)


def crc8(data: bytes) -> int:
    """The checksum of 1-wire: polynomial x^8 + x^5 + x^4 + 1, low bit first (Maxim application note 27)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc


def _thousandths(scratchpad: bytes) -> int:
    """As the kernel reckons: sixteenths of a degree, rounded towards zero.

    The clone GX20MH01 has two bits more in its config byte, where bit 7 says so.
    """
    raw, parts = int.from_bytes(scratchpad[:2], "little", signed=True), 16
    if scratchpad[4] & 0x80:
        raw, parts = (raw << 2 | scratchpad[4] & 3) + 0x8000 & 0xFFFF, 64
        raw -= 0x8000
    return abs(raw) * 1000 // parts * (1 if raw >= 0 else -1)


def judge(sample: Sample, before: Decimal | None) -> Decimal:
    """Degrees Celsius, where they can be; `before` is the last good reading.

    SensorError `power_on`, `not_converted` or `out_of_range`.
    """
    if sample.celsius == POWER_ON and (sample.failed or before is None or abs(before - POWER_ON) > AGREES):
        raise SensorError("power_on", "85 degrees is what it shows after a loss of power: check its supply")
    if not LOWEST <= sample.celsius <= HIGHEST:
        low_power = sample.failed and sample.celsius > HIGHEST
        raise SensorError("not_converted" if low_power else "out_of_range", f"{sample.celsius} degrees")
    return sample.celsius


_REASONS = {errno.ENOENT: "unplugged", errno.ENODEV: "unplugged", errno.EACCES: "no_permission"}


def _refusal(file: Path, error: OSError) -> SensorError:
    return SensorError(_REASONS.get(error.errno or 0, "no_answer"), f"{file.parent}: {error.strerror}")


def _kernels(file: Path) -> Callable[[], bytes]:
    """Reads the kernel's file; SensorError `no_port` where it is not there."""
    def text() -> bytes:
        try:
            with file.open("rb") as opened:
                return opened.read(LONGEST)
        except OSError as error:
            raise _refusal(file, error) from error

    try:
        there = file.exists()
    except OSError as error:
        raise _refusal(file, error) from error
    if not there:
        raise SensorError("no_port", f"{file} is not there: is 1-wire switched on and the thermometer wired?")
    return text


def _played(file: Path) -> Callable[[], bytes]:
    """What a recorded thermometer said, a reading each time; then nothing. ConfigError where it is no recording."""
    said = iter([chunk.data for chunk in load(file).chunks if chunk.way == "<"])
    return lambda: next(said, b"")


class Thermometer:
    """One thermometer's file, read anew each time."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """SensorError `no_port` where the kernel knows no such thermometer; ConfigError for a bad recording."""
        self._settings, self._clock = settings, clock
        self._before: Decimal | None = None
        self._open = True
        self._text: Callable[[], bytes] = (
            _played(Path(settings.port.removeprefix(SCHEME))) if settings.port.startswith(SCHEME)
            else _kernels(Path(settings.port) / "w1_slave"))

    def read(self) -> tuple[Reading, ...]:
        """Its temperature; SensorError as `decode` and `judge`, `unplugged` or `no_permission`."""
        if not self._open:
            raise SensorError("closed", self._settings.name)
        text = self._text()
        if text and (tap := tap_of(self._settings.port)) is not None:
            tap("<", text)
        celsius = self._before = judge(decode(text), self._before)
        return (Reading(self._settings.name, "temperature", self._clock.now(), celsius, "Cel", OK),)

    def close(self) -> None:
        """Nothing is held between two readings."""
        self._open = False


def open_driver(settings: Settings, clock: Clock) -> Thermometer:
    """The thermometer; SensorError where there is none."""
    return Thermometer(settings, clock)


def quantities(_: Settings) -> tuple[tuple[str, str], ...]:
    """(quantity, unit) of what it measures."""
    return (("temperature", "Cel"),)
