"""What a profile can say of a register, and what is read by it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.sensors.modbus_frame import Block
from edge.sensors.modbus_profile import DeviceProfile, Point, blocks, decode_point, decode_points


def a_point(**more: Any) -> Point:
    return Point.model_validate({"name": "p", "function": 3, "register": 10, "type": "int16"} | more)


def a_profile(*points: dict[str, Any], **more: Any) -> DeviceProfile:
    return DeviceProfile.model_validate({"title": "x", "evidence": "documented", "source": "s", "points": [
        {"name": f"p{n}", "function": 3, "register": 10, "type": "int16"} | point
        for n, point in enumerate(points)]} | more)


def read(point: Point, *words: int, status: int = 0) -> Decimal | bool | str:
    registers: dict[tuple[int, int], int | str] = {(point.function, 10 + at): word for at, word in enumerate(words)}
    if point.status:
        registers[point.function, point.status.at] = status
    reading = decode_point(point, registers, "s", 0.0)
    return reading.quality if reading.value is None else reading.value


@pytest.mark.parametrize(("more", "words", "value"), [
    ({"scale": "0.1"}, [0xFF33], "-20.5"),
    ({"type": "uint16", "scale": "0.1"}, [0xFF33], "6533.1"),
    ({"type": "uint16", "mask": 0x0FF0}, [0x1234], "35"),
    ({"type": "int32"}, [0xFFFF, 0xFFFE], "-2"),
    ({"type": "uint32"}, [0x0001, 0x0002], "65538"),
    ({"type": "uint32", "order": "cdab"}, [0x0002, 0x0001], "65538"),
    ({"type": "uint32", "order": "badc"}, [0x0100, 0x0200], "65538"),
    ({"type": "uint32", "order": "dcba"}, [0x0200, 0x0100], "65538"),
    ({"type": "float32"}, [0xC194, 0x0000], "-18.5"),
    ({"type": "float32", "order": "cdab"}, [0x0000, 0xC194], "-18.5"),
    ({"type": "float32"}, [0x4089, 0x999A], "4.3"),
])
def test_numbers_are_read_as_they_are_coded(more: dict[str, Any], words: list[int], value: str) -> None:
    assert read(a_point(**more), *words) == Decimal(value)


@pytest.mark.parametrize("words", [[0x7FC0, 0], [0x7F80, 0], [0xFF80, 0]])
def test_a_float_that_is_no_number_is_no_value(words: list[int]) -> None:
    assert read(a_point(type="float32"), *words) == "bad:no_number"


@pytest.mark.parametrize("bit", [0, 11, 15])
def test_a_bit_of_a_register_is_a_bool(bit: int) -> None:
    point = a_point(type="bit", bit=bit)

    assert read(point, 1 << bit) is True
    assert read(point, 0xFFFF ^ 1 << bit) is False


@pytest.mark.parametrize("sentinel", [0x8000, -32768])
def test_a_sentinel_may_be_written_with_or_without_a_sign(sentinel: int) -> None:
    assert read(a_point(sentinels=[sentinel]), 0x8000) == "bad:no_probe"
    assert read(a_point(sentinels=[sentinel]), 0x8001) == Decimal(-32767)


def test_beyond_the_range_is_no_value_with_a_reason_for_each_side() -> None:
    point = a_point(min="-138.5", max="608.5", scale="0.1", below="short_circuit", above="open_circuit")

    assert read(point, 0x10000 - 1386) == "bad:short_circuit"
    assert read(point, 6086) == "bad:open_circuit"
    assert (read(point, 0x10000 - 1385), read(point, 6085)) == (Decimal("-138.5"), Decimal("608.5"))


def test_a_value_counts_only_where_its_status_says_so() -> None:
    point = a_point(scale="0.1", status={"register": 11, "mask": 3, "ok": [0, 1, 2], "reason": "probe_error"})

    assert [read(point, 42, status=status) for status in (0, 1, 2, 3, 0x7C, 0x7F)] == [
        Decimal("4.2"), Decimal("4.2"), Decimal("4.2"), "bad:probe_error", Decimal("4.2"), "bad:probe_error"]
    assert decode_point(point, {(3, 10): 42}, "s", 0.0).quality == "bad:missing"


def test_requests_take_status_and_wide_values_whole() -> None:
    wide = {"type": "int32"}

    assert blocks(a_profile({"status": {"register": 11}}, {"register": 12})) == (Block(3, 10, 3),)
    assert blocks(a_profile({}, {"register": 20, **wide}, {"register": 22})) == (Block(3, 10, 1), Block(3, 20, 3))
    cut = blocks(a_profile(*({"register": 2 * n + 1, **wide} for n in range(63))))
    assert cut == (Block(3, 1, 124), Block(3, 125, 2))  # 125 at once would cut the last value in two


def test_many_bits_are_one_request() -> None:
    inputs = a_profile(*({"function": 2, "type": "bit", "register": n} for n in range(300)))

    assert blocks(inputs) == (Block(2, 0, 300),)


@pytest.mark.parametrize(("more", "says"), [
    ({"function": 6}, "Input should be 1, 2, 3 or 4"),
    ({"function": 16}, "Input should be 1, 2, 3 or 4"),
    ({"function": 2}, "function 2 reads bits"),
    ({"type": "bit"}, "says which bit"),
    ({"bit": 3}, "says which bit"),
    ({"mask": 3}, "a mask needs type uint16"),
    ({"unit": "degC"}, "Input should be 'Cel'"),
    ({"register": 65536}, "less than or equal to 65535"),
])
def test_a_point_that_cannot_be_is_refused(more: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        a_point(**more)


def test_an_offset_must_leave_every_register_on_the_wire() -> None:
    with pytest.raises(ValidationError, match="below 0"):
        a_profile({"register": 0}, offsets=[0, -1])
    moved = a_profile({"status": {"register": 11}}, offsets=[-1]).on_wire()
    assert blocks(moved) == (Block(3, 9, 2),)


@given(st.sampled_from(["int16", "uint16", "int32", "uint32", "float32"]),
       st.sampled_from(["abcd", "cdab", "badc", "dcba"]), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF),
       st.sampled_from(["0.1", "0.01", "1", "10", "0.5"]))
def test_any_words_are_a_number_or_a_reason(kind: str, order: str, high: int, low: int, scale: str) -> None:
    profile = a_profile({"type": kind, "order": order, "scale": scale, "min": "-1000", "max": "1000"})

    (reading,) = decode_points(profile, {(3, 10): high, (3, 11): low}, "s", 0.0)

    if isinstance(reading.value, Decimal):
        assert -1000 <= reading.value <= 1000
    else:
        assert reading.quality in ("bad:no_number", "bad:out_of_range")
