"""The operator's screen and the registry."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from cloud_ingest import tokens
from cloud_ingest.registry import load_registry
from cloud_ingest.screen import changes, clock_time, render, size, span
from cloud_ingest.sorting import sort
from cloud_ingest.store.sqlite import SqliteStore
from cloud_ingest.subscriber import Message
from cloud_ingest.watch import STRANGERS_EACH, read_fleet
from edge import wire
from edge.errors import ConfigError, StoreError
from edge.wire import Fact

NOW = 1_800_000_000.0
REGISTRY = '[[stores]]\nid = "s-1"\nlat = 52.5163\nlon = 13.3777\ndevices = ["shop-1"]\n'


def cloud(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cloud_ingest", *words], capture_output=True, text=True, timeout=50,
                          check=False)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A database with one shop that told a weight, a dead probe and its state."""
    (tmp_path / "registry.toml").write_text(REGISTRY)
    store = SqliteStore(tmp_path / "cloud.db")
    for shop in load_registry(tmp_path / "registry.toml"):
        store.add_shop(shop)
    facts = [Fact("scale-1/weight", NOW, "kg", 1.25), Fact("fridge-1/temperature", NOW, "Cel", None, "bad:no_answer")]
    payload = wire.encode_batch("shop-1", facts, st="a" * 32, seq=1, lo=1, boot=3)
    found = sort([Message(wire.up("shop-1", "data"), payload, 1, 1, 1)])
    store.commit(found.arrivals, found.rejected, NOW)
    store.note_state("shop-1", wire.State(online=True, boot=3, buffered=7, sensors={"fridge-1": "no_answer"}), NOW)
    store.close()
    return tmp_path / "cloud.db"


def test_the_fleet_says_what_is_committed_and_what_troubles(db: Path) -> None:
    row = read_fleet(db).devices[0]
    assert (row.device, row.store, row.online, row.boot) == ("shop-1", "s-1", True, 3)
    assert (row.buffered, row.committed) == (7, 2)
    assert row.trouble == ("fridge-1 no_answer",)


def test_the_screen_shows_a_reason_and_never_a_zero(db: Path) -> None:
    shown_on = io.StringIO()
    Console(width=200, file=shown_on).print(render(read_fleet(db)))
    shown = shown_on.getvalue()
    assert "1.25 kg" in shown
    assert "bad:no_answer" in shown


def test_a_pipe_gets_a_line_for_each_change_and_no_more(db: Path) -> None:
    fleet = read_fleet(db)
    lines = list(changes(None, fleet))
    assert len(lines) == 3
    assert lines[0].startswith("shop-1 online boot 3")
    assert list(changes(fleet, fleet)) == []


@pytest.fixture
def full(db: Path) -> Path:
    """The same shop after an outage: an outbox in memory, losses of which some are not told, a refused record."""
    store = SqliteStore(db)
    loss = wire.Loss(why="cap", what="reading", n=3, t0=NOW - 7200, t1=NOW - 3600)
    facts = [wire.loss_fact(loss, NOW - 60), Fact("scale-1/weight", NOW - 50, "stone", 1.0)]
    head = wire.Head(v=1, st="b" * 32, seq=1, lo=1, boot=4, clk="free", g=[(1, 5)])
    payload = wire.join_batch("shop-1", [wire.encode_record(fact) for fact in facts], head)
    found = sort([Message(wire.up("shop-1", "data"), payload, 1, 1, 1)])
    store.commit(found.arrivals, found.rejected, NOW)
    outbox = wire.OutboxState(where="memory", bytes=1_234_567, cap=64_000_000, oldest=NOW - 3600, runway_s=276_480.0,
                              catch_up_s=750.0, backlog=4200, lost=3, why="the disk is full: free some of /data",
                              clk="free")
    store.note_state("shop-1", wire.State(online=True, boot=4, t=NOW, buffered=4321, outbox=outbox), NOW)
    store.close()
    return db


def shown(db: Path, width: int = 160) -> str:
    on = io.StringIO()
    Console(width=width, file=on).print(render(read_fleet(db), NOW))
    return on.getvalue()


