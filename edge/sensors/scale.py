"""What all scales share: the answers they can give, how a frame is found among noise, and one polite poll.

A scale's own file says how its frames look and what they mean; nothing here knows any of them.

    read ─▶ drop what came unasked ─▶ [greeting, its echo] ─▶ ask ─▶ bytes ─▶ first frame that decodes ─▶ Answer
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

import serial
from pydantic import Field

from edge.clock import Clock
from edge.errors import SensorError
from edge.readings import OK, Reading
from edge.sensors.driver import KILOGRAMS, SensorSettings, open_port, plugged

Unit = Literal["kg", "g", "lb", "oz"]
Parity = Literal["N", "E", "O"]
_UNITS: dict[bytes, Unit] = {b"kg": "kg", b"g": "g", b"lb": "lb", b"oz": "oz"}
LONGEST = 64
"""Bytes of the longest frame of any protocol here; twice as many without a frame are another protocol's."""


@dataclass(frozen=True, slots=True)
class Line:
    """How a serial line is set up."""

    baudrate: int = 9600
    bytesize: Literal[7, 8] = 8
    parity: Parity = "N"
    stopbits: Literal[1, 2] = 1

    def __str__(self) -> str:
        return f"{self.baudrate} {self.bytesize}{self.parity}{self.stopbits}"


@dataclass(frozen=True, slots=True)
class Stable:
    """A stable weight, at the scale's own increment.

    `unit` is None where the frames carry none, `net` where they do not tell net from gross.
    """

    value: Decimal
    unit: Unit | None = None
    net: bool | None = None


@dataclass(frozen=True, slots=True)
class NoWeight:
    """What a scale says instead of a weight, as a reading's quality."""

    quality: str


Answer = Stable | NoWeight
UNSTABLE = NoWeight("unstable")
OVERLOAD = NoWeight("bad:overload")
UNDERLOAD = NoWeight("bad:underload")
NO_WEIGHT = NoWeight("bad:no_weight")
"""The scale is well and has no weight to say."""


def fault(reason: str) -> NoWeight:
    """The scale's own error, `fault("not_zeroed")`."""
    return NoWeight(f"bad:{reason}")


REFUSED = fault("refused")
"""The scale heard the question and will not answer it now."""


def weighed(digits: bytes, unit: bytes, net: bool | None = None) -> Answer:
    """The stable weight that a frame spells out, `b"-  1.230"` in `b" kg"` or `b"KG"`; zeros and decimals stay as sent.

    `bad:unit` where the scale counts, or shows a unit that is not one of ours.
    """
    known = _UNITS.get(unit.strip().lower())
    return fault("unit") if known is None else Stable(Decimal(digits.replace(b" ", b"").decode("ascii")), known, net)


def follow_nothing(_: Stable | None, answer: Answer) -> Answer:
    """Each answer stands for itself, as with nearly all scales."""
    return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleProtocol:
    """One protocol, whole.

    Attributes:
        title: the name that installers know.
        lines: how the line is set up, the factory's way first, then others that were seen.
        shape: finds a whole frame among other bytes; on bytes without bit 7 where `masked`.
        decode: one frame, as `shape` found it, to its meaning; SensorError `truncated`, `bad_frame` or `bad_checksum`.
        ask: what is sent for a weight; empty for a scale that speaks by itself.
        greeting: what is sent before, and what must come back.
        refusal: what the scale sends instead of any answer when it has none, NAK.
        why: what is sent to learn the reason of a refusal; empty where nothing tells it.
        masked: the line is 7 bits wide, so that bit 7 is parity or nothing.
        checked: frames carry a checksum.
        tells_net: every weight tells net from gross.
        tells_motion: frames tell a stable weight from a moving one; else two equal ones in a row are a stable one.
        follow: the last stable weight and the answer now, to what the answer means.
    """

    title: str
    lines: tuple[Line, ...]
    shape: re.Pattern[bytes]
    decode: Callable[[bytes], Answer]
    ask: bytes = b""
    greeting: tuple[bytes, bytes] | None = None
    refusal: bytes = b""
    why: bytes = b""
    masked: bool = False
    checked: bool = False
    tells_net: bool = False
    tells_motion: bool = True
    follow: Callable[[Stable | None, Answer], Answer] = follow_nothing


