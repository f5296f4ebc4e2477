"""The wire contract: what is sent is what is read, and nothing else gets through or does harm."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import wire
from edge.errors import WireError
from edge.wire import ABSOLUTE_TIME, FLOW_UNITS, MAX_PAYLOAD, UNITS, WINDOW_S, Fact

DEVICE = "shop-0001"
STREAM = "0123456789abcdef" * 2
T0 = 1_772_438_400

names = st.from_regex(r"[a-z][a-z0-9-]{0,10}/[a-z_]{1,10}", fullmatch=True).filter(lambda n: not n.startswith("slot/"))
times = st.integers(0, 86_400_000).map(lambda ms: round(T0 + ms / 1000, 3))
skus = st.none() | st.from_regex(r"[0-9]{8,13}", fullmatch=True)
numbers = st.builds(Fact, names, times, st.sampled_from(sorted(UNITS)), st.floats(-1e12, 1e12), st.just("ok"), skus)
switches = st.builds(Fact, names, times, st.just(""), st.booleans(), st.just("ok"), skus)
texts = st.builds(Fact, names, times, st.just(""), st.text(max_size=100), st.just("ok"), skus)
missing = st.builds(Fact, names, times, st.sampled_from(sorted(UNITS)), st.none(),
                    st.sampled_from(["unstable", "bad:no_answer"]), skus)
flows = st.builds(lambda slot, column, t, v: Fact(f"slot/{slot}/{column}", t, FLOW_UNITS[column], v, sku="4006"),
                  st.sampled_from(["a1", "b2"]), st.sampled_from(sorted(FLOW_UNITS)), times, st.floats(0, WINDOW_S))
facts = st.lists(numbers | switches | texts | missing | flows, min_size=1, max_size=20)


def envelope(records: list[Any], **changes: Any) -> bytes:
    made = {"v": 1, "st": STREAM, "seq": 5, "lo": 1, "boot": 1, "clk": "ok", "h": False, "e": records, **changes}
    return json.dumps(made).encode()


def record(**changes: Any) -> dict[str, Any]:
    return {"n": f"{DEVICE}/scale-1/weight", "t": float(T0), "u": "kg", "v": 1.0, **changes}


@given(facts, st.integers(1, 2**40), st.booleans())
def test_what_is_sent_is_what_is_read(sent: list[Fact], seq: int, historical: bool) -> None:
    payload = wire.encode_batch(DEVICE, sent, st=STREAM, seq=seq, lo=1, boot=3, historical=historical)
    batch = wire.decode_batch(DEVICE, payload)
    assert batch.refused == ()
    assert batch.facts == tuple(enumerate(sent, seq))
    assert (batch.stream, batch.seq, batch.n, batch.lo, batch.boot) == (STREAM, seq, len(sent), 1, 3)
    assert batch.historical is historical


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_random_bytes_are_only_ever_refused(payload: bytes) -> None:
    with pytest.raises(WireError):
        wire.decode_batch(DEVICE, payload)


@given(facts, st.data())
def test_a_damaged_batch_is_read_or_refused_and_never_crashes(sent: list[Fact], data: st.DataObject) -> None:
    payload = bytearray(wire.encode_batch(DEVICE, sent, st=STREAM, seq=1, lo=1, boot=1))
    place = data.draw(st.integers(0, len(payload) - 1))
    payload[place] = data.draw(st.integers(0, 255))
    try:
        batch = wire.decode_batch(DEVICE, bytes(payload))
    except WireError:
        return
    assert len(batch.facts) + len(batch.refused) == batch.n


@given(st.lists(st.just(record()), min_size=1, max_size=8), st.data(),
       st.sampled_from([17, None, [], {"n": 5}, record(v="one"), record(k="a b"), record(u="furlong"),
                        record(v=1.0, vb=True), record(q="bad:x"), record(q="nonsense"), record(v=1e300)]))
def test_one_bad_record_costs_only_itself(good: list[Any], data: st.DataObject, bad: object) -> None:
    place = data.draw(st.integers(0, len(good)))
    batch = wire.decode_batch(DEVICE, envelope([*good[:place], bad, *good[place:]]))
    assert [refused.seq for refused in batch.refused] == [5 + place]
    assert [seq for seq, _ in batch.facts] == [5 + i for i in range(len(good) + 1) if i != place]
    assert {fact.value for _, fact in batch.facts} == {1.0}


def test_a_bad_first_record_still_gives_its_base_values() -> None:
    first = {"bn": f"{DEVICE}/", "bt": T0, "n": "scale-1/weight", "v": "one"}
    batch = wire.decode_batch(DEVICE, envelope([first, {"n": "scale-1/weight", "t": 2, "u": "kg", "v": 3.0}]))
    assert [refused.seq for refused in batch.refused] == [5]
    assert batch.facts == ((6, Fact("scale-1/weight", T0 + 2.0, "kg", 3.0)),)


@given(st.floats(-1e9, ABSOLUTE_TIME - 1))
def test_relative_time_is_refused(t: float) -> None:
    batch = wire.decode_batch(DEVICE, envelope([record(t=t)]))
    assert batch.facts == ()
    assert batch.refused[0].reason.startswith("bad_time")


@pytest.mark.parametrize("name", ["shop-0002/scale-1/weight", "shop-00011/scale-1/weight", "scale-1/weight", ""])
def test_another_devices_record_is_refused(name: str) -> None:
    batch = wire.decode_batch(DEVICE, envelope([record(n=name), record()]))
    assert [seq for seq, _ in batch.facts] == [6]
    assert batch.refused[0].reason.startswith("bad_name")


def test_what_is_too_large_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(WireError) as caught:
        wire.decode_batch(DEVICE, b"x" * (MAX_PAYLOAD + 1))
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("changes", [{"v": 2}, {"st": "A" * 32}, {"st": STREAM + "\n"}, {"seq": 0},
                                     {"lo": 0}, {"boot": -1}, {"clk": "?"}, {"e": []},
                                     {"e": [record()] * (wire.MAX_RECORDS + 1)}, {"e": None}])
def test_an_envelope_that_is_not_the_contracts_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(WireError) as caught:
        wire.decode_batch(DEVICE, envelope([record()], **changes))
    assert caught.value.reason == "malformed"


@pytest.mark.parametrize("changes", [{"n": f"{DEVICE}/scale-1/weight\n"}, {"k": "4006\n"},
                                     {"v": None, "q": "unstable\n"}])
def test_a_final_newline_is_no_part_of_a_name(changes: dict[str, Any]) -> None:
    batch = wire.decode_batch(DEVICE, envelope([record(**changes), record()]))
    assert [seq for seq, _ in batch.facts] == [6]
    assert [refused.seq for refused in batch.refused] == [5]


@pytest.mark.parametrize("column", sorted(FLOW_UNITS))
@pytest.mark.parametrize("changes", [{"v": -1.0}, {"v": 10_001.0}, {"v": None, "vb": True}, {"k": None}, {"u": "kg"}])
def test_a_fact_that_cannot_add_up_is_refused(column: str, changes: dict[str, Any]) -> None:
    sound = record(n=f"{DEVICE}/slot/a1/{column}", u=FLOW_UNITS[column], k="4006")
    assert len(wire.decode_batch(DEVICE, envelope([sound])).facts) == 1
    assert len(wire.decode_batch(DEVICE, envelope([sound | changes])).refused) == 1


@pytest.mark.parametrize("topic", ["", "cg/v1/shop/up", "cg/v2/shop/up/data", "cg/v1/Shop/up/data", "cg/v1/a/b/up/data",
                                   "cg/v1/shop/up/other", "cg/v1/shop/down/committed", "cg/v1/+/up/data",
                                   "cg/v1/shop/up/data\n"])
def test_a_topic_that_is_not_the_contracts_is_refused(topic: str) -> None:
    with pytest.raises(WireError):
        wire.parse_up(topic)


@pytest.mark.parametrize("what", ["data", "backlog", "birth", "state"])
def test_a_topic_tells_the_device_and_the_channel(what: Any) -> None:
    assert wire.parse_up(wire.up(DEVICE, what)) == (DEVICE, what)


@given(st.floats(0, 2e9))
def test_a_time_lies_in_its_window(t: float) -> None:
    start = wire.window_of(t)
    assert start % WINDOW_S == 0
    assert start <= t < start + WINDOW_S


@given(st.text(max_size=10), st.sampled_from([*sorted(FLOW_UNITS), "level"]), st.sampled_from(["slot", "scale-1"]))
def test_only_additive_facts_of_a_slot_are_flows(slot: str, column: str, head: str) -> None:
    is_flow = head == "slot" and column in FLOW_UNITS and slot != ""
    assert wire.flow_of(f"{head}/{slot}/{column}") == ((slot, column) if is_flow else None)


def test_a_number_that_json_has_not_costs_only_its_record() -> None:
    batch = wire.decode_batch(DEVICE, envelope([record(v=math.nan), record()]))
    assert [refused.seq for refused in batch.refused] == [5]
    assert [(seq, fact.value) for seq, fact in batch.facts] == [(6, 1.0)]
