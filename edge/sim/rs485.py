"""Modbus RTU devices on one RS-485 line behind a pseudo-terminal, with everything that goes wrong on such a line.

    agent ── link ─ PtyPort ─▶ request ─▶ Bank: the device's registers now ─▶ answer ─▶ [fault] ─▶ PtyPort

What each make has in its registers stands in `edge/sim/modbus_devices.py`, written from the documents and not from
the agent's profiles. pymodbus makes the frames.
"""

from __future__ import annotations

import queue
import random
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsResponse, ReadDiscreteInputsResponse
from pymodbus.pdu.register_message import ReadHoldingRegistersResponse, ReadInputRegistersResponse

from edge.sim.faults import Fault, spoil
from edge.sim.serial import PtyPort

Bank = Callable[[], Mapping[int, Mapping[int, int]]]
"""A device's values now: by function, by register; negative ones are two's complement."""
BIT_FUNCTIONS = {1: ReadCoilsResponse, 2: ReadDiscreteInputsResponse}
WORD_FUNCTIONS = {3: ReadHoldingRegistersResponse, 4: ReadInputRegistersResponse}
LATE_S = 0.7
SLOW_BYTE_S = 0.02
CHARACTER_BITS = 11
_framer = FramerRTU(DecodePDU(is_server=True))


class BusFault(StrEnum):
    """What only a bus can do wrong; a device may also have any `Fault` of a wire."""

    LATE = "late"
    OTHER_ADDRESS = "other-address"
    LONGER = "longer"
    BUSY = "busy"
    FAILED = "failed"
    WRONG_CRC = "wrong-crc"


@dataclass(slots=True)
class SimModbus:
    """One device on the line.

    `fault` may be set at any time. A device of another `baudrate` than the agent's port understands nothing.
    `delay_s` is how long it thinks.
    """

    address: int
    bank: Bank
    baudrate: int | None = None
    delay_s: float = 0.0
    fault: Fault | BusFault = Fault.NONE

    def answer(self, request: ModbusPDU) -> ModbusPDU:
        """The registers that were asked for, or an exception; every function that writes is refused."""
        function, first, count = request.function_code, request.address, request.count
        values = self.bank().get(function, {})
        wanted = range(first, first + count)
        if function not in BIT_FUNCTIONS | WORD_FUNCTIONS:
            return self._refuse(function, ExcCodes.ILLEGAL_FUNCTION)
        if self.fault in (BusFault.BUSY, BusFault.FAILED):
            return self._refuse(function, ExcCodes.DEVICE_BUSY if self.fault is BusFault.BUSY
                                else ExcCodes.DEVICE_FAILURE)
        if any(register not in values for register in wanted):
            return self._refuse(function, ExcCodes.ILLEGAL_ADDRESS)
        words = [values[register] & 0xFFFF for register in wanted]
        if self.fault is BusFault.LONGER:
            words.append(0)
        if function in BIT_FUNCTIONS:
            bits = [bool(word) for word in words] + [False] * (-len(words) % 8)
            return BIT_FUNCTIONS[function](dev_id=self.address, bits=bits)
        return WORD_FUNCTIONS[function](dev_id=self.address, registers=words)

    def _refuse(self, function: int, code: ExcCodes) -> ModbusPDU:
        return ExceptionResponse(function, code, device_id=self.address)


@dataclass(frozen=True, slots=True)
class _Spoken:
    data: bytes
    after_s: float = 0.0
    byte_s: float = 0.0


class Rs485Line:
    """A line with its devices, in order of their answers.

    `echo`: the adapter hears what it sends. `paced`: bytes take their time, as at the port's baud rate.
    """

    def __init__(self, link: Path, devices: Sequence[SimModbus], *, echo: bool = False, paced: bool = False,
                 seed: int = 0) -> None:
        self.devices = {device.address: device for device in devices}
        self.echo, self.paced = echo, paced
        self.asked: list[bytes] = []
        self._rng = random.Random(seed)
        self._heard = b""
        self._say: queue.SimpleQueue[_Spoken | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._speaker = threading.Thread(target=self._speak, name=f"rs485 {link}", daemon=True)
        self.port = PtyPort(link, self._hear)
        self._speaker.start()

    def wait_ready(self, timeout_s: float) -> bool:  # noqa: ARG002  # part of what a virtual shop asks its lines
        """Whether the devices answer: they do from the start."""
        return not self._stop.is_set()

    def babble(self, data: bytes) -> None:
        """Bytes that nobody asked for."""
        self._say.put(_Spoken(data))

    def close(self) -> None:
        """Stop answering and take the port away."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._say.put(None)
        self._speaker.join()
        self.port.close()

    def _hear(self, data: bytes) -> None:
        if self.echo:
            self._say.put(_Spoken(data))
        self._heard = (self._heard + data)[-512:]
        while len(self._heard) >= 8:
            request = self._request(self._heard[:8])
            self._heard = self._heard[8:] if request else self._heard[1:]
            if request is not None:
                self._answer(*request)

    def _request(self, frame: bytes) -> tuple[SimModbus | None, ModbusPDU] | None:
        """Who is asked what by the first frame; None where there is none."""
        used, address, _, pdu = _framer.decode(frame)
        if used != len(frame) or not pdu or frame[0] != address:
            return None
        request = _framer.decoder.decode(pdu)
        if request is None:
            return None
        self.asked.append(frame)
        return self.devices.get(address), request

    def _answer(self, device: SimModbus | None, request: ModbusPDU) -> None:
        if device is None or (device.baudrate and self.port.baudrate() != device.baudrate):
            return
        answer = device.answer(request)
        fault = device.fault
        answer.dev_id = device.address % 247 + 1 if fault is BusFault.OTHER_ADDRESS else device.address
        frame = _framer.buildFrame(answer)
        if fault is BusFault.WRONG_CRC:
            frame = frame[:-2] + struct.pack("<H", struct.unpack("<H", frame[-2:])[0] ^ 0x1001)
        if isinstance(fault, Fault):
            frame = spoil(fault, frame, self._rng)
        late_s = LATE_S if fault is BusFault.LATE else 0.0
        self._say.put(_Spoken(frame, device.delay_s + late_s, SLOW_BYTE_S if fault is Fault.SLOW else 0.0))

    def _speak(self) -> None:
        while (said := self._say.get()) is not None:
            data = said.data
            if said.after_s or self.paced:
                self._stop.wait(said.after_s + self._on_the_wire_s(data))
            if not said.byte_s:
                self.port.write(data)
                continue
            for at in range(len(data)):
                self.port.write(data[at:at + 1])
                self._stop.wait(said.byte_s)

    def _on_the_wire_s(self, data: bytes) -> float:
        """How long the request and these bytes take at the port's speed."""
        return (8 + len(data)) * CHARACTER_BITS / (self.port.baudrate() or 9600) if self.paced else 0.0
