"""Rows come back from damaged files of the real SQLite; none is invented, and no torn write is revived."""

from __future__ import annotations

import random
import shutil
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.uplink.pages import Row, checksum, scan, wal_hides_commits

PAGE = 4096
FRAME = PAGE + 24
SCHEMA = """CREATE TABLE IF NOT EXISTS record
(seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL) STRICT"""
Rows = dict[int, Row]


class Writer:
    """A real database in WAL mode and what was ever committed to it."""

    def __init__(self, path: Path, page_bytes: int = PAGE, checkpoint: int = 0) -> None:
        self.path, self.put_ever, self._random = path, Rows(), random.Random(7)
        self.transactions: list[list[int]] = []
        self.wal_bytes: list[int] = []  # after each transaction
        self.db = sqlite3.connect(path, isolation_level=None)
        for pragma in (f"page_size={page_bytes}", "journal_mode=WAL", "synchronous=FULL",
                       f"wal_autocheckpoint={checkpoint}", "secure_delete=OFF"):
            self.db.execute(f"PRAGMA {pragma}")
        self.db.execute(SCHEMA)

    def put(self, count: int, sizes: Sequence[int] = (60, 200, 1500)) -> None:
        self.db.execute("BEGIN")
        rows = self.insert(count, sizes)
        self.db.execute("COMMIT")
        self.put_ever |= rows
        self.transactions.append(list(rows))
        self.wal_bytes.append(wal_of(self.path).stat().st_size)

    def insert(self, count: int, sizes: Sequence[int] = (60, 200, 1500)) -> Rows:
        first = max(self.put_ever, default=0) + 1
        rows = {seq: Row(seq, seq % 4, self._random.randbytes(self._random.choice(sizes)))
                for seq in range(first, first + count)}
        self.db.executemany("INSERT INTO record VALUES (?, ?, ?, ?)", (
            (row.seq, row.kind, checksum(row.seq, row.kind, row.body), row.body) for row in rows.values()))
        return rows

    def checkpoint(self) -> None:
        assert self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0

    def copy(self, name: str = "copy.db") -> Path:
        """The two files as a power cut would leave them."""
        aside = self.path.with_name(name)
        shutil.copyfile(self.path, aside)
        shutil.copyfile(f"{self.path}-wal", f"{aside}-wal")
        return aside

    def live(self) -> set[int]:
        return {seq for seq, in self.db.execute("SELECT seq FROM record")}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Writer]]:
    made: list[Writer] = []

    def new(page_bytes: int = PAGE, checkpoint: int = 0) -> Writer:
        made.append(Writer(tmp_path / "outbox.db", page_bytes, checkpoint))
        return made[-1]

    yield new
    for writer in made:
        writer.db.close()


def found_in(path: Path, ever: Rows) -> set[int]:
    """The sequences that a scan gives; each once, and equal to what was put."""
    rows = list(scan(path))
    seqs = {row.seq for row in rows}
    assert len(seqs) == len(rows)
    assert [row for row in rows if row != ever.get(row.seq)] == []
    return seqs


def read_by_sqlite(path: Path) -> set[int]:
    db = sqlite3.connect(path)
    seqs = {seq for seq, in db.execute("SELECT seq FROM record")}
    db.close()
    return seqs


def flip(path: Path, offset: int, mask: int = 0xFF) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes((byte ^ mask,)))


