"""Rows out of a damaged outbox, read past SQLite: header, schema and b-tree may all be gone.

A row proves itself by its own checksum, so what leads to it in a sound file (page types, cell pointers, inner pages)
is not needed: the bytes are searched for the one shape that a record of the table has,

    CREATE TABLE record (seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL)

A page's cell pointers only tell which of its records were deleted, and only where they account for all its bytes.

Formats: https://www.sqlite.org/fileformat2.html (cells 1.6, records 2.1, the WAL 4) and
https://www.sqlite.org/walformat.html.
"""

from __future__ import annotations

import io
import itertools
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MOST_BODY = 1 << 16
"""Bytes of the longest body that is looked for: it bounds the work for one match."""

_SIZES = (4096, 512, 1024, 2048, 8192, 16384, 32768, 65536)
_BLOCK = 1 << 20  # a multiple of every page size, so that no cell crosses blocks
_WAL_HEADER, _FRAME_HEADER = 32, 24
_ORDERS = {0x377F0682: "<", 0x377F0683: ">"}  # of the words that a WAL's checksums add up
_GUESS_FRAMES = 64  # as far as a WAL with a damaged header is searched for two frames that belong together

# A record's header: its own length, seq as NULL (0), kind as one byte or the constants 0 and 1 (8, 9), crc in one to
# four bytes or constant, and the body's length. No match can hide another: each must begin with a byte that the rest
# of one excludes, and the length is only looked at.
_RECORD = re.compile(rb"[\x05-\x07]\x00[\x01\x08\x09][\x01-\x04\x08\x09](?=([\x80-\xff]{0,2}[\x00-\x7f]))")


@dataclass(frozen=True, slots=True)
class Row:
    """A row that was really put: its checksum is right."""

    seq: int
    kind: int
    body: bytes


