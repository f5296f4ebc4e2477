"""Levels, movements and time in stock from readings."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.filter import Look
from edge.plan import Plan
from edge.readings import Reading, no_value
from edge.sight import Senses, look_of
from edge.stock import FLUSH_S, SlotState, resume, step, tick
from edge.wire import WINDOW_S, Fact, window_of

T0 = 1_800_000_000.0
SCALE = Plan("A1", "4006381333931", "scale-1/weight", Decimal("0.250"))
CAMERA = Plan("B1", "5000112637922", "cam-1/facings/B1", depth=2)


def weighed(units: float, t: float) -> Reading:
    return Reading("scale-1", "weight", t, Decimal(str(units)) * Decimal("0.250"), "kg")


def play(plan: Plan, readings: list[Reading], until: float) -> tuple[SlotState, list[Fact]]:
    state, facts = SlotState(), list[Fact]()
    for reading in readings:
        state, new = step(plan, state, reading)
        facts += new
    state, new = tick(plan, state, until)
    return state, facts + list(new)


def held(levels: list[int], each: int = 3, period_s: float = 5.0) -> list[Reading]:
    """Each level as `each` readings in a row."""
    return [weighed(level, T0 + i * period_s) for i, level in enumerate(n for n in levels for _ in range(each))]


def totals(facts: list[Fact]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for fact in facts:
        assert isinstance(fact.value, float)
        sums[fact.name.rpartition("/")[2]] += fact.value  # type: ignore[assignment]  # seconds are fractions
    return sums


def units_of(plan: Plan, reading: Reading) -> float | None:
    look = look_of(plan, Senses(), reading, None)
    return look.units if isinstance(look, Look) else None


def test_units_come_from_weight_less_tare() -> None:
    plan = Plan("A1", "x", "scale-1/weight", Decimal("0.250"), tare=Decimal("0.100"))
    assert units_of(plan, Reading("scale-1", "weight", T0, Decimal("1.102"), "kg")) == pytest.approx(4.008)


def test_units_come_from_facings_times_depth() -> None:
    seen = [Reading("cam-1", "facings/B1", T0 + 15 * n, Decimal(3), "count") for n in range(3)]
    assert play(CAMERA, seen, T0 + 60)[0].level == 6


@pytest.mark.parametrize("reading", [
    no_value("scale-1", "weight", T0, "no_answer", "kg"),
    Reading("scale-1", "weight", T0, None, "kg", "unstable"),
    weighed(-2, T0),
    weighed(3.5, T0),
])
def test_a_reading_that_tells_nothing_is_no_level(reading: Reading) -> None:
    assert units_of(SCALE, reading) is None


def test_a_dead_scale_is_not_an_empty_shelf() -> None:
    dead = [no_value("scale-1", "weight", T0 + 15 + i, "no_answer", "kg") for i in range(50)]
    state, facts = play(SCALE, held([10]) + dead, T0 + 10_000)
    assert state.level == 10
    assert totals(facts)["sold"] == 0


def test_one_odd_reading_is_no_movement() -> None:
    readings = held([10, 10])
    readings[2] = weighed(4, readings[2].t)
    assert totals(play(SCALE, readings, T0 + 10_000)[1])["sold"] == 0


def test_a_sale_is_told_once_and_at_the_time_it_left() -> None:
    state, facts = play(SCALE, held([10, 8]), T0 + 10_000)
    sold = [fact for fact in facts if fact.name == "slot/A1/sold"]
    assert [(fact.value, fact.t, fact.sku) for fact in sold] == [(2.0, T0 + 15, SCALE.sku)]
    assert tick(SCALE, state, T0 + 99_999)[1] == ()


def test_what_comes_back_soon_was_not_sold() -> None:
    sums = totals(play(SCALE, held([10, 8, 9]), T0 + 10_000)[1])
    assert (sums["sold"], sums["put_back"], sums["restocked"]) == (1, 1, 0)


def test_more_than_was_taken_is_a_restock() -> None:
    sums = totals(play(SCALE, held([10, 8, 20]), T0 + 10_000)[1])
    assert (sums["sold"], sums["put_back"], sums["restocked"]) == (2, 0, 12)


def test_a_sale_across_a_power_cut_is_counted_once() -> None:
    """The state that was committed with the facts goes on where it stopped."""
    readings = held([10, 8])
    before, first = play(SCALE, readings, T0)
    again, second = step(SCALE, before, weighed(8, T0 + 40))
    _, third = tick(SCALE, again, T0 + 10_000)
    assert totals([*first, *second, *third])["sold"] == 2


def test_a_slot_that_means_something_else_begins_anew() -> None:
    state = play(SCALE, held([22]), T0)[0]
    kept = resume(SCALE, msgspec.structs.replace(state, means=resume(SCALE, None).means))
    assert kept.level == 22
    heavier = Plan("A1", "7622210449283", "scale-1/weight", Decimal("0.500"))
    assert resume(heavier, kept).level is None


def test_availability_counts_seconds_in_stock_of_seconds_observed() -> None:
    sums = totals(play(SCALE, held([5, 0, 0, 0, 3], each=12, period_s=10), T0 + 10_000)[1])
    assert sums["observed"] == pytest.approx(sums["in_stock"] + 360, abs=60)


def test_a_silent_hour_was_not_observed() -> None:
    readings = [*held([5]), weighed(5, T0 + 3600), weighed(5, T0 + 3700)]
    assert totals(play(SCALE, readings, T0 + 10_000)[1])["observed"] <= 110


@given(st.lists(st.integers(0, 24), min_size=1, max_size=30))
def test_movements_always_explain_the_level(levels: list[int]) -> None:
    state, facts = play(SCALE, held(levels), T0 + 1e6)
    sums = totals([fact for fact in facts if not fact.name.endswith("level")])
    assert levels[0] - sums["sold"] + sums["restocked"] == (state.level or 0)


@given(st.lists(st.tuples(st.integers(0, 24), st.floats(0.1, 900)), min_size=1, max_size=60))
def test_observed_time_lies_in_its_window_and_is_never_more_than_it(steps: list[tuple[int, float]]) -> None:
    t, readings = T0, list[Reading]()
    for level, gap in steps:
        t += gap
        readings.append(weighed(level, t))
    per_window: Counter[int] = Counter()
    for fact in play(SCALE, readings, t)[1]:
        if fact.name.endswith("/observed"):
            assert window_of(fact.t) == fact.t
            per_window[int(fact.t)] += fact.value  # type: ignore[assignment, operator]  # seconds are fractions
    assert all(seconds <= WINDOW_S + 0.01 for seconds in per_window.values())


DAY = 86_400.0
JUMPS = [-3 * DAY, -WINDOW_S, -200.0, -1.0, 200.0, 3 * DAY, 30 * 365 * DAY]


def counted(facts: list[Fact], column: str) -> float:
    return sum(float(fact.value or 0) for fact in facts if fact.name.endswith(f"/{column}"))


def pending(state: SlotState) -> int:
    return sum(taken.n for taken in state.moves.taken)


# Time passes, or jumps; then a level is read some times in a row, or nothing can be read, and now and then a tick.
seconds = st.one_of(st.floats(0, 400), st.floats(-1000, 1000), st.sampled_from(JUMPS), st.floats(-1e9, 1e9))
journeys = st.lists(st.tuples(seconds, st.one_of(st.none(), st.integers(0, 24)), st.integers(1, 5), st.booleans()),
                    min_size=1, max_size=40)


def travel(journey: list[tuple[float, int | None, int, bool]]) -> tuple[SlotState, list[Fact], float]:
    """The journey's state, facts and last time; what every step must keep is asserted on the way."""
    state, facts, t = SlotState(), list[Fact](), T0
    for wait, units, times, ticks in journey:
        t += wait
        if ticks:
            state, due = tick(SCALE, state, t)
            facts += due
        for _ in range(times):
            t += 5.0
            dead = no_value("scale-1", "weight", t, "no_answer", "kg")
            state, new = step(SCALE, state, dead if units is None else weighed(units, t))
            facts += new
            movements = [fact for fact in new if fact.name.rpartition("/")[2] in {"sold", "put_back", "restocked"}]
            assert all(fact.t <= t for fact in movements), "no movement lies in the future"
    return state, facts, t