def wal_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def pages_of(row: Row, data: bytes, start: int, step: int) -> set[int]:
    """The pages (or frames) of `data` that hold some of the row's body, in any version."""
    pieces = {row.body[at:at + 16] for at in (*range(0, len(row.body) - 15, 200), len(row.body) - 16)}
    pages = set()
    for piece in pieces:
        at = data.find(piece)
        while at >= 0:
            pages.add((at - start) // step)
            at = data.find(piece, at + 1)
    return pages


@given(st.integers(1, 2**55), st.integers(0, 3), st.binary(max_size=50))
def test_the_checksum_is_a_signed_crc_of_all_three(seq: int, kind: int, body: bytes) -> None:
    crc = zlib.crc32(body, (seq * 4 + kind) & 0xFFFFFFFF)
    assert checksum(seq, kind, body) == struct.unpack(">i", struct.pack(">I", crc))[0]


@pytest.mark.parametrize("page_bytes", [512, 1024, 4096, 65536])
@pytest.mark.parametrize("checkpoint", [0, 20])
def test_a_healthy_file_gives_all_rows(make: Callable[..., Writer], page_bytes: int, checkpoint: int) -> None:
    writer = make(page_bytes, checkpoint)
    for _ in range(30):
        writer.put(40, (60, 200, 1500, 5000, 8180))
    path = writer.copy()
    assert found_in(path, writer.put_ever) == set(writer.put_ever)
    assert not wal_hides_commits(path)


def test_thousands_of_rows_with_and_without_a_wal_and_with_deletions(make: Callable[..., Writer]) -> None:
    writer = make()
    writer.put(0)
    for _ in range(20):
        writer.put(200)
    writer.db.execute("DELETE FROM record WHERE seq <= 1234")
    with_wal = writer.copy("with.db")
    writer.checkpoint()
    without_wal = writer.copy("without.db")
    wal_of(without_wal).unlink()
    for path in (with_wal, without_wal):
        assert found_in(path, writer.put_ever) >= writer.live()
    assert not wal_hides_commits(with_wal)
    assert not wal_hides_commits(without_wal)


@pytest.mark.parametrize("checkpoint", [True, False])
def test_rows_deleted_out_of_sound_pages_stay_deleted(make: Callable[..., Writer], checkpoint: bool) -> None:
    writer = make()
    writer.put(500, (60, 60, 200))
    writer.checkpoint()
    for step in (7, 6, 5, 4):
        writer.db.execute("DELETE FROM record WHERE seq % 8 = ?", (step,))
    if checkpoint:
        writer.checkpoint()
    assert writer.db.execute("PRAGMA freelist_count").fetchone()[0] == 0
    # The root is an inner page that was the first leaf once, and may still have that one's rows.
    first_leaf = set(range(60))
    assert found_in(writer.copy(), writer.put_ever) - first_leaf == writer.live() - first_leaf


def test_a_row_whose_newest_version_is_damaged_is_read_in_an_older_one(make: Callable[..., Writer]) -> None:
    writer = make()
    for _ in range(20):
        writer.put(4, (200,))
    path = writer.copy()
    data = wal_of(path).read_bytes()
    body = writer.put_ever[21].body  # not of the first leaf, which the root has a copy of
    assert data.count(body) > 1
    assert data.rfind(body) < writer.wal_bytes[-3]
    flip(wal_of(path), data.rfind(body))
    assert found_in(path, writer.put_ever) == set(writer.put_ever)


@pytest.mark.parametrize("at", range(1, 12))
def test_no_byte_of_a_page_header_costs_a_row(make: Callable[..., Writer], at: int) -> None:
    writer = make()
    writer.put(300, (60, 200))
    writer.db.execute("DELETE FROM record WHERE seq % 8 IN (1, 2)")
    writer.checkpoint()
    path = writer.copy()
    data = bytearray(path.read_bytes())
    for page in range(PAGE, len(data), PAGE):
        data[page + at] ^= 0x05
    path.write_bytes(data)
    assert found_in(path, writer.put_ever) >= writer.live()


def test_kinds_and_checksums_of_every_width_are_read(make: Callable[..., Writer]) -> None:
    writer = make()
    writer.put(1)
    # The CRC of an empty body is what it begins with, so these checksums take 0 to 4 bytes.
    for seq in (2, 30, 31, 32, 5000, 3_000_000, 2**28, 2**29 + 5):
        for kind in range(4):
            row = Row(seq * 4 + kind, kind, b"")
            writer.put_ever[row.seq] = row
            writer.db.execute("INSERT INTO record VALUES (?, ?, ?, ?)",
                              (row.seq, kind, checksum(row.seq, kind, b""), b""))
    assert found_in(writer.copy(), writer.put_ever) == set(writer.put_ever)


@pytest.mark.parametrize("filler", [b"\0", b"\xa5", random.Random(3).randbytes(PAGE)])
@pytest.mark.parametrize("page_bytes", [512, 4096, 16384])
def test_the_first_page_may_be_lost(make: Callable[..., Writer], page_bytes: int, filler: bytes) -> None:
    writer = make(page_bytes)
    writer.put(300, (60, 1500, 8180))
    writer.checkpoint()
    path = writer.copy()
    with path.open("r+b") as file:
        file.write((filler * page_bytes)[:page_bytes])
    assert found_in(path, writer.put_ever) == set(writer.put_ever)


def test_a_header_that_states_a_wrong_page_size_is_not_believed(make: Callable[..., Writer]) -> None:
    writer = make()
    writer.put(300, (60, 1500, 8180))
    writer.checkpoint()
    path = writer.copy()
    flip(path, 16, 0x10 ^ 0x04)
    assert found_in(path, writer.put_ever) == set(writer.put_ever)


def test_every_page_header_and_inner_page_may_be_lost(make: Callable[..., Writer]) -> None:
    writer = make()
    writer.put(2000, (60, 200))
    writer.checkpoint()
    path = writer.copy()
    data = bytearray(path.read_bytes())
    inner = [at for at in range(PAGE, len(data), PAGE) if data[at] == 0x05]
    assert inner
    for at in range(0, len(data), PAGE):
        lost = PAGE if at in inner else 12
        data[at:at + lost] = b"\xee" * lost
    path.write_bytes(data)
    assert found_in(path, writer.put_ever) == set(writer.put_ever)


@dataclass(frozen=True, slots=True)
class Sound:
    """Files to make damaged copies of in `folder`, and the pages (of the WAL: frames) of each live row."""

    writer: Writer
    folder: Path
    pages: dict[int, set[int]]

    def damaged(self, main: bytes | None = None, wal: bytes | None = None) -> Path:
        path = self.folder / "damaged.db"
        for file, real, content in ((path, self.writer.path, main), (wal_of(path), wal_of(self.writer.path), wal)):
            file.write_bytes(real.read_bytes() if content is None else content)
        return path


def flipped(data: bytes, within: int, flips: list[tuple[float, int]], start: int, step: int) -> tuple[bytes, set[int]]:
    """A copy with flips in its first `within` bytes, and the pages that these touch."""
    damaged = bytearray(data)
    offsets = [share_of(within, place) for place, _ in flips]
    for at, (_, mask) in zip(offsets, flips, strict=True):
        damaged[at] ^= mask
    return bytes(damaged), {(at - start) // step for at in offsets if data[at] != damaged[at]}


def share_of(count: int, place: float) -> int:
    return min(int(place * count), count - 1)


def flips(most: int) -> st.SearchStrategy[list[tuple[float, int]]]:
    """Where, as a share of a file, and by which mask."""
    return st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=most)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sound]:
    """A file with an empty WAL."""
    folder = tmp_path_factory.mktemp("sound")
    writer = Writer(folder / "outbox.db")
    writer.put(150, (60, 200, 1500, 5000, 8100))
    writer.db.execute("DELETE FROM record WHERE seq % 10 = 0")
    writer.checkpoint()
    data = writer.path.read_bytes()
    yield Sound(writer, folder, {seq: pages_of(writer.put_ever[seq], data, 0, PAGE) for seq in writer.live()})
    writer.db.close()


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sound]:
    """A file whose rows are in the WAL alone, in 25 transactions."""
    folder = tmp_path_factory.mktemp("logged")
    writer = Writer(folder / "outbox.db")
    for _ in range(25):
        writer.put(4, (60, 1500, 5000))
    data = wal_of(writer.path).read_bytes()
    yield Sound(writer, folder, {seq: pages_of(row, data, 32, FRAME) for seq, row in writer.put_ever.items()})
    writer.db.close()


