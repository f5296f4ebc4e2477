"""What a change of level is: a sale, a put-back, a restock, or somebody's work on the shelf."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from edge.moves import ASIDE_S, Moves, Taken, due, move, shifted
from edge.plan import Plan
from edge.wire import Fact

PLAN = Plan("A1", "4006381333931", "cam-1/facings/A1", at_once=6)


def play(*changes: tuple[float, int], elapsed_s: float = 60.0) -> tuple[Counter[str], list[Fact]]:
    moves, facts = Moves(), list[Fact]()
    for t, n in changes:
        moves, more = move(PLAN, moves, Taken(t, n), elapsed_s)
        facts += more
    facts += due(PLAN, moves, 1e9)[1]
    sums: Counter[str] = Counter()
    for fact in facts:
        sums[fact.name.rpartition("/")[2]] += int(fact.value) if isinstance(fact.value, float) else 1
    return sums, facts


def test_what_comes_back_in_time_is_put_back_and_what_comes_late_is_restocked() -> None:
    assert play((0, -1), (100, 1))[0] == {"put_back": 1}
    assert play((0, -1), (200, 1))[0] == {"sold": 1, "restocked": 1}


def test_a_shelf_cleared_at_once_is_an_event_and_no_sale() -> None:
    sums, facts = play((0, -10))
    assert sums == {"cleared": 1}
    assert "10 units gone at once" in str(facts[0].value)


def test_what_was_set_aside_comes_back_first() -> None:
    assert play((0, -10), (600, 10))[0] == {"cleared": 1}
    assert play((0, -10), (600, 12))[0] == {"cleared": 1, "restocked": 2}
    assert play((0, -10), (ASIDE_S + 1, 12))[0] == {"cleared": 1, "restocked": 12}


def test_over_a_silence_customers_may_have_taken_more() -> None:
    assert play((0, -10), elapsed_s=3600.0)[0] == {"sold": 10}


def test_a_plan_without_a_limit_counts_everything() -> None:
    moves, facts = move(Plan("A1", "x", "cam-1/facings/A1"), Moves(), Taken(0.0, -1000), 0.0)
    assert facts == ()
    assert moves.taken == (Taken(0.0, 1000),)


@given(st.lists(st.tuples(st.floats(0, 2000), st.integers(-12, 12).filter(bool)), max_size=30))
def test_no_unit_is_counted_twice_or_forgotten(steps: list[tuple[float, int]]) -> None:
    t, moves, sums, aside = 0.0, Moves(), Counter[str](), 0
    for wait, n in steps:
        t += wait
        before = moves.aside
        moves, facts = move(PLAN, moves, Taken(t, n), 0.0)
        for fact in facts:
            if isinstance(fact.value, float):
                sums[fact.name.rpartition("/")[2]] += int(fact.value)
        if n < 0 and moves.aside is not before:
            aside -= n
        elif n > 0 and before is not None and t - before.t <= ASIDE_S:
            aside -= min(n, before.n)
    out = sum(each.n for each in moves.taken)
    assert sum(n for _, n in steps) == sums["restocked"] - sums["sold"] - out - aside


def test_what_is_open_turns_with_the_clock() -> None:
    moves = Moves((Taken(5.0, 1, 0.5),), Taken(7.0, 9))
    assert shifted(moves, 10.0) == Moves((Taken(15.0, 1, 0.5),), Taken(17.0, 9))