class ScaleSettings(SensorSettings):
    """A scale on a serial port of its own; what is not said about its line is the protocol's."""

    baudrate: int | None = Field(None, ge=300, le=115200)
    bytesize: Literal[7, 8] | None = None
    parity: Parity | None = None
    stopbits: Literal[1, 2] | None = None
    timeout_s: float = Field(0.4, gt=0, le=5, description="how long to wait for a whole answer")

    def shown_unit(self) -> Unit | None:
        """The unit of the scale's display, where its frames carry none."""
        return None


class UnitlessSettings(ScaleSettings):
    """A scale whose frames carry no unit: the profile says which one its display shows."""

    unit: Unit

    def shown_unit(self) -> Unit | None:
        return self.unit


def mask(data: bytes) -> bytes:
    """Without bit 7, which an 8-bit adapter fills with the parity of a 7-bit line."""
    return bytes(byte & 0x7F for byte in data)


def misfit(shown: bytes, starts: bytes, end: bytes) -> SensorError:
    """The error of bytes that are no frame.

    `truncated` where they begin with one of `starts` (empty: with anything) and `end` did not come, else `bad_frame`.
    """
    begun = not starts or shown[:1] in starts
    truncated = not shown or (begun and end not in shown)
    return SensorError("truncated" if truncated else "bad_frame", shown[:LONGEST].hex(" ") or "no bytes")


def parts_of(shape: re.Pattern[bytes], shown: bytes, starts: bytes, end: bytes) -> re.Match[bytes]:
    """The parts of a whole frame, as `shape` names them; else the SensorError that `misfit` makes of it."""
    found = shape.fullmatch(shown)
    if found is None:
        raise misfit(shown, starts, end)
    return found


def frames(protocol: ScaleProtocol, heard: bytes) -> Iterator[bytes]:
    """Everything in `heard` that looks like a frame, from the first on; overlapping ones too."""
    view = mask(heard) if protocol.masked else heard
    found = protocol.shape.search(view)
    while found:
        yield heard[found.start():found.end()]
        found = protocol.shape.search(view, found.start() + 1)


def first_answer(protocol: ScaleProtocol, heard: bytes) -> Answer | None:
    """The first frame among `heard` that decodes, None where there is no frame; SensorError where none decodes."""
    refused: SensorError | None = None
    for frame in frames(protocol, heard):
        try:
            return protocol.decode(frame)
        except SensorError as error:
            refused = refused or error
    if refused is not None:
        raise refused
    return None


def line_of(settings: ScaleSettings, protocol: ScaleProtocol) -> Line:
    """The protocol's usual line, with what the profile says otherwise."""
    given = settings.model_dump(include={"baudrate", "bytesize", "parity", "stopbits"}, exclude_none=True)
    return replace(protocol.lines[0], **given)