@given(flips(300))
def test_flipped_bytes_cost_only_their_pages(sound: Sound, places: list[tuple[float, int]]) -> None:
    data = sound.writer.path.read_bytes()
    damaged, touched = flipped(data, len(data), places, 0, PAGE)
    found = found_in(sound.damaged(main=damaged), sound.writer.put_ever)
    assert {seq for seq, pages in sound.pages.items() if not pages & touched} <= found


@given(flips(30))
def test_flipped_bytes_in_the_wal_cost_only_their_frames(logged: Sound, places: list[tuple[float, int]]) -> None:
    data = wal_of(logged.writer.path).read_bytes()
    # Damage in the last transaction may equally be a torn write, and so may that of two which have become one.
    damaged, touched = flipped(data, logged.writer.wal_bytes[-3], places, 32, FRAME)
    path = logged.damaged(wal=damaged)
    found = found_in(path, logged.writer.put_ever)
    assert {seq for seq, pages in logged.pages.items() if not pages & touched} <= found
    assert wal_hides_commits(path) == bool(touched)


@given(st.floats(0, 1), st.integers(1, 255))
def test_any_byte_of_the_last_transaction_may_be_torn(logged: Sound, place: float, mask: int) -> None:
    writer = logged.writer
    data = wal_of(writer.path).read_bytes()
    offset = writer.wal_bytes[-2] + share_of(len(data) - writer.wal_bytes[-2], place)
    path = logged.damaged(wal=data[:offset] + bytes((data[offset] ^ mask,)) + data[offset + 1:])
    # The checksum leaves the salts out, and so proves that a frame with damaged ones is of this log.
    salt = (offset - 32) % FRAME in range(8, 16)
    assert found_in(path, writer.put_ever) == set(writer.put_ever) - set(() if salt else writer.transactions[-1])
    assert wal_hides_commits(path) == salt
    assert read_by_sqlite(path) == set(writer.put_ever) - set(writer.transactions[-1])