@given(journeys)
def test_observed_seconds_are_sound_whatever_the_clock_does(
        journey: list[tuple[float, int | None, int, bool]]) -> None:
    observed, in_stock = Counter[float](), Counter[float]()
    for fact in travel(journey)[1]:
        column, sums = fact.name.rpartition("/")[2], {"observed": observed, "in_stock": in_stock}
        if column in sums:
            assert isinstance(fact.value, float)
            assert 0 <= fact.value <= WINDOW_S
            assert window_of(fact.t) == fact.t
            sums[column][fact.t] += fact.value  # type: ignore[assignment]  # seconds are fractions
    assert all(in_stock[window] <= observed[window] + 1e-6 for window in observed | in_stock)


@given(journeys)
def test_units_are_conserved_whatever_the_clock_does(journey: list[tuple[float, int | None, int, bool]]) -> None:
    """What was put back is neither pending any more nor ever sold."""
    state, facts, t = travel(journey)
    levels = [fact.value for fact in facts if fact.name.endswith("/level")]
    moved = counted(facts, "restocked") - counted(facts, "sold")
    first = levels[0] if levels else 0
    assert isinstance(first, float | int)
    assert first + moved - pending(state) == (state.level or 0)
    was = pending(state)
    state, begun = tick(SCALE, state, t)
    state, ended = tick(SCALE, state, t + SCALE.gap_s + SCALE.put_back_s + 1)
    assert (counted([*begun, *ended], "sold"), state.moves.taken) == (was, ())


