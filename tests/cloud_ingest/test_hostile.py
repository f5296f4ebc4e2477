"""What one device may put into the database, and what its worst messages do to a worker: they cost only itself."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from structlog.testing import capture_logs
from typer.testing import CliRunner

from cloud_ingest.__main__ import app
from cloud_ingest.allowance import Limit
from cloud_ingest.screen import changes, render
from cloud_ingest.sorting import MOST_PARTS, Sorted, sort, sort_into
from cloud_ingest.store import growth, quarantine
from cloud_ingest.store.gate import MOST_OF_A_WINDOW
from cloud_ingest.store.growth import DAY_S
from cloud_ingest.store.protocol import Arrival, Refusal, Rejected, Told
from cloud_ingest.store.sqlite import SqliteStore
from cloud_ingest.subscriber import Message
from cloud_ingest.watch import LOSSES_EACH, NAMES_EACH, read_fleet
from edge import wire
from edge.wire import Fact
from tests.cloud_ingest.devices import CLOCK, Device, Listening, opened, sale, serving, sums, until
from tests.cloud_ingest.sending import NOW, ST, batch, dump, open_store, rows, sold, take


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = open_store(tmp_path / "cloud.db")
    yield made
    made.close()


def kinds(store: SqliteStore, device: str = "shop-1") -> dict[str, int]:
    """What was refused of a device, as the operator sees it."""
    return {row.kind: row.n for row in read_fleet(store.path).refusals if row.device == device}


def limited(monkeypatch: pytest.MonkeyPatch, what: str, most: float, a_day: float) -> None:
    monkeypatch.setattr(growth, "LIMITS", {**growth.LIMITS, what: Limit(a_day / DAY_S, most)})


def stream(i: int) -> str:
    return f"{i:032x}"


# How much one may add.

def test_streams_beyond_a_devices_growth_stay_with_it_until_there_is_room(
        store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, "streams", 3, 1)
    for i in range(3):
        assert take(store, batch([sold(1)], st=stream(i)))[stream(i)].committed == 1
    told = take(store, batch([sold(1)], st=stream(3)))[stream(3)]
    assert (told.committed, str(told.why)[:16]) == (0, "too_many_streams")
    assert take(store, batch([sold(1)], device="shop-2", st=stream(9)))[stream(9)].committed == 1
    assert take(store, batch([sold(1)], 2, st=stream(1)))[stream(1)].committed == 2, "what it has goes on"
    assert take(store, batch([sold(1)], st=stream(3)), now=NOW + DAY_S)[stream(3)].committed == 1
    assert rows(store.path, "SELECT sum(sold) FROM flow") == [(6.0,)]
    assert kinds(store) == {"too_many_streams": 1}


def test_records_beyond_a_devices_growth_stay_with_it_and_are_counted_once_when_there_is_room(
        store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, "records", 10, 10)
    assert take(store, batch([sold(1)] * 8))[ST].committed == 8
    for _ in range(3):
        assert take(store, batch([sold(1)] * 8, 9))[ST].committed == 8
    assert take(store, batch([sold(1)] * 8, 9), now=NOW + DAY_S)[ST].committed == 16
    assert rows(store.path, "SELECT sum(sold) FROM flow") == [(16.0,)]
    assert kinds(store) == {"too_many_records": 3}


@pytest.mark.parametrize("what", ["names", "skus", "windows"])
def test_rows_beyond_a_devices_growth_are_refused_by_record(
        what: str, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, what, 3, 1)

    def fact(i: int) -> Fact:
        if what == "names":
            return Fact(f"scale-{i}/weight", NOW, "kg", 1.0)
        return sold(1, NOW - 900 * i) if what == "windows" else structs.replace(sold(1), sku=f"4000{i}")

    told = take(store, batch([fact(i) for i in range(5)]))[ST]
    assert (told.committed, told.refused) == (5, 2)
    other = take(store, batch([fact(i) for i in range(5)], device="shop-2", st=stream(2)))[stream(2)]
    assert other.refused == (2 if what == "names" else 0), "the store's SKUs and windows are both devices'"
    assert kinds(store) == {f"too_many_{what}": 2}
    assert take(store, batch([fact(0)], 6))[ST].refused == 2, "what is there goes on"


@given(st.lists(st.tuples(st.floats(0, 10_000), st.integers(0, 2)), min_size=1, max_size=40))
def test_no_window_ever_has_more_than_a_shop_can_move(tmp_path_factory: pytest.TempPathFactory,
                                                     sales: list[tuple[float, int]]) -> None:
    store = open_store(tmp_path_factory.mktemp("windows") / "cloud.db")
    told = take(store, batch([sold(n, NOW - 900 * window) for n, window in sales]))[ST]
    kept = rows(store.path, "SELECT sum(value) FROM reading")[0][0] or 0.0
    store.close()
    assert told.committed == len(sales)
    for (total,) in rows(store.path, "SELECT sold FROM flow"):
        assert total <= MOST_OF_A_WINDOW["count"]
    assert sum(total for (total,) in rows(store.path, "SELECT sold FROM flow")) == pytest.approx(kept)
    if all(sum(n for n, at in sales if at == window) <= MOST_OF_A_WINDOW["count"] * 0.999 for window in range(3)):
        assert told.refused == 0


# What is kept of what was refused.

def noise(device: str, i: int, size: int = 0) -> Message:
    return Message(wire.up(device, "data"), b"noise %d" % i + b"x" * size, 1, 1, 1)


def test_a_flood_of_poison_takes_nobodys_place_in_the_quarantine_and_is_counted_to_the_end(
        store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "KEPT_OF_ONE", 20)
    monkeypatch.setattr(quarantine, "KEPT", 50)
    take(store, noise("shop-2", 0))
    for at in range(0, 300, 30):
        take(store, *(noise("shop-1", at + i) for i in range(30)))
    count = "SELECT device, count(*), max(payload) FROM quarantine GROUP BY device ORDER BY device"
    assert rows(store.path, count) == [("shop-1", 20, b"noise 299"), ("shop-2", 1, b"noise 0")]
    assert (kinds(store), kinds(store, "shop-2")) == ({"malformed": 300}, {"malformed": 1})
    for device in range(100):
        take(store, noise(f"shop-{device + 10}", device))
    assert rows(store.path, "SELECT count(*) FROM quarantine") == [(50,)]


def test_large_poison_is_kept_to_so_many_bytes(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "KEPT_BYTES_OF_ONE", 10_000)
    for i in range(10):
        take(store, noise("shop-1", i, 4000))
    assert rows(store.path, "SELECT count(*), max(payload) > 'noise 9' FROM quarantine") == [(2, 1)]


# What the operator reads.

def test_numbers_that_no_screen_can_hold_do_not_blind_the_operator(store: SqliteStore) -> None:
    held = '{"v":1,"online":true,"boot":1,"outbox":{"bytes":%s,"runway_s":-1e308}}' % ("9" * 400)
    with sqlite3.connect(store.path) as db:  # as an ingest before this check had stored it
        db.execute("UPDATE device SET state = ?1, held = ?1 WHERE id = 'shop-1'", (held,))
    db.close()
    fleet = read_fleet(store.path)
    render(fleet, NOW)
    assert all(len(line) < 500 for line in changes(None, fleet))


def test_the_quarantine_is_listed_and_its_payloads_obey_nobody(store: SqliteStore) -> None:
    evil = b"\x1b]0;owned\x07[/red]\xff\xe2\x80\xae"
    take(store, Message(wire.up("shop-1", "data"), evil, 1, 1, 1), noise("shop-2", 1))
    listed = CliRunner().invoke(app, ["quarantine", "--db", str(store.path), "--device", "shop-1"])
    assert listed.exit_code == 0, listed.output
    assert "shop-1" in listed.output
    assert "shop-2" not in listed.output
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", listed.output)
    told = json.loads(CliRunner().invoke(app, ["quarantine", "--db", str(store.path), "--json"]).output)
    assert {each["device"]: bytes.fromhex(each["payload"])[:5] for each in told} == {
        "shop-1": b"\x1b]0;o", "shop-2": b"noise"}


def test_thousands_of_names_leave_the_others_on_the_screen(store: SqliteStore) -> None:
    take(store, batch([Fact(f"n{i}/weight", NOW, "kg", 1.0) for i in range(900)]))
    take(store, batch([sold(1)], device="shop-2", st=stream(2)))
    shown = [each.device for each in read_fleet(store.path).telemetry]
    assert (shown.count("shop-1"), shown.count("shop-2")) == (NAMES_EACH, 1)


def test_thousands_of_losses_leave_the_others_on_the_screen(store: SqliteStore) -> None:
    def lost(t: float) -> Fact:
        return wire.loss_fact(wire.Loss(why="cap", what="reading", n=1, t0=NOW - 60, t1=NOW), t)

    take(store, batch([lost(NOW + i) for i in range(300)]),
         batch([lost(NOW + 400 + i) for i in range(300)], st=stream(1)))
    take(store, batch([lost(NOW - 3600)], device="shop-2", st=stream(2)))
    shown = [(each.device, each.t) for each in read_fleet(store.path).losses]
    assert shown == [*(("shop-1", NOW + 699 - i) for i in range(LOSSES_EACH)), ("shop-2", NOW - 3600)]


def message(channel: str, told: object) -> Message:
    return Message(f"cg/v1/shop-1/up/{channel}", json.dumps(told).encode(), 1, 1, 1)


STATE = {"v": 1, "online": True, "boot": 1}
BIRTH = {"v": 1, "device": "shop-1", "st": ST, "boot": 1, "t": NOW, "agent": "x", "sensors": {}, "slots": {}}


@pytest.mark.parametrize(("channel", "told", "kind"), [
    ("birth", {**BIRTH, "device": "shop-2"}, "foreign_birth"),
    ("birth", {**BIRTH, "agent": "x" * 1000}, "bad_birth"),
    ("birth", {**BIRTH, "slots": {f"s{i}": "4006" for i in range(MOST_PARTS + 1)}}, "bad_state"),
    ("state", {**STATE, "sensors": {"a": "x" * 1000}}, "bad_state"),
    *[("state", {**STATE, "outbox": {name: value}}, "bad_state") for name, value in (
        ("bytes", 2**53 + 1), ("cap", 10**300), ("backlog", 2**64), ("lost", 2**63), ("refused", 10**40),
        ("runway_s", -1.0), ("catch_up_s", 1e300), ("oldest", -1e300), ("committed_to", 1e13))],
])
def test_a_birth_or_state_that_cannot_be_is_refused(channel: str, told: object, kind: str) -> None:
    found = sort([message(channel, told)])
    assert not found.births
    assert not found.states
    assert [quarantine.kind_of(each.reason) for each in found.rejected] == [kind]


def test_of_a_storm_of_births_and_states_the_newest_counts(store: SqliteStore) -> None:
    found = sort([message("birth", {**BIRTH, "boot": i}) for i in range(5)]
                 + [message("state", {**STATE, "boot": i, "buffered": i}) for i in (3, 4, 2)])
    assert (found.births["shop-1"].boot, found.states["shop-1"].buffered) == (4, 4)
    assert not found.rejected
    assert store.note_state("shop-1", wire.State(online=True, boot=1, t=NOW + 9e8, outbox=wire.OutboxState()), NOW)
    assert rows(store.path, "SELECT complete_to FROM device WHERE id = 'shop-1'") == [(NOW,)]
    assert kinds(store) == {"bad_time": 1}


@pytest.mark.parametrize(("reason", "kind"), [
    ("record 7: bad_unit: 'stone' is none", "bad_unit"), ("malformed: record 7: x", "malformed"),
    ("records 3..8: too_large: 9 bytes", "too_large"), ("Foreign", "other"), ("", "other"),
    ("unregistered", "unregistered"),
])
def test_a_kind_is_the_first_word_of_the_reason(reason: str, kind: str) -> None:
    assert quarantine.kind_of(reason) == kind


# Whatever it says, it says of itself.

EXTREMES: list[Any] = [0, -1, 1, 2**31, 2**53, 2**53 + 1, 2**63, 10**40, 1e308, -1e18, 0.1, True, None, "", "x" * 300,
                       [], {}, [[1, 2**53]], [[1, 5]], ST, "b" * 32, "shop-ok", "shop-ok/", "\0\u202e"]
HEAD_KEYS = ["v", "st", "seq", "lo", "boot", "clk", "h", "w", "m", "left", "g", "e", "device", "sensors", "slots",
             "agent", "online", "t", "buffered", "committed", "outbox", "store", "cell"]
RECORD_KEYS = ["n", "bn", "t", "bt", "u", "v", "vb", "vs", "q", "k", "sd"]
EVIL = st.tuples(
    st.sampled_from(["data", "backlog", "birth", "state"]),
    st.dictionaries(st.sampled_from(HEAD_KEYS), st.sampled_from(EXTREMES), max_size=3),
    st.lists(st.dictionaries(st.sampled_from(RECORD_KEYS), st.sampled_from(EXTREMES), max_size=2), max_size=3),
    st.binary(max_size=4),
    st.none() | st.tuples(st.sampled_from([ST, "b" * 32]), st.integers(1, 2**53), st.integers(1, 9)))


def evil(channel: str, head: dict[str, object], records: list[dict[str, object]], noise: bytes,
         claim: tuple[str, int, int] | None) -> Message:
    sane = {"n": "shop-evil/slot/A1/sold", "t": NOW, "u": "count", "v": 1.0, "k": "4006"}
    told = {"v": 1, "st": "b" * 32, "seq": 1, "lo": 1, "boot": 1, "clk": "ok", "online": True, "device": "shop-evil",
            "agent": "x", "sensors": {}, "slots": {}, "t": NOW, "e": [{**sane, **each} for each in records], **head}
    payload = json.dumps(told).encode() + (noise if len(noise) == 4 else b"")
    return Message(f"cg/v1/shop-evil/up/{channel}", payload, 1, 1, 1, wire.Identity(*claim) if claim else None)


def honest_rows(path: Path, messages: list[Message]) -> dict[str, list[tuple[Any, ...]]]:
    """What of `shop-ok` is in a database behind these messages, the first alone, then two in a transaction."""
    store = opened(path, ["shop-ok", "shop-evil"])
    for at in (0, *range(1, len(messages), 2)):
        some = messages[at:at + 2] if at else messages[:1]
        found = sort(some)
        senders = {each.topic.split("/")[2] for each in some}
        assert {told.device for told in store.commit(found.arrivals, found.rejected, NOW)} <= senders
        for device, birth in found.births.items():
            store.note_birth(device, birth, NOW)
        for device, state in found.states.items():
            store.note_state(device, state, NOW)
    read_fleet(path)
    store.close()
    return {table: [row for row in kept if {"shop-ok", "store-of-shop-ok"} & set(row)]
            for table, kept in dump(path).items()}


HONEST = [batch([sold(2), sold(1)], seq, device="shop-ok") for seq in (1, 3, 5)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Any, ...]]]:
    """What `shop-ok` has where nobody else says anything."""
    return honest_rows(tmp_path_factory.mktemp("alone") / "cloud.db", HONEST)


@settings(max_examples=25)
@given(st.lists(EVIL, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_no_message_of_one_device_changes_a_row_of_another(
        tmp_path_factory: pytest.TempPathFactory, alone: dict[str, list[tuple[Any, ...]]], said: list[tuple[Any, ...]],
        rng: Random) -> None:
    messages = [*HONEST[1:], *(evil(*each) for each in said)]
    rng.shuffle(messages)  # behind the first: the name of a stream that nobody has heard of cannot be guessed
    assert honest_rows(tmp_path_factory.mktemp("evil") / "cloud.db", [HONEST[0], *messages]) == alone
    assert [row for row in alone["flow"] if 9.0 in row], "three batches of three units"


# What a worker survives.

class PickyStore(SqliteStore):
    """A database that cannot keep a certain name, and does not answer now and then."""

    failures = 1

    def commit(self, arrivals: list[Arrival], rejected: list[Rejected], now: float,  # type: ignore[override]
               ) -> list[Told]:
        if self.failures:
            self.failures -= 1
            raise sqlite3.OperationalError("database or disk is full")
        if any(fact.name == "event/evil" for each in arrivals for _, fact in each.batch.facts):
            raise OverflowError("Python int too large to convert to SQLite INTEGER")
        return super().commit(arrivals, rejected, now)


def test_what_no_database_can_keep_costs_only_its_own_message(broker: Listening, tmp_path: Path) -> None:
    path = tmp_path / "cloud.db"
    opened(path, ["shop-ok", "shop-evil"]).close()
    good, evil = Device("shop-ok", broker.port, "4" * 32), Device("shop-evil", broker.port, "5" * 32)
    with capture_logs() as logs, serving(broker.port, PickyStore(path), "evil") as subscriber:
        until(lambda: subscriber.connected, "subscribed")
        for seq in (1, 11, 21):
            good.send(seq)
            evil.publish(wire.encode_batch("shop-evil", [Fact("event/evil", CLOCK.now(), "", "x"), sale()], st=evil.st,
                                           seq=seq, lo=1, boot=1))
        good.until_committed(30)
        evil.send(31)
        until(lambda: bool(evil.told), "its other messages are taken")
        until(lambda: any(line["event"] == "refused" and line["kind"] == "unkeepable" for line in logs), "told")
    for device in (good, evil):
        device.close()
    assert sums(path, "shop-ok") == (30.0, 30, 30)
    assert sums(path, "shop-evil") == (10.0, 10, 0), "what is not kept is not called committed"
    assert rows(path, "SELECT count(*) FROM quarantine WHERE reason LIKE 'unkeepable: OverflowError%'") == [(3,)]


def test_bytes_that_break_the_decoder_cost_only_their_own_message(
        broker: Listening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fragile(found: Sorted, message: Message) -> dict[str, float]:
        if message.payload == b"evil":
            raise SystemError("a decoder has its faults too")
        return sort_into(found, message)

    monkeypatch.setattr("cloud_ingest.service.sort_into", fragile)
    path = tmp_path / "cloud.db"
    with serving(broker.port, opened(path, ["shop-deep"]), "deep") as subscriber:
        until(lambda: subscriber.connected, "subscribed")
        device = Device("shop-deep", broker.port, "8" * 32)
        for _ in range(3):
            device.publish(b"evil")
        device.send(1)
        device.until_committed(10)
        device.close()
    assert rows(path, "SELECT reason, count FROM quarantine") == [
        ("unkeepable: SystemError: a decoder has its faults too", 3)]


def test_what_was_dropped_is_counted_beside_what_was_refused(store: SqliteStore) -> None:
    store.note_refusals([Refusal("shop-1", "too_fast", 500, "too_fast: x"), Refusal("shop-1", "too_fast", 7, "y")], NOW)
    take(store, noise("shop-1", 1))
    assert {each.kind: each.n for each in store.refusals(NOW)} == {"malformed": 1, "too_fast": 507}
    assert store.refusals(NOW + 1) == []
