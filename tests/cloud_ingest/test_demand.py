"""Demand is at least what was sold, exactly that with a full shelf, and not known with an empty one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_ingest.demand import MOST, demand, share, total

SOLD = st.floats(0, 1e4)
SECONDS = st.floats(1, 1e6)


@given(SOLD, SECONDS)
def test_a_full_shelf_sells_its_demand(sold: float, observed: float) -> None:
    assert demand(sold, observed, observed) == sold
    assert share(observed, observed) == 1.0


@given(SOLD, st.floats(0, 1e6))
def test_an_empty_shelf_tells_nothing(sold: float, observed: float) -> None:
    assert demand(sold, 0, observed) is None


@given(SOLD, SECONDS, SECONDS)
def test_demand_is_never_below_what_was_sold(sold: float, one: float, other: float) -> None:
    value = demand(sold, min(one, other), max(one, other))
    assert value is not None
    assert value >= sold


@given(st.floats(1, 1e4), SECONDS, st.floats(0.21, 0.9))
def test_less_time_on_the_shelf_means_more_demand(sold: float, observed: float, part: float) -> None:
    full, half = demand(sold, observed * part, observed), demand(sold, observed * part / 2, observed)
    assert full is not None
    assert half == pytest.approx(2 * full)
    assert full == pytest.approx(sold / part)


@given(SOLD, SECONDS, SECONDS)
def test_a_moment_on_the_shelf_does_not_stand_for_a_day(sold: float, in_stock: float, observed: float) -> None:
    value = demand(sold, in_stock, observed)
    assert value is not None
    assert value <= MOST * sold
    assert demand(1.0, 1.0, 900.0) == MOST


def test_what_was_not_observed_has_no_share() -> None:
    assert share(0, 0) is None
    assert share(0, 900) == 0.0


def test_a_total_of_unknowns_is_unknown() -> None:
    assert total([None, None]) is None
    assert total([]) is None
    assert total([None, 2.0, 0.5]) == 2.5
