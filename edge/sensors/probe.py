"""What is behind a serial port? Every scale's protocol is tried, politely: first listen, then ask read-only questions.

    for each way a line may be set up: open ─▶ listen ─▶ [silence: ask each protocol in turn] ─▶ what decodes?

Nothing that zeroes, tares or configures is ever sent. Where several protocols understand the same bytes, all are found:
only the installer can tell which scale it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace

import serial

from edge.clock import Clock
from edge.errors import SensorError
from edge.sensors.driver import open_port, plugged
from edge.sensors.scale import LONGEST, Answer, Line, ScaleProtocol, Stable, first_answer

PATIENCE_S = 0.4
Scales = Mapping[str, ScaleProtocol]


@dataclass(frozen=True, slots=True)
class Heard:
    """One protocol that understood what came from a port.

    `sure` is True where a checksum was right; `asked` is empty where the device spoke by itself.
    """

    port: str
    driver: str
    title: str
    line: Line
    asked: bytes
    raw: bytes
    shown: str
    sure: bool


def lines_to_try(scales: Scales) -> tuple[Line, ...]:
    """Every way that a scale's line is set up, the most usual first."""
    votes: dict[Line, int] = {}
    for protocol in scales.values():
        for place, line in enumerate(protocol.lines):
            votes[line] = votes.get(line, 0) + (10 if place == 0 else 1)
    return tuple(sorted(votes, key=lambda line: (-votes[line], str(line))))


def probe_scales(port: str, scales: Scales, clock: Clock, step: Callable[[str], None]) -> tuple[Heard, ...]:
    """The scale behind a port, in each protocol that understands it; empty where none does.

    `step` is told what is tried. SensorError `no_port`, `no_permission`, `port_busy` or `unplugged`.
    """
    for line in lines_to_try(scales):
        step(f"listening at {line}")
        try:
            opened = open_port(port, **asdict(line), timeout=PATIENCE_S, write_timeout=PATIENCE_S)
        except SensorError as error:
            if error.reason == "port_settings":
                continue  # this adapter cannot do that
            raise
        with opened, plugged(port):
            found = _at(opened, port, line, scales, clock, step)
        if found:
            return found
    return ()


def _at(opened: serial.Serial, port: str, line: Line, scales: Scales, clock: Clock,
        step: Callable[[str], None]) -> tuple[Heard, ...]:
    opened.reset_input_buffer()
    heard = collect(opened, clock)
    found = tuple(understood(port, line, b"", heard, scales))
    if found or heard:
        return found  # who speaks by itself, but not so that we understand, is not asked: the line is set up otherwise
    for question in questions(line, scales):
        for part in question:
            step(f"asking {part.hex(' ').upper()} at {line}")
            opened.write(part)
            heard = collect(opened, clock)
            found = tuple(_asked_itself(opened, each, scales[each.driver], clock)
                          for each in understood(port, line, part, heard, scales))
            if found:
                return found
            if not heard:
                break  # who does not greet is not asked
    return ()


def _asked_itself(opened: serial.Serial, heard: Heard, protocol: ScaleProtocol, clock: Clock) -> Heard:
    """The same find with the answer to its own question, where it was found by how it refused another's."""
    if not protocol.ask or heard.asked == protocol.ask:
        return heard
    if protocol.greeting is not None:
        opened.write(protocol.greeting[0])
        collect(opened, clock)
    opened.write(protocol.ask)
    raw = collect(opened, clock)
    answer = _meaning(protocol, raw)
    return heard if answer is None else replace(heard, asked=protocol.ask, raw=raw, shown=show(answer))


def questions(line: Line, scales: Scales) -> tuple[tuple[bytes, ...], ...]:
    """What is asked on a line set up so, each once: a question, or a greeting and its question."""
    return tuple(dict.fromkeys(
        (protocol.ask,) if protocol.greeting is None else (protocol.greeting[0], protocol.ask)
        for protocol in scales.values() if line in protocol.lines and protocol.ask))


def collect(opened: serial.Serial, clock: Clock) -> bytes:
    """What comes until the line has been silent for the port's timeout, `PATIENCE_S`; at most three times as long."""
    heard, until = b"", clock.monotonic() + 3 * PATIENCE_S
    while len(heard) < 4 * LONGEST and clock.monotonic() < until:
        more: bytes = opened.read(1)
        if not more:
            break
        heard += more + opened.read(opened.in_waiting)
    return heard


def understood(port: str, line: Line, asked: bytes, heard: bytes, scales: Scales) -> Iterator[Heard]:
    """Each protocol in which the bytes say something; those with a right checksum alone, where there are any.

    Of bytes that came unasked, a protocol whose scales speak by themselves is likelier, and comes first.
    """
    found = []
    for driver, protocol in scales.items():
        answer = _meaning(protocol, heard)
        if answer is not None:
            found.append(Heard(port, driver, protocol.title, line, asked, heard, show(answer), protocol.checked))
    sure = [each for each in found if each.sure]
    yield from sorted(sure or found, key=lambda each: not asked and bool(scales[each.driver].ask))


def _meaning(protocol: ScaleProtocol, heard: bytes) -> Answer | None:
    try:
        answer = first_answer(protocol, heard)
    except SensorError:
        return None
    return None if answer is None else protocol.follow(None, answer)


def show(answer: Answer) -> str:
    """An answer in words: `1.234 kg net`, or why there is none."""
    if isinstance(answer, Stable):
        kind = {None: "", True: "net", False: "gross"}[answer.net]
        return " ".join(part for part in (str(answer.value), answer.unit or "(unit?)", kind) if part)
    return answer.quality.removeprefix("bad:")
