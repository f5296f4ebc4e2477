"""Kept days: what is answered from them is what would be made anew, whatever came since and whoever else reads."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import random
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_ingest import estimates, facts, kept, model
from cloud_ingest.feed import Query, read_feed
from cloud_ingest.rows import FeedRow
from cloud_ingest.store.protocol import Item
from cloud_ingest.store.sqlite import SqliteStore
from edge.wire import State
from tests.cloud_ingest.town import DAY, MIDNIGHT, Given, Town, quarters

SKUS = ("4000417025005", "4006381333931", "4311501489703")
CELLS = quarters(3, [2, 2, 1])
TODAY = MIDNIGHT + 3 * DAY
LESSON = TODAY - DAY
Step = Callable[[Town, random.Random], None]
STATE = State(online=True, boot=1, sensors={})


def shopping(rng: random.Random, shops: int, days: range) -> Iterator[Given]:
    """Some of the windows of some shops."""
    for shop in range(shops):
        for start in range(MIDNIGHT + days.start * DAY, MIDNIGHT + days.stop * DAY, 3600):
            for sku in SKUS[:2 + shop % 2]:
                if rng.random() < 0.7:
                    yield f"s{shop}", sku, start + 900 * rng.randrange(4), {
                        "sold": float(rng.randrange(4)), "in_stock": rng.choice((0.0, 300.0, 900.0)), "observed": 900.0}


def learn(path: Path, until: int = TODAY) -> None:
    with facts.reading(path) as source, facts.engine() as duck:
        facts.load_registry(duck, source)
        facts.fill_flow(duck, source, LESSON, until)
        facts.load_hours(duck, LESSON, until)
        estimates.learn(duck, source, model.model_file(source))


def make(path: Path) -> Town:
    town = Town(path, CELLS, "Asia/Kolkata", "08:00-20:00")
    town.add("s1", CELLS[1], "America/Lima")
    town.send(shopping(random.Random(1), 5, range(2, 4)))
    learn(path)
    return town


def ask(path: Path, window_s: int, since: int = TODAY) -> list[FeedRow]:
    return read_feed(Query(path, "operator", 8, window_s, since=since))


def anew(path: Path, window_s: int, since: int = TODAY) -> list[FeedRow]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept.Kept, "day", lambda _self, *args: facts.anew(*args))
        return ask(path, window_s, since)


def same(found: list[FeedRow], wanted: list[FeedRow]) -> None:
    assert [row[:4] for row in map(astuple, found)] == [row[:4] for row in map(astuple, wanted)]
    for mine, theirs in zip(map(astuple, found), map(astuple, wanted), strict=True):
        assert all(one == other or (isinstance(one, float) and isinstance(other, float)
                                    and math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-7))
                   for one, other in zip(mine, theirs, strict=True)), (mine, theirs)


def check(path: Path) -> None:
    same(ask(path, 7 * 900), anew(path, 7 * 900))


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = make(tmp_path / "cloud.db")
    yield made
    made.store.close()


def late(town: Town, rng: random.Random) -> None:
    """Facts for windows that are there and for others, of known and new SKUs and shops, and one that is far behind."""
    town.send((f"s{rng.randrange(6)}", rng.choice((*SKUS, "new")), TODAY + 900 * rng.randrange(-100, 96),
               {"sold": 1.0, "in_stock": 450.0, "observed": 900.0}) for _ in range(rng.randrange(1, 6)))


def move(town: Town, rng: random.Random) -> None:
    town.add(f"s{rng.randrange(5)}", rng.choice(CELLS), rng.choice(("Asia/Tokyo", "UTC")),
             rng.choice(("", "06:00-23:00")), rng.choice((None, TODAY + 900 * rng.randrange(96))))


def end(town: Town, rng: random.Random) -> None:
    town.store.remove_shop(f"s{rng.randrange(5)}", TODAY + 900 * rng.randrange(96) + 1)


def vanish(town: Town, rng: random.Random) -> None:
    with contextlib.closing(sqlite3.connect(town.path)) as db, db:
        db.execute("DELETE FROM store WHERE id = ?", (f"s{rng.randrange(5)}",))


def rename(town: Town, rng: random.Random) -> None:
    town.store.put_items([Item(SKUS[0], "Cola", rng.choice(("drinks", "other")), replaces=("new",))])


def teach(town: Town, rng: random.Random) -> None:
    learn(town.path, TODAY + rng.randrange(DAY))


def spoil(town: Town, rng: random.Random) -> None:
    """Delete the file, or overwrite some of it."""
    path = town.path.with_name(f"{town.path.name}.kept")
    if rng.random() < 0.5:
        for name in ("", "-wal", "-shm"):
            path.with_name(path.name + name).unlink(missing_ok=True)
    elif path.exists():
        with path.open("r+b") as file:
            file.seek(rng.randrange(path.stat().st_size))
            file.write(b"spoilt" * 40)


STEPS: tuple[Step, ...] = (late, late, late, move, end, vanish, rename, teach)


@settings(max_examples=4, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2**32)), min_size=2, max_size=3))
def test_kept_days_are_those_made_anew(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Step, int]]
                                       ) -> None:
    town = make(tmp_path_factory.mktemp("kept") / "cloud.db")
    town.add("s5", CELLS[0])
    ask(town.path, DAY)
    for step, seed in steps:
        step(town, random.Random(seed))
        same(ask(town.path, DAY), anew(town.path, DAY))
    check(town.path)
    town.store.close()


def test_nothing_new_is_nothing_estimated_and_a_late_fact_is_its_window_only(
        town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    hear = estimates.hear

    def counted(duck: object, known: object) -> object:
        table = hear(duck, known)  # type: ignore[arg-type]  # what it is given
        read.append(len(table))
        return table

    ask(town.path, DAY)
    monkeypatch.setattr(estimates, "hear", counted)
    before = ask(town.path, 900)
    town.store.note_state("s0-box", STATE, TODAY)  # a revision without facts
    assert ask(town.path, 900) == before
    assert read == []
    town.send([("s0", SKUS[0], TODAY + 7200, {"sold": 5.0, "observed": 900.0})])
    after = ask(town.path, 900)
    assert len(read) <= 2  # the new row, and the one it replaces
    assert sum(read) <= 2
    (changed,) = [row for row in after if row.sku == SKUS[0] and row.start == TODAY + 7200 and row.revision > max(
        row.revision for row in before)]
    others = {(row.cell, row.sku, row.start): (row.sold, row.observed, row.revision) for row in before}
    assert all(others[row.cell, row.sku, row.start] == (row.sold, row.observed, row.revision)
               for row in after if row != changed)


def test_a_spoilt_or_deleted_file_is_made_anew(town: Town) -> None:
    wanted = ask(town.path, 900)
    for seed in range(6):
        spoil(town, random.Random(seed))
        same(ask(town.path, 900), wanted)


def test_a_file_that_is_no_database_and_one_of_another_format(town: Town) -> None:
    wanted = ask(town.path, 900)
    path = town.path.with_name("cloud.db.kept")
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 10)
    path.with_name("cloud.db.kept-wal").unlink(missing_ok=True)
    same(ask(town.path, 900), wanted)
    same(ask(town.path, 900), wanted)
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE format SET version = 'older'")
    same(ask(town.path, 900), wanted)
    with contextlib.closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT version FROM format").fetchone() == (kept.FORMAT,)


def test_where_it_cannot_be_written_days_are_made_anew(town: Town) -> None:
    wanted = anew(town.path, 900)
    town.path.with_name("cloud.db.kept").mkdir()
    same(ask(town.path, 900), wanted)


def test_another_database_in_the_same_place_is_not_answered_from_this_ones_days(tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
    for sold in (1.0, 2.0):  # the same shops, times and revisions
        town = Town(path, CELLS)
        town.send([("s0", SKUS[0], TODAY, {"sold": sold})])
        town.store.close()
        assert [row.sold for row in ask(path, 900)] == [sold]
        for file in tmp_path.glob("cloud.db*"):
            if ".kept" not in file.name:
                file.unlink()


def test_a_backup_that_went_on_by_itself_is_another_database(town: Town, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with contextlib.closing(sqlite3.connect(town.path)) as db, contextlib.closing(sqlite3.connect(copy)) as backup:
        db.backup(backup)
    town.send([("s0", SKUS[0], TODAY, {"sold": 5.0})])
    ask(town.path, 900)
    with contextlib.closing(sqlite3.connect(copy)) as backup, contextlib.closing(sqlite3.connect(town.path)) as db:
        backup.backup(db)
    other = SqliteStore(town.path)
    town.store.close()
    town.store = other
    town.send([("s3", SKUS[1], TODAY + 900, {"sold": 7.0})])
    check(town.path)


def test_an_older_snapshot_reads_what_another_process_kept_since(town: Town) -> None:
    """A long answer began before a fact came that another reader has kept: it neither fails nor keeps it out."""
    ask(town.path, 900)
    with facts.reading(town.path) as source, facts.engine() as duck, kept.keeping(town.path) as days:
        facts.load_registry(duck, source)
        town.send([("s0", SKUS[0], TODAY + 7200, {"sold": 5.0})])
        ask(town.path, 900)
        facts.load_flow(duck, source, facts.Span(TODAY, TODAY + DAY), days.day)
    check(town.path)


def _read_on(path: Path, wanted: list[tuple[object, ...]], out: object) -> None:
    """Read again and again; say how often the answer was another."""
    wrong = sum([astuple(row)[:6] for row in ask(path, 900)] != wanted for _ in range(3))
    out.put(wrong)  # type: ignore[attr-defined]  # a queue


def test_several_processes_at_once_read_the_same(town: Town) -> None:
    wanted = [astuple(row)[:6] for row in anew(town.path, 900)]
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    readers = [context.Process(target=_read_on, args=(town.path, wanted, out)) for _ in range(2)]
    for reader in readers:
        reader.start()
    assert [out.get(timeout=60) for _ in readers] == [0, 0]
    for reader in readers:
        reader.join()


def _keep_and_wait(path: Path, out: object) -> None:
    """Stop in the middle of keeping a day."""
    patch = pytest.MonkeyPatch()
    patch.setattr(estimates, "hear", lambda *_: (out.put("here"), threading.Event().wait()))  # type: ignore[attr-defined]
    ask(path, 900)


def test_a_reader_that_is_killed_while_it_keeps_a_day_leaves_no_half_of_it(town: Town) -> None:
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    reader = context.Process(target=_keep_and_wait, args=(town.path, out))
    reader.start()
    assert out.get(timeout=60) == "here"
    os.kill(reader.pid or 0, signal.SIGKILL)
    reader.join()
    check(town.path)


def test_old_days_are_not_kept_for_ever(town: Town) -> None:
    ask(town.path, DAY, LESSON)
    town.send([("s0", SKUS[0], TODAY + (kept.DAYS + 1) * DAY, {"sold": 1.0})], TODAY + (kept.DAYS + 2) * DAY)
    ask(town.path, DAY)
    with contextlib.closing(sqlite3.connect(town.path.with_name("cloud.db.kept"))) as file:
        dates = {date for (date,) in file.execute("SELECT date FROM day UNION SELECT date FROM part")}
    assert min(dates) * DAY >= TODAY
