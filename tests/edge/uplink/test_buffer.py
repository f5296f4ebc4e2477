"""The buffer takes every record whatever the disk does; what it cannot keep, it tells.

Records in memory are gone with a process that is killed: that is the one loss nobody can tell afterwards, so it is
said loudly while it lasts (`refuge.why`), and a stop in good order tries the disk once more.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge.clock import ManualClock
from edge.errors import CorruptError, StoreError
from edge.uplink import refuge as refuge_module
from edge.uplink.buffer import Buffer
from edge.uplink.disk import Limits
from edge.uplink.kept import glance
from edge.uplink.memory import MemoryOutbox
from edge.uplink.outbox import Outbox
from edge.uplink.refuge import APART, Refuge, Terms
from edge.uplink.rows import Rows
from edge.uplink.salvage import open_outbox
from edge.uplink.streams import noted
from edge.wire import Fact, encode_record
from tests.edge.uplink.boxes import (
    ALL,
    FREE,
    NAMES,
    SURE,
    T0,
    everything,
    fact,
    facts,
    losses,
    places,
    told,
    values,
)

QUOTA = Terms(Limits(quota=160 * 1024))
READ_ONLY = "PRAGMA query_only = {}"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def buffer(tmp_path: Path, clock: ManualClock) -> Iterator[Buffer]:
    box = Buffer(tmp_path / "box" / "outbox.db", clock, FREE)
    yield box
    box.close()


def disk_of(buffer: Buffer) -> Outbox:
    assert buffer.refuge.disk is not None
    return buffer.refuge.disk


def memory_of(buffer: Buffer) -> MemoryOutbox:
    assert buffer.refuge.memory is not None
    return buffer.refuge.memory


def read_only(buffer: Buffer, on: bool) -> None:
    """What a disk does that the kernel has remounted read-only; chmod does not stop root."""
    disk_of(buffer).disk.db.execute(READ_ONLY.format(int(on)))


def back(buffer: Buffer, clock: ManualClock) -> None:
    """The disk takes records again, and its turn has come."""
    read_only(buffer, False)
    clock.advance(60.0)


def moved(buffer: Buffer, n: int = 1) -> bool:
    """Put so many more; whether all is on the disk now."""
    buffer.put(facts(9000, n))
    return buffer.refuge.memory is None and not buffer.refuge.why


def values_of(buffer: Buffer) -> list[float]:
    return values(everything(buffer).values())


def test_a_full_disk_sends_records_to_memory_and_a_drop_brings_them_back(tmp_path: Path, clock: ManualClock) -> None:
    box = Buffer(tmp_path / "outbox.db", clock, FREE, QUOTA)
    first, n = box.stream, 0
    while not box.refuge.why:
        box.put(facts(n, 20))
        n += 20
        assert n < 10_000
    assert "full" in box.refuge.why
    box.put(facts(n, 20))
    n += 20
    kept = everything(box)
    assert values(kept.values()) == [float(i) for i in range(n)]
    clock.advance(6.0)
    box.put([])  # the disk is as full as it was
    assert box.refuge.why
    assert box.drop(first, 200) == 200
    clock.advance(6.0)
    box.put([])
    assert box.refuge.why == ""
    assert everything(box) == {name: body for name, body in kept.items() if name[0] != first or name[1] > 200}
    box.close()


def test_a_read_only_disk_sends_records_to_memory_and_they_keep_their_names(
        buffer: Buffer, clock: ManualClock, tmp_path: Path) -> None:
    buffer.put(facts(0, 5))
    read_only(buffer, True)
    assert buffer.put(facts(5, 5), b"state") > APART
    assert "readonly" in buffer.refuge.why
    buffer.turn(SURE)
    buffer.put(facts(10, 5))
    before = everything(buffer)
    assert values(before.values()) == [float(i) for i in range(15)]
    assert len({st for st, _ in before}) == 3
    moves = buffer.refuge.moves
    back(buffer, clock)
    buffer.put([])
    assert (buffer.refuge.why, buffer.refuge.memory, buffer.refuge.moves) == ("", None, moves + 1)
    assert everything(buffer) == before
    assert buffer.snapshot() == b"state"
    buffer.close()
    again = Buffer(tmp_path / "box" / "outbox.db", clock)
    assert everything(again) == before
    again.close()


def test_the_disk_is_not_asked_again_before_its_time(buffer: Buffer, clock: ManualClock) -> None:
    read_only(buffer, True)
    buffer.put(facts(0, 1))
    read_only(buffer, False)
    clock.advance(4.9)
    assert not moved(buffer)
    clock.advance(0.2)
    assert moved(buffer)


def test_a_folder_that_is_missing_at_the_start_may_come_later(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "disk").touch()  # not mounted
    box = Buffer(tmp_path / "disk" / "outbox.db", clock, FREE)
    assert (box.boot, box.snapshot()) == (0, None)
    box.put(facts(0, 5), b"state")
    box.turn(SURE, 2.5)
    box.put(facts(5, 5))
    before, streams = everything(box), box.streams()
    (tmp_path / "disk").unlink()
    clock.advance(6.0)
    assert moved(box, 0)
    assert everything(box) == before
    assert [(each.st, each.clk, each.shift) for each in box.streams()][:2] == [
        (each.st, each.clk, each.shift) for each in streams]
    assert box.snapshot() == b"state"
    box.close()


def test_a_disk_that_comes_later_with_many_records_mixes_nothing_up(tmp_path: Path, clock: ManualClock,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refuge_module, "APART", 3)
    folder = tmp_path / "disk"
    old = Outbox(folder / "outbox.db", FREE)
    old.put(facts(0, 10))
    before = everything(old)
    old.close()
    folder.rename(tmp_path / "aside")
    folder.touch()
    box = Buffer(folder / "outbox.db", clock, FREE)
    box.put(facts(10, 5))
    before |= everything(box)
    folder.unlink()
    (tmp_path / "aside").rename(folder)
    clock.advance(6.0)
    with monkeypatch.context() as failing:  # it can be opened, but takes nothing yet
        failing.setattr(Outbox, "adopt", fail)
        box.put([])
        assert box.refuge.why
        assert everything(box) == before
        bases = [stream.base for stream in box.streams()]
        assert bases == sorted(bases)
        held = box.held()
        assert (held.records, held.hi) == (15, max(held.hi, 15))
    clock.advance(6.0)
    assert moved(box, 0)
    assert everything(box) == before
    box.close()


def fail(*_: Any, **__: Any) -> None:
    raise StoreError("outbox.db", "disk I/O error", "see the disk")


def test_a_folder_deleted_under_the_open_outbox_loses_nothing(buffer: Buffer, clock: ManualClock) -> None:
    buffer.put(facts(0, 50), b"one")
    buffer.drop(buffer.stream, 10)
    shutil.rmtree(buffer.folder)
    buffer.put(facts(50, 5), b"two")
    assert "moved or deleted" in buffer.refuge.why
    before = everything(buffer)
    assert values(before.values()) == [float(i) for i in range(10, 55)]
    clock.advance(6.0)
    assert moved(buffer, 0)
    assert everything(buffer) == before
    assert buffer.snapshot() == b"two"
    # What is there now is the new file with its own log: a copy of the folder is whole.
    copy = buffer.folder.with_name("copy")
    shutil.copytree(buffer.folder, copy)
    again = open_outbox(copy / "outbox.db")
    assert everything(again) == before
    assert (losses(everything(again).values()), again.disk.tally.lost) == ([], 0)
    again.close()


@pytest.mark.parametrize("ends", [True, False])
def test_a_folder_deleted_while_nothing_is_put_is_made_anew(buffer: Buffer, ends: bool) -> None:
    buffer.put(facts(0, 7))
    shutil.rmtree(buffer.folder)
    if ends:
        buffer.close()
    else:
        buffer.refuge.look()
        assert buffer.refuge.why == ""
    again = Outbox(buffer.folder / "outbox.db")
    assert again.held().records == 7
    again.close()


def test_a_folder_deleted_and_not_to_be_made_again_keeps_all_readable(buffer: Buffer, clock: ManualClock) -> None:
    buffer.put(facts(0, 50))
    shutil.rmtree(buffer.folder)
    buffer.folder.touch()
    for n in range(50, 55):
        clock.advance(6.0)
        buffer.put(facts(n, 1))
    assert values_of(buffer) == [float(i) for i in range(55)]
    buffer.folder.unlink()
    clock.advance(6.0)
    assert moved(buffer, 0)
    assert values_of(buffer) == [float(i) for i in range(55)]


def test_a_file_made_anew_carries_on_with_boot_and_losses(buffer: Buffer, clock: ManualClock) -> None:
    boot = buffer.boot
    buffer.put(facts(0, 5))
    disk = disk_of(buffer)
    with disk.disk.transaction() as db:
        disk.rows.write_off(db, [2])
    shutil.rmtree(buffer.folder)
    buffer.put([])
    clock.advance(6.0)
    assert moved(buffer, 0)
    assert buffer.boot == boot
    assert buffer.tally.lost == 1
    buffer.close()
    again = Buffer(buffer.refuge.path, clock)
    assert again.boot > boot
    again.close()


def test_memory_is_bounded_and_tells_what_it_dropped(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "disk").touch()
    box = Buffer(tmp_path / "disk" / "outbox.db", clock, FREE, Terms(memory=1000))
    put = 0
    for n in range(100):
        box.put([*facts(put, 30), fact(float(n), "event")])
        put += 31
        assert box.held().records <= 1005
        memory = memory_of(box)
        assert memory.held().records + memory.lost == memory.held().hi - memory.streams()[0].base
    bodies = everything(box).values()
    assert len(values(bodies)) + sum(loss.n for loss in losses(bodies)) == put
    assert box.tally.lost == sum(loss.n for loss in losses(bodies))
    assert set(told(bodies)) == {"no_disk reading"}
    lost = box.tally.lost
    (tmp_path / "disk").unlink()
    clock.advance(6.0)
    assert moved(box, 0)
    assert box.tally.lost == lost
    assert "vanished unknown" not in told(everything(box).values())
    box.close()
    assert noted(tmp_path / "disk" / "outbox.db").lost == lost
    again = open_outbox(tmp_path / "disk" / "outbox.db")  # no restart tells them once more
    assert "vanished unknown" not in told(everything(again).values())
    assert again.disk.tally.lost == lost
    again.close()


def test_memory_drops_readings_first_and_events_last(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "disk").touch()
    box = Buffer(tmp_path / "disk" / "outbox.db", clock, FREE, Terms(memory=400))
    for n in range(300):
        box.put([fact(n, kind, T0 + n) for kind in ("flow", "level", "reading", *["event"] * (n % 10 == 0))])
    bodies = everything(box).values()
    seen, left = told(bodies), [glance(body) for body in bodies]
    assert set(seen) == {"no_disk reading", "no_disk level"}
    count = Counter(each.n for each in left)
    assert (count[NAMES["flow"]], count[NAMES["event"]]) == (300, 30)
    assert count[NAMES["reading"]] <= 20  # the newest, since the last clean-up
    levels = [each.v for each in left if each.n == NAMES["level"]]
    assert levels == [float(n) for n in range(300 - len(levels), 300)]
    box.close()


def test_close_brings_memory_to_the_disk_at_once(buffer: Buffer, clock: ManualClock) -> None:
    read_only(buffer, True)
    buffer.put(facts(0, 5), b"state")
    before = everything(buffer)
    read_only(buffer, False)
    buffer.close()
    again = Buffer(buffer.refuge.path, clock)
    assert everything(again) == before
    assert again.snapshot() == b"state"
    again.close()


def test_a_close_that_cannot_save_memory_leaves_the_disk_as_it_was(buffer: Buffer, clock: ManualClock) -> None:
    buffer.put(facts(0, 5))
    read_only(buffer, True)
    buffer.put(facts(5, 5))
    buffer.close()
    again = Buffer(buffer.refuge.path, clock)
    assert values_of(again) == [float(i) for i in range(5)]
    again.close()


def test_a_commit_is_waited_for_together_and_each_put_returns_behind_its_own(buffer: Buffer) -> None:
    disk = disk_of(buffer)
    commits: list[str] = []
    disk.disk.db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    wrong: list[str] = []

    def put(n: int) -> None:
        last = buffer.put(facts(n * 1000, 3))
        other = sqlite3.connect(disk.path)  # sees what is committed
        rows = other.execute("SELECT body FROM record WHERE seq > ? AND seq <= ?", (last - 3, last)).fetchall()
        other.close()
        if [row[0] for row in rows] != [encode_record(each) for each in facts(n * 1000, 3)]:
            wrong.append(f"{n}: {rows}")

    threads = [threading.Thread(target=put, args=(n,)) for n in range(20)]
    waiting = disk._waiting
    with disk.disk.lock:  # as if a commit took that long
        for thread in threads:
            thread.start()
        arrived(lambda: len(waiting) == 20)
    for thread in threads:
        thread.join(10)
    assert wrong == []
    assert len(commits) == 1
    assert sorted(values_of(buffer)) == sorted(n * 1000.0 + i for n in range(20) for i in range(3))


def arrived(there: Callable[[], bool]) -> None:
    """Wait until other threads have come so far."""
    pause = threading.Event()
    for _ in range(1000):
        if there():
            return
        pause.wait(0.005)
    raise AssertionError("they never came")


def test_a_commit_that_fails_fails_for_all_who_shared_it(buffer: Buffer, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = disk_of(buffer)
    ended: list[object] = []

    def put(n: int) -> None:
        try:
            ended.append(disk.put(facts(n, 1)))
        except (ArithmeticError, StoreError) as error:
            ended.append(error)

    def broken(*_: Any, **__: Any) -> None:
        raise ArithmeticError("nobody thought of this")

    threads = [threading.Thread(target=put, args=(n,)) for n in range(5)]
    with monkeypatch.context() as patch:
        with disk.disk.lock:
            for thread in threads:
                thread.start()
            arrived(lambda: len(disk._waiting) == 5)
            patch.setattr(Rows, "insert", broken)
        for thread in threads:
            thread.join(10)
    assert len(ended) == 5
    assert all(isinstance(end, ArithmeticError | StoreError) for end in ended)
    assert disk.put(facts(0, 1)) == 1


def test_many_threads_put_and_peek_and_drop_while_the_disk_comes_and_goes(buffer: Buffer, clock: ManualClock) -> None:
    threads = [threading.Thread(target=lambda n=n: [buffer.put(facts(n * 1000 + i, 1)) for i in range(40)])
               for n in range(6)]
    for thread in threads:
        thread.start()
    seen: dict[tuple[str, int], bytes] = {}
    for turn in range(30):
        read_only(buffer, turn % 3 == 0)
        clock.advance(6.0)
        found = buffer.peek(0, 20, ALL)
        if found is not None:
            for place, body in zip(places(found), found.bodies, strict=True):
                name = (found.stream.st, place - found.stream.base)
                assert seen.setdefault(name, body) == body
    for thread in threads:
        thread.join(20)
    back(buffer, clock)
    assert moved(buffer, 0)
    kept = everything(buffer)
    assert {name: kept[name] for name in seen} == seen
    assert sorted(values(kept.values())) == sorted(n * 1000.0 + i for n in range(6) for i in range(40))


def test_a_put_during_the_move_to_the_disk_is_not_overwritten(buffer: Buffer, clock: ManualClock,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    read_only(buffer, True)
    buffer.put(facts(0, 3))
    back(buffer, clock)
    disk, late = disk_of(buffer), threading.Event()
    real = MemoryOutbox.moved_to
    thread = threading.Thread(target=lambda: (disk.put(facts(10, 3)), late.set()))  # type: ignore[func-returns-value]

    def moved_to(self: MemoryOutbox, base: int) -> Any:
        thread.start()  # one that had looked before memory began
        late.wait(0.2)
        return real(self, base)

    monkeypatch.setattr(MemoryOutbox, "moved_to", moved_to)
    buffer.put([])
    thread.join(5)
    assert sorted(values_of(buffer)) == [0.0, 1.0, 2.0, 10.0, 11.0, 12.0]


def test_a_count_that_cannot_be_noted_is_no_failed_put(buffer: Buffer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    buffer.put(facts(0, 3))
    buffer.put(facts(3, 3))
    assert buffer.refuge.why == ""
    assert values_of(buffer) == [float(i) for i in range(6)]


def test_a_turn_that_fails_leaves_no_stream_behind(buffer: Buffer) -> None:
    buffer.put(facts(0, 3))
    disk = disk_of(buffer)
    before = disk.streams()
    read_only(buffer, True)
    with pytest.raises(StoreError):
        disk.turn(SURE, 5.0)
    assert disk.streams() == before
    assert noted(disk.path).streams == before
    read_only(buffer, False)
    disk.put(facts(3, 1))
    kept = everything(disk)
    disk.close()
    again = Outbox(disk.path)
    assert everything(again) == kept
    again.close()


def test_a_turn_whose_notes_fail_leaves_no_stream_behind(buffer: Buffer, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer.put(facts(0, 3))
    disk = disk_of(buffer)
    before = disk.streams()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail_to_sync)
        with pytest.raises(StoreError):
            disk.turn(SURE, 5.0)
    assert disk.streams() == before
    assert noted(disk.path).streams == before


def fail_to_sync(_file: int) -> None:
    raise OSError(5, "Input/output error")


def test_a_correction_that_the_disk_did_not_take_is_made_when_it_does(buffer: Buffer, clock: ManualClock) -> None:
    buffer.put(facts(0, 3))
    first = buffer.stream
    read_only(buffer, True)
    buffer.turn(SURE, 5.0)
    buffer.put(facts(3, 3))
    back(buffer, clock)
    assert moved(buffer, 0)
    assert [(stream.clk, stream.shift) for stream in buffer.streams() if stream.st == first] == [("corrected", 5.0)]
    assert [stream.clk for stream in buffer.streams()] == ["corrected", "ok", "ok"][:len(buffer.streams())]


def test_records_in_memory_are_seen_though_the_disk_cannot_be_read(buffer: Buffer) -> None:
    buffer.put(facts(0, 3))
    disk_of(buffer).disk.db.close()
    buffer.put(facts(3, 2))
    found = buffer.peek(buffer.held().lo - 1, 10, ALL)
    assert found is not None
    assert values(found.bodies) == [3.0, 4.0]
    assert buffer.held().records == 2


def corrupt(*_: Any, **__: Any) -> Any:
    raise CorruptError("outbox.db", "database disk image is malformed", "it is salvaged")


@pytest.mark.parametrize("what", ["put", "peek", "drop", "held", "lowest", "turn"])
def test_damage_is_salvaged_whoever_finds_it(buffer: Buffer, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    buffer.put(facts(0, 5))
    first, before = buffer.streams()[0], everything(buffer)
    real, met = getattr(Outbox, what), list[int]()

    def once(self: Outbox, *args: Any) -> Any:
        if not met:
            met.append(1)
            corrupt()
        return real(self, *args)

    monkeypatch.setattr(Outbox, what, once)
    doing: dict[str, Callable[[], object]] = {
        "put": lambda: buffer.put(facts(5, 1)), "peek": lambda: buffer.peek(0, 10, ALL),
        "drop": lambda: buffer.drop(first.st, 2), "held": buffer.held, "lowest": lambda: buffer.lowest(first),
        "turn": lambda: buffer.turn(SURE, 1.0)}
    doing[what]()
    assert (met, buffer.refuge.moves, buffer.refuge.why) == ([1], 1, "")
    assert len(list(buffer.folder.glob("*.unreadable-1"))) == 1
    gone = 2 if what == "drop" else 0
    assert {name: body for name, body in before.items() if name[1] > gone}.items() <= everything(buffer).items()
    assert [(each.clk, each.shift) for each in buffer.streams() if each.st == first.st] == [
        ("corrected", 1.0) if what == "turn" else ("free", 0.0)]


def test_damage_met_while_memory_returns_is_salvaged_too(buffer: Buffer, clock: ManualClock,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    buffer.put(facts(0, 5))
    read_only(buffer, True)
    buffer.put(facts(5, 5))
    before = everything(buffer)
    disk, real = disk_of(buffer), Outbox.adopt
    monkeypatch.setattr(
        Outbox, "adopt", lambda self, *args, **kw: corrupt() if self is disk else real(self, *args, **kw))
    back(buffer, clock)
    buffer.put([])
    clock.advance(6.0)
    assert moved(buffer, 0)
    assert everything(buffer) == before


def test_a_salvage_that_fails_keeps_what_is_put_in_memory(buffer: Buffer, clock: ManualClock,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    buffer.put(facts(0, 5))
    before = everything(buffer)
    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "peek", corrupt)
        patch.setattr(refuge_module, "salvage", fail)
        assert buffer.peek(0, 10, ALL) is None
    buffer.put(facts(5, 5))
    assert buffer.refuge.why
    assert values_of(buffer) == [float(i) for i in range(5, 10)]
    assert buffer.stream
    before |= everything(buffer)
    clock.advance(6.0)
    assert moved(buffer, 0)
    assert everything(buffer) == before


def test_a_put_during_a_salvage_waits_for_it(buffer: Buffer, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer.put(facts(0, 5))
    disk, real_peek, real_salvage = disk_of(buffer), Outbox.peek, refuge_module.salvage  # type: ignore[attr-defined]
    done = threading.Event()
    thread = threading.Thread(target=lambda: (buffer.put(facts(5, 1)), done.set()))  # type: ignore[func-returns-value]

    def slow(*args: Any) -> Any:
        thread.start()
        done.wait(0.2)
        return real_salvage(*args)

    monkeypatch.setattr(Outbox, "peek", lambda self, *args: corrupt() if self is disk else real_peek(self, *args))
    monkeypatch.setattr(refuge_module, "salvage", slow)
    monkeypatch.setattr(Refuge, "try_disk", lambda _self: None)  # which would wait too, but only if it came later
    buffer.peek(0, 10, ALL)
    thread.join(5)
    assert values_of(buffer) == [float(i) for i in range(6)]


def test_the_boot_is_one_for_the_whole_process(buffer: Buffer, monkeypatch: pytest.MonkeyPatch,
                                              clock: ManualClock) -> None:
    buffer.close()
    for _ in range(3):
        Outbox(buffer.refuge.path).close()
    box = Buffer(buffer.refuge.path, clock, FREE)
    boot = box.boot
    assert boot == 5
    box.put(facts(0, 2))
    disk, real = disk_of(box), Outbox.peek
    monkeypatch.setattr(Outbox, "peek", lambda self, *args: corrupt() if self is disk else real(self, *args))
    assert box.peek(0, 10, ALL) is not None
    assert box.boot == boot  # the last will that the broker has says so too
    box.turn(SURE, 3.0)  # this start's records, also those from before the salvage, are put right
    assert [stream.shift for stream in box.streams() if stream.clk == "corrected"][:1] == [3.0]
    box.close()
    again = Buffer(buffer.refuge.path, clock)
    assert again.boot > boot
    again.close()


def test_the_floor_is_the_newest_time_ever_put_wherever_it_was(buffer: Buffer, clock: ManualClock) -> None:
    read_only(buffer, True)
    buffer.put([Fact("scale-1/weight", T0 + 500, "kg", 1.0), Fact("scale-1/weight", T0, "kg", 1.0)])
    back(buffer, clock)
    assert moved(buffer, 0)
    assert buffer.tally.floor == T0 + 500


def test_put_never_raises_for_the_disks_sake(tmp_path: Path, clock: ManualClock,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise OSError(5, "Input/output error")

    (tmp_path / "outbox.db").write_bytes(b"not a database" * 1000)
    monkeypatch.setattr("edge.uplink.salvage.scan", broken)
    box = Buffer(tmp_path / "outbox.db", clock, FREE)
    for n in range(5):
        clock.advance(6.0)
        box.put(facts(n, 1))
    assert values_of(box) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert box.refuge.why
    monkeypatch.undo()
    clock.advance(6.0)
    assert moved(box, 0)
    assert values_of(box) == [0.0, 1.0, 2.0, 3.0, 4.0]
    box.close()


def rows_of(buffer: Buffer, sql: str) -> Sequence[Any]:
    with disk_of(buffer).disk.reading() as db:
        return db.execute(sql).fetchall()


def test_what_memory_left_out_is_no_loss_of_the_disks(buffer: Buffer, clock: ManualClock) -> None:
    read_only(buffer, True)
    buffer.put(facts(0, 10))
    memory = memory_of(buffer)
    assert buffer.drop(memory.streams()[0].st, 4) == 4
    back(buffer, clock)
    assert moved(buffer, 0)
    bodies = everything(buffer)
    assert [seq for _, seq in bodies] == list(range(5, 11))
    assert losses(bodies.values()) == []
    assert rows_of(buffer, "SELECT min(seq) FROM record") == [(buffer.held().lo,)]