def test_commits_behind_a_damaged_frame_are_found_where_sqlite_drops_them(make: Callable[..., Writer]) -> None:
    writer = make()
    for _ in range(20):
        writer.put(10, (60, 200))
    path = writer.copy()
    wal = wal_of(path)
    victim = writer.put_ever[writer.transactions[10][5]]
    flip(wal, wal.read_bytes().find(victim.body) + 30)
    aside = writer.copy("judge.db")
    shutil.copyfile(wal, wal_of(aside))
    assert wal_hides_commits(path)
    assert set(writer.put_ever) - found_in(path, writer.put_ever) <= {victim.seq}
    assert read_by_sqlite(aside) == {seq for rows in writer.transactions[:10] for seq in rows}


def test_a_damaged_overflow_frame_does_not_hide_its_neighbours(make: Callable[..., Writer]) -> None:
    writer = make()
    for _ in range(6):
        writer.put(3, (5000,))
    path = writer.copy()
    wal = wal_of(path)
    victim = writer.put_ever[writer.transactions[2][1]]
    flip(wal, wal.read_bytes().find(victim.body[-16:]))
    assert found_in(path, writer.put_ever) == set(writer.put_ever) - {victim.seq}
    assert wal_hides_commits(path)


def test_a_frame_that_names_a_wrong_page_hides_no_other(make: Callable[..., Writer]) -> None:
    writer = make()
    for _ in range(6):
        writer.put(3, (5000,))
    path = writer.copy()
    wal = wal_of(path)
    data = wal.read_bytes()
    first, later = (writer.put_ever[writer.transactions[number][0]] for number in (0, 3))
    at, late_at = (32 + min(pages_of(Row(0, 0, row.body[-16:]), data, 32, FRAME)) * FRAME for row in (first, later))
    wal.write_bytes(data[:late_at] + data[at:at + 4] + data[late_at + 4:])
    assert found_in(path, writer.put_ever) == set(writer.put_ever) - {later.seq}


