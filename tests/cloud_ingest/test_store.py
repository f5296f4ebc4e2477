"""The embedded store: sums that no order changes, and a quarantine that keeps what it refuses."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from cloud_ingest.sorting import sort
from cloud_ingest.store.protocol import Shop
from cloud_ingest.store.sqlite import SqliteStore
from cloud_ingest.subscriber import Message
from edge import wire
from edge.errors import StoreError
from edge.wire import Committed, Fact

NOW = 1_800_000_000.0
ST = "a" * 32
SHOP = Shop("store-1", "Corner", 52.5, 13.4, "UTC", ("shop-1", "shop-2"), ("9", "8", "7", "6", "5"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "cloud.db")
    opened.add_shop(SHOP)
    yield opened
    opened.close()


def rows(store: SqliteStore, sql: str) -> list[Any]:
    db = sqlite3.connect(store.path)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def sold(n: float, t: float = NOW) -> Fact:
    return Fact("slot/A1/sold", t, "count", n, "ok", "4006381333931")


def message(facts: list[Fact], seq: int = 1, device: str = "shop-1", st: str = ST, lo: int = 1) -> Message:
    payload = wire.encode_batch(device, facts, st=st, seq=seq, lo=lo, boot=1)
    return Message(wire.up(device, "data"), payload, 1, 1, 1)


def take(store: SqliteStore, *messages: Message) -> list[tuple[str, Committed]]:
    found = sort(messages)
    return [(device, committed) for device, committed, _ in store.commit(found.arrivals, found.rejected, NOW)]


def test_a_batch_is_counted_once_however_often_it_comes(store: SqliteStore) -> None:
    batch = message([sold(2), sold(1)])
    assert take(store, batch, batch) == [("shop-1", Committed(st=ST, committed=2, refused=0, t=NOW))]
    take(store, batch)
    assert rows(store, "SELECT store, sku, sold FROM flow") == [("store-1", "4006381333931", 3.0)]
    assert rows(store, "SELECT count(*) FROM reading") == [(2,)]


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=8), st.randoms())
def test_any_order_with_repeats_ends_in_the_same_state(tmp_path_factory: pytest.TempPathFactory,
                                                        batches: list[list[int]], rng: random.Random) -> None:
    opened = SqliteStore(tmp_path_factory.mktemp("store") / "cloud.db")
    opened.add_shop(SHOP)
    messages, seq = [], 1
    for units in batches:
        messages.append(message([sold(n, NOW - 900 * n) for n in units], seq))
        seq += len(units)
    again = messages + [rng.choice(messages) for _ in range(3)]
    rng.shuffle(again)
    for each in again:
        take(opened, each)
    expected: dict[int, float] = {}
    for n in (n for units in batches for n in units):
        window = wire.window_of(NOW - 900 * n)
        expected[window] = expected.get(window, 0.0) + n
    assert dict(rows(opened, "SELECT window, sold FROM flow")) == expected
    assert rows(opened, "SELECT mark FROM stream") == [(seq - 1,)]
    opened.close()


def test_readings_from_1970_and_2100_are_refused_by_date_and_hold_nothing_up(store: SqliteStore) -> None:
    facts = [sold(1), sold(5, wire.ABSOLUTE_TIME + 1), sold(7, 4_102_444_800.0), sold(1)]
    (_, committed), = take(store, message(facts))
    assert (committed.committed, committed.refused) == (4, 2)
    assert rows(store, "SELECT sum(sold) FROM flow") == [(2.0,)]
    reasons = [reason for (reason,) in rows(store, "SELECT reason FROM quarantine ORDER BY id")]
    assert "1978" in reasons[0]
    assert "2100-01-01" in reasons[1]


def test_a_time_near_1970_is_no_absolute_time(store: SqliteStore) -> None:
    (_, committed), = take(store, message([sold(1, 5.0)]))
    assert (committed.committed, committed.refused) == (1, 1)
    assert "bad_time" in rows(store, "SELECT reason FROM quarantine")[0][0]


def test_an_unregistered_device_is_kept_waiting_not_lost(store: SqliteStore) -> None:
    batch = message([sold(2)], device="shop-9")
    for _ in range(2):
        (device, told), = take(store, batch)
        assert (device, told.committed) == ("shop-9", 0)
        assert "store add" in str(told.why)
    assert rows(store, "SELECT device, count FROM quarantine") == [("shop-9", 2)]
    assert rows(store, "SELECT count(*) FROM stream") == [(0,)]
    store.add_shop(Shop("store-9", "", 1, 1, "UTC", ("shop-9",), ("9", "8", "7", "6", "5")))
    assert [committed.committed for _, committed in take(store, batch)] == [1]


def test_a_stream_belongs_to_the_device_that_began_it(store: SqliteStore) -> None:
    take(store, message([sold(2)]))
    (device, told), = take(store, message([sold(9)], seq=2, device="shop-2"))
    assert (device, told.committed, told.t, told.ahead) == ("shop-2", 0, 0.0, UNSET)
    assert str(told.why).startswith("foreign_stream")
    assert "shop-1" not in str(told.why)
    assert "foreign_stream" in rows(store, "SELECT reason FROM quarantine")[0][0]
    assert rows(store, "SELECT sum(sold) FROM flow") == [(2.0,)]


@pytest.mark.parametrize(("topic", "payload", "reason"), [
    ("cg/v1/shop-1/up/data", b"\x00\xff\x13", "malformed"),
    ("cg/v1/shop-1/up/data", b'{"v":1,"st":"' + ST.encode(), "malformed"),
    ("cg/v1/shop-1/up/data", b'{"v":2,"st":"' + ST.encode() + b'","seq":1,"lo":1,"boot":1,"clk":"ok","e":[{}]}', "$.v"),
    ("cg/v1/shop-1/up/data", b"[" * 100_000, "malformed"),
    ("cg/v1/shop-1/up/data", b" " * (wire.MAX_PAYLOAD + 1), "too_large"),
    ("cg/v1/Shop_1/up/data", b"{}", "bad_topic"),
    ("cg/v1/shop-1/up/birth", b"{}", "malformed"),
])
def test_a_hostile_payload_is_kept_with_its_reason_and_harms_nothing(store: SqliteStore, topic: str, payload: bytes,
                                                                      reason: str) -> None:
    bad = Message(topic, payload, 1, 1, 1)
    told = dict(take(store, bad, message([sold(1)], st="b" * 32), bad))
    assert told["shop-1"].committed == 1
    (found, count), = rows(store, "SELECT reason, count FROM quarantine")
    assert reason in found
    assert count == (1 if reason == "$.v" else 2)  # refused by name, its repeat is nothing new


@given(st.binary(max_size=300))
def test_random_bytes_are_always_sorted_out(payload: bytes) -> None:
    found = sort([Message("cg/v1/shop-1/up/data", payload, 1, 1, 1)])
    assert len(found.rejected) == 1


def test_a_topic_that_no_database_can_hold_does_not_stop_the_ingest(store: SqliteStore) -> None:
    (_, committed), = take(store, Message("cg/v1/\udc80/up/data", b"{}", 1, 1, 1), message([sold(1)]))
    assert committed.committed == 1
    assert "bad_topic" in rows(store, "SELECT reason FROM quarantine")[0][0]


def test_one_bad_record_costs_only_itself(store: SqliteStore) -> None:
    batch = message([sold(1), sold(2), sold(4)])
    broken = Message(batch.topic, batch.payload.replace(b'"v":2,', b'"v":"two",'), 1, 1, 1)
    (_, committed), = take(store, broken)
    assert (committed.committed, committed.refused) == (3, 1)
    assert rows(store, "SELECT sum(sold) FROM flow") == [(5.0,)]


def test_what_was_evicted_before_it_came_is_counted_as_missing(store: SqliteStore) -> None:
    take(store, message([sold(1)]))
    take(store, message([sold(1)], seq=11, lo=11))
    assert rows(store, "SELECT mark, missing FROM stream") == [(11, 9)]


def test_a_last_will_of_an_older_boot_changes_nothing(store: SqliteStore) -> None:
    store.note_state("shop-1", wire.State(online=True, boot=5), NOW)
    store.note_state("shop-1", wire.State(online=False, boot=4), NOW)
    assert rows(store, "SELECT online, boot FROM device WHERE id = 'shop-1'") == [(1, 5)]


def test_a_new_disk_counts_its_boots_anew(store: SqliteStore) -> None:
    def birth(stream: str, boot: int) -> wire.Birth:
        return wire.Birth(device="shop-1", st=stream, boot=boot, t=NOW, agent="x", sensors={}, slots={})

    store.note_birth("shop-1", birth(ST, 200), NOW)
    store.note_birth("shop-1", birth("b" * 32, 1), NOW)
    store.note_state("shop-1", wire.State(online=True, boot=1), NOW)
    assert rows(store, "SELECT online, boot FROM device WHERE id = 'shop-1'") == [(1, 1)]


def test_a_database_deleted_in_use_commits_nothing(store: SqliteStore) -> None:
    take(store, message([sold(1)]))
    store.path.rename(store.path.with_suffix(".moved"))
    with pytest.raises(StoreError, match="moved or deleted"):
        take(store, message([sold(1)], seq=2))


def test_a_new_cloud_says_what_it_never_had(store: SqliteStore) -> None:
    take(store, message([sold(1)], seq=11, lo=11))
    assert rows(store, "SELECT mark, missing FROM stream") == [(11, 10)]


def test_a_file_of_another_version_is_refused_with_a_fix(tmp_path: Path, store: SqliteStore) -> None:
    db = sqlite3.connect(store.path)
    with db:
        db.execute("UPDATE meta SET value = 99 WHERE key = 'version'")
    db.close()
    with pytest.raises(StoreError, match="version 99"):
        SqliteStore(store.path)
    (tmp_path / "noise.db").write_bytes(b"noise" * 1000)
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteStore(tmp_path / "noise.db")
