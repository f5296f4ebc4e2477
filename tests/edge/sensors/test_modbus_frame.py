"""Requests and answers as bytes: what counts as an answer among everything that a line carries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import SensorError
from edge.sensors.modbus_frame import Block, answer_bytes, crc, find_answer, parse_request, request, strangers

ASK, BLOCK = bytes.fromhex("01 04 00 01 00 02 20 0B"), Block(4, 1, 2)
REPLY = bytes.fromhex("01 04 04 01 31 02 22 2A CE")
OTHERS = bytes.fromhex("01 03 02 00 FA 38 07")


def test_a_request_is_as_the_manual_prints_it_and_reads_back() -> None:
    assert request(1, BLOCK) == ASK
    assert parse_request(ASK) == (1, BLOCK)
    assert request(1, Block(2, 0, 8)) == bytes.fromhex("01 02 00 00 00 08 79 CC")


@pytest.mark.parametrize(("frame", "says"), [
    ("01 06 01 01 00 02 59 F7", "no read"), ("01 10 00 00 00 01 40 0A", "no read"),
    ("01 04 00 01 00 02 20 0C", "20 0B"), ("01 04 00 01 00 02", "8 bytes"), ("01 04 00 01 00 7E 21 EA", "1 to 125")])
def test_what_is_no_read_is_refused(frame: str, says: str) -> None:
    with pytest.raises(SensorError, match=says):
        parse_request(bytes.fromhex(frame))


@pytest.mark.parametrize("before", [b"", ASK, b"\x00", b"\xff\x01\x04", ASK + OTHERS[:1] + b"\x03\x02\x00\xfb\x00\x00",
                                    bytes.fromhex("02 04 04 00 2A 02 7B 88 9E")])
def test_an_answer_is_found_after_an_echo_noise_or_anothers_answer(before: bytes) -> None:
    assert find_answer(1, BLOCK, before + REPLY) == (305, 546)
    assert find_answer(1, BLOCK, before + REPLY + b"\x00\xff") == (305, 546)


def test_anothers_answer_is_not_this_devices() -> None:
    theirs = b"\x02" + REPLY[1:-2]
    theirs += crc(theirs)

    assert find_answer(1, BLOCK, theirs) is None
    assert strangers(theirs + theirs[:4]) == (2,)


def test_an_answer_to_another_function_is_none() -> None:
    assert find_answer(1, Block(3, 1, 2), REPLY) is None


@pytest.mark.parametrize("block", [Block(4, 1, 1), Block(4, 1, 3)])
def test_an_answer_longer_or_shorter_than_asked_is_refused(block: Block) -> None:
    with pytest.raises(SensorError, match="bad_frame"):
        find_answer(1, block, REPLY)


def test_an_exception_is_its_own_reason() -> None:
    with pytest.raises(SensorError, match=r"exception_2: .*no such register"):
        find_answer(1, BLOCK, bytes.fromhex("01 84 02 C2 C1"))


def test_an_echo_that_looks_like_an_answer_is_not_one() -> None:
    block = Block(2, 0x0300, 24)  # its answer has the length of its request

    assert answer_bytes(block) == 8
    assert find_answer(1, block, request(1, block)) is None


@given(st.integers(1, 247), st.sampled_from((3, 4)), st.integers(0, 65000), st.lists(st.integers(0, 65535), min_size=1,
                                                                                     max_size=125))
def test_whatever_a_device_says_is_what_is_read(address: int, function: int, first: int, words: list[int]) -> None:
    body = bytes((address, function, 2 * len(words))) + b"".join(word.to_bytes(2) for word in words)

    assert find_answer(address, Block(function, first, len(words)), body + crc(body)) == tuple(words)
