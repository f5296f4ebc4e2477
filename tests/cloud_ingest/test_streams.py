"""What a stream's batches end in: watermarks that can be trusted, poison that blocks nothing, order that is nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, structs

from cloud_ingest.dedupe import MAX_AHEAD
from cloud_ingest.sorting import sort
from cloud_ingest.store.sqlite import SqliteStore
from cloud_ingest.store.streams import TOLD_RANGES
from cloud_ingest.subscriber import Message, claim_of
from edge import wire
from edge.wire import Fact, Identity, Loss, loss_fact
from tests.cloud_ingest.sending import NOW, ST, batch, dump, open_store, rows, sold, take

OTHER = "b" * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = open_store(tmp_path / "cloud.db")
    yield opened
    opened.close()


def test_the_watermark_tells_the_time_near_it_and_what_is_ahead(store: SqliteStore) -> None:
    facts = [sold(1, NOW - 100 + i) for i in range(10)]
    told = take(store, batch(facts[:3]), batch(facts[5:7], 6), batch(facts[9:], 10))[ST]
    assert (told.committed, told.t, told.ahead) == (3, NOW - 98, [(6, 7), (10, 10)])
    told = take(store, batch(facts, 1))[ST]
    assert (told.committed, told.t, told.ahead, told.why) == (10, NOW - 91, UNSET, UNSET)


def test_at_most_a_hundred_ranges_are_told_and_a_stream_in_too_many_pieces_is_turned_away(store: SqliteStore) -> None:
    for seq in range(3, 2 * MAX_AHEAD + 2, 2):
        told = take(store, batch([sold(1)], seq))[ST]
    assert told.ahead is not UNSET
    assert len(told.ahead) == TOLD_RANGES
    beyond = batch([sold(1)], 2 * MAX_AHEAD + 3)
    assert str(take(store, beyond)[ST].why).startswith("too_fragmented")
    assert rows(store.path, "SELECT reason LIKE 'too_fragmented%', count FROM quarantine") == [(1, 1)]
    filled = take(store, batch([sold(1)] * 4, 1), batch([sold(1)], 1, st=OTHER))
    assert filled[ST].why is UNSET
    assert filled[ST].committed == 5
    assert filled[OTHER].committed == 1
    assert take(store, beyond)[ST].why is UNSET


def test_gaps_in_any_order_move_the_mark_and_are_missing_once(store: SqliteStore) -> None:
    late = batch([sold(1)] * 5, 11, gaps=[(11, 12), (15, 15)])  # 11 .. 18
    assert take(store, late)[ST].committed == 0
    assert take(store, batch([sold(2)] * 2, 1, gaps=[(2, 9)]), late)[ST].committed == 18
    assert rows(store.path, "SELECT mark, missing, refused FROM stream") == [(18, 11, 0)]
    assert rows(store.path, "SELECT sum(sold) FROM flow") == [(9.0,)]


def test_losses_are_listed_and_explain_what_is_missing(store: SqliteStore) -> None:
    loss = Loss(why="cap", what="reading", n=8, t0=NOW - 50, t1=NOW - 40)
    facts = [sold(1), loss_fact(loss, NOW)]
    for _ in range(2):
        take(store, batch(facts, 1, gaps=[(2, 9)]))
    assert rows(store.path, "SELECT * FROM loss") == [(ST, 10, "shop-1", NOW, "cap", "reading", 8, NOW - 50, NOW - 40)]
    assert rows(store.path, "SELECT missing, losses FROM stream") == [(8, 8)]
    assert rows(store.path, "SELECT count(*) FROM reading WHERE name = 'outbox/loss'") == [(1,)]
    huge = [loss_fact(Loss(why="cap", what="reading", n=2**53), NOW)] * 1000
    for seq in range(11, 4011, 1000):
        assert take(store, batch(huge, seq))[ST].committed == seq + 999


def test_the_last_refused_record_says_why_in_any_order(store: SqliteStore) -> None:
    first = batch([sold(1), structs.replace(sold(1), unit="s")])
    second = batch([structs.replace(sold(1), sku=None), sold(1)], 3)
    take(store, second)
    told = take(store, first)[ST]
    assert (told.committed, told.refused) == (4, 2)
    assert str(told.why).startswith("record 3: bad_value: sold without a SKU")


@pytest.mark.parametrize("escape", [b"\\ud800", b"\\udc00\\ud800", b"\xed\xa0\x80", b"\xff"])
@pytest.mark.parametrize("first", [True, False])
def test_text_that_is_none_costs_its_own_record_only(store: SqliteStore, escape: bytes, first: bool) -> None:
    label = Fact("event/seen", NOW, "", "HERE")
    facts = [label, sold(2), sold(3)] if first else [sold(2), label, sold(3)]
    clean = batch(facts)
    bad = replace(clean, payload=wire.unpack(clean.payload).replace(b"HERE", escape))
    told = take(store, bad)[ST]
    assert (told.committed, told.refused) == (3, 1)
    assert rows(store.path, "SELECT sum(sold) FROM flow") == [(5.0,)]


def broken(message: Message) -> Message:
    """An envelope of another version: its sequences can be read, its records not."""
    return replace(message, payload=wire.unpack(message.payload).replace(b'{"v":1,', b'{"v":9,', 1))


def bomb() -> bytes:
    return zstandard.ZstdCompressor().compress(b" " * (wire.MAX_PAYLOAD + 1))


UNREADABLE: dict[str, Callable[[], bytes]] = {
    "noise": lambda: b"\x00\xff\x13", "bomb": bomb, "large": lambda: b" " * (wire.MAX_PAYLOAD + 1),
    "torn": lambda: zstandard.ZstdCompressor().compress(b"{}" * 99)[:-3], "empty": lambda: b"",
}


def test_a_batch_that_cannot_be_read_is_refused_by_name_and_blocks_nothing(store: SqliteStore) -> None:
    poison = broken(batch([sold(1)] * 4, 3, gaps=[(4, 5)]))
    told = take(store, batch([sold(1)] * 2), poison, batch([sold(1)], 9))[ST]
    assert (told.committed, told.refused) == (9, 6)
    assert "$.v" in str(told.why)
    assert "records 3..8" in str(told.why)
    again = take(store, poison, broken(batch([sold(1)] * 8, 2)))[ST]
    assert (again.committed, again.refused) == (9, 6)
    assert rows(store.path, "SELECT sum(sold) FROM flow") == [(3.0,)]
    assert rows(store.path, "SELECT count(*) FROM quarantine") == [(1,)]


@pytest.mark.parametrize("kind", sorted(UNREADABLE))
def test_what_names_nothing_itself_is_refused_by_its_user_properties(store: SqliteStore, kind: str) -> None:
    topic, payload = wire.up("shop-1", "backlog"), UNREADABLE[kind]()
    named = Message(topic, payload, 1, 1, 1, claim_of({"id": f"{ST}/3", "n": "5"}))
    told = take(store, batch([sold(1)] * 2), named, batch([sold(1)], 8))[ST]
    assert (told.committed, told.refused) == (8, 5)
    nameless = replace(named, claim=None)
    take(store, nameless, nameless)
    assert rows(store.path, "SELECT mark, refused FROM stream") == [(8, 5)]
    assert rows(store.path, "SELECT count FROM quarantine ORDER BY id") == [(1,), (2,)]


@pytest.mark.parametrize("properties", [
    {}, {"id": "x"}, {"id": f"{ST}/0", "n": "1"}, {"id": f"{ST}/1", "n": "0"}, {"id": f"{ST}/1", "n": "x"},
    {"id": f"{ST}/{'9' * 400}", "n": "1"}, {"id": f"{ST.upper()}/1", "n": "1"}, {"n": "3"},
])
def test_user_properties_that_name_no_sequences_are_no_claim(properties: dict[str, str]) -> None:
    assert claim_of(properties) is None
    assert claim_of({"id": f"{ST}/7", "n": "3", "ce-specversion": "1.0"}) == Identity(ST, 7, 3)


def test_only_the_owner_can_have_records_refused_by_name(store: SqliteStore) -> None:
    take(store, batch([sold(1)] * 2))
    for device in ("shop-2", "shop-9"):
        told = take(store, broken(batch([sold(1)], 3, device=device)))[ST]
        assert (told.committed, told.refused) == (0, 0)
        assert str(told.why).startswith(("foreign_stream", "unregistered"))
    assert rows(store.path, "SELECT mark, refused FROM stream") == [(2, 0)]


def test_a_claim_beyond_all_bounds_harms_its_own_stream_only(store: SqliteStore) -> None:
    for seq in (1, 2**53):
        noise = Message(wire.up("shop-1", "data"), b"?", 1, 1, 1, Identity(ST, seq, 2**53))
        assert take(store, noise, batch([sold(1)], st=OTHER))[OTHER].committed == 1


def test_a_stream_says_what_its_clock_was_and_is(store: SqliteStore) -> None:
    take(store, batch([sold(1)], 3, clk="corrected", boot=7, h=True, left=2))
    take(store, batch([sold(1)] * 2, 1, clk="free", boot=7))
    assert rows(store.path, "SELECT clk, boot FROM stream") == [("corrected", 7)]


def test_complete_to_is_the_devices_word_where_it_tells_its_outbox(store: SqliteStore) -> None:
    def complete_to() -> float | None:
        (found,), = rows(store.path, "SELECT complete_to FROM progress WHERE device = 'shop-1'")
        return None if found is None else float(found)

    def tell(buffered: int, t: float = NOW - 5, *, online: bool = True, outbox: bool = True,
             oldest: float | None = None) -> bool:
        told = wire.OutboxState(oldest=oldest, committed_to=NOW - 99) if outbox else UNSET
        return store.note_state("shop-1", wire.State(online=online, boot=1, t=t, buffered=buffered, outbox=told), NOW)

    assert complete_to() is None
    take(store, batch([sold(1, NOW - 60)], 5))
    assert complete_to() is None  # nothing is complete: 1 to 4 are still to come
    take(store, batch([sold(1, NOW - 70)] * 2, 1), batch([sold(1, NOW - 50)], st=OTHER))
    assert complete_to() == NOW - 70
    assert tell(3, oldest=NOW - 80)
    assert complete_to() == NOW - 80
    tell(0)
    assert complete_to() == NOW - 5
    tell(0, t=0.0, online=False, outbox=False)
    assert complete_to() == NOW - 5  # a last will says nothing of the outbox
    tell(2)
    assert complete_to() == NOW - 99
    tell(0, t=NOW + 10**9)
    assert complete_to() == NOW
    tell(0, outbox=False)
    assert complete_to() == NOW - 70
    assert not store.note_state("shop-9", wire.State(online=True, boot=1), NOW)


FACTS = st.lists(st.sampled_from(["sold", "none", "early", "bad", "loss", "gap", "label"]), min_size=1, max_size=24)


def _fact(kind: str, seq: int, stream: str) -> Fact:
    if kind == "loss":
        return loss_fact(Loss(why="cap", what="reading", n=seq), NOW - seq)
    made = {"none": Fact("probe/temperature", NOW, "Cel", None, "bad:no_answer"),
            "bad": structs.replace(sold(1), unit="s"), "early": sold(1, wire.ABSOLUTE_TIME + seq),
            "label": Fact("event/seen", NOW, "", f"{stream[0]}{seq}")}  # one time for all: only the sequence tells
    return made.get(kind) or sold(seq, NOW - 400 * seq)


def _cut(kinds: list[str], stream: str, rng: Random) -> list[Message]:
    """The stream as consecutive batches of random length, each ending with a record."""
    cuts: list[Message] = []
    at = 0
    while at < len(kinds):
        end = min(len(kinds), at + rng.randint(1, 6))
        while end < len(kinds) and kinds[end - 1] == "gap":
            end += 1
        part = list(enumerate(kinds[at:end], at + 1))
        facts = [_fact(kind, seq, stream) for seq, kind in part if kind != "gap"]
        gaps = [(seq, seq) for seq, kind in part if kind == "gap"]
        cuts.append(batch(facts, at + 1, st=stream, gaps=gaps, boot=3))
        at = end
    return cuts


@settings(max_examples=40)
@given(FACTS, FACTS, st.integers(0, 2**32))
def test_late_repeated_reordered_and_interleaved_batches_end_in_the_same_database(
        tmp_path_factory: pytest.TempPathFactory, one: list[str], other: list[str], seed: int) -> None:
    rng = Random(seed)
    streams = {ST: [*one, "sold"], OTHER: [*other, "sold"]}
    folder = tmp_path_factory.mktemp("order")
    dumps = []
    for name in ("straight", "shuffled"):
        store = open_store(folder / f"{name}.db")
        messages = [each for stream, kinds in streams.items() for each in _cut(kinds, stream, rng)]
        if name == "shuffled":
            messages += [each for stream, kinds in streams.items() for each in _cut(kinds, stream, rng)]
            messages += rng.choices(messages, k=3)
            rng.shuffle(messages)
        while messages:
            n = rng.randint(1, 4)
            take(store, *messages[:n])
            del messages[:n]
        store.close()
        dumps.append(dump(store.path))
    assert dumps[0] == dumps[1]
    for stream, kinds in streams.items():
        assert [row[2] for row in dumps[0]["stream"] if row[0] == stream] == [len(kinds)]


@given(st.binary(max_size=60), st.sampled_from([b"", b"\x28\xb5\x2f\xfd"]))
def test_whatever_comes_is_sorted_out_and_claims_only_what_it_names(noise: bytes, magic: bytes) -> None:
    clean = batch([sold(1)] * 3)
    payloads = [magic + noise, clean.payload[: len(noise)] + noise, wire.unpack(clean.payload)[:-40] + noise]
    found = sort([replace(clean, payload=payload) for payload in payloads])
    for each in found.rejected:
        assert each.claim is None or each.claim.st == ST
    assert len(found.rejected) + len(found.arrivals) == 3


def test_what_is_refused_by_name_is_kept_whole(store: SqliteStore) -> None:
    poison = broken(batch([structs.replace(sold(1), t=NOW + i / 7) for i in range(200)]))
    take(store, poison)
    assert len(poison.payload) > 10_000
    (payload,), = rows(store.path, "SELECT payload FROM quarantine")
    assert json.loads(payload)["v"] == 9
