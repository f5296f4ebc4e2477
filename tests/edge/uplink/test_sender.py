"""What is sent, when, and what is sent again: the sender and its lanes with a hand-moved clock."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from edge import wire
from edge.backoff import Backoff
from edge.clock import Era, ManualClock
from edge.uplink.buffer import Buffer
from edge.uplink.disk import Limits
from edge.uplink.kept import Held, Slice, Stream
from edge.uplink.lanes import KEPT_FOR_LIVE, Lane, Lanes, Pace
from edge.uplink.sender import Sender
from edge.uplink.status import Meter, catch_up_s, duration, runway_s, size

DEVICE = "shop-0001"
PACE = Pace(batch=10, window=4, age_s=0.5, resend_s=3.0)
WORKER = wire.ingest_topic("w-1")


class Wire:
    """A transport that keeps what is sent, decoded."""

    def __init__(self) -> None:
        self.connected, self.most_bytes = True, wire.MAX_PAYLOAD
        self.sent: list[tuple[str, wire.Batch]] = []

    def publish(self, topic: str, payload: bytes, _event_id: str, n: int) -> int | None:
        batch = wire.decode_batch(DEVICE, payload)
        assert batch.n == n
        self.sent.append((topic.rpartition("/")[2], batch))
        return len(self.sent)


class Bench:
    """A sender over a buffer of `n` records, connected."""

    def __init__(self, folder: Path, n: int, pace: Pace = PACE) -> None:
        self.clock, self.wire = ManualClock(1000.0), Wire()
        self.buffer = Buffer(folder / "outbox.db", self.clock)
        self.put(n)
        self.sender = Sender(DEVICE, self.buffer, self.clock, pace)
        self.sender.connected()
        self.clock.advance(1.0)

    def put(self, n: int) -> None:
        self.buffer.put([wire.Fact("scale-1/weight", 1.79e9 + i, "kg", float(i)) for i in range(n)])

    def run(self) -> list[tuple[str, int, int]]:
        """Step until nothing is due; lane, first sequence and count of what was sent by that."""
        before = len(self.wire.sent)
        self.sender.step(self.wire)
        self.clock.advance(PACE.age_s)
        while self.sender.step(self.wire) == 0.0:
            pass
        return [(lane, batch.seq, batch.n) for lane, batch in self.wire.sent[before:]]

    def credit(self, n: int) -> None:
        self.sender.hear(wire.credit_topic(DEVICE), wire.encode(wire.Credit(n=n)))

    def ingest(self, *, online: bool, worker: str = WORKER) -> None:
        self.sender.hear(worker, wire.encode(wire.IngestState(online=online)))

    def commit(self, mark: int, ahead: list[tuple[int, int]] | None = None, st: str = "") -> None:
        told = wire.Committed(st=st or self.buffer.streams()[0].st, committed=mark, ahead=ahead or UNSET)
        self.sender.hear(wire.committed_topic(DEVICE), wire.encode(told))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, 35)
    yield bench
    bench.buffer.close()


def test_the_newest_go_first_and_the_backlog_waits_for_credit(bench: Bench) -> None:
    assert bench.run() == [("data", 26, 10)]
    bench.credit(15)
    assert bench.run() == [("backlog", 1, 10), ("backlog", 11, 5)]
    assert [(batch.historical, batch.left) for _, batch in bench.wire.sent] == [(False, None), (True, 15), (True, 10)]


def test_the_backlog_leaves_room_for_live_records(bench: Bench) -> None:
    bench.credit(100)
    assert len(bench.run()) == PACE.window - 1  # the live one, and the backlog's share
    bench.commit(0, [(26, 35)])
    bench.put(3)
    assert bench.run() == [("data", 36, 3)]


def test_a_broker_alone_gets_no_backlog_and_silence_there_is_not_answered_with_repeats(bench: Bench) -> None:
    bench.ingest(online=False)
    bench.credit(100)
    assert [lane for lane, *_ in bench.run()] == ["data"]
    bench.clock.advance(60.0)
    assert bench.run() == []
    bench.ingest(online=True)
    assert bench.run()[0] == ("data", 26, 10)


def test_one_worker_that_listens_is_enough(bench: Bench) -> None:
    bench.ingest(online=False)
    bench.ingest(online=True, worker=wire.ingest_topic("w-2"))
    bench.credit(10)
    assert ("backlog", 1, 10) in bench.run()


def test_what_is_uncommitted_is_sent_again_with_doubling_patience(bench: Bench) -> None:
    again = []
    bench.run()
    for _ in range(30):
        bench.clock.advance(1.0)
        if bench.run():
            again.append(bench.clock.now())
    waits = [later - earlier for earlier, later in pairwise(again)]
    assert len(again) >= 2
    assert waits == sorted(waits)
    assert waits[-1] > PACE.resend_s


def test_only_the_cloud_deletes_and_only_up_to_its_mark(bench: Bench) -> None:
    bench.run()
    bench.commit(0, [(26, 35)])
    bench.run()
    assert bench.buffer.held().records == 35
    bench.credit(30)
    bench.run()
    bench.commit(35)
    bench.run()
    assert bench.buffer.held().records == 0
    assert bench.sender.committed == 35


def test_what_the_cloud_has_ahead_is_not_sent_again(bench: Bench) -> None:
    bench.run()
    bench.commit(0, [(26, 35)])
    bench.put(5)
    bench.sender.connected()
    bench.credit(100)
    sent = bench.run()
    assert not any(seq <= 30 < seq + n for _, seq, n in sent if seq > 25)


@pytest.mark.parametrize("mark", [36, 99])
def test_a_mark_beyond_what_there_is_deletes_nothing(bench: Bench, mark: int) -> None:
    bench.commit(mark)
    bench.commit(5, st="f" * 32)
    bench.run()
    assert bench.buffer.held().records == 35


def test_a_refused_message_pauses_and_is_sent_again(bench: Bench) -> None:
    bench.run()
    assert bench.sender.lanes.refused(1, bench.clock.monotonic())
    assert bench.run() == []
    bench.clock.advance(PACE.resend_s)
    assert bench.run() == [("data", 26, 10)]
    assert not bench.sender.lanes.refused(99, bench.clock.monotonic())


def test_a_payload_too_large_for_the_broker_is_split(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 100, Pace(batch=100, window=50))
    bench.wire.most_bytes = 250
    sent = bench.run()
    assert sum(n for _, _, n in sent) == 100
    assert len(sent) > 1
    bench.buffer.close()


def test_a_corrected_stream_says_so_and_its_times_are_right(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 0)
    bench.buffer.turn(Era(1.7e9, 0.0, "free"))
    bench.put(3)
    bench.buffer.turn(Era(1.79e9, 5.0, "ok"), 1000.0)
    bench.sender.connected()
    bench.run()
    batch = bench.wire.sent[0][1]
    assert batch.clk == "corrected"
    assert [fact.t for _, fact in batch.facts] == [1.79e9 + 1000 + i for i in range(3)]
    bench.buffer.close()


def test_what_nobody_understands_changes_nothing(bench: Bench) -> None:
    for topic in (wire.committed_topic(DEVICE), wire.credit_topic(DEVICE), WORKER):
        bench.sender.hear(topic, b"{")
    assert bench.sender.ingest_online is None
    assert bench.buffer.held().records == 35


@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(1, 50))
def test_window_share_and_credit_are_never_exceeded(seed: int, window: int, batch: int) -> None:
    rng, stream = random.Random(seed), Stream(base=0, st="0" * 32, boot=1)
    lanes, hi, now, given_credit, spent = Lanes(Pace(batch, window, 0.5, 5.0)), 300, 0.0, 0, 0
    lanes.restart(Held(1, hi, hi, 0))
    for mid in range(200):
        now += rng.random()
        if rng.random() < 0.3:
            n = rng.randint(1, 100)
            lanes.credit += n
            given_credit += n
        if rng.random() < 0.2:
            hi += rng.randint(1, 40)
        if rng.random() < 0.2 and lanes.sent:
            each = rng.choice(lanes.sent)
            lanes.committed(each.st, 0, [(each.seq, each.last_seq)])
        if late := lanes.overdue(now):
            lanes.rewind(late)
        for lane in lanes.due(hi, now, backlog_may=True)[:1]:
            after, most = lanes.cursor(lane)
            upto = min(after + most, hi if lane is Lane.LIVE else lanes.split)
            lanes.took(lane, Slice(stream, after + 1, upto, (b"{}",) * (upto - after)), mid, now)
            spent += upto - after if lane is Lane.BACKLOG else 0
        backlog = sum(each.lane is Lane.BACKLOG for each in lanes.sent)
        assert len(lanes.sent) <= window
        assert backlog <= max(1, window - KEPT_FOR_LIVE)
        assert spent <= given_credit


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.integers(0, 99))
def test_a_wait_is_within_its_bound_and_only_a_stable_time_resets_it(lasted: list[float], seed: int) -> None:
    backoff, rng, tries = Backoff(base_s=1.0, cap_s=30.0, stable_s=30.0), random.Random(seed), 0
    for each in lasted:
        tries = 0 if each >= 30.0 else tries + 1
        assert 0 <= backoff.after(each, rng) <= min(30.0, 2.0**tries)
        assert backoff.tries == tries


def test_runway_and_catch_up_are_told_only_where_they_are_known() -> None:
    held, limits = Held(1, 0, 0, 100), Limits(cap=1100, reserve=0)
    assert runway_s(held, limits, 10**9, None) is None
    assert runway_s(held, limits, 10**9, 8.0) == 100.0
    assert runway_s(held, limits, 500, 8.0) == 50.0
    assert (catch_up_s(0, None), catch_up_s(10, None), catch_up_s(10, 5.0)) == (0.0, None, 2.0)


def test_a_meter_forgets_what_is_older_than_its_span() -> None:
    meter = Meter(span_s=10.0)
    assert meter.rate() is None
    for second in range(100):
        meter.note(float(second), second * (1.0 if second < 50 else 3.0))
    assert meter.rate() == pytest.approx(3.0)


@pytest.mark.parametrize(("seconds", "text"), [(None, "-"), (8, "8 s"), (90, "1.5 min"), (5400, "1.5 h"),
                                               (276_480, "3.2 days")])
def test_durations_for_people(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(12, "12 B"), (340_000, "340.0 kB"), (1.2e9, "1.2 GB")])
def test_sizes_for_people(count: float, text: str) -> None:
    assert size(count) == text
