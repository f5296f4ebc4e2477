"""Allowances against a plain sum: nobody gets more than the burst and the rate, and nobody pays for another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloud_ingest.allowance import BAD_MESSAGE, LIMITS, MOST_DEVICES, Allowance, Hush, Limit
from cloud_ingest.sorting import Sorted, sort_into
from cloud_ingest.subscriber import Message
from edge import wire

ONE = {"messages": Limit(1.0, 1.0), "bytes": Limit(1e9, 1e9), "records": Limit(1e9, 1e9)}
SMALL = {"messages": Limit(2.0, 10.0), "bytes": Limit(1e9, 1e9), "records": Limit(5.0, 50.0)}


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 20)), max_size=60))
def test_nobody_gets_more_than_the_burst_and_the_rate(moves: list[tuple[float, int]]) -> None:
    allowance, now, read, records = Allowance(SMALL), 0.0, 0, 0
    for wait, n in moves:
        now += wait
        if allowance.may("a", 1, now):
            read, records = read + 1, records + n
            allowance.charge("a", {"records": n}, now)
        assert read <= 10 + 2 * now + 1
        assert records <= 50 + 5 * now + 20  # one batch more than what was left: its size shows when it is read
        assert allowance.may("b", 1, 0.0)  # whatever the other does
        allowance.charge("b", {"messages": -1}, 0.0)


def test_granted_records_come_beside_what_a_device_may_send_anyway() -> None:
    allowance = Allowance()
    for second in range(100):  # as many as a whole core takes in
        for _ in range(10):
            allowance.grant("a", 6000, float(second))
            for _ in range(12):
                assert allowance.may("a", 6000, float(second))
                allowance.charge("a", {"records": 500}, float(second))


def test_what_cannot_be_read_costs_more_the_larger_it_is() -> None:
    read = []
    for size in (10, 250_000):
        allowance, n = Allowance(), 0
        found, noise = Sorted(), Message(wire.up("shop-1", "data"), b"x" * size, 1, 1, 1)
        while allowance.may("shop-1", size, 0.0):
            n += 1
            allowance.charge("shop-1", sort_into(found, noise), 0.0)
        read.append(n)
        assert len(found.rejected) == n
        assert allowance.may("shop-1", 10, 20.0)
    assert read[0] <= LIMITS["messages"].most / BAD_MESSAGE + 1
    assert read[1] <= 10


def test_a_thousand_names_do_not_fill_the_memory() -> None:
    allowance = Allowance(ONE)
    allowance.may("loud", 1, 0.0)
    for i in range(MOST_DEVICES + 10):
        allowance.may(f"x{i}", 1, 0.0)
    assert len(allowance._buckets) <= MOST_DEVICES


def test_a_clock_that_stands_still_gives_nothing() -> None:
    allowance = Allowance(ONE)
    assert allowance.may("a", 1, 5.0)
    assert not allowance.may("a", 1, 5.0)
    assert not allowance.may("a", 1, 4.0)
    assert allowance.may("a", 1, 6.5)


def test_of_many_like_events_the_first_is_told_and_one_a_minute() -> None:
    hush = Hush()
    assert [hush.due(("a", "x"), float(t)) for t in range(61)] == [True, *[False] * 59, True]
    assert hush.due(("b", "x"), 1.0)