@pytest.mark.parametrize("jump", JUMPS)
def test_a_pending_sale_is_told_once_soon_after_the_clock_jumped(jump: float) -> None:
    state, facts = play(SCALE, held([10, 8]), T0)
    now = T0 + 30 + jump
    for n in range(400):
        state, due = tick(SCALE, state, now + n)
        facts += due
        if jump < -30 and n <= SCALE.put_back_s:
            assert not due, "it may still come back"
        assert all(fact.t <= now + n for fact in due)
    assert counted(facts, "sold") == 2
    assert state.moves.taken == ()


def test_what_comes_back_after_the_clock_went_back_was_not_sold() -> None:
    state, facts = play(SCALE, held([10, 8]), T0)
    for n in range(100):
        state, new = step(SCALE, state, weighed(8 if n < 10 else 10, T0 - 3 * DAY + 5 * n))
        facts += new
    assert (counted(facts, "sold"), counted(facts, "put_back"), counted(facts, "restocked")) == (0, 2, 0)


def test_a_change_that_the_jump_cuts_in_two_is_dated_after_it() -> None:
    state, _ = play(SCALE, [*held([10]), weighed(12, T0 + 15)], T0)
    facts = list[Fact]()
    for n in range(2):
        state, new = step(SCALE, state, weighed(12, T0 - 3 * DAY + n))
        facts += new
    assert [fact.t for fact in facts if fact.name.endswith("/restocked")] == [T0 - 3 * DAY]


@pytest.mark.parametrize("jump", JUMPS)
def test_observation_goes_on_from_the_next_reading_after_a_jump(jump: float) -> None:
    state, before = play(SCALE, held([5]), T0)
    after = list[Fact]()
    for n in range(200):
        state, new = step(SCALE, state, weighed(5, T0 + 15 + jump + 5 * n))
        after += new
    seconds = counted([*before, *after], "observed")
    assert 995 - FLUSH_S <= seconds <= 1000 + (jump if 0 < jump <= SCALE.gap_s else 0) + 5
