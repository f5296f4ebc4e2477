"""Toledo / Mettler 8217 shelf and counter scales, also sold as 8213, NCI "Toledo mode" and Datalogic SASI.

The host sends `W`; the scale answers a weight, or a status while it has none:

    ┌─────┬───────────────┬─────┬────┐      ┌─────┬─────┬────────┬────┐
    │ STX │ 0 1 . 2 3 4   │ [N] │ CR │      │ STX │  ?  │ status │ CR │
    │ 02  │ digits, point │ net │ 0D │      │ 02  │ 3F  │ bits   │ 0D │
    └─────┴───────────────┴─────┴────┘      └─────┴─────┴────────┴────┘

Status bits: 0 motion, 1 over capacity, 2 under zero, 3 outside zero capture, 4 centre of zero, 5 net, 6 always 1,
7 parity. There is no checksum and no unit. Usually 9600 baud, 7E1; an adapter opened as 8N1 shows the parity as
bit 7, so every byte is masked. Sources: METTLER DIVA service manual; Ohaus Courier 7000 and Rice Lake BenchPro
manuals.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import serial
from pydantic import Field

from edge.clock import Clock
from edge.errors import SensorError
from edge.readings import Reading
from edge.sensors.driver import KILOGRAMS, SensorSettings, open_port, plugged

ASK = b"W"
STX, CR = 0x02, 0x0D
LONGEST = 64
_WEIGHT = re.compile(rb"\x02( {0,5}(?:\d{1,5}\.\d{1,4}|\d{3,6}))( ?N)?\r")
_STATUS = re.compile(rb"\x02\?([\x40-\x7f])\r")


class Settings(SensorSettings):
    """One 8217 scale. Its frames carry no unit, so the profile says which one its display shows."""

    driver: Literal["toledo-8217"]
    unit: Literal["kg", "g", "lb", "oz"]
    baudrate: int = Field(9600, ge=300, le=115200)
    parity: Literal["N", "E", "O"] = "E"
    bytesize: Literal[7, 8] = 7
    timeout_s: float = Field(0.4, gt=0, le=5)


@dataclass(frozen=True, slots=True)
class Weight:
    """A stable weight, in the scale's own unit and increment."""

    value: Decimal
    net: bool


@dataclass(frozen=True, slots=True)
class Status:
    """What a scale says instead of a weight."""

    motion: bool
    over_capacity: bool
    under_zero: bool
    outside_zero: bool
    centre_of_zero: bool
    net: bool

    @property
    def quality(self) -> str | None:
        """Why there is no weight, as a reading's quality; None where the last weight still stands."""
        if self.over_capacity:
            return "bad:over_capacity"
        if self.under_zero:
            return "bad:under_zero"
        if self.outside_zero:
            return "bad:outside_zero"
        return "unstable" if self.motion else None


def decode(frame: bytes) -> Weight | Status:
    """One frame, STX to CR; SensorError `truncated` or `bad_frame` where it is not one."""
    masked = bytes(byte & 0x7F for byte in frame)
    if not masked:
        raise SensorError("truncated", "no bytes")
    if weight := _WEIGHT.fullmatch(masked):
        return Weight(Decimal(weight[1].decode().strip()), net=weight[2] is not None)
    if status := _STATUS.fullmatch(masked):
        bits = status[1][0]
        return Status(*(bool(bits >> bit & 1) for bit in range(6)))
    if masked[0] == STX and CR not in masked:
        raise SensorError("truncated", frame[:LONGEST].hex(" "))
    raise SensorError("bad_frame", frame[:LONGEST].hex(" "))


class Scale:
    """An open 8217 scale: one `W` for each read."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """SensorError where the port cannot be opened."""
        self._settings, self._clock = settings, clock
        self._last: Weight | None = None
        self._port: serial.Serial = open_port(
            settings.port, baudrate=settings.baudrate, bytesize=settings.bytesize, parity=settings.parity,
            stopbits=serial.STOPBITS_ONE, timeout=settings.timeout_s, write_timeout=settings.timeout_s)

    def read(self) -> tuple[Reading, ...]:
        """The weight in kg, `unstable`, or `bad:` with the scale's own reason.

        Some scales send a weight once and then only a status until it changes, so a status without motion or
        error keeps the last stable weight.
        """
        try:
            answer = decode(self._ask())
        except SensorError:
            self._last = None
            raise
        if isinstance(answer, Weight):
            self._last = answer
            return (self._reading(answer.value * KILOGRAMS[self._settings.unit]),)
        quality = answer.quality or self._contradiction(answer)
        if quality or self._last is None:
            self._last = None
            return (self._reading(None, quality or "bad:no_weight"),)
        return (self._reading(self._last.value * KILOGRAMS[self._settings.unit]),)

    def close(self) -> None:
        """Let the port go."""
        self._port.close()

    def _contradiction(self, status: Status) -> str | None:
        """A scale at the centre of zero does not carry the weight it sent before."""
        contradicts = status.centre_of_zero and self._last is not None and not self._last.net and self._last.value != 0
        return "bad:no_weight" if contradicts else None

    def _reading(self, value: Decimal | None, quality: str = "ok") -> Reading:
        return Reading(self._settings.name, "weight", self._clock.now(), value, "kg", quality)

    def _ask(self) -> bytes:
        with plugged(self._settings.port):
            self._port.reset_input_buffer()  # what came unasked, or too late, is not this answer
            self._port.write(ASK)
            return self._receive()

    def _receive(self) -> bytes:
        """The bytes from the last STX up to CR; what came by the deadline where there is no CR."""
        deadline = self._clock.monotonic() + self._settings.timeout_s
        heard, frame = 0, bytearray()
        while heard < LONGEST and self._clock.monotonic() < deadline:
            byte = self._port.read(1)
            if not byte:
                break
            heard += 1
            code = byte[0] & 0x7F
            if code == STX:
                frame = bytearray(byte)
            elif frame:
                frame += byte
                if code == CR:
                    return bytes(frame)
        if not heard:
            raise SensorError("no_answer", f"{self._settings.port} stayed silent for {self._settings.timeout_s} s")
        if not frame or heard >= LONGEST:
            raise SensorError("bad_frame", f"{heard} bytes and no frame: another protocol, baud rate or parity?")
        return bytes(frame)


def open_driver(settings: Settings, clock: Clock) -> Scale:
    """An open scale; SensorError where its port cannot be opened."""
    return Scale(settings, clock)