def test_the_operator_sees_what_a_device_holds_what_it_lost_and_what_nobody_explains(full: Path) -> None:
    row = read_fleet(full).devices[0]
    assert row.held is not None
    assert (row.held.where, row.buffered, row.held.backlog, row.clk) == ("memory", 4321, 4200, "free")
    assert (row.missing, row.losses, row.unexplained, row.refused) == (5, 3, 2, 1)
    assert row.complete_to == NOW - 3600
    text = shown(full)
    for told in ("memory", "4321", "1.2 MB of 64 MB", "3.2 days", "4200", "12 min", "07:00:00", "06:00:00 - 07:00:00",
                 "the disk is full", "record 7: bad_unit", "free", "cap"):
        assert told in text, told
    assert "…" not in text
    json.dumps(json.loads(cloud("watch", "--db", str(full), "--json").stdout)["losses"])


def test_a_pipe_says_what_is_wrong_and_each_loss_once(full: Path) -> None:
    fleet = read_fleet(full)
    lines = list(changes(None, fleet))
    assert lines[0] == (
        "shop-1 online boot 4 committed 2 buffered 4321; complete to 01-15 07:00:00; clock free; keeps records in "
        "memory only; outbox: the disk is full: free some of /data; 2 missing without explanation; 1 refused: record "
        "7: bad_unit: 'stone' is none of kg, Cel, %RH, count, s, /")
    assert lines[1] == "01-15 07:59:00 shop-1 lost 3 reading: cap, 01-15 06:00:00 - 01-15 07:00:00"
    assert list(changes(fleet, fleet)) == []


def test_the_operator_sees_what_the_http_side_refused(full: Path) -> None:
    before = read_fleet(full)
    tokens.note(full, {}, {("wrong_token", "?", "10.0.0.7"): 3, ("too_fast", "planning", "10.0.0.8"): 1}, NOW - 60)
    between = read_fleet(full)
    text = shown(full)
    for told in ("refused over HTTP", "wrong_token", "10.0.0.7", "an old or mistyped token", "planning", "07:59:00"):
        assert told in text, told
    assert sorted(changes(before, between)) == [
        "01-15 07:59:00 HTTP refused too_fast of planning from 10.0.0.8 1 times, 1 in all",
        "01-15 07:59:00 HTTP refused wrong_token of ? from 10.0.0.7 3 times, 3 in all"]
    tokens.note(full, {}, {("wrong_token", "?", "10.0.0.7"): 2}, NOW)
    assert list(changes(between, read_fleet(full))) == [
        "01-15 08:00:00 HTTP refused wrong_token of ? from 10.0.0.7 2 times, 5 in all"]
    told = json.loads(cloud("watch", "--db", str(full), "--json").stdout)["http_refusals"]
    assert told[0] == {"kind": "wrong_token", "subject": "?", "source": "10.0.0.7", "n": 5, "first": NOW - 60,
                       "last": NOW}


def test_many_strangers_leave_a_tokens_refusals_on_the_screen(db: Path) -> None:
    tokens.note(db, {}, {("too_fast", "planning", "10.0.0.8"): 1}, NOW - 60)
    tokens.note(db, {}, {("no_token", "?", f"10.1.{i // 256}.{i % 256}"): 1 for i in range(1000)}, NOW)
    kinds = [row.kind for row in read_fleet(db).http_refusals]
    assert kinds == ["no_token"] * STRANGERS_EACH + ["too_fast"]


def test_a_last_will_leaves_what_the_outbox_told(full: Path) -> None:
    store = SqliteStore(full)
    store.note_state("shop-1", wire.State(online=False, boot=4), NOW)
    store.close()
    row = read_fleet(full).devices[0]
    assert (row.online, row.buffered, row.complete_to) == (False, 4321, NOW - 3600)


@pytest.mark.parametrize(("seconds", "text"), [(None, "-"), (40, "40 s"), (750, "12 min"), (19_800, "5.5 hours"),
                                               (276_480, "3.2 days"), (1e9, "11,574.1 days"),
                                               (1e300, "over 100 years")])
