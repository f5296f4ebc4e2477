"""Honest time: what a wrong wall clock may and may not do to event time."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import LATE_S, Era, HonestClock, Turn, kernel_synced

TRUE = 1_800_000_000.0
DAY = 86_400.0
YEARS = 30 * 365 * DAY
CLOSE = 1e-5
"""Seconds that sums of Unix times may be off by: a double near 2e9 counts in steps of 2.4e-7."""

jumps = st.one_of(st.floats(-YEARS, YEARS), st.floats(-10, 10))
passing = st.floats(0, 3 * DAY)


@dataclass(slots=True)
class Hands:
    """A box's clock whose wall and monotonic hands, and whose word on being right, a test moves apart."""

    wall: float = TRUE
    mono: float = 100.0
    synced: bool = False

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def is_synced(self) -> bool:
        return self.synced

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.mono += seconds


def begun(hands: Hands, floor: float = 0.0) -> HonestClock:
    clock = HonestClock(hands, hands.is_synced)
    clock.begin(floor)
    return clock


def turned(hands: Hands, clock: HonestClock, wall: float, synced: bool = True) -> Turn:
    hands.wall, hands.synced = wall, synced
    turn = clock.poll()
    assert turn is not None
    return turn


def kernel(returns: int, status: int) -> Callable[[object], SimpleNamespace]:
    """A libc whose adjtimex(2) answers this."""
    def adjtimex(pointer: Any) -> int:
        assert pointer._obj.modes == 0
        pointer._obj.status = status
        return returns

    return lambda _name: SimpleNamespace(adjtimex=adjtimex)


def no_library(_name: object) -> SimpleNamespace:
    raise OSError("no such library")


def test_the_kernel_of_this_machine_answers() -> None:
    assert kernel_synced() in {True, False}


@pytest.mark.parametrize(("library", "told"), [
    (kernel(0, 0x2001), True),
    (kernel(1, 0x2011), True),  # a leap second is due
    (kernel(5, 0x0040), False),
    (kernel(5, 0x1000), False),  # the clock's hardware is at fault
    (kernel(0, 0x0041), False),
    (kernel(-1, 0), False),  # EPERM, ENOSYS
    (lambda _name: SimpleNamespace(), False),
    (no_library, False),
])
def test_only_a_clear_yes_of_the_kernel_counts(
        monkeypatch: pytest.MonkeyPatch, library: Callable[[object], SimpleNamespace], told: bool) -> None:
    monkeypatch.setattr(ctypes, "CDLL", library)
    assert kernel_synced() is told


def test_before_it_begins_it_shows_the_base_clock() -> None:
    hands = Hands()
    clock = HonestClock(hands, hands.is_synced)
    assert (clock.now(), clock.monotonic(), clock.era) == (TRUE, 100.0, Era(TRUE, 100.0, "free"))
    assert (clock.poll(), clock.restate(TRUE), clock.doubtful) == (None, TRUE, False)


@pytest.mark.parametrize(("synced", "floor", "wall", "clk", "doubtful"), [
    (False, TRUE - 5, TRUE, "free", False),
    (False, TRUE + 5, TRUE + 5, "free", True),
    (True, TRUE - 5, TRUE, "ok", False),
    (True, TRUE + 5, TRUE, "ok", False),  # the floor came from a wrong date
])
def test_it_begins_no_earlier_than_the_floor_unless_synchronised(
        synced: bool, floor: float, wall: float, clk: str, doubtful: bool) -> None:
    clock = begun(Hands(synced=synced), floor)
    assert (clock.era.wall, clock.era.clk, clock.doubtful) == (wall, clk, doubtful)
    assert clock.now() == wall


def test_doubt_ends_with_the_first_synchronisation() -> None:
    hands = Hands(wall=0.0)
    clock = begun(hands, floor=TRUE)
    assert clock.poll() is None
    assert clock.doubtful
    turned(hands, clock, TRUE + DAY)
    assert not clock.doubtful
    turned(hands, clock, 0.0, synced=False)
    assert not clock.doubtful


def test_a_step_of_a_synchronised_clock_is_believed_and_corrects_nothing() -> None:
    hands = Hands(synced=True)
    clock = begun(hands)
    turn = turned(hands, clock, TRUE - 60)
    assert (turn.shift, turn.corrects, turn.after.clk, clock.now()) == (-60, False, "ok", TRUE - 60)
    assert clock.era is turn.after


def test_a_small_drift_of_a_synchronised_clock_is_let_be() -> None:
    hands = Hands(synced=True)
    clock = begun(hands)
    for _ in range(10):
        hands.advance(60)
        hands.wall += 0.09
        assert clock.poll() is None
    assert clock.now() == TRUE + 600


@pytest.mark.parametrize("wall", [TRUE, 0.0, TRUE + YEARS])
def test_where_sync_is_lost_time_goes_on_without_a_jump(wall: float) -> None:
    """Setting the date by hand takes the kernel's word back in the same moment."""
    hands = Hands(synced=True)
    clock = begun(hands)
    hands.advance(10)
    turn = turned(hands, clock, wall, synced=False)
    assert (turn.shift, turn.corrects, turn.after.clk, clock.now()) == (0, False, "free", TRUE + 10)
    hands.advance(5)
    assert clock.now() == TRUE + 15


