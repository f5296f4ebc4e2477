"""Real damage to real files: what can be read goes on under its own name, the rest is told, and nothing is invented."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clock import ManualClock
from edge.errors import StoreError
from edge.uplink import salvage as salvage_module
from edge.uplink.buffer import Buffer
from edge.uplink.disk import Limits, count_file
from edge.uplink.outbox import Outbox
from edge.uplink.salvage import open_outbox, salvage
from edge.uplink.streams import beside, noted
from tests.edge.uplink.boxes import ALL, FREE, SURE, Name, everything, facts, flip, losses, told, values

PAGE = 4096
FILES = ("", "-wal", "-shm", ".streams", ".count")
STATE = b"the state that the facts follow from" * 20

# Whole files are among the examples: hypothesis warns of their length, not of the salvage.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")


@dataclass(slots=True, repr=False)
class Made:
    """An outbox's files, closed or as a killed writer leaves them, and what was in them."""

    path: Path
    records: dict[Name, bytes]
    lost: int = 0
    streams: set[str] = field(default_factory=set)
    deleted: dict[Name, bytes] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Short: Hypothesis shows it with each example that fails."""
        return f"Made({self.path})"

    def copy(self, folder: Path) -> Path:
        """Files to damage."""
        folder.mkdir(exist_ok=True)
        for suffix in FILES:
            if (source := Path(f"{self.path}{suffix}")).exists():
                shutil.copyfile(source, folder / f"outbox.db{suffix}")
        return folder / "outbox.db"


def fill(box: Outbox, n: int = 600) -> dict[Name, bytes]:
    """Three streams, of which the first has lost its front to the cloud; returns that."""
    for at in range(0, n, 20):
        if at in (n // 3, n // 3 * 2):
            box.turn(SURE)
        box.put(facts(at, 20), STATE)
    ever = everything(box)
    box.drop(box.streams()[0].st, 30)
    return {name: body for name, body in ever.items() if name not in everything(box)}


def made(box: Outbox, path: Path, deleted: dict[Name, bytes] | None = None) -> Made:
    return Made(path, everything(box), box.disk.tally.lost, {stream.st for stream in box.streams()}, deleted or {})


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """All in the file: it was closed in good order."""
    path = tmp_path_factory.mktemp("closed") / "outbox.db"
    box = Outbox(path, FREE)
    found = made(box, path, fill(box))
    box.close()
    return found


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """All in the log: its writer was killed before anything was folded in."""
    path = tmp_path_factory.mktemp("killed") / "outbox.db"
    box = Outbox(path, FREE)
    box.disk.db.execute("PRAGMA wal_autocheckpoint=0")
    deleted = fill(box, 240)
    aside = made(box, path).copy(path.parent / "copy")
    found = made(box, aside, deleted)
    box.close()
    return found


def goes_on(path: Path, was: Made, *, all_of: bool = False) -> dict[Name, bytes]:
    """Open damaged files, put and look; the promises that hold whatever the damage was. Returns what came through."""
    buffer = Buffer(path, ManualClock(0.0), SURE)
    assert buffer.refuge.why == ""
    everything(buffer)  # damage inside sound pages is met, told and stepped over
    last = buffer.put(facts(10_000, 3))
    kept = everything(buffer)
    assert len(kept) == buffer.held().records
    new = [name for name in kept if name[0] not in was.streams]
    assert values(kept[name] for name in new) == [10_000.0, 10_001.0, 10_002.0]
    came = {name: kept[name] for name in kept if name not in new and name not in was.deleted}
    assert all(body == was.records.get(name) for name, body in came.items())
    again = {name: kept[name] for name in kept if name in was.deleted}  # the cloud drops what it has
    assert again.items() <= was.deleted.items()
    lost = buffer.tally.lost - was.lost
    assert len(came) + lost >= len(was.records)
    assert lost == sum(loss.n for loss in losses(kept.values()))
    if all_of:
        assert (came, lost, again) == (was.records, 0, {})
    assert last == buffer.held().hi
    buffer.close()
    box = open_outbox(path)  # and it holds
    assert everything(box) == kept
    box.close()
    return came


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_a_sound_file_is_not_touched(closed: Made, tmp_path: Path) -> None:
    path = closed.copy(tmp_path)
    goes_on(path, closed, all_of=True)
    assert not list(tmp_path.glob("*unreadable*"))


def test_what_a_killed_writer_left_is_all_there(killed: Made, tmp_path: Path) -> None:
    path = killed.copy(tmp_path)
    goes_on(path, killed, all_of=True)
    assert not list(tmp_path.glob("*unreadable*"))


@pytest.mark.parametrize(("offset", "data"), [
    (0, bytes(100)), (0, b"\xff" * 100), (0, bytes(16)), (16, b"\0\0"), (16, b"\x20\0"), (18, b"\1"), (18, b"\7\7"),
    (19, b"\7"), (20, b"\xff"), (21, b"\1\1\1"), (24, b"\xff" * 4), (28, b"\0\0\0\1"), (36, b"\xff" * 4),
    (40, b"\xff" * 4), (18, b"\7"), (44, b"\0\0\0\x09"), (52, b"\0\0\0\1"), (56, b"\0\0\0\2"), (56, b"\0\0\0\x07"),
    (60, b"\xff" * 4), (92, b"\xff" * 8), (100, b"\0"), (100, b"\xff" * 12)])
def test_a_damaged_header_costs_no_record(closed: Made, tmp_path: Path, offset: int, data: bytes) -> None:
    path = closed.copy(tmp_path)
    overwrite(path, offset, data)
    goes_on(path, closed, all_of=True)


@settings(max_examples=150)
@given(st.integers(0, PAGE - 1), st.integers(1, 255))
def test_no_byte_of_the_first_page_costs_a_record(closed: Made, tmp_path_factory: pytest.TempPathFactory,
                                                  offset: int, mask: int) -> None:
    path = closed.copy(tmp_path_factory.mktemp("first"))
    flip(path, offset, mask)
    goes_on(path, closed, all_of=True)


@pytest.mark.parametrize("filler", [b"\0", b"\xff", random.Random(5).randbytes(PAGE)], ids=["zeros", "ones", "noise"])
def test_any_one_page_may_be_lost(closed: Made, tmp_path: Path, filler: bytes) -> None:
    pages = closed.path.stat().st_size // PAGE
    assert pages > 15
    for page in range(pages):
        path = closed.copy(tmp_path / f"page-{page}")
        overwrite(path, page * PAGE, (filler * PAGE)[:PAGE])
        came = goes_on(path, closed)
        assert len(came) >= len(closed.records) - 80  # what one page holds


@settings(max_examples=80)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=40))
def test_flipped_bits_anywhere_invent_nothing(closed: Made, tmp_path_factory: pytest.TempPathFactory,
                                              flips: list[tuple[float, int]]) -> None:
    path = closed.copy(tmp_path_factory.mktemp("flips"))
    for place, mask in flips:
        flip(path, int(place * path.stat().st_size), mask)
    goes_on(path, closed)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=10))
def test_flipped_bits_in_the_log_of_a_killed_writer_invent_nothing(
        killed: Made, tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[float, int]]) -> None:
    path = killed.copy(tmp_path_factory.mktemp("log"))
    log = Path(f"{path}-wal")
    for place, mask in flips:
        flip(log, int(place * log.stat().st_size), mask)
    goes_on(path, killed)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.9])
def test_a_log_with_a_hole_gives_the_facts_but_no_older_state(killed: Made, tmp_path: Path, share: float) -> None:
    path = killed.copy(tmp_path)
    log = Path(f"{path}-wal")
    frame = 32 + int(share * (log.stat().st_size - 32) / (PAGE + 24)) * (PAGE + 24)
    overwrite(log, frame + 24 + 200, b"\xa5" * 64)
    box = open_outbox(path)
    assert values(everything(box).values())[-1] == values(killed.records.values())[-1]
    assert box.snapshot() in (None, STATE)
    box.close()


def test_a_state_older_than_the_facts_is_not_believed(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox.db", FREE)
    box.disk.db.execute("PRAGMA wal_autocheckpoint=0")
    box.put(facts(0, 3), b"before")
    size = Path(f"{box.path}-wal").stat().st_size
    box.put(facts(3, 3), b"between")
    box.put(facts(6, 3), b"after")
    path = made(box, box.path).copy(tmp_path / "copy")
    box.close()
    flip(Path(f"{path}-wal"), size + 24 + 4000)
    again = open_outbox(path)
    assert values(everything(again).values())[-3:] == [6.0, 7.0, 8.0]
    assert again.snapshot() in (None, b"after")
    again.close()


def test_a_salvaged_file_keeps_the_state(closed: Made, tmp_path: Path) -> None:
    path = closed.copy(tmp_path)
    salvage(path)
    box = open_outbox(path)
    assert box.snapshot() == STATE
    box.close()


def test_a_flipped_bit_in_the_state_makes_it_none(closed: Made, tmp_path: Path) -> None:
    path = closed.copy(tmp_path)
    flip(path, path.read_bytes().index(STATE) + 300, 1)
    box = open_outbox(path)
    assert box.snapshot() is None
    box.close()
    buffer = Buffer(path, ManualClock(0.0))
    assert buffer.snapshot() is None
    assert everything(buffer) == closed.records
    buffer.close()


def test_a_record_without_the_name_of_its_stream_is_told_as_lost(closed: Made, tmp_path: Path) -> None:
    path = closed.copy(tmp_path)
    lines = beside(path).read_bytes().splitlines(keepends=True)
    beside(path).write_bytes(b"".join(lines[1:]))
    overwrite(path, 0, bytes(100))
    came = goes_on(path, closed)
    assert len({st for st, _ in came}) == 2


@pytest.mark.parametrize("damage", [b"", b"\0" * 400, b'{"base": 1'], ids=["empty", "zeros", "torn"])
def test_without_notes_everything_is_told_as_lost(closed: Made, tmp_path: Path, damage: bytes) -> None:
    path = closed.copy(tmp_path)
    beside(path).write_bytes(damage)
    overwrite(path, 0, bytes(PAGE))
    assert goes_on(path, closed) == {}
    assert list(tmp_path.glob("*.unreadable-1"))


def test_without_its_count_holes_are_told(closed: Made, tmp_path: Path) -> None:
    path = closed.copy(tmp_path)
    count_file(path).unlink()
    overwrite(path, 0, bytes(PAGE))
    overwrite(path, PAGE * 9, bytes(PAGE))
    came = goes_on(path, closed)
    assert 0 < len(closed.records) - len(came) < 80


def test_old_losses_are_not_told_again(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    limits = Limits(cap=256 * 1024, reserve=0, newest=50)
    box = Outbox(path, FREE, limits)
    for n in range(200):
        box.put(facts(n * 40, 40))
    lost = box.disk.tally.lost
    assert lost > 1000
    box.close()
    box = Outbox(path, FREE, limits)
    box.close()
    assert noted(path).lost == lost
    count_file(path).unlink()
    overwrite(path, 0, bytes(PAGE))
    again = open_outbox(path, limits=limits)
    assert again.disk.tally.lost == lost
    assert set(told(everything(again).values())) == {"evicted reading"}
    again.close()


class PowerCutError(BaseException):
    """The end, in the middle of something."""


def cut_in(monkeypatch: pytest.MonkeyPatch, where: str, name: str, after: int) -> None:
    """Let the power fail before the call number `after` of something."""
    target: Any = Path if where == "Path" else salvage_module
    real, calls = getattr(target, name), [0]

    def call(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] > after:
            raise PowerCutError
        return real(*args, **kwargs)

    monkeypatch.setattr(target, name, call)


@pytest.mark.parametrize("state", ["closed", "killed"])
@pytest.mark.parametrize(("where", "name"), [("Path", "rename"), ("Path", "replace"), ("Path", "unlink"),
                                             ("module", "_finish"), ("module", "scan"), ("module", "noted")])
@pytest.mark.parametrize("after", range(4))
def test_a_power_cut_in_the_middle_of_a_salvage_costs_nothing(
        request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        state: str, where: str, name: str, after: int) -> None:
    was: Made = request.getfixturevalue(state)
    path = was.copy(tmp_path)
    with monkeypatch.context() as patch:
        cut_in(patch, where, name, after)
        with contextlib.suppress(PowerCutError):
            salvage(path)
    goes_on(path, was, all_of=True)


def test_what_an_earlier_salvage_left_over_is_no_part_of_this_one(closed: Made, tmp_path: Path) -> None:
    path = closed.copy(tmp_path)
    for suffix in FILES:
        Path(f"{path}.salvaging{suffix}").write_bytes(b"rubbish" * 1000)
    Path(f"{path}.salvaging.count").write_bytes(b"%020d %020d\n" % (100, 700))
    overwrite(path, 0, bytes(100))
    goes_on(path, closed, all_of=True)


@pytest.mark.parametrize("gone", [(), ("",), ("", "-wal"), ("-wal",)])
def test_a_file_that_stands_ready_takes_its_place(closed: Made, tmp_path: Path, gone: tuple[str, ...]) -> None:
    path = closed.copy(tmp_path)
    shutil.copyfile(path, f"{path}.salvaged")
    overwrite(path, 0, bytes(PAGE))
    Path(f"{path}-wal").write_bytes(b"of the damaged one" * 1000)
    for suffix in gone:
        Path(f"{path}{suffix}").rename(f"{path}.unreadable-1{suffix}")
    goes_on(path, closed, all_of=True)
    assert not Path(f"{path}.salvaged").exists()
    aside = b"".join(file.read_bytes() for file in sorted(tmp_path.glob("*.unreadable-*")))
    assert b"of the damaged one" in aside
    assert closed.path.read_bytes()[PAGE:] in aside


def test_nothing_that_was_set_aside_is_ever_overwritten(closed: Made, tmp_path: Path) -> None:
    path = closed.copy(tmp_path)
    Path(f"{path}.unreadable-1-wal").write_bytes(b"an older log")
    Path(f"{path}-wal").write_bytes(b"a newer log")
    salvage(path)
    logs = {file.read_bytes() for file in tmp_path.glob("*.unreadable-*-wal")}
    assert b"an older log" in logs
    for _ in range(3):
        open_outbox(path).close()
        overwrite(path, 0, bytes(100))
    open_outbox(path).close()
    assert len([file for file in tmp_path.glob("*.unreadable-?") if file.stat().st_size > PAGE]) == 4


def test_a_fresh_file_that_is_not_whole_does_not_take_the_place(closed: Made, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    path = closed.copy(tmp_path)
    overwrite(path, 0, bytes(100))
    real = Outbox.close
    readers: list[sqlite3.Connection] = []

    def cannot_fold(self: Outbox) -> None:
        """As on a disk that fills up: the log cannot be folded into the file."""
        if self.path.name.endswith(".salvaging"):
            readers.append(sqlite3.connect(self.path, isolation_level=None))
            readers[0].execute("BEGIN")
            readers[0].execute("SELECT * FROM meta").fetchall()
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "close", cannot_fold)
        with pytest.raises(StoreError):
            open_outbox(path)
    for reader in readers:
        reader.close()
    goes_on(path, closed, all_of=True)


def test_an_empty_file_beside_a_full_log_is_damage(killed: Made, tmp_path: Path) -> None:
    path = killed.copy(tmp_path)
    path.write_bytes(b"")
    goes_on(path, killed)


@pytest.mark.parametrize("damage", [
    "UPDATE meta SET value = 'many' WHERE key = 'boot'",
    "INSERT OR REPLACE INTO meta VALUES ('sweep', '{')",
    "INSERT OR REPLACE INTO meta VALUES ('sweep', '[]')",
    "INSERT OR REPLACE INTO meta VALUES (CAST(x'80ff' AS TEXT), '')",
    "UPDATE stream SET clk = 'o'",
    "UPDATE stream SET st = CAST(x'80ff' AS TEXT)",
    "UPDATE stream SET st = replace(st, substr(st, 1, 1), 'z')",
    "UPDATE stream SET base = base + 1 WHERE base > 0",
    "DELETE FROM stream",
    "DELETE FROM stream WHERE base = 0",
    "DELETE FROM tally",
    "DROP TABLE tally",
    "ALTER TABLE record RENAME TO recore",
    "ALTER TABLE record RENAME COLUMN body TO bodi",
    "ALTER TABLE stream RENAME TO strean",
    "UPDATE tally SET records = 0, last = 0",
])
def test_an_outbox_that_contradicts_itself_is_salvaged(closed: Made, tmp_path: Path, damage: str) -> None:
    path = closed.copy(tmp_path)
    db = sqlite3.connect(path)
    with db:
        db.execute(damage)
    db.close()
    goes_on(path, closed, all_of=True)


def under(buffer: Buffer, damage: Callable[[Path], None]) -> None:
    """Damage the file of a running outbox, where its cache does not hide it."""
    assert buffer.refuge.disk is not None
    db = buffer.refuge.disk.disk.db
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.execute("PRAGMA cache_size=1")
    db.execute("PRAGMA shrink_memory")
    damage(buffer.refuge.path)


@pytest.mark.parametrize("page", range(0, 24, 1))
def test_damage_under_a_running_outbox_stops_nobody(tmp_path: Path, page: int) -> None:
    buffer = Buffer(tmp_path / "outbox.db", ManualClock(0.0), FREE)
    for n in range(30):
        buffer.put(facts(n * 20, 20))
    was = Made(buffer.refuge.path, everything(buffer), streams={buffer.stream})
    under(buffer, lambda path: overwrite(path, page * PAGE, b"\xa5" * PAGE))
    for n in range(30, 60):
        buffer.put(facts(n * 20, 20))
        found = buffer.peek(n * 10, 50, ALL)
        assert found is None or len(found.bodies) > 0
        buffer.held()
    everything(buffer)
    kept = everything(buffer)
    assert buffer.refuge.why == ""
    old = {name: body for name, body in kept.items() if name in was.records}
    assert old.items() <= was.records.items()
    seen = values(kept.values())
    assert len(seen) == len(set(seen))
    assert set(seen) >= {float(n) for n in range(600, 1200)}
    lost = sum(loss.n for loss in losses(kept.values()))
    assert len(seen) + lost >= 1200
    assert buffer.tally.lost == lost
    assert buffer.held().records == len(kept)
    buffer.close()


def test_a_record_that_is_damaged_alone_is_a_gap_between_its_neighbours(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox.db")
    box.put(facts(0, 30))
    with box.disk.transaction() as db:
        db.execute("UPDATE record SET crc = crc + 1 WHERE seq BETWEEN 11 AND 20")
    found = box.peek(10, 5, ALL)  # all that it meets first is damaged
    assert found is not None
    assert (found.first, found.gaps, values(found.bodies)) == (11, ((11, 20),), [20.0, 21.0, 22.0, 23.0, 24.0])
    assert told(everything(box).values()) == {"damaged unknown": 10}
    assert (box.disk.tally.lost, box.disk.tally.records) == (10, len(everything(box)))
    box.close()
