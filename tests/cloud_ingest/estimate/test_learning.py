"""What a history teaches: shares of the day, weekdays, levels, and how a day runs around a series."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_ingest.estimate import levels as lv
from cloud_ingest.estimate.estimator import Model, by_window, estimate_day, learn
from cloud_ingest.estimate.profile import to_days
from cloud_ingest.estimate.rows import Series, join
from tests.cloud_ingest.estimate.shops import SHARES, SHIPPED, SLOTS, full_day, series, tuned, windows

SHOPS = series(4, 2)
ALL = np.arange(8)
STEADY = np.array([30.0, 3.0] * 4)


def steady(shops: Series = SHOPS, days: int = 28, busy: float = 1.0) -> Model:
    """A model after days that all sell alike, but for a busy Saturday and Sunday."""
    units = STEADY[shops.sku]
    history = [full_day(np.arange(len(units)), units * (busy if day % 7 in {5, 6} else 1.0), day)
               for day in range(days)]
    return learn(history, shops, SLOTS, SHIPPED)


def test_shares_are_those_of_the_sales_and_add_up() -> None:
    share = steady().profiles.share
    assert share.sum(-1) == pytest.approx(1.0)
    assert share[0, 0] == pytest.approx(SHARES, abs=0.01)


def test_slots_sold_out_do_not_look_slow() -> None:
    """The fast series is out of stock in the last slot of each day: its share is still learned from the slow one."""
    stock = np.ones((8, SLOTS))
    stock[::2, 3] = 0
    sold = STEADY[:, None] * SHARES * stock
    model = learn([windows(ALL, sold, stock, day=day) for day in range(56)], SHOPS, SLOTS, tuned(category_units=1))
    assert model.profiles.share[0, 0] == pytest.approx(SHARES, abs=0.03)


def test_an_empty_morning_on_fast_days_only_is_no_bias() -> None:
    """Sums over time in stock: half the days lack slot 1, and its share stays what it was."""
    history = []
    for day in range(56):
        stock = np.ones((8, SLOTS))
        stock[:, 1] = day % 2
        history.append(windows(ALL, STEADY[:, None] * SHARES * stock, stock, day=day))
    assert learn(history, SHOPS, SLOTS, SHIPPED).profiles.share[0, 0] == pytest.approx(SHARES, abs=0.01)


def test_a_thin_sku_has_the_shares_of_its_category() -> None:
    """Two units of SKU 1, all in slot 0, do not make it a morning product."""
    sold = STEADY[:, None] * SHARES
    sold[1::2] = 0
    sold[1, 0] = 2
    model = learn([windows(ALL, sold, np.ones((8, SLOTS)))], SHOPS, SLOTS, SHIPPED)
    assert model.profiles.share[1, 0] == pytest.approx(SHARES, abs=0.07)


def test_weekdays_that_sell_more_are_found_whichever_they_are() -> None:
    model = steady(busy=2.0)
    assert list(np.flatnonzero(model.profiles.busy)) == [5, 6]
    factor = model.profiles.factor[0]
    assert factor[5] / factor[1] == pytest.approx(2.0, rel=0.1)


def test_a_history_without_sales_expects_next_to_nothing_and_breaks_nothing() -> None:
    empty = windows(ALL, np.zeros((8, SLOTS)), np.ones((8, SLOTS)))
    found = estimate_day(windows(ALL, np.zeros((8, SLOTS)), np.zeros((8, SLOTS))),
                         learn([empty] * 3, SHOPS, SLOTS, SHIPPED))
    assert np.isfinite(found.estimates.demand).all()
    assert found.estimates.demand.sum() < 0.1


def test_a_series_without_a_history_is_expected_to_sell_as_its_sku_does_elsewhere() -> None:
    shops = series(5, 2)
    units = STEADY[shops.sku[:8]]
    model = learn([full_day(ALL, units, day) for day in range(28)], shops, SLOTS, SHIPPED)
    usual = lv.usual(model.levels, shops, SHIPPED)
    assert usual[8:] == pytest.approx([30.0, 3.0], rel=0.1)


def test_a_long_history_of_its_own_outweighs_the_sku() -> None:
    units = np.array([30.0, 3.0, 30.0, 3.0, 30.0, 3.0, 90.0, 3.0])
    model = learn([full_day(ALL, units, day) for day in range(90)], SHOPS, SLOTS, SHIPPED)
    assert lv.usual(model.levels, SHOPS, SHIPPED)[6] == pytest.approx(90, rel=0.05)


def test_the_far_past_counts_less_than_last_week() -> None:
    history = [full_day(ALL, STEADY * (1.0 if day < 60 else 3.0), day) for day in range(120)]
    recent = learn(history, SHOPS, SLOTS, tuned(memory_days=15))
    steadier = learn(history, SHOPS, SLOTS, tuned(memory_days=1000))
    level = [float(lv.usual(model.levels, SHOPS, SHIPPED)[0]) for model in (recent, steadier)]
    assert level[0] > 1.3 * level[1]


def test_a_day_that_runs_twice_as_well_elsewhere_is_expected_to_here() -> None:
    shops = series(40, 2)
    model = steady(shops)
    everyone = np.arange(80)
    sold = 2.0 * STEADY[shops.sku][:, None] * SHARES
    stock = np.ones(sold.shape)
    sold[0], stock[0] = 0, 0
    found = estimate_day(windows(everyone, sold, stock), model)
    assert found.expected[0] == pytest.approx(60, rel=0.15)
    assert found.estimates.lost[0] == pytest.approx(60, rel=0.15)
    assert found.estimates.lost[1:].sum() == 0


def test_time_that_nobody_watched_is_silent_not_lost() -> None:
    model = steady()
    observed = np.ones((8, SLOTS))
    observed[0, 2:] = 0
    found = estimate_day(windows(ALL, STEADY[:, None] * SHARES * observed, observed, observed), model).estimates
    assert found.lost.sum() == 0
    assert found.silent[0] == pytest.approx(15, rel=0.1)
    assert found.silent[1:].sum() == 0


def test_a_closed_shop_is_neither_silent_nor_out_of_stock() -> None:
    """Shop 0 closes after slot 1: its level is that of a whole day, and nothing is wanted while it is closed."""
    opened = np.ones((8, SLOTS))
    opened[:2, 2:] = 0
    sold = STEADY[:, None] * SHARES * opened
    history = [windows(ALL, sold, opened, opened, day, opened) for day in range(28)]
    model = learn(history, SHOPS, SLOTS, SHIPPED)
    found = estimate_day(windows(ALL, sold, opened, opened, opened=opened), model)
    assert found.estimates.lost.sum() == found.estimates.silent.sum() == 0
    assert found.expected[0] == pytest.approx(30, rel=0.1)


def test_a_day_under_way_is_estimated_up_to_now() -> None:
    """Half the windows are there: what the others will want is in no figure."""
    model, whole = steady(), full_day(ALL, STEADY)
    found = estimate_day(whole.of(whole.slot < 2), model).estimates
    assert found.demand == pytest.approx(STEADY * 0.5)
    assert found.silent.sum() == 0


@given(st.integers(0, 2**32 - 1))
def test_windows_add_up_to_their_day_in_any_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    observed = rng.choice([0.0, 0.5, 1.0], (8, SLOTS))
    stock = observed * rng.choice([0.0, 0.3, 1.0], (8, SLOTS))
    part = windows(ALL, rng.poisson(STEADY[:, None] * SHARES * stock), stock, observed)
    model = MODEL
    day = estimate_day(part, model)
    order = rng.permutation(part.sold.size)
    mixed = part.of(order)
    assert estimate_day(mixed, model).estimates.demand == pytest.approx(day.estimates.demand)
    each = by_window(mixed, model, day)
    for of_day, of_window in ((day.estimates.lost, each.lost), (day.estimates.silent, each.silent),
                              (day.estimates.sold, each.sold)):
        assert np.bincount(mixed.series, of_window, 8) == pytest.approx(of_day)
    assert (day.estimates.demand >= day.estimates.sold).all()


def test_windows_of_two_days_are_refused() -> None:
    both = join([full_day(ALL[:1], STEADY[:1], day) for day in (0, 1)])
    with pytest.raises(ValueError, match="one local day"):
        to_days(both, SHOPS, MODEL.profiles)


MODEL = steady()
