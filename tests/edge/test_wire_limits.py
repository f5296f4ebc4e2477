"""What a payload may cost before it is refused: neither memory nor depth nor digits are the sender's to choose."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from edge import wire
from edge.errors import WireError

STREAM = "0123456789abcdef" * 2
MOST_KIB = 48 * 1024
MAGIC = b"\x28\xb5\x2f\xfd"
RECORD = {"n": "shop-1/a/b", "t": 1.8e9, "u": "kg", "v": 1.0}
BOMB = b" " * 100_000_000


def envelope(**changes: object) -> bytes:
    head = {"v": 1, "st": STREAM, "seq": 1, "lo": 1, "boot": 1, "clk": "ok"}
    return json.dumps({**head, "e": [RECORD], **changes}).encode()


def peak() -> int:
    """The most KiB that this process has had since it was last told to forget it (proc(5))."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1])


def framed(content: bytes, size: int | None, window: int = 0) -> bytes:
    """A zstd frame (RFC 8878 section 3.1.1.1) with any content size and any window, of two to the `window` KiB."""
    plain = zstandard.ZstdCompressor(write_content_size=False).compress(content)
    assert plain[4] & 0xE3 == 0, "neither content size, single segment nor dictionary"
    window_byte = bytes((window << 3,)) if window else plain[5:6]
    told = b"" if size is None else struct.pack("<Q", size)
    return MAGIC + bytes((plain[4] | (0 if size is None else 0xC0),)) + window_byte + told + plain[6:]


BOMBS = {
    "declared": zstandard.ZstdCompressor().compress(BOMB),
    "undeclared": framed(BOMB, None),
    "says 0": framed(BOMB, 0),
    "says 100": framed(BOMB, 100),
    "says 2**64 - 2": framed(BOMB, 2**64 - 2),
    "says the limit": framed(BOMB, wire.MAX_PAYLOAD),
    "window of 2 GiB": framed(envelope(), None, 21),
    "window of 2 GiB, says too little": framed(envelope(), 10, 21),
    "many frames": zstandard.ZstdCompressor().compress(b" " * 200_000) * 1000,
    "skippable frame": b"\x50\x2a\x4d\x18" + struct.pack("<I", 100) + b"x" * 100,
    "torn": zstandard.ZstdCompressor().compress(envelope() * 3)[:-1],
}


@pytest.mark.parametrize("kind", sorted(BOMBS))
def test_a_bomb_is_refused_and_takes_no_memory(kind: str) -> None:
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    with pytest.raises(WireError):
        wire.decode_batch("shop-1", BOMBS[kind])
    assert wire.identify(BOMBS[kind]) is None
    assert peak() - before < MOST_KIB


def test_a_wide_window_around_little_takes_no_memory() -> None:
    Path("/proc/self/clear_refs").write_text("5")
    before, packed = peak(), framed(envelope(), len(envelope()), 21)
    try:
        assert wire.decode_batch("shop-1", packed).n == 1
    except WireError as error:
        assert "zstd" in error.detail  # noqa: PT017  # either is right
    assert peak() - before < MOST_KIB


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("place", [b'"v": 1.0', b'"seq": 1', b'"st": "%b"' % STREAM.encode(), b'"e": ['])
def test_no_depth_is_too_deep_to_refuse(opening: bytes, closing: bytes, place: bytes) -> None:
    nested = opening * 40_000 + b"1" + closing * 40_000
    name = place.split(b":")[0]
    payload = envelope().replace(place, name + b": " + nested + (b', "x": [' if place.endswith(b"[") else b""))
    with pytest.raises(WireError):
        wire.decode_batch("shop-1", payload)
    wire.identify(payload)


@pytest.mark.parametrize("field", ["seq", "lo", "boot", "left", "w", "v"])
@pytest.mark.parametrize("number", [start + b"9" * 200_000 for start in (b"", b"-", b"1e", b"0.")])
def test_no_number_has_too_many_digits_to_refuse(field: str, number: bytes) -> None:
    payload = envelope(**{field: 12345}).replace(b"12345", number)
    try:
        batch = wire.decode_batch("shop-1", payload)
    except WireError:
        return
    assert field == "w"  # a number like any other, however it is written
    assert batch.n == 1


@given(st.integers(1, 2**53), st.lists(st.tuples(st.integers(0, 2**53), st.integers(0, 2**53)), max_size=3),
       st.integers(1, 2**53))
def test_no_batch_ends_where_no_watermark_could_say_so(seq: int, gaps: list[tuple[int, int]], lo: int) -> None:
    payload = envelope(seq=seq, lo=lo, g=gaps)
    claim = wire.identify(payload)
    assert claim is None or claim.seq + claim.n - 1 <= wire.MAX_SEQ
    try:
        batch = wire.decode_batch("shop-1", payload)
    except WireError:
        return
    assert batch.seq + batch.n - 1 <= wire.MAX_SEQ
    assert batch.lo <= batch.seq
