"""Forecasts of demand: the week comes back, gaps are bridged, and the simple way is used unless it is beaten."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cloud_ingest import forecast as fc
from cloud_ingest.estimate.freshretail import read_panel
from cloud_ingest.estimate.history import demand_history
from cloud_ingest.estimate.rows import Floats
from edge.errors import ConfigError
from tests.cloud_ingest.estimate.shops import SHIPPED, write_panel
from tests.cloud_ingest.estimate.test_evaluate import ask

WEEK = np.array([5.0, 6.0, 7.0, 8.0, 9.0, 20.0, 25.0])
needs_library = pytest.mark.skipif(importlib.util.find_spec(fc.LIBRARY) is None,
                                   reason="statsforecast is not installed: pip install 'cornergrid[forecast]'")


def quiet(_: str) -> None:
    """No progress."""


def noisy(days: int, series: int = 40, seed: int = 5) -> Floats:
    """Weeks alike but for noise."""
    rng = np.random.default_rng(seed)
    return np.asarray(np.tile(WEEK, days // 7 + 1)[:days] * rng.gamma(20, 1 / 20, (series, days)) * 4)


def test_seasonal_naive_repeats_the_last_week() -> None:
    found = fc.seasonal_naive(np.tile(WEEK, 4)[None], 28, quiet)
    assert found.mean[0] == pytest.approx(np.tile(WEEK, 4))
    assert found.low[0] == pytest.approx(found.high[0])


HISTORIES = hnp.arrays(float, st.tuples(st.integers(1, 4), st.integers(1, 60)),
                       elements=st.one_of(st.floats(0, 1e6), st.just(np.nan)))


@given(HISTORIES, st.integers(1, 28))
def test_any_history_has_a_forecast_within_its_interval(history: Floats, horizon: int) -> None:
    found = fc.forecast(history, horizon, fc.SIMPLE, quiet)
    assert found.mean.shape == (len(history), horizon)
    assert (found.low >= 0).all()
    assert (found.low <= found.mean).all()
    assert (found.mean <= found.high).all()


def test_a_day_that_is_not_known_is_bridged_by_its_weekday() -> None:
    history = np.tile(WEEK, 4)[None].copy()
    history[0, 26] = np.nan
    assert fc.seasonal_naive(history, 7, quiet).mean[0] == pytest.approx(WEEK)
    assert fc.filled(np.full((1, 10), np.nan)).sum() == 0
    assert fc.filled(np.array([[2.0, 4.0]])) == pytest.approx(np.array([[3.0] * 5 + [2.0, 4.0]]))


def test_intervals_hold_what_they_promise_on_steady_weeks() -> None:
    found = fc.backtest(noisy(112), quiet, (fc.SIMPLE,))[fc.SIMPLE]
    assert 70 < found.coverage80 < 88
    assert abs(found.bias) < 3
    assert len(found.weeks) == 4


def test_a_history_that_is_too_short_to_test_is_told() -> None:
    with pytest.raises(ConfigError, match="at least 77"):
        fc.backtest(noisy(76), quiet, (fc.SIMPLE,))
    with pytest.raises(ConfigError, match="1 to 28"):
        fc.forecast(noisy(30), 29, fc.SIMPLE, quiet)


def test_a_backtest_never_looks_at_the_days_it_forecasts(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def spy(history: Floats, horizon: int, tick: fc.Tick) -> fc.Forecast:
        seen.append(history.shape[1])
        return fc.seasonal_naive(history, horizon, tick)

    monkeypatch.setitem(fc.FORECASTERS, "spy", spy)
    fc.backtest(noisy(90), quiet, ("spy",))
    assert seen == [34, 48, 62]


def test_the_simple_way_is_used_unless_it_is_beaten() -> None:
    simple = fc.Backtest(0.0, 20.0, (20.0,) * 4, 80.0, 10)
    for wape, used in ((19.9, "other"), (20.0, fc.SIMPLE), (20.1, fc.SIMPLE), (float("nan"), fc.SIMPLE)):
        assert fc.choose({fc.SIMPLE: simple, "other": replace(simple, wape=wape)}) == used


@needs_library
def test_exponential_smoothing_beats_the_last_week_where_weeks_are_noisy() -> None:
    found = fc.backtest(noisy(112), quiet)
    assert fc.choose(found) == "exponential smoothing"
    assert 70 < found["exponential smoothing"].coverage80 < 90


@needs_library
def test_exponential_smoothing_leaves_empty_and_short_series_to_the_simple_way() -> None:
    history = np.vstack([np.zeros(40), np.full(40, 3.0), noisy(40, 1)])
    found = fc.exponential_smoothing(history, 7, quiet)
    assert found.mean[0] == pytest.approx(0)
    assert found.mean[1] == pytest.approx(3)
    assert (found.low <= found.mean).all()
    assert fc.exponential_smoothing(noisy(12), 7, quiet).mean == pytest.approx(
        fc.seasonal_naive(noisy(12), 7, quiet).mean)


def test_without_the_library_the_fix_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fc, "LIBRARY", "cornergrid_has_no_such_library")
    assert fc.available() == (fc.SIMPLE,)
    with pytest.raises(ConfigError, match=r"cornergrid\[forecast\]"):
        fc.exponential_smoothing(noisy(30), 7, quiet)


def test_the_history_is_demand_and_has_a_gap_where_nobody_told(tmp_path: Path) -> None:
    panel = read_panel(write_panel(tmp_path / "x.parquet", stores=4))
    panel.present[panel.series.sku == 0, 50] = False
    history = demand_history(panel, SHIPPED, quiet)
    assert history.shape == (6, 90)
    assert np.isnan(history).sum() == 2
    assert np.nansum(history) > panel.sold[panel.present].sum()


def test_the_command_prints_both_and_which_is_used(tmp_path: Path) -> None:
    file = write_panel(tmp_path / "x.parquet", stores=2)
    result = ask("backtest", file)
    assert result.exit_code == 0, result.output
    assert fc.SIMPLE in result.stdout
    assert "used: " in result.stdout
    found = json.loads(ask("backtest", file, "--json").stdout)
    assert found["used"] in found["methods"]
    assert found["methods"][fc.SIMPLE]["n"] == 3 * 28 * 6