def test_a_span_is_said_in_the_unit_that_fits(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


def test_sizes_and_times_are_short() -> None:
    assert [size(count) for count in (0, 999, 4100, 64_000_000, 1_200_000_000)] == [
        "0 B", "999 B", "4.1 kB", "64 MB", "1.2 GB"]
    assert clock_time(NOW - 60, NOW) == "07:59:00"
    assert clock_time(NOW - 86_400, NOW) == "01-14 08:00:00"
    assert clock_time(None) == "-"
    assert {clock_time(t) for t in (1e12, -1e12, 1e300)} == {"no time"}


@pytest.mark.parametrize(("options", "told"), [
    (["--client-id", "a/b"], "name of a worker"), (["--http", "nowhere"], "HOST:PORT"), (["--budget", "0"], "budget"),
])
def test_a_mistake_in_an_option_of_run_is_named(tmp_path: Path, options: list[str], told: str) -> None:
    done = cloud("run", "--db", str(tmp_path / "cloud.db"), *options)
    assert done.returncode == 2
    assert told in done.stderr


def test_watch_in_json(db: Path) -> None:
    done = cloud("watch", "--db", str(db), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["devices"][0]["trouble"] == ["fridge-1 no_answer"]


def test_a_database_that_is_not_there_is_named_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cornergrid-cloud run"):
        read_fleet(tmp_path / "none.db")
    done = cloud("watch", "--db", str(tmp_path / "none.db"))
    assert done.returncode == 2
    assert "none.db" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("old", "new", "says"), [
    ("lat = 52.5163", "lat = 152.5", "<= 90"),
    ('devices = ["shop-1"]', "", "devices"),
    ('devices = ["shop-1"]', 'devices = ["Shop 1"]', "stores"),
    ("lat =", "latitude = 1\nlat =", "latitude"),
    ("[[stores]]", "[[stores]", "is not TOML"),
    ('id = "s-1"', 'id = "s-1"\ntz = "Mars/Foo"', "no time zone"),
])
def test_a_mistake_in_the_registry_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "registry.toml"
    path.write_text(REGISTRY.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_registry(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value) or "s-1" in str(caught.value)


def test_a_folder_or_a_name_with_a_hash_is_no_trap(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        read_fleet(tmp_path)
    (tmp_path / "a#b.db").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot be read"):
        read_fleet(tmp_path / "a#b.db")
    assert not (tmp_path / "a").exists()


@pytest.fixture
def shut(db: Path) -> Iterator[Path]:
    """A database that nobody has open, in a folder that only its owner may write; a stranger asks."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as back:  # pytest's own are closed to others
        file = Path(shutil.copy(db, folder))
        file.chmod(0o644)
        Path(folder).chmod(0o555)
        back.callback(Path(folder).chmod, 0o755)
        if (uid := os.geteuid()) == 0:
            os.seteuid(65_534)
            back.callback(os.seteuid, uid)
        yield file


def test_a_stranger_to_the_folder_hears_why_sqlite_needs_it(shut: Path) -> None:
    with pytest.raises(StoreError) as caught:
        read_fleet(shut)
    assert "no `cornergrid-cloud run` has it open" in str(caught.value)
    assert "a copy" in str(caught.value)
    assert "readonly" not in str(caught.value)


def test_a_stranger_to_the_file_hears_whose_it_is(shut: Path) -> None:
    if os.getuid() == 0:
        os.seteuid(0)
    shut.chmod(0)
    if os.getuid() == 0:
        os.seteuid(65_534)
    with pytest.raises(StoreError, match="Permission denied") as caught:
        read_fleet(shut)
    assert "the user of `cornergrid-cloud run`" in str(caught.value)


def test_store_add_puts_a_store_on_the_grid(tmp_path: Path) -> None:
    db = str(tmp_path / "cloud.db")
    done = cloud("store", "add", "s-2", "--device", "shop-2", "--lat", "52.5163", "--lon", "13.3777", "--db", db)
    assert done.returncode == 0, done.stderr
    assert "891f1d48863ffff" in done.stdout
    assert read_fleet(Path(db)).devices[0].device == "shop-2"
    wrong = cloud("store", "add", "s-2", "--device", "shop-2", "--lat", "152", "--lon", "13", "--db", db)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize("command", [["run"], ["store", "add"], ["watch"], ["feed"], ["contract", "schema"]])
def test_every_command_helps_with_an_example(command: list[str]) -> None:
    done = cloud(*command, "--help")
    assert done.returncode == 0
    assert f"cornergrid-cloud {' '.join(command)}" in done.stdout
