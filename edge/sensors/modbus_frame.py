"""Modbus RTU frames from the asking side: the request of one read, and its answer among whatever was heard.

A read asks for one run of adjacent registers or bits (Modbus application protocol V1.1b3, functions 1 to 4), and is
answered with them or with an exception:

    ┌─────────┬──────────┬──────────┬───────┬───────────────┐      ┌─────────┬──────────┬───────┬────────┬─────┐
    │ address │ function │ register │ count │ CRC, low/high │  ─▶  │ address │ function │ bytes │ values │ CRC │
    │ 01      │ 04       │ 00 01    │ 00 02 │ 20 0B         │      │ 01      │ 04       │ 04    │ 01 31… │ 2A… │
    └─────────┴──────────┴──────────┴───────┴───────────────┘      └─────────┴──────────┴───────┴────────┴─────┘

pymodbus makes and judges the frames. Nothing here can make a frame that writes.
"""

from __future__ import annotations

from typing import NamedTuple

from pymodbus.exceptions import ModbusIOException
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from edge.errors import SensorError

READS: dict[int, type[ModbusPDU]] = {1: ReadCoilsRequest, 2: ReadDiscreteInputsRequest,
                                     3: ReadHoldingRegistersRequest, 4: ReadInputRegistersRequest}
BIT_FUNCTIONS = (1, 2)
REQUEST_BYTES = 8
EXCEPTION_BYTES = 5
LONGEST = 256
"""Bytes of an RTU frame at most."""
EXCEPTIONS = {1: "it does not know the function", 2: "it has no such register", 3: "it cannot give so many",
              4: "it failed", 6: "it is busy", 11: "the gateway heard nothing from it"}
_pdus = DecodePDU(is_server=False)
_framer = FramerRTU(_pdus)


class Block(NamedTuple):
    """One request: which function, from which register, how many."""

    function: int
    first: int
    length: int


def most(function: int) -> int:
    """How many registers or bits one request may ask for."""
    return 2000 if function in BIT_FUNCTIONS else 125


def request(address: int, block: Block) -> bytes:
    """The request's frame; ValueError where its count or register is not a Modbus one."""
    ask = READS[block.function](dev_id=address, address=block.first, count=block.length)
    return _framer.buildFrame(ask)


def parse_request(frame: bytes) -> tuple[int, Block]:
    """Address and block of a request's frame.

    SensorError `bad_frame`, also for one that would write: only reads are known here.
    """
    if len(frame) != REQUEST_BYTES:
        raise SensorError("bad_frame", f"a request has {REQUEST_BYTES} bytes, not {len(frame)}")
    if frame[1] not in READS:
        raise SensorError("bad_frame", f"function {frame[1]} is no read: 1, 2, 3 or 4")
    if not _sound(frame):
        raise SensorError("bad_frame", f"the CRC of {frame[:-2].hex(' ')} is {crc(frame[:-2]).hex(' ').upper()}")
    block = Block(frame[1], int.from_bytes(frame[2:4]), int.from_bytes(frame[4:6]))
    if not 1 <= block.length <= most(block.function):
        raise SensorError("bad_frame", f"function {block.function} reads 1 to {most(block.function)} at once, "
                          f"not {block.length}")
    return frame[0], block


def crc(data: bytes) -> bytes:
    """CRC-16/MODBUS as it is sent, low byte first."""
    return FramerRTU.compute_CRC(data).to_bytes(2, "big")


def answer_bytes(block: Block) -> int:
    """Bytes of the answer's frame."""
    values = (block.length + 7) // 8 if block.function in BIT_FUNCTIONS else 2 * block.length
    return 5 + values


def find_answer(address: int, block: Block, heard: bytes) -> tuple[int, ...] | None:
    """The registers, 0 to 65535, or bits of the first whole answer among `heard`; None where there is none (yet).

    What stands before it is passed over: the adapter's echo of the request, noise, another device's late answer.
    SensorError `exception_<code>`, or `bad_frame` for an answer with a right CRC to another question.
    """
    heard = without_echo(request(address, block), heard)
    for start in range(len(heard) - EXCEPTION_BYTES + 1):
        if heard[start] != address:
            continue
        view = heard[start:]
        if view[1] == block.function | 0x80 and _sound(view[:EXCEPTION_BYTES]):
            raise SensorError(f"exception_{view[2]}", f"address {address}, function {block.function}, "
                              f"register {block.first}: {EXCEPTIONS.get(view[2], 'refused')}")
        if view[1] == block.function and len(view) >= (size := 5 + view[2]) and _sound(view[:size]):
            return _values_in(address, block, view[:size])
    return None


def strangers(heard: bytes) -> tuple[int, ...]:
    """The addresses of the whole answers in `heard`, which begins with one; they end where anything else stands."""
    found: list[int] = []
    while len(heard) >= EXCEPTION_BYTES:
        size = EXCEPTION_BYTES if heard[1] & 0x80 else 5 + heard[2]
        if len(heard) < size or not _sound(heard[:size]):
            break
        found.append(heard[0])
        heard = heard[size:]
    return tuple(found)


def without_echo(asked: bytes, heard: bytes) -> bytes:
    """`heard` without the request, which some RS-485 adapters hear themselves send."""
    return heard.removeprefix(asked)


def _sound(frame: bytes) -> bool:
    return FramerRTU.check_CRC(frame[:-2], int.from_bytes(frame[-2:]))


def _values_in(address: int, block: Block, frame: bytes) -> tuple[int, ...]:
    if len(frame) != answer_bytes(block):
        raise SensorError("bad_frame", f"address {address}: an answer of {len(frame)} bytes where "
                          f"{answer_bytes(block)} belong to {block.length} values")
    try:
        answer = _pdus.decode(frame[1:-2])
    except ModbusIOException as error:
        raise SensorError("bad_frame", f"address {address}: {error}") from error
    if answer is None:
        raise SensorError("bad_frame", f"address {address}: {frame.hex(' ')}")
    values = answer.bits if block.function in BIT_FUNCTIONS else answer.registers
    return tuple(map(int, values[:block.length]))
