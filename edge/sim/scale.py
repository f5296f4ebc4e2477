"""A scale on a pseudo-terminal: a pan with a weight, and a voice that speaks the scale's protocol.

    put(weight) ─▶ Pan: what the electronics see now ─▶ Voice: bytes ─▶ [fault] ─▶ port

Each protocol's voice is in a file of `edge/sim/scales/`, written from the manuals and not from the agent's decoders.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Literal, Protocol

from edge.clock import Clock
from edge.profile import KILOGRAMS
from edge.sim.faults import Fault, misheard, spoil
from edge.sim.serial import PtyPort

INCREMENT = {"kg": Decimal("0.001"), "g": Decimal("1"), "lb": Decimal("0.01"), "oz": Decimal("0.1")}
"""The last digit of five, by unit."""
SETTLE_S = 0.3
SLOW_BYTE_S = 0.05
State = Literal["stable", "motion", "overload", "underload", "fault"]


@dataclass(frozen=True, slots=True)
class Pan:
    """What a scale's electronics see at one moment: the weight without the tare, in `unit` at its increment."""

    weight: Decimal
    unit: str = "kg"
    state: State = "stable"
    tare: Decimal = Decimal(0)


class Voice(Protocol):
    """One scale's protocol, from the scale's side."""

    def hear(self, heard: bytes, pan: Pan) -> bytes:
        """The answer to bytes from the host; half a command is remembered."""

    def speak(self, pan: Pan) -> bytes:
        """One frame unasked; empty for a scale that only answers."""


@dataclass(slots=True)
class CommandVoice:
    """A voice that is a table: command to answer, and what it says by itself.

    The longest command at the end of what was heard counts. `seven_bits`: bit 7 of what is heard is parity.
    """

    commands: Mapping[bytes, Callable[[Pan], bytes]] = field(default_factory=dict)
    unasked: Callable[[Pan], bytes] | None = None
    seven_bits: bool = False
    _heard: bytes = b""

    def hear(self, heard: bytes, pan: Pan) -> bytes:
        answer = b""
        for byte in heard:
            self._heard = (self._heard + bytes((byte & 0x7F if self.seven_bits else byte,)))[-32:]
            for command in sorted(self.commands, key=len, reverse=True):
                if self._heard.endswith(command):
                    self._heard = b""
                    answer += self.commands[command](pan)
                    break
        return answer

    def speak(self, pan: Pan) -> bytes:
        return b"" if self.unasked is None else self.unasked(pan)


def in_increments(weight: Decimal, unit: str) -> tuple[int, int]:
    """What a display of whole increments shows: its digits as one number, and how many of them follow the point."""
    increment = INCREMENT[unit]
    return int((weight / increment).to_integral_value()), len(f"{increment:f}".partition(".")[2])


def with_noise(weight: Decimal, unit: str, rng: random.Random) -> Decimal:
    """`weight` off by up to half an increment, as an honest scale's display may be."""
    return weight + INCREMENT[unit] * Decimal(rng.uniform(-0.5, 0.5))


class SimScale:
    """The scale behind one port.

    `fault` may be set at any time. `forced` replaces what the pan's weight would say: an overload, a fault.
    Where `baudrate` is given, a host that opens the port otherwise hears nonsense and is not understood.
    """

    def __init__(self, link: Path, voice: Voice, unit: str, clock: Clock, rng: random.Random, *,
                 baudrate: int | None = None, period_s: float = 0.1) -> None:
        self.fault = Fault.NONE
        self.forced: State | None = None
        self.tare_kg = Decimal(0)
        self._voice, self._unit, self._clock, self._rng = voice, unit, clock, rng
        self._baudrate, self._period_s = baudrate, period_s
        self._lock = threading.Lock()
        self._weight_kg = Decimal(0)
        self._settled = clock.monotonic()
        self._stop = threading.Event()
        self.port = PtyPort(link, self._heard)
        self._speaker = threading.Thread(target=self._speak, name=f"scale {link}", daemon=True)
        self._speaker.start()

    def put(self, weight_kg: Decimal) -> None:
        """What lies on the pan now; a change takes `SETTLE_S` real seconds to settle."""
        with self._lock:
            if weight_kg != self._weight_kg:
                self._weight_kg = weight_kg
                self._settled = self._clock.monotonic() + SETTLE_S

    def close(self) -> None:
        """Take the scale off its port."""
        self._stop.set()
        self._speaker.join()
        self.port.close()

    def pan(self) -> Pan:
        """What it sees now."""
        with self._lock:
            weight = (self._weight_kg - self.tare_kg) / KILOGRAMS[self._unit]
            shown = with_noise(weight, self._unit, self._rng).quantize(INCREMENT[self._unit], ROUND_HALF_EVEN)
            if self._weight_kg == 0 and not self.tare_kg:
                shown = abs(shown)
            state: State = "motion" if self._clock.monotonic() < self._settled else "stable"
            tare = (self.tare_kg / KILOGRAMS[self._unit]).quantize(INCREMENT[self._unit])
            return Pan(shown, self._unit, self.forced or state, tare)

    def _understood(self) -> bool:
        return self._baudrate is None or self.port.baudrate() == self._baudrate

    def _heard(self, data: bytes) -> None:
        if self._understood():
            self._send(self._voice.hear(data, self.pan()))

    def _speak(self) -> None:
        while not self._stop.wait(self._period_s):
            said = self._voice.speak(self.pan())
            if said:
                self._send(said if self._understood() else misheard(said))

    def _send(self, frame: bytes) -> None:
        sent = spoil(self.fault, frame, self._rng)
        if self.fault is not Fault.SLOW:
            self.port.write(sent)
            return
        for at in range(len(sent)):
            self.port.write(sent[at:at + 1])
            if self._stop.wait(SLOW_BYTE_S):
                return
