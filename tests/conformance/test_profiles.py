"""What every shipped device profile must do: a new `.toml` in firmware_configs/devices is tried here by being there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal

import pytest

from edge.errors import SensorError
from edge.readings import Reading
from edge.sensors.modbus_check import check_profile, try_vector
from edge.sensors.modbus_frame import Block, find_answer, parse_request, request
from edge.sensors.modbus_profile import PROFILES, DeviceProfile, Point, Vector, blocks, decode_points, load_device

NAMES = sorted(path.stem for path in PROFILES.glob("*.toml"))
GENERATED = 10_000
"""Inputs for each profile's decoder, of each kind."""


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def profile(name: str) -> DeviceProfile:
    return load_device(name)


def answered(vectors: tuple[Vector, ...]) -> Iterator[tuple[int, Block, bytes]]:
    """Address, block and reply of every vector."""
    for vector in vectors:
        yield *parse_request(vector.request), vector.reply


def values(address: int, block: Block, heard: bytes) -> tuple[int, ...] | None:
    """What is read from the bytes; None for no value, whatever the reason."""
    try:
        return find_answer(address, block, heard)
    except SensorError:
        return None


def test_its_file_has_no_mistakes(name: str) -> None:
    report = check_profile(PROFILES / f"{name}.toml")

    assert report.mistakes == ()
    assert report.passed == report.vectors > 0


def test_each_vector_is_read_as_it_says(profile: DeviceProfile) -> None:
    for at, vector in enumerate(profile.vectors):
        assert list(try_vector(f"vectors.{at}", vector, profile.on_wire().points)) == []


def test_a_temperature_below_zero_is_among_its_vectors(profile: DeviceProfile) -> None:
    expected = [value for vector in profile.vectors if isinstance(vector.expect, dict)
                for value in vector.expect.values()]

    assert any(isinstance(value, Decimal) and value < 0 for value in expected) or not any(
        point.unit == "Cel" for point in profile.points)


def test_every_truncation_is_no_value(profile: DeviceProfile) -> None:
    for address, block, reply in answered(profile.vectors):
        for length in range(len(reply)):
            assert values(address, block, reply[:length]) is None, (reply.hex(" "), length)


def test_every_byte_changed_to_any_other_is_no_value(profile: DeviceProfile) -> None:
    for address, block, reply in answered(profile.vectors):
        if values(address, block, reply) is None:
            continue  # a vector of a wrong or refused answer
        for place, byte in enumerate(reply):
            for other in range(256):
                changed = reply[:place] + bytes((other,)) + reply[place + 1:]
                assert other == byte or values(address, block, changed) is None, (changed.hex(" "), place)


def test_no_bytes_make_an_exception_or_a_value_without_a_right_frame(name: str, profile: DeviceProfile) -> None:
    rng = random.Random(f"{name}/bytes")
    cases = list(answered(profile.vectors))
    for _ in range(GENERATED):
        address, block, reply = rng.choice(cases)
        heard = spoiled(rng, request(address, block), reply)
        got = values(address, block, heard)
        assert got is None or any(got == told for told in right_frames(address, block, heard)), heard.hex(" ")


def test_no_registers_make_an_exception_or_an_impossible_reading(name: str, profile: DeviceProfile) -> None:
    rng = random.Random(f"{name}/registers")
    asked = blocks(profile)
    for _ in range(GENERATED):
        registers: dict[tuple[int, int], int | str] = {}
        for block in asked:
            registers.update(((block.function, at), a_value(rng, block.function))
                             for at in range(block.first, block.first + block.length))
        for reading, point in zip(decode_points(profile, registers, "s", 1.0), profile.points, strict=True):
            assert possible(reading, point, registers), (reading, registers)


def a_value(rng: random.Random, function: int) -> int | str:
    """Any register or bit, the usual traps often, and sometimes none."""
    if rng.random() < 0.02:
        return "exception_2"
    if function in (1, 2):
        return rng.getrandbits(1)
    return rng.choice((rng.getrandbits(16), rng.getrandbits(16), rng.randrange(-400, 400) & 0xFFFF, 0x8000, 0x7FFF,
                       0xFFFF, 0, 1, 2, 3))


def possible(reading: Reading, point: Point, registers: dict[tuple[int, int], int | str]) -> bool:
    """Whether a reading is one that the point's words allow: reckoned here again, and in another way."""
    raw = registers[point.function, point.at]
    if reading.value is None:
        return reading.quality.startswith("bad:")
    status = registers[point.function, point.status.at] if point.status else 0
    if isinstance(raw, str) or isinstance(status, str):
        return False
    if point.status and (status & point.status.mask) not in point.status.ok:
        return False
    if point.type == "bit":
        return reading.value is bool(raw if point.bit is None else raw & 1 << point.bit)
    if not isinstance(reading.value, Decimal):
        return False
    expected = (raw ^ 0x8000) - 0x8000 if point.type == "int16" else raw
    return (reading.value == expected * point.scale and raw not in point.sentinels
            and (point.min is None or reading.value >= point.min)
            and (point.max is None or reading.value <= point.max))


def spoiled(rng: random.Random, asked: bytes, reply: bytes) -> bytes:
    """A reply as a bad line may deliver it."""
    data = bytearray(reply)
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(7):
            case 0:
                data[at:at] = rng.randbytes(rng.randrange(1, 6))
            case 1:
                del data[at:at + rng.randrange(1, 6)]
            case 2:
                data[at:] = b""
            case 3:
                data[:0] = asked
            case 4:
                data += reply
            case 5:
                data[:] = rng.randbytes(rng.randrange(60))
            case _ if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
    return bytes(data)


def right_frames(address: int, block: Block, heard: bytes) -> Iterator[tuple[int, ...]]:
    """Every answer to the question that stands in the bytes, by a checksum of its own."""
    bits = block.function in (1, 2)
    size = (block.length + 7) // 8 if bits else 2 * block.length
    start = bytes((address, block.function, size))
    for at in range(len(heard) - size - 4):
        frame = heard[at:at + size + 5]
        if frame.startswith(start) and checksum(frame[:-2]) == int.from_bytes(frame[-2:], "little"):
            body = frame[3:-2]
            yield (tuple(body[n // 8] >> n % 8 & 1 for n in range(block.length)) if bits
                   else tuple(body[2 * n] << 8 | body[2 * n + 1] for n in range(block.length)))


def checksum(data: bytes) -> int:
    """CRC-16/MODBUS bit by bit."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def test_the_suite_sees_every_profile() -> None:
    assert {"xy-md02", "r4dcb08", "comwintop-pt1000", "dixell-xjp60d", "dixell-xr75cx", "danfoss-ak-cc55", "carel-ir33",
            "waveshare-io-8ch"} <= set(NAMES)