@pytest.mark.parametrize(("begins", "then"), [(True, [True, False]), (False, [False, True])])
def test_a_clock_set_while_it_is_read_does_not_pass_for_true(begins: bool, then: list[bool]) -> None:
    """By hand in the one case; by an NTP client in the other, where the time that was read is from before."""
    hands, answers = Hands(), iter([begins, begins, *then])
    clock = HonestClock(hands, lambda: next(answers))
    clock.begin(0.0)
    hands.wall = 0.0
    clock.poll()
    assert (clock.era.clk, clock.now()) == ("free", TRUE)


def test_a_stall_between_the_two_hands_is_no_step() -> None:
    class Stalled(Hands):
        def now(self) -> float:
            self.advance(20)
            return self.wall

    hands = Stalled(synced=True)
    clock = begun(hands)
    assert clock.era.clk == "free"


@given(st.booleans(), st.floats(0, TRUE), st.lists(st.tuples(passing, jumps, st.booleans(), st.booleans())))
def test_event_time_never_goes_back_within_an_era(
        synced: bool, floor: float, steps: list[tuple[float, float, bool, bool]]) -> None:
    hands = Hands(synced=synced)
    clock = begun(hands, floor)
    for seconds, jump, synced_now, asked in steps:
        era, before = clock.era, clock.now()
        hands.advance(seconds)
        hands.wall, hands.synced = hands.wall + jump, synced_now
        turn = clock.poll() if asked else None
        assert (turn is None) == (clock.era is era)
        if turn is None:
            assert clock.now() >= before
        else:
            assert (turn.before, turn.after) == (era, clock.era)
            assert turn.shift == turn.after.wall - era.at(turn.after.mono)


@given(st.floats(0, 2 * TRUE), st.lists(st.tuples(passing, jumps)))
def test_jumps_of_a_free_clock_change_nothing(floor: float, steps: list[tuple[float, float]]) -> None:
    hands = Hands()
    clock = begun(hands, floor)
    for seconds, jump in steps:
        hands.advance(seconds)
        hands.wall += jump
        assert clock.poll() is None
        assert clock.now() == max(TRUE, floor) + (hands.mono - 100.0)


@given(st.floats(0, 2 * TRUE), st.floats(0, 2 * TRUE), st.lists(st.tuples(passing, jumps), min_size=1))
def test_the_shift_puts_every_time_of_a_free_era_right(
        wall: float, floor: float, steps: list[tuple[float, float]]) -> None:
    hands = Hands(wall=wall)
    clock, true, taken = begun(hands, floor), TRUE, list[tuple[float, float]]()
    for seconds, jump in steps:
        hands.advance(seconds)
        hands.wall, true = hands.wall + jump, true + seconds
        assert clock.poll() is None
        taken.append((clock.now(), true))
    turn = turned(hands, clock, true)
    assert turn.corrects
    assert clock.now() == true
    assert all(t + turn.shift == pytest.approx(right, rel=0, abs=CLOSE) for t, right in taken)


big = st.one_of(st.floats(10, YEARS), st.floats(-YEARS, -10))


@given(big, st.floats(0, LATE_S), st.floats(0, 0.49))
def test_only_what_was_taken_in_the_old_era_is_restated(shift: float, since: float, part: float) -> None:
    """Within half the shift, an age says by itself which era a time is from."""
    hands = Hands(wall=TRUE - shift)
    clock = begun(hands)
    assert turned(hands, clock, TRUE).shift == pytest.approx(shift, rel=0, abs=CLOSE)
    hands.advance(since)
    age = abs(shift) * part
    late = TRUE - shift + since - age
    assert clock.restate(late) == pytest.approx(TRUE + since - age, rel=0, abs=CLOSE)
    assert clock.restate(clock.now() - age) == clock.now() - age


def test_after_a_while_nothing_is_late_any_more() -> None:
    hands = Hands(wall=TRUE - DAY)
    clock = begun(hands)
    turned(hands, clock, TRUE)
    hands.advance(LATE_S + 1)
    assert clock.restate(TRUE - DAY) == TRUE - DAY


def test_a_turn_that_moves_nothing_neither_restates_nor_hides_the_one_that_did() -> None:
    hands = Hands()
    clock = begun(hands)
    turned(hands, clock, TRUE + 0.9)
    assert clock.restate(TRUE) == TRUE
    turned(hands, clock, TRUE, synced=False)
    turned(hands, clock, TRUE + DAY)
    turned(hands, clock, TRUE, synced=False)
    assert clock.restate(TRUE) == pytest.approx(TRUE + DAY)


@pytest.mark.parametrize("ask", [lambda clock: clock.now(), lambda clock: clock.restate(TRUE + DAY)])
def test_an_era_that_begins_in_the_midst_of_a_question_does_not_mix_with_the_old_one(
        ask: Callable[[HonestClock], float]) -> None:
    """The reading of the hands is where another thread's `poll` can come between."""
    class Meddled(Hands):
        def monotonic(self) -> float:
            meddle, meddlers[:] = meddlers[:], []
            for each in meddle:
                each()
            return self.mono

    meddlers: list[Callable[[], object]] = []
    hands = Meddled()
    clock = begun(hands)
    turned(hands, clock, TRUE + DAY)
    hands.advance(DAY)
    old, meddlers[:] = ask(clock), [lambda: turned(hands, clock, TRUE)]
    assert ask(clock) == old
    assert not meddlers
    assert clock.now() == TRUE
