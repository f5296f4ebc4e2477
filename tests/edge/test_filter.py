"""The likeliest path through noisy looks."""

from __future__ import annotations

import math
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from edge.filter import HABIT, Look, best_path, earlier, joined, moved, seen_as


def counts(*units: float, period_s: float = 60.0) -> tuple[Look, ...]:
    return tuple(Look(n * period_s, each, 0.3, 0.01) for n, each in enumerate(units, 1))


def weights(*units: float, sd: float = 0.12) -> tuple[Look, ...]:
    return tuple(Look(60.0 * n, each, sd) for n, each in enumerate(units, 1))


def test_one_miscount_is_no_movement() -> None:
    assert best_path(10, 0.0, counts(9, 10, 10)).units == (10, 10, 10)


def test_a_unit_that_stays_away_was_taken_where_it_was_first_missed() -> None:
    assert best_path(10, 0.0, counts(10, 9, 9, 9)).units == (10, 9, 9, 9)


def test_two_units_that_leave_one_after_the_other_are_two_movements() -> None:
    assert best_path(10, 0.0, counts(9, 8, 8)).units == (9, 8, 8)


def test_a_restock_is_believed_and_so_is_the_sale_before_it() -> None:
    assert best_path(5, 0.0, counts(4, 12, 12, 12)).units == (4, 12, 12, 12)


def test_noise_of_a_scale_moves_nothing() -> None:
    assert set(best_path(7, 0.0, weights(7.2, 6.6, 7.4, 6.9)).units) == {7}


def test_one_look_leaves_more_doubt_than_three_that_agree() -> None:
    one, three = best_path(10, 0.0, counts(9)), best_path(10, 0.0, counts(9, 9, 9))
    assert one.odds < three.odds
    assert three.doubt() < 0.01


def test_weak_looks_that_repeat_one_another_become_one() -> None:
    weak = [Look(float(n), 9.0, 0.3, 0.01, weight=0.1) for n in range(10)]
    looks: tuple[Look, ...] = ()
    for look in weak:
        looks = joined(looks, look)
    (one,) = looks
    assert (one.t, one.end, one.n) == (0.0, 9.0, 10)
    assert math.isclose(one.weight, 1.0)
    assert len(joined(looks, Look(10.0, 8.0, 0.3, 0.01, weight=0.1))) == 2
    assert len(joined(looks, Look(10.0, 9.0, 0.3, 0.01))) == 2


def test_no_look_lies_in_the_future_after_the_clock_went_back() -> None:
    assert [look.t for look in earlier(counts(9, 9, 9), 70.0)] == [60.0, 70.0, 70.0]


levels = st.integers(0, 12)


@given(levels, st.lists(st.floats(0, 12), min_size=1, max_size=4), st.sampled_from([0.0, 0.02]))
def test_no_other_path_is_likelier(level: int, seen: list[float], slip: float) -> None:
    """Against every path through the states that come into question, one by one."""
    looks = [Look(60.0 * n, units, 0.3, slip) for n, units in enumerate(seen, 1)]
    found = best_path(level, 0.0, looks)

    def likely(path: tuple[int, ...]) -> float:
        hops = zip((level, *path), path, strict=False)
        return sum(moved(b - a, 60.0) for a, b in hops) + sum(map(seen_as, looks, path))

    states = {level} | {math.floor(units) + side for units in seen for side in (0, 1)}
    best = max(likely(path) for path in product([state for state in states if state >= 0], repeat=len(seen)))
    assert likely(found.units) >= best - 1e-9


@given(st.integers(-40, 40), st.floats(0, 1e6))
def test_chances_of_movements_are_chances(change: int, elapsed_s: float) -> None:
    assert moved(change, elapsed_s) < 0
    total = sum(math.exp(moved(each, elapsed_s)) for each in range(-40, 41))
    assert total <= 1 + 80 * HABIT.jump + HABIT.back
