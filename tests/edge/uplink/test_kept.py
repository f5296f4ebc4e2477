"""Whatever keeps records keeps the same promises: disk, memory, and the buffer as either."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clock import ManualClock
from edge.uplink.buffer import Buffer
from edge.uplink.kept import Held, Slice, Stream
from edge.uplink.memory import MemoryOutbox
from edge.uplink.outbox import PEEK_BYTES, Outbox
from edge.wire import Fact, encode_record
from tests.edge.uplink.boxes import ALL, FREE, SURE, T0, Turning, everything, fact, facts, places


def on_disk(folder: Path) -> Turning:
    return Outbox(folder / "outbox.db", FREE)


def in_memory(_folder: Path) -> Turning:
    return MemoryOutbox(0, 1, FREE)


def buffered(folder: Path) -> Turning:
    return Buffer(folder / "outbox.db", ManualClock(0.0), FREE)


def buffered_in_memory(folder: Path) -> Turning:
    (folder / "no-folder").touch()
    return Buffer(folder / "no-folder" / "outbox.db", ManualClock(0.0), FREE)


Maker = Callable[[Path], Turning]
MAKERS = pytest.mark.parametrize("make", [on_disk, in_memory, buffered, buffered_in_memory])


@pytest.fixture(params=[on_disk, in_memory, buffered, buffered_in_memory])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Turning]:
    box: Turning = request.param(tmp_path)
    yield box
    box.close()


def now(kept: Turning) -> Stream:
    return kept.streams()[-1]


def seen(found: Slice | None) -> tuple[list[int], list[bytes]]:
    """The sequences and the bytes of a slice."""
    assert found is not None
    return [place - found.stream.base for place in places(found)], list(found.bodies)


def test_what_is_put_is_seen_in_its_order(kept: Turning) -> None:
    last = kept.put(facts(0, 3))
    assert kept.put(facts(3, 2)) == last + 2
    found = kept.peek(0, 10, ALL)
    assert seen(found) == ([1, 2, 3, 4, 5], [encode_record(each) for each in facts(0, 5)])
    assert found is not None
    assert (found.seq, found.gaps, found.stream) == (1, (), now(kept))


def test_nothing_put_is_nothing_kept(kept: Turning) -> None:
    assert kept.put([]) == now(kept).base
    held = kept.held()
    assert (held.records, held.lo) == (0, held.hi + 1)
    assert kept.peek(0, 10, ALL) is None


def test_a_look_takes_nothing(kept: Turning) -> None:
    kept.put(facts(0, 3))
    assert kept.peek(0, 2, ALL) == kept.peek(0, 2, ALL)
    assert kept.held().records == 3


def test_a_look_begins_behind_a_place_and_ends_at_another(kept: Turning) -> None:
    base = now(kept).base
    kept.put(facts(0, 9))
    assert seen(kept.peek(base + 2, 3, ALL))[0] == [3, 4, 5]
    assert seen(kept.peek(base + 2, 10, base + 4))[0] == [3, 4]
    assert kept.peek(base + 4, 10, base + 4) is None
    assert kept.peek(base + 9, 10, ALL) is None


def test_a_drop_deletes_up_to_the_mark_and_says_how_many(kept: Turning) -> None:
    stream = now(kept)
    kept.put(facts(0, 5))
    assert kept.drop(stream.st, 3) == 3
    assert kept.drop(stream.st, 3) == 0
    assert kept.drop(stream.st, 1) == 0
    held = kept.held()
    assert (held.lo, held.hi, held.records) == (stream.base + 4, stream.base + 5, 2)
    assert kept.lowest(stream) == stream.base + 4
    assert seen(kept.peek(0, 10, ALL))[0] == [4, 5]


def test_what_was_dropped_in_front_is_no_gap(kept: Turning) -> None:
    stream = now(kept)
    kept.put(facts(0, 5))
    kept.drop(stream.st, 3)
    for after in (0, stream.base, stream.base + 1, stream.base + 3):
        found = kept.peek(after, 10, ALL)
        assert found is not None
        assert (found.seq, found.gaps) == (4, ())


def test_no_sequence_is_used_again_when_all_are_dropped(kept: Turning) -> None:
    stream = now(kept)
    last = kept.put(facts(0, 3))
    kept.drop(stream.st, 3)
    assert (kept.held().lo, kept.lowest(stream)) == (last + 1, last + 1)
    assert kept.put(facts(3, 1)) == last + 1
    assert seen(kept.peek(0, 10, ALL))[0] == [4]


def test_the_word_of_another_stream_deletes_nothing(kept: Turning) -> None:
    kept.put(facts(0, 3))
    assert kept.drop("f" * 32, 3) == 0
    assert kept.held().records == 3


def test_a_mark_beyond_a_stream_deletes_nothing_of_the_next(kept: Turning) -> None:
    first = now(kept)
    kept.put(facts(0, 3))
    kept.turn(SURE)
    kept.put(facts(3, 2))
    assert kept.drop(first.st, 1000) == 3
    assert seen(kept.peek(0, 10, ALL)) == ([1, 2], [encode_record(each) for each in facts(3, 2)])


def test_a_turn_begins_a_stream_that_counts_from_one(kept: Turning) -> None:
    first = now(kept)
    last = kept.put(facts(0, 3))
    kept.turn(SURE)
    second = now(kept)
    assert second.st != first.st
    assert (second.base, second.clk, second.w, second.m) == (last, "ok", SURE.wall, SURE.mono)
    kept.put(facts(3, 2))
    assert seen(kept.peek(last, 10, ALL))[0] == [1, 2]


def test_a_look_never_crosses_a_stream(kept: Turning) -> None:
    last = kept.put(facts(0, 3))
    kept.turn(SURE)
    kept.put(facts(3, 2))
    first, second = kept.peek(0, 10, ALL), kept.peek(last, 10, ALL)
    assert first is not None
    assert second is not None
    assert (first.last, second.first) == (last, last + 1)
    assert [found.stream for found in (first, second)] == list(kept.streams())


def test_a_shift_puts_right_what_was_kept_with_a_free_clock_and_nothing_else(kept: Turning) -> None:
    kept.put(facts(0, 1))
    kept.turn(SURE, 100.0)
    kept.put(facts(1, 1))
    kept.turn(FREE)
    kept.put(facts(2, 1))
    kept.turn(SURE, -7.5)
    kept.put(facts(3, 1))
    assert [(stream.clk, stream.shift) for stream in kept.streams()] == [
        ("corrected", 100.0), ("ok", 0.0), ("corrected", -7.5), ("ok", 0.0)]


def test_a_turn_with_nothing_put_leaves_no_empty_stream(kept: Turning) -> None:
    kept.turn(SURE)
    kept.turn(FREE)
    assert [stream.clk for stream in kept.streams()] == ["free"]
    kept.put(facts(0, 1))
    assert len(everything(kept)) == 1


def test_lowest_is_of_the_one_stream(kept: Turning) -> None:
    first = now(kept)
    last = kept.put(facts(0, 3))
    kept.turn(SURE)
    second = now(kept)
    assert kept.lowest(second) == last + 1
    kept.put(facts(3, 2))
    kept.drop(first.st, 3)
    kept.drop(second.st, 1)
    assert (kept.lowest(first), kept.lowest(second)) == (last + 1, last + 2)


def test_a_look_ends_before_a_message_would_be_too_long(kept: Turning) -> None:
    long = Fact("event/long", T0, "", "x" * 900)
    kept.put([long] * 500)
    found = kept.peek(0, 500, ALL)
    assert found is not None
    size = len(encode_record(long)) + 1
    assert len(found.bodies) == PEEK_BYTES // size
    assert len(everything(kept)) == 500


def test_a_single_record_is_seen_however_long_it_is(kept: Turning) -> None:
    kept.put([Fact("event/long", T0, "", "x" * PEEK_BYTES), fact(1.0)])
    assert seen(kept.peek(0, 10, ALL))[0] == [1]


def test_used_grows_with_what_is_put(kept: Turning) -> None:
    before = kept.held().used
    kept.put(facts(0, 1000))
    assert kept.held().used >= before + 30_000


@dataclass(slots=True)
class Model:
    """What should be kept: streams by their base, records by their place."""

    streams: list[tuple[int, str, float]]
    last: int
    records: dict[int, bytes] = field(default_factory=dict)
    n: int = 0

    def stream_of(self, place: int) -> int:
        return max(base for base, _, _ in self.streams if base < place)

    def end_of(self, base: int) -> int:
        return min((other for other, _, _ in self.streams if other > base), default=self.last)

    def put(self, n: int) -> list[Fact]:
        new = facts(self.n, n)
        self.n += n
        self.records |= {place: encode_record(each) for place, each in enumerate(new, self.last + 1)}
        self.last += n
        return new

    def turn(self, clk: str, shift: float | None) -> None:
        if shift is not None:
            self.streams = [(base, "corrected", was + shift) if old == "free" else (base, old, was)
                            for base, old, was in self.streams]
        self.streams = [each for each in self.streams if each[0] != self.last] + [(self.last, clk, 0.0)]

    def drop(self, base: int, mark: int) -> int:
        gone = [place for place in self.records if base < place <= min(base + mark, self.end_of(base))]
        for place in gone:
            del self.records[place]
        return len(gone)

    def peek(self, after: int, most: int, upto: int) -> tuple[int, int, list[bytes]] | None:
        there = sorted(place for place in self.records if after < place <= upto)[:most]
        if not there:
            return None
        end = self.end_of(self.stream_of(there[0]))
        mine = [place for place in there if place <= end]
        assert all(b - a == 1 for a, b in pairwise(mine))  # drops take from the front of a stream alone
        return mine[0], mine[-1], [self.records[place] for place in mine]


STEPS = st.lists(st.one_of(
    st.tuples(st.just("put"), st.integers(0, 5), st.just(0), st.just(0)),
    st.tuples(st.just("drop"), st.integers(0, 3), st.integers(0, 12), st.just(0)),
    st.tuples(st.just("turn"), st.booleans(), st.sampled_from([None, 3.0, -1.5]), st.just(0)),
    st.tuples(st.just("peek"), st.integers(-1, 20), st.integers(1, 6), st.integers(0, 25)),
), max_size=25)


@MAKERS
@settings(max_examples=40)
@given(steps=STEPS)
def test_it_is_what_a_list_of_records_would_be(make: Maker, tmp_path_factory: pytest.TempPathFactory,
                                               steps: list[tuple[str, int, float | None, int]]) -> None:
    kept = make(tmp_path_factory.mktemp("kept"))
    origin = now(kept).base
    model = Model([(origin, "free", 0.0)], origin)
    for what, a, b, c in steps:
        if what == "put":
            assert kept.put(model.put(a)) == model.last
        elif what == "turn":
            era = FREE if a else SURE
            kept.turn(era, b)
            model.turn(era.clk, b)
        elif what == "drop":
            stream = kept.streams()[a % len(kept.streams())]
            assert kept.drop(stream.st, int(b or 0)) == model.drop(stream.base, int(b or 0))
        else:
            found = kept.peek(origin + a, int(b or 1), origin + c)
            wanted = model.peek(origin + a, int(b or 1), origin + c)
            assert (found and (found.first, found.last, list(found.bodies))) == wanted
            assert found is None or found.gaps == ()
        _agree(kept, model)
    kept.close()


def _agree(kept: Turning, model: Model) -> None:
    held = kept.held()
    lo = min(model.records, default=model.last + 1)
    assert held == Held(lo, model.last, len(model.records), held.used)
    mine = {stream.base: stream for stream in kept.streams()}
    assert [base for base in mine if base not in {each[0] for each in model.streams}] == []
    for base, clk, shift in model.streams:
        inside = [place for place in model.records if base < place <= model.end_of(base)]
        if inside:
            stream = mine[base]
            assert (stream.clk, stream.shift) == (clk, shift)
            assert kept.lowest(stream) == min(inside)