@pytest.mark.parametrize(("transaction", "frame", "at"), [
    (-1, 0, 8),    # the salts of a frame of the last transaction
    (-2, -1, 16),  # the checksum of the commit before it
    (-2, -1, 4),   # the mark of that commit, which stays a mark
    (-2, 0, 7),    # one that was none
])
def test_damage_around_a_frame_costs_no_row(logged: Sound, transaction: int, frame: int, at: int) -> None:
    writer = logged.writer
    start = writer.wal_bytes[transaction - 1] if frame == 0 else writer.wal_bytes[transaction] - FRAME
    wal = bytearray(wal_of(writer.path).read_bytes())
    wal[start + at] ^= 0xFF
    path = logged.damaged(wal=bytes(wal))
    assert found_in(path, writer.put_ever) == set(writer.put_ever)
    assert wal_hides_commits(path)


def test_a_commit_mark_that_damage_made_commits_nothing(logged: Sound) -> None:
    writer = logged.writer
    wal = bytearray(wal_of(writer.path).read_bytes())
    wal[writer.wal_bytes[-2] + 7] ^= 0xFF
    path = logged.damaged(wal=bytes(wal))
    assert found_in(path, writer.put_ever) == set(writer.put_ever) - set(writer.transactions[-1])
    assert not wal_hides_commits(path)


def test_a_damaged_length_does_not_become_a_part_of_the_sequence(make: Callable[..., Writer]) -> None:
    writer = make()
    # The checksum takes the sequence modulo 2**30, so that the length alone tells that it is not 2**30 * 18 more.
    row = Row(3_000_000, 0, b"\x77" * 62)
    writer.db.execute("INSERT INTO record VALUES (?, 0, ?, ?)", (row.seq, checksum(row.seq, 0, row.body), row.body))
    writer.checkpoint()
    path = writer.copy()
    assert found_in(path, {row.seq: row}) == {row.seq}
    flip(path, path.read_bytes().find(row.body) - 15, 0x80)
    assert list(scan(path)) == []


@pytest.mark.parametrize("lost", [1, 100, FRAME, FRAME + 1])
def test_a_wal_cut_in_its_last_transaction_loses_that_one_alone(make: Callable[..., Writer], lost: int) -> None:
    writer = make()
    for _ in range(5):
        writer.put(10)
    path = writer.copy()
    wal = wal_of(path)
    wal.write_bytes(wal.read_bytes()[:-lost])
    whole = {seq for rows in writer.transactions[:4] for seq in rows}
    assert found_in(path, writer.put_ever) == whole
    assert not wal_hides_commits(path)
    assert read_by_sqlite(path) == whole


def test_what_was_not_committed_is_not_given(make: Callable[..., Writer]) -> None:
    writer = make()
    writer.put(10)
    writer.db.execute("PRAGMA cache_size=5")
    writer.db.execute("BEGIN")
    writer.insert(500)
    path = writer.copy()
    assert wal_of(path).stat().st_size > 50 * FRAME
    assert found_in(path, writer.put_ever) == set(writer.put_ever)
    assert not wal_hides_commits(path)


def spill_and_roll_back(writer: Writer) -> None:
    """Leave the frames of a large transaction behind the log's end, with the log's own salts."""
    writer.db.execute("PRAGMA cache_size=5")
    writer.db.execute("BEGIN")
    writer.insert(500)
    writer.db.execute("ROLLBACK")


def test_leftovers_of_a_rollback_do_not_confirm_a_torn_write(make: Callable[..., Writer]) -> None:
    writer = make()
    writer.put(10)
    spill_and_roll_back(writer)
    writer.put(30)
    path = writer.copy()
    whole = found_in(path, writer.put_ever)
    assert whole == set(writer.put_ever)
    assert not wal_hides_commits(path)
    wal = wal_of(path)
    flip(wal, wal.read_bytes().find(writer.put_ever[40].body))
    assert found_in(path, writer.put_ever) == set(writer.transactions[0])
    assert not wal_hides_commits(path)


