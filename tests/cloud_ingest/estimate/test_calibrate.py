"""Calibration: steady shops get narrow intervals and a firm prior, and a few series change little."""

from __future__ import annotations

import numpy as np
import pytest

from cloud_ingest.estimate.calibrate import calibrate
from cloud_ingest.estimate.estimator import Model, learn
from cloud_ingest.estimate.posterior import interval, variance
from cloud_ingest.estimate.rows import Windows
from tests.cloud_ingest.estimate.shops import SHARES, SHIPPED, SLOTS, series, windows


def shops(stores: int, days: int, swing: float, together: float = 0.0, seed: int = 3) -> tuple[list[Windows], Model]:
    """Days without a stock-out; `swing` and `together` are variances of a day's factor, of each series and of all."""
    rng = np.random.default_rng(seed)
    size = stores * 4
    history = []
    for day in range(days):
        factor = rng.gamma(1 / swing, swing, size) if swing else np.ones(size)
        shared = rng.gamma(1 / together, together, SLOTS) if together else np.ones(SLOTS)
        sold = rng.poisson((12.0 * factor)[:, None] * SHARES * shared).astype(float)
        history.append(windows(np.arange(size), sold, np.ones(sold.shape), day=day))
    return history, learn(history, series(stores, 4), SLOTS, SHIPPED)


def test_steady_sales_make_the_prior_firmer_and_the_variance_smaller() -> None:
    steady, wild = (calibrate(*shops(60, 14, swing)) for swing in (0.0, 0.6))
    assert steady.prior_share > SHIPPED.prior_share
    assert steady.noise < 0.6 * SHIPPED.noise
    assert wild.noise > 1.3 * steady.noise
    assert wild.prior_share < steady.prior_share


def test_what_all_series_of_a_cell_share_makes_its_interval_wider() -> None:
    apart, together = (calibrate(*shops(60, 14, 0.0, shared)) for shared in (0.0, 0.5))
    assert together.common > 2 * apart.common


def test_few_series_leave_the_shipped_values_nearly_as_they_are() -> None:
    found = calibrate(*shops(1, 4, 0.0))
    assert found.prior_share == SHIPPED.prior_share
    assert found.noise == pytest.approx(SHIPPED.noise, rel=0.25)
    assert found.common == pytest.approx(SHIPPED.common, rel=0.25)


def test_nothing_to_hide_changes_nothing() -> None:
    history, model = shops(2, 2, 0.0)
    assert calibrate([], model) == SHIPPED
    none = [windows(np.arange(8), np.zeros((8, SLOTS)), np.zeros((8, SLOTS)))]
    assert calibrate(none, model) == SHIPPED
    assert calibrate(history, model) == calibrate(history, model)


def test_an_interval_goes_further_out_by_whole_but_never_below_nothing() -> None:
    mean = np.array([0.0, 0.1, 50.0])
    low, high = interval(mean, variance(mean, SHIPPED))
    lower, higher = interval(mean, variance(mean, SHIPPED), whole=0.25)
    assert higher - high == pytest.approx([0.0, 0.25, 0.25])
    assert lower == pytest.approx(np.maximum(low - [0.0, 0.25, 0.25], 0.0))
