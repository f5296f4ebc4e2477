"""When not everything can be kept, the least important goes first, and every record that goes is told."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import StoreError
from edge.uplink import disk as disk_module
from edge.uplink import evict
from edge.uplink.disk import Limits
from edge.uplink.evict import Room, Row, Sweep, repeats
from edge.uplink.kept import Kind, glance
from edge.uplink.outbox import Outbox
from edge.uplink.rows import Rows
from edge.wire import Fact, encode_record
from tests.edge.uplink.boxes import NAMES, SURE, T0, everything, fact, facts, losses, places, told, values

CAP = 256 * 1024
SMALL = Limits(cap=CAP, reserve=0, newest=50)
PAGE_GROUP = 16 * 4096
KINDS = [kind.name.lower() for kind in Kind]


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = Outbox(tmp_path / "outbox.db", limits=SMALL)
    yield box
    box.close()


def accounted(outbox: Outbox) -> None:
    """Every place that was ever used, loss records included, is held or told as lost."""
    tally = outbox.disk.tally
    assert tally.records + tally.lost == outbox.rows.last
    with outbox.disk.reading() as db:
        assert db.execute("SELECT count(*) FROM record").fetchone()[0] == tally.records
    bodies = list(everything(outbox).values())
    assert len(bodies) == tally.records
    assert "vanished unknown" not in told(bodies)


def size(outbox: Outbox) -> int:
    with outbox.disk.reading() as db:
        return int(db.execute("PRAGMA page_count").fetchone()[0]) * 4096


def in_turn(n: int) -> list[Fact]:
    """Facts of all kinds, none like another."""
    return [fact(float(i), KINDS[i % 4], T0 + i) for i in range(n)]


def kinds(outbox: Outbox) -> list[tuple[int, Kind]]:
    with outbox.disk.reading() as db:
        return [(seq, Kind(kind)) for seq, kind in db.execute("SELECT seq, kind FROM record ORDER BY seq")]


@pytest.mark.parametrize("keep", range(0, 100, 7))
def test_a_kind_goes_only_when_nothing_less_is_left_and_the_oldest_first(
        outbox: Outbox, monkeypatch: pytest.MonkeyPatch, keep: int) -> None:
    monkeypatch.setattr(evict, "CHUNK", 4)
    outbox.put(in_turn(100))
    with outbox.disk.transaction() as db:
        def enough() -> bool:
            return int(db.execute("SELECT count(*) FROM record").fetchone()[0]) <= keep
        gone = Room(db, Sweep(), 90, frozenset({50})).make(enough)
    left = kinds(outbox)
    assert sum(loss.n for loss in gone) == 100 - len(left)
    assert len(left) <= max(keep + 4, 11)
    assert [seq for seq, _ in left if seq > 90 or seq == 50] == [50, *range(91, 101)]
    for kind in Kind:
        lived = [seq for seq, each in left if each == kind and seq <= 90 and seq != 50]
        died = {seq for seq in range(1, 91) if KINDS[(seq - 1) % 4] == kind.name.lower() and seq != 50} - set(lived)
        if died:
            assert not [seq for seq, each in left if each < kind and seq <= 90 and seq != 50]
            assert not lived or min(lived) > max(died)


def test_readings_that_repeat_go_before_anything_else(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evict, "CHUNK", 20)
    outbox.put([fact(1.0, t=T0 + i) for i in range(10)] + facts(100, 10) + [fact(7.0, "flow")] * 10)
    with outbox.disk.transaction() as db:
        gone = Room(db, Sweep(), 30, frozenset()).make(lambda: db.total_changes > 38)  # 30 puts, then 8 deletions
    assert [(loss.why, loss.what, loss.n, loss.t0, loss.t1) for loss in gone] == [
        ("folded", "reading", 8, T0 + 1, T0 + 8)]
    assert [seq for seq, _ in kinds(outbox)] == [1, 10, *range(11, 31)]


def test_the_newest_and_the_last_of_each_stream_stay(outbox: Outbox) -> None:
    ends = []
    for n in range(4):
        ends.append(outbox.put(facts(n * 100, 30)))
        outbox.turn(SURE)
    for n in range(400):
        outbox.put(facts(1000 + n * 20, 20))
    last = outbox.rows.last
    assert outbox.disk.tally.lost > 1000
    held = {seq for seq, _ in kinds(outbox)}
    assert set(ends) <= held
    assert set(range(last - 49, last + 1)) <= held
    assert len(outbox.streams()) == 5
    accounted(outbox)


def test_every_clean_up_tells_what_is_gone_in_the_same_transaction(outbox: Outbox) -> None:
    lost = 0
    for n in range(300):
        outbox.put(facts(n * 30, 30, KINDS[n % 3]))
        if outbox.disk.tally.lost != lost:
            lost = outbox.disk.tally.lost
            accounted(outbox)
    assert lost > 2000
    accounted(outbox)
    assert sum(loss.n for loss in losses(everything(outbox).values())) == lost


def test_a_loss_names_a_span_that_holds_every_time_that_is_gone(outbox: Outbox,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evict, "CHUNK", 10)
    times = [T0 + offset for offset in (50, 0, 99, 20, 70, 5, 60, 30, 10, 40)]
    outbox.put([fact(float(i), t=t) for i, t in enumerate(times)])
    with outbox.disk.transaction() as db:
        (loss,) = Room(db, Sweep(), 10, frozenset()).make(lambda: False)
    assert (loss.n, loss.t0, loss.t1) == (10, T0, T0 + 99)


@pytest.mark.parametrize("each", [1, 20, 300])
def test_the_file_stays_within_its_cap_however_long_one_puts(outbox: Outbox, each: int) -> None:
    most, before = 0, -1
    for n in range(12_000 // each):
        outbox.put([*facts(n * each, each, KINDS[n % 4]), fact(1.0)])
        most = max(most, size(outbox))
        assert outbox.disk.tally.lost >= before
        before = outbox.disk.tally.lost
    assert before > 5000
    assert CAP // 2 < most <= CAP + PAGE_GROUP
    accounted(outbox)
    # The disk sees it too, once the log is folded into the file.
    outbox.disk.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert outbox.path.stat().st_size <= CAP + PAGE_GROUP


def test_alarms_outlive_readings_at_any_rate(outbox: Outbox) -> None:
    for n in range(200):
        outbox.put([*facts(n * 50, 50), fact(float(n), "event", T0 + n)])
    alarms = [glance(body) for body in everything(outbox).values()]
    assert [seen.v for seen in alarms if seen.n == NAMES["event"]] == [float(n) for n in range(200)]


def free(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """So many bytes are free on every disk."""
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_bavail=count // 4096, f_frsize=4096))


def test_the_disks_reserve_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_module, "ALWAYS_BYTES", 128 * 1024)
    box = Outbox(tmp_path / "outbox.db", limits=Limits(cap=8 * 1024**2, reserve=1024**2, newest=50))
    free(monkeypatch, 10 * 1024**2)
    for n in range(100):
        box.put(facts(n * 50, 50))
    assert (box.disk.tally.lost, size(box) > 128 * 1024) == (0, True)
    reached = size(box)
    free(monkeypatch, 1024**2 - 4096)  # another program took the rest
    for n in range(100, 400):
        box.put(facts(n * 50, 50))
    assert box.disk.tally.lost > 1000
    assert size(box) <= reached + 128 * 1024 + PAGE_GROUP  # it looks once for so many bytes
    accounted(box)
    box.close()


def test_a_disk_that_is_full_from_the_start_still_has_room_for_a_little(tmp_path: Path,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_module, "ALWAYS_BYTES", 256 * 1024)
    free(monkeypatch, 0)
    box = Outbox(tmp_path / "outbox.db", limits=Limits(cap=512 * 1024, reserve=1024**2, newest=50))
    for n in range(300):
        box.put(facts(n * 50, 50))
    assert box.disk.tally.lost > 5000
    assert 128 * 1024 < size(box) <= 256 * 1024 + 128 * 1024
    accounted(box)
    box.close()


def test_a_restart_in_the_middle_of_sweeping_sweeps_and_tells_nothing_twice(tmp_path: Path) -> None:
    produced = 0
    for start in range(12):
        box = Outbox(tmp_path / "outbox.db", limits=SMALL)
        for n in range(40):
            box.put(facts(produced, 25, KINDS[n % 3]))
            produced += 25
        accounted(box)
        lost = box.disk.tally.lost
        assert start < 3 or lost > 0
        box.close()
    box = Outbox(tmp_path / "outbox.db", limits=SMALL)
    bodies = list(everything(box).values())
    assert box.disk.tally.lost == sum(loss.n for loss in losses(bodies)) == lost
    assert len(values(bodies)) + lost == produced
    box.close()


def test_a_clean_up_that_fails_has_not_happened(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failed = Rows.insert, 0

    def fails(self: Rows, db: sqlite3.Connection, kinds: Sequence[int], bodies: Sequence[bytes], newest: float) -> None:
        nonlocal failed
        real(self, db, kinds, bodies, newest)
        if len(bodies) == 25 and self.sweep.reached and failed < 5:  # a put, after the clean-up before it
            failed += 1
            raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Rows, "insert", fails)
    kept = 0
    for n in range(300):
        try:
            outbox.put(facts(n * 25, 25))
            kept += 25
        except StoreError:
            accounted(outbox)
    assert failed == 5
    assert kept == 295 * 25
    accounted(outbox)
    bodies = everything(outbox).values()
    assert len(values(bodies)) + sum(loss.n for loss in losses(bodies)) == kept


def test_drops_and_evictions_together_leave_nothing_unexplained(outbox: Outbox) -> None:
    dropped = 0
    for n in range(300):
        outbox.put(facts(n * 30, 30, KINDS[n % 2]))
        if n % 7 == 0:
            stream = outbox.streams()[-1]
            dropped += outbox.drop(stream.st, outbox.lowest(stream) - stream.base + 100)
    tally = outbox.disk.tally
    assert tally.lost > 0
    assert tally.records + tally.lost + dropped == outbox.rows.last
    assert "vanished unknown" not in told(everything(outbox).values())


def test_the_gaps_of_a_slice_are_what_was_evicted(outbox: Outbox) -> None:
    for n in range(300):
        outbox.put([*facts(n * 30, 30), fact(float(n), "event")])
    held = {seq for seq, _ in kinds(outbox)}
    after, seen = 0, set[int]()
    while (found := outbox.peek(after, 200, 10**9)) is not None:
        gone = {place for first, last in found.gaps for place in range(first, last + 1)}
        assert not gone & held
        assert after + 1 in gone | held | {found.first} or after == 0
        seen |= set(places(found))
        after = found.last
    assert seen == held


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(["a/x", "b/x", "slot/A/level"]), st.sampled_from([1.0, 2.0, None]),
                          st.sampled_from(list(Kind))), max_size=40))
def test_what_is_folded_is_inside_a_run_of_equal_readings(records: list[tuple[str, Any, Kind]]) -> None:
    rows: list[Row] = [(place, kind, encode_record(Fact(name, T0 + place, "kg", value, "ok" if value else "bad:x")))
                       for place, (name, value, kind) in enumerate(records, 1)]
    expected = []
    for name in {name for name, _, _ in records}:
        mine = [row for row in rows if row[1] == Kind.READING and glance(row[2]).n == name]
        says = [glance(row[2]).says for row in mine]
        expected += [row for i, row in enumerate(mine)
                     if 0 < i < len(mine) - 1 and says[i - 1] == says[i] == says[i + 1]]
    assert repeats(rows) == sorted(expected)