class Scale:
    """An open scale of any protocol: one poll for each read."""

    def __init__(self, settings: ScaleSettings, protocol: ScaleProtocol, clock: Clock) -> None:
        """SensorError where the port cannot be opened."""
        self._settings, self._protocol, self._clock = settings, protocol, clock
        self._last: Stable | None = None
        line = line_of(settings, protocol)
        self._port: serial.Serial = open_port(
            settings.port, baudrate=line.baudrate, bytesize=line.bytesize, parity=line.parity,
            stopbits=line.stopbits, timeout=settings.timeout_s, write_timeout=settings.timeout_s)

    def read(self) -> tuple[Reading, ...]:
        """The weight in kg, `unstable`, or `bad:` with the scale's own reason; also `net`, where it says so.

        SensorError `no_answer`, `truncated`, `bad_frame`, `bad_checksum` or `unplugged`.
        """
        last, self._last = self._last, None
        answer = self._protocol.follow(last, self._settled())
        t, name = self._clock.now(), self._settings.name
        if isinstance(answer, NoWeight):
            return (Reading(name, "weight", t, None, "kg", answer.quality),)
        self._last = answer
        unit = answer.unit or self._settings.shown_unit()
        if unit is None:
            raise SensorError("bad_frame", "a weight without a unit")
        weight = Reading(name, "weight", t, answer.value * KILOGRAMS[unit], "kg", OK, net=bool(answer.net))
        told = self._protocol.tells_net and answer.net is not None
        return (weight, Reading(name, "net", t, answer.net)) if told else (weight,)

    def poll(self) -> Answer:
        """The scale's own answer to one question; SensorError as `read`."""
        with plugged(self._settings.port):
            self._port.reset_input_buffer()  # what came unasked, or too late, is not this answer
            if self._protocol.greeting is not None and not self._greet(*self._protocol.greeting):
                return REFUSED
            if self._protocol.ask:
                self._port.write(self._protocol.ask)
            return self._receive(self._protocol.refusal)

    def close(self) -> None:
        """Let the port go."""
        self._port.close()

    def _settled(self) -> Answer:
        """One answer; two, where a frame does not tell whether the weight still moves."""
        answer = self.poll()
        if self._protocol.tells_motion or isinstance(answer, NoWeight) or self.poll() == answer:
            return answer
        return UNSTABLE

    def _greet(self, hello: bytes, expected: bytes) -> bool:
        """Whether the scale is ready; False where it refuses."""
        self._port.write(hello)
        heard = self._port.read(len(expected))
        shown = self._view(heard)
        if not heard:
            raise self._silence()
        if shown not in (expected, self._protocol.refusal):
            raise SensorError("bad_frame", f"{heard.hex(' ')} where {expected.hex(' ')} should be: another protocol, "
                                           "baud rate or parity?")
        return shown == expected

    def _view(self, heard: bytes) -> bytes:
        return mask(heard) if self._protocol.masked else heard

    def _refused(self) -> Answer:
        """Why the scale refuses, in its own words."""
        if not self._protocol.why:
            return REFUSED
        self._port.write(self._protocol.why)
        return self._receive(b"")

    def _receive(self, refusal: bytes) -> Answer:
        """The first frame that decodes, in bounded time and bytes; or the reason, where `refusal` is all that came."""
        deadline = self._clock.monotonic() + self._settings.timeout_s
        heard = b""
        refused: SensorError | None = None
        while len(heard) < 2 * LONGEST and self._clock.monotonic() < deadline:
            more: bytes = self._port.read(1)
            if not more:
                break
            heard += more + self._port.read(self._port.in_waiting)
            if self._view(heard) == refusal:
                return self._refused()
            try:
                answer = first_answer(self._protocol, heard)
            except SensorError as error:
                refused = error
                continue
            if answer is not None:
                return answer
        raise refused or self._explain(heard)

    def _explain(self, heard: bytes) -> SensorError:
        if not heard:
            return self._silence()
        if len(heard) >= LONGEST:
            return SensorError("bad_frame", f"{len(heard)} bytes and no frame: another protocol, baud rate or parity?")
        return SensorError("truncated", f"no whole frame in {heard.hex(' ')}")

    def _silence(self) -> SensorError:
        return SensorError("no_answer", f"{self._settings.port} stayed silent for {self._settings.timeout_s} s")


def quantities(protocol: ScaleProtocol) -> tuple[tuple[str, str], ...]:
    """(quantity, unit) of everything that a scale says."""
    return (("weight", "kg"), ("net", "")) if protocol.tells_net else (("weight", "kg"),)