def checksum(seq: int, kind: int, body: bytes) -> int:
    """The column `crc` of a row: CRC-32 of the body, begun with seq and kind, as a signed 32-bit integer."""
    try:
        return (zlib.crc32(body, (seq * 4 + kind) & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000
    except TypeError:  # a flipped bit in a row's header makes another type of what follows, STRICT or not
        return 1 << 40  # no row has that


def scan(path: Path) -> Iterator[Row]:
    """Every row with a right checksum in the newest committed version of each page, each seq once, in no order.

    The WAL comes first, from its end. Where a frame of it is damaged, older versions are read too, since one of them
    may have what the frame had. Rows that were deleted may come back from there, and from freed or damaged pages: the
    cloud drops repeats. The time is in proportion to the files' bytes; memory holds a block of the file, a note of
    each frame of the WAL, and about a bit for each row.

    OSError where the file, or a WAL that is there, cannot be read; no content raises.
    """
    with path.open("rb") as main, _open_wal(path) as log:
        pages = _Pages(main, log, _read_wal(log))
        for block in pages.blocks():
            yield from pages.rows(block)


def wal_hides_commits(path: Path) -> bool:
    """Whether the WAL holds committed transactions that SQLite would drop without a word, behind a damaged frame.

    Ask before SQLite opens the file: opening it may overwrite them. OSError where a WAL that is there cannot be read.
    """
    with _open_wal(path) as log:
        return _read_wal(log).hides


@dataclass(frozen=True, slots=True)
class _Frame:
    """One frame of the WAL: `at` is the offset of its page; page 0 where the frame is not of this log.

    `chained`: its checksum continues the frame before it; `salted`: its salts are the log's.
    """

    at: int
    page: int
    commit: bool
    chained: bool
    salted: bool


@dataclass(frozen=True, slots=True)
class _Wal:
    """The committed part of a log, oldest frame first; `size` is of its pages, and surely so if `sized`."""

    frames: list[_Frame]
    hides: bool
    size: int
    sized: bool


@dataclass(frozen=True, slots=True)
class _WalHeader:
    """`seeds`: what the first frame's checksum may continue; any, where `seedless`."""

    sound: bool
    seedless: bool
    order: str
    size: int
    salts: bytes
    seeds: list[tuple[int, int]]


def _open_wal(path: Path) -> BinaryIO:
    try:
        return path.with_name(path.name + "-wal").open("rb")
    except FileNotFoundError:
        return io.BytesIO()


def _at(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)


def _read_wal(log: BinaryIO) -> _Wal:
    raw = _at(log, 0, _WAL_HEADER)
    if len(raw) < _WAL_HEADER:
        return _Wal([], False, _SIZES[0], False)
    header = _wal_header(log, raw)
    frames, hides = _committed(_frames(log, header), header.sound)
    return _Wal(frames, hides, header.size, header.sound)


def _wal_header(log: BinaryIO, raw: bytes) -> _WalHeader:
    """The header, or, where it is damaged, what the first frame that another one continues says."""
    magic, _, size, _, salts, *stored = struct.unpack(">4I8s2I", raw)
    order = _ORDERS.get(magic, "=")
    computed, seed = _wal_sum(order, (0, 0), raw[:24]), (stored[0], stored[1])
    if magic in _ORDERS and size in _SIZES and computed == seed:
        return _WalHeader(True, False, order, size, salts, [seed])
    sizes = dict.fromkeys((size, *_SIZES) if size in _SIZES else _SIZES)
    for guess in sizes:
        if found := _continued_salts(log, order, guess, [seed, computed]):
            return _WalHeader(False, True, order, guess, found, [seed, computed])
    return _WalHeader(False, False, order, next(iter(sizes)), _at(log, _WAL_HEADER + 8, 8), [seed, computed])


def _continued_salts(log: BinaryIO, order: str, size: int, seeds: list[tuple[int, int]]) -> bytes:
    """The salts of the first frames that prove this page size by continuing one another; empty if none do."""
    before = b""
    for number in range(_GUESS_FRAMES):
        raw = _at(log, _WAL_HEADER + number * (_FRAME_HEADER + size), _FRAME_HEADER + size)
        if len(raw) < _FRAME_HEADER + size:
            break
        page, s0, s1 = struct.unpack_from(">I12x2I", raw)
        # Zeros continue zeros, but no page is number 0.
        likely = page > 0 and (number == 0 or raw[8:16] == before[8:16])
        if likely and (s0, s1) in _sums(order, seeds, raw[:8], raw[_FRAME_HEADER:]):
            return raw[8:16]
        before, seeds = raw, [(s0, s1)]
    return b""


def _frames(log: BinaryIO, header: _WalHeader) -> Iterator[_Frame]:
    """Every frame to the end of the file, older logs' leftovers included; they have page 0.

    The checksums are cumulative, but each frame stores its own, and so can be judged by the one before it: a damaged
    frame spoils itself only. Where the stored sum is what was damaged, the computed one takes its place.
    """
    seeds, ours, step = header.seeds, True, _FRAME_HEADER + header.size
    for start in range(_WAL_HEADER, log.seek(0, io.SEEK_END) - step + 1, step):
        raw = _at(log, start, step)
        if len(raw) < step:
            return
        page, commit, salts, s0, s1 = struct.unpack_from(">2I8s2I", raw)
        salted = salts == header.salts
        # The sums leave the salts out, so that a frame with damaged salts still proves that it continues ours.
        content = raw[_FRAME_HEADER:]
        sums = _sums(header.order, seeds, raw[:8], content) if salted or ours else []
        chained = (s0, s1) in sums or (salted and start == _WAL_HEADER and header.seedless)
        # A mark that only damage has made is no commit, though the next frame would confirm it.
        if commit and sums and not chained and (s0, s1) in _sums(header.order, seeds, raw[:4] + bytes(4), content):
            commit = 0
        ours = page > 0 and (salted or chained)
        yield _Frame(start + _FRAME_HEADER, page if ours else 0, ours and commit > 0, ours and chained, salted)
        seeds = [(s0, s1)] if chained else [(s0, s1), *sums[:1]]


def _committed(frames: Iterable[_Frame], sound: bool) -> tuple[list[_Frame], bool]:
    """The frames up to the last commit that was durable, and whether SQLite would stop before that.

    A commit in whose transaction a frame is bad was durable if the next frame continues it, because each commit is
    synced before the next begins. Equal salts alone would not show that: a longer transaction that was rolled back
    or torn leaves its tail behind, with the same salts. Otherwise it is a torn last write, whose put() never
    returned; sending it would count a sale twice.
    """
    done: list[_Frame] = []
    pending: list[_Frame] = []
    torn, ended, plain, hides = False, False, sound, False
    for frame in frames:
        if torn and ended and frame.chained:
            done += pending
            pending, torn, hides = [], False, True
        torn |= not frame.chained
        plain = plain and frame.chained and frame.salted
        ended = frame.commit
        if frame.page:
            pending.append(frame)
        if ended and not torn:
            done += pending
            pending, hides = [], hides or not plain
    return done, hides


def _sums(order: str, seeds: list[tuple[int, int]], header: bytes, page: bytes) -> list[tuple[int, int]]:
    return [_wal_sum(order, seed, header + page) for seed in seeds]


def _wal_sum(order: str, seed: tuple[int, int], data: bytes) -> tuple[int, int]:
    s0, s1 = seed
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for x0, x1 in zip(words[::2], words[1::2], strict=True):
        s0 = (s0 + x0 + s1) & 0xFFFFFFFF
        s1 = (s1 + x1 + s0) & 0xFFFFFFFF
    return s0, s1


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell of the table, unproven, at `start`: `head` is the offset of its record, `body_at` that of its body."""

    seq: int
    kind: int
    crc: int
    start: int
    head: int
    body_at: int
    length: int

    @property
    def payload(self) -> int:
        return self.body_at - self.head + self.length


class _Pages:
    """The rows of blocks of pages, each seq once, with the overflow pages that bodies go on in."""

    def __init__(self, main: BinaryIO, log: BinaryIO, wal: _Wal) -> None:
        self._main, self._log, self._wal = main, log, wal
        self._main_bytes = main.seek(0, io.SEEK_END)
        self._seen: dict[int, int] = {}  # seq // 1024 to a bit for each seq
        self._sizes = (wal.size,) if wal.sized else _likely_sizes(_at(main, 16, 2), wal.size)
        # A damaged frame may name a wrong page: then the newest frame but those is the truth.
        newest = {frame.page: frame.at for frame in wal.frames}
        proven = {frame.page: frame.at for frame in wal.frames if frame.chained}
        self._views = [newest] if newest == proven else [newest, proven]
        self._replaced = newest if all(frame.chained for frame in wal.frames) else {}

    def blocks(self) -> Iterator[bytes]:
        """The newest versions of all pages, or, with damage in the WAL, all versions; as blocks of whole pages."""
        size = self._wal.size
        for frame in reversed(self._wal.frames):
            if self._replaced.get(frame.page, frame.at) == frame.at:
                yield _at(self._log, frame.at, size)
        for start in range(0, self._main_bytes, _BLOCK):
            block = bytearray(_at(self._main, start, _BLOCK))
            for at in range(0, len(block) if self._replaced else 0, size):
                if (start + at) // size + 1 in self._replaced:
                    block[at:at + size] = bytes(size)
            yield bytes(block)

    def rows(self, block: bytes) -> Iterator[Row]:
        """The rows of some whole pages that were not given before."""
        found = (_cell(block, match.start(), match[1]) for match in _RECORD.finditer(block))
        size = self._sizes[0]
        for page, cells in itertools.groupby(filter(None, found), lambda cell: cell.start // size):
            for cell in _live(block, page * size, size, list(cells)):
                known, bit = self._seen.get(cell.seq >> 10, 0), 1 << (cell.seq & 1023)
                body = None if known & bit else self._body(block, cell)
                if body is not None:
                    self._seen[cell.seq >> 10] = known | bit
                    yield Row(cell.seq, cell.kind, body)

    def _body(self, block: bytes, cell: _Cell) -> bytes | None:
        for size in self._sizes:
            for body in self._bodies(block, cell, size):
                if len(body) == cell.length and checksum(cell.seq, cell.kind, body) == cell.crc:
                    if _local(cell.payload, size) < cell.payload:
                        self._sizes = (size,)  # a body over several pages proves their size
                    return body
        return None

    def _bodies(self, block: bytes, cell: _Cell, size: int) -> Iterator[bytes]:
        end = cell.head + _local(cell.payload, size)
        if end >= cell.body_at + cell.length:
            yield block[cell.body_at:cell.body_at + cell.length]
            return
        for view in self._views:
            page, parts, missing = block[end:end + 4], [block[cell.body_at:end]], cell.body_at + cell.length - end
            while missing > 0 and (overflow := self._page(int.from_bytes(page, "big"), size, view)):
                page = overflow[:4]
                parts.append(overflow[4:4 + missing])
                missing -= size - 4
            yield b"".join(parts)

    def _page(self, number: int, size: int, view: dict[int, int]) -> bytes:
        if size == self._wal.size and number in view:
            return _at(self._log, view[number], size)
        # Looked at before seeking: the system refuses offsets that no file can have.
        offset = (number - 1) * size
        return _at(self._main, offset, size) if 0 <= offset < self._main_bytes else b""


def _likely_sizes(field: bytes, wal_size: int) -> tuple[int, ...]:
    """Page sizes in the order to try them; `field` is the database header's."""
    likely = (size for size in (int.from_bytes(field, "big"), wal_size) if size in _SIZES)
    return tuple(dict.fromkeys((*likely, *_SIZES)))


def _local(payload: int, size: int) -> int:
    """How much of a payload is in its leaf page; the outbox's pages have no reserved bytes."""
    if payload <= size - 35:
        return payload
    least = (size - 12) * 32 // 255 - 23
    wanted = least + (payload - least) % (size - 4)
    return wanted if wanted <= size - 35 else least


def _live(block: bytes, at: int, size: int, cells: list[_Cell]) -> list[_Cell]:
    """The cells of the page at `at` without deleted ones; all, unless its header accounts for each of its bytes."""
    if block[at] != 0x0D or at + size > len(block):
        return cells
    free, count, content, total = struct.unpack_from(">3HB", block, at + 1)
    if count > len(cells):
        return cells
    pointers = {int.from_bytes(block[place:place + 2], "big") for place in range(at + 8, at + 8 + 2 * count, 2)}
    live = [cell for cell in cells if cell.start - at in pointers]
    for cell in live:
        local = _local(cell.payload, size)
        total += cell.head - cell.start + local + (0 if local == cell.payload else 4)
    while 0 < free <= size - 4:
        following, length = struct.unpack_from(">2H", block, at + free)
        total += length
        free = following if following > free else 0
    return live if len(live) == count and (content or 65536) + total == size else cells


def _cell(block: bytes, head: int, length_varint: bytes) -> _Cell | None:
    """The cell around the record header at `head`, if what stands before it (payload's length, seq) fits it."""
    serial = 0
    for byte in length_varint:
        serial = serial << 7 | byte & 0x7F
    length = (serial - 12) >> 1
    if len(length_varint) != block[head] - 4 or serial & 1 or not 0 <= length <= MOST_BODY:
        return None
    kind, at = _integer(block, block[head + 2], head + block[head])
    crc, at = _integer(block, block[head + 3], at)
    seq, start = _varint_before(block, head)
    before = _varint(at - head + length)
    if not 0 <= kind <= 3 or not block.endswith(before, 0, max(start, 0)):
        return None
    return _Cell(seq, kind, crc, start - len(before), head, at, length)


def _integer(block: bytes, serial: int, at: int) -> tuple[int, int]:
    """A column's value and its end: serial 1 to 4 is that many bytes, 8 and 9 the constants 0 and 1."""
    if serial >= 8:
        return serial - 8, at
    return int.from_bytes(block[at:at + serial], "big", signed=True), at + serial


def _varint_before(block: bytes, end: int) -> tuple[int, int]:
    """The varint that ends at `end`, and its start; its bytes but the last have the high bit set."""
    start = end - 1
    if start < 0 or block[start] >= 0x80:
        return 0, -1
    value = block[start]
    for shift in range(7, 56, 7):
        if start == 0 or block[start - 1] < 0x80:
            break
        start -= 1
        value |= (block[start] & 0x7F) << shift
    return value, start


def _varint(value: int) -> bytes:
    """A varint of up to three bytes."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value >> 7 | 0x80, value & 0x7F))
    return bytes((value >> 14 | 0x80, value >> 7 & 0x7F | 0x80, value & 0x7F))
