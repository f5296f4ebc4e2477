"""Whose turn it is on a shared line."""

from __future__ import annotations

import threading

import pytest

from edge.clock import SystemClock
from edge.sensors.modbus_turns import SHARE, Habit, Turns, gap


def test_the_gap_ends_when_the_next_device_that_answers_is_due() -> None:
    habits = [Habit(1.0, 0.5, asked=10.0), Habit(2.0, 0.5, asked=9.5), Habit(1.0, 0.5, asked=9.9, silent=1),
              Habit(1.0, 0.5), Habit(1.0, 0.5, asked=2.0), Habit(None, 0.5, asked=10.2)]

    assert gap(habits, 10.5) == 0.5  # a silent one, an unread one and one that is gone want nothing
    assert gap(habits, 11.2) == 0.0
    assert gap([], 10.0) == float("inf")


def test_a_silent_device_is_asked_ever_more_seldom_up_to_its_share() -> None:
    waits = [Habit(1.0, 0.5, asked=100.0, silent=n).rests_until() - 100.0 for n in range(8)]

    assert waits[:2] == [float("-inf")] * 2  # one lost answer is no silence
    assert waits[2:] == [1.0, 2.0, 4.0, 8.0, 0.5 * SHARE, 0.5 * SHARE]


def test_what_answers_again_is_no_longer_silent() -> None:
    turns = Turns(SystemClock().monotonic)
    turns.knows(1, 1.0, 0.5)
    for heard in (False, False):
        with turns.turn(1):
            turns.note(1, heard)
    assert turns.rests(1) > 0
    turns.note(1, heard=True)

    assert turns.rests(1) == 0


def test_turns_go_to_whoever_waits_longest() -> None:
    turns = Turns(SystemClock().monotonic)
    for who in range(4):
        turns.knows(who, None, 0.5)
    order: list[int] = []
    waiting = threading.Semaphore(0)

    def take(who: int) -> None:
        waiting.release()
        with turns.turn(who):
            order.append(who)

    threads = []
    with turns.turn(0):
        for who in (3, 1, 2):
            threads.append(threading.Thread(target=take, args=(who,)))
            threads[-1].start()
            waiting.acquire()
            while len(turns._waiting) < len(threads):
                threading.Event().wait(0.001)
    for thread in threads:
        thread.join(5)

    assert order == [3, 1, 2]


class Hand:
    """Monotonic time, set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_silent_device_takes_a_gap_that_is_long_enough() -> None:
    hand = Hand()
    turns = silent_nine(hand)
    with turns.turn(1):
        pass
    with turns.turn(9) as time_s:  # device 1 is due in a second: there is room
        assert time_s == 0.5


@pytest.mark.parametrize(("period_s", "waits_s", "time_s"), [(0.3, 1.0, 0.27), (0.2, 2.0, 0.17), (0.1, 3.0, 0.125)])
def test_where_gaps_are_short_a_silent_device_waits_for_long_and_takes_less_time(
        period_s: float, waits_s: float, time_s: float) -> None:
    hand = Hand()
    turns = silent_nine(hand)
    turns.knows(1, period_s, 0.5)
    with turns.turn(1):
        pass
    got: list[float] = []

    def patient() -> None:
        with turns.turn(9) as granted:
            got.append(granted)

    thread = threading.Thread(target=patient)
    thread.start()
    while not turns._waiting:
        threading.Event().wait(0.001)
    for _ in range(int(waits_s / 0.0625) - 1):
        hand.now += 0.0625
        with turns.turn(1):  # it does not wait for the one that is silent
            assert not got
    hand.now += 0.0625
    with turns.turn(1):
        pass
    thread.join(5)

    assert got == [pytest.approx(time_s)]


def silent_nine(hand: Hand) -> Turns:
    """A line with device 1, once a second, and device 9, which said nothing last time."""
    turns = Turns(hand)
    turns.knows(1, 1.0, 0.5)
    turns.knows(9, 1.0, 0.5)
    with turns.turn(9):
        turns.note(9, heard=False)
    return turns
