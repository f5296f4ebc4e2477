"""The estimate of a day: at least what was sold, exactly that where nothing was missed, surer the more was seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_ingest.estimate.cells import combine
from cloud_ingest.estimate.posterior import Estimates, interval, posterior
from cloud_ingest.estimate.rows import Days
from tests.cloud_ingest.estimate.shops import SHIPPED

UNITS = st.floats(0, 1e4)
EXPECTED = st.floats(1e-3, 1e4)
SHARE = st.floats(0, 1)


def one(sold: float, seen: float, expected: float, gap: float | None = None) -> Estimates:
    """The estimate of a single day."""
    missed = 1 - seen if gap is None else gap
    days = Days(np.array([0]), 0, *(np.array([value]) for value in (sold, seen, missed, 0.0)))
    return posterior(days, np.array([expected]), SHIPPED)


@given(UNITS, EXPECTED)
def test_a_day_without_a_stock_out_sold_its_demand_for_sure(sold: float, expected: float) -> None:
    found = one(sold, 1.0, expected)
    assert found.demand[0] == sold
    assert found.lost[0] == found.variance[0] == 0


@given(UNITS, SHARE, EXPECTED)
def test_demand_is_never_below_what_was_sold(sold: float, seen: float, expected: float) -> None:
    assert one(sold, seen, expected).demand[0] >= sold


@given(UNITS, SHARE, SHARE, EXPECTED)
def test_the_same_sales_in_more_time_in_stock_mean_less_demand(sold: float, one_share: float, other: float,
                                                              expected: float) -> None:
    less, more = sorted((one_share, other))
    assert one(sold, more, expected).demand[0] <= one(sold, less, expected).demand[0] * (1 + 1e-9)


@given(UNITS, UNITS, SHARE, EXPECTED)
def test_more_sales_in_the_same_time_mean_more_demand(sold: float, other: float, seen: float, expected: float) -> None:
    fewer, more = sorted((sold, other))
    assert one(fewer, seen, expected).lost[0] <= one(more, seen, expected).lost[0] * (1 + 1e-9)


@given(EXPECTED)
def test_a_day_that_was_never_in_stock_wanted_what_was_expected(expected: float) -> None:
    assert one(0.0, 0.0, expected).demand[0] == pytest.approx(expected)


@given(st.floats(0.1, 1), EXPECTED)
def test_sales_as_expected_leave_the_expectation_alone(seen: float, expected: float) -> None:
    assert one(expected * seen, seen, expected).demand[0] == pytest.approx(expected)


@given(st.floats(1e-3, 1e5), st.floats(1e-3, 1e8))
def test_an_interval_holds_its_mean_and_nothing_below_zero(mean: float, spread: float) -> None:
    low, high = interval(np.array([mean]), np.array([spread]))
    wider_low, wider_high = interval(np.array([mean]), np.array([spread]), 0.95)
    assert 0 <= wider_low[0] <= low[0] <= mean <= high[0] <= wider_high[0]


def test_what_is_certain_has_no_width() -> None:
    low, high = interval(np.array([0.0, 7.0]), np.array([0.0, 0.0]))
    assert low == pytest.approx([0.0, 7.0], rel=1e-4)
    assert high == pytest.approx([0.0, 7.0], rel=1e-4)


@pytest.mark.parametrize("shape", [1.5, 4.0, 30.0])
def test_an_interval_is_that_of_a_gamma(shape: float) -> None:
    mean = 12.0
    drawn = np.random.default_rng(7).gamma(shape, mean / shape, 400_000)
    low, high = interval(np.array([mean]), np.array([mean * mean / shape]))
    assert (low[0], high[0]) == pytest.approx(np.quantile(drawn, (0.1, 0.9)), abs=0.02 * mean)


ROWS = st.lists(st.tuples(st.integers(0, 3), UNITS, UNITS), min_size=1, max_size=20)


@given(ROWS)
def test_a_cell_is_the_sum_of_its_series_and_surer_than_they_are(rows: list[tuple[int, float, float]]) -> None:
    cell = np.array([row[0] for row in rows])
    sold, lost = (np.array([row[place] for row in rows]) for place in (1, 2))
    variance = SHIPPED.noise * lost + SHIPPED.spread * lost**2
    found = combine(cell, Estimates(sold, lost, lost, np.zeros(len(rows)), variance), SHIPPED)
    assert found.series.sum() == len(rows)
    for number in range(len(found.series)):
        mine = cell == number
        assert found.sold[number] == pytest.approx(sold[mine].sum())
        assert found.demand[number] == pytest.approx((sold + lost)[mine].sum())
        assert found.sold[number] <= found.low[number] <= found.demand[number] * (1 + 1e-9)
        assert found.demand[number] <= found.high[number] * (1 + 1e-9)


def test_many_series_make_a_cell_surer_but_not_without_end() -> None:
    def width(size: int) -> float:
        lost = np.full(size, 5.0)
        variance = SHIPPED.noise * lost + SHIPPED.spread * lost**2
        found = combine(np.zeros(size, dtype=np.intp), Estimates(lost, lost, lost, lost * 0, variance), SHIPPED)
        return float((found.high[0] - found.low[0]) / found.lost[0])

    assert width(1) > 1.5 * width(10)
    assert width(100_000) == pytest.approx(2 * 1.2816 * SHIPPED.common**0.5, rel=0.05)