def test_leftovers_of_an_older_log_are_not_given(make: Callable[..., Writer]) -> None:
    writer = make()
    writer.put(10)
    spill_and_roll_back(writer)
    writer.db.execute("PRAGMA wal_checkpoint(RESTART)")
    writer.put(1)
    path = writer.copy()
    assert wal_of(path).stat().st_size > 50 * FRAME
    assert found_in(path, writer.put_ever) == set(writer.put_ever)
    assert not wal_hides_commits(path)


@pytest.mark.parametrize("page_bytes", [1024, 4096])
@pytest.mark.parametrize("filler", [b"\0", b"\x37"])
@pytest.mark.parametrize(("at", "lost"), [(0, 32), (16, 8), (24, 8), (8, 4)])
def test_a_wal_with_a_damaged_header_is_read(
    make: Callable[..., Writer], page_bytes: int, filler: bytes, at: int, lost: int,
) -> None:
    writer = make(page_bytes)
    for _ in range(3):
        writer.put(10, (60, 5000))
    path = writer.copy()
    with wal_of(path).open("r+b") as file:
        file.seek(at)
        file.write(filler * lost)
    assert wal_hides_commits(path)
    assert found_in(path, writer.put_ever) == set(writer.put_ever)
    assert writer.put_ever.keys() - read_by_sqlite_or_nothing(path)


def test_a_wal_of_one_transaction_and_no_header_is_read(make: Callable[..., Writer]) -> None:
    writer = make()
    writer.checkpoint()
    writer.put(10)
    path = writer.copy()
    with wal_of(path).open("r+b") as file:
        file.write(bytes(32))
    assert found_in(path, writer.put_ever) == set(writer.put_ever)
    assert wal_hides_commits(path)


def read_by_sqlite_or_nothing(path: Path) -> set[int]:
    try:
        return read_by_sqlite(path)
    except sqlite3.DatabaseError:
        return set()


def test_both_headers_may_be_lost(make: Callable[..., Writer]) -> None:
    writer = make(2048)
    writer.put(50, (60, 5000))
    writer.checkpoint()
    writer.put(50, (60, 5000))
    writer.put(50, (60, 5000))
    path = writer.copy()
    for file, lost in ((path, 2048), (wal_of(path), 600)):
        file.write_bytes(b"\0" * lost + file.read_bytes()[lost:])
    assert found_in(path, writer.put_ever) == set(writer.put_ever)


@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(0, 5000))
def test_no_content_raises(sound: Sound, main: bytes, log: bytes, more: int) -> None:
    path = sound.damaged(main + random.Random(main).randbytes(more), log + random.Random(log).randbytes(more * 3))
    assert list(scan(path)) == []
    assert not wal_hides_commits(path)


RECORD_SHAPES = [bytes((size, 0, kind, crc)) + length for size in (5, 6, 7) for kind in (1, 8, 9)
                 for crc in (1, 4, 8) for length in (b"\x0c", b"\x7e", b"\x81\x04", b"\xff\x7e", b"\x84\x80\x0c")]


@given(st.lists(st.one_of(st.sampled_from(RECORD_SHAPES), st.binary(min_size=1, max_size=4)), max_size=60))
def test_no_record_shape_raises(sound: Sound, pieces: list[bytes]) -> None:
    for row in scan(sound.damaged(b"".join(pieces), b"")):
        assert row.seq >= 0
        assert 0 <= row.kind <= 3


def test_a_missing_file_is_an_error_and_a_missing_wal_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(scan(tmp_path / "none.db"))
    assert not wal_hides_commits(tmp_path / "none.db")
    (tmp_path / "empty.db").touch()
    assert list(scan(tmp_path / "empty.db")) == []
