"""Which rows the facts of a region and day give: every value of a row holds the rule, by the shops that know it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_ingest.cuts import FACT_VALUES, Facts, Key, Row, publishable
from cloud_ingest.privacy import DOMINANT, SHOPS, Floats
from tests.cloud_ingest.attack import dominated, isolated

SHARED = {"sold": 4.0, "put_back": 0.0, "restocked": 0.0, "lost": 1.0, "in_stock": 800.0, "observed": 900.0,
          "variance": 1.0}
DAY = 86_400


def facts(shops: int, **values: Floats | list[float]) -> Facts:
    """One quarter of `shops` shops in one cell; what is not given is the same in all."""
    filled = {name: np.asarray(values.get(name, [SHARED[name]] * shops), dtype=float) for name in FACT_VALUES}
    return Facts(np.zeros((shops, 5), dtype=np.int64), np.arange(shops), np.full(shops, 40), filled)


def day(rows: dict[Key, Row]) -> dict[str, float]:
    return next((row.values for key, row in rows.items() if key[:2] == (DAY, 5)), {})


def test_all_values_of_like_shops_are_published() -> None:
    assert day(publishable(facts(6))) == {name: 6 * value for name, value in SHARED.items()}


@pytest.mark.parametrize("name", ["in_stock", "observed"])
def test_seconds_that_two_shops_hold_take_the_row_with_them(name: str) -> None:
    assert publishable(facts(6, **{name: [900.0, 900, 5, 5, 5, 5]})) == {}


def test_an_interval_that_two_shops_hold_is_withheld_alone() -> None:
    found = day(publishable(facts(6, variance=[90.0, 90, 1, 1, 1, 1])))
    assert set(SHARED) - set(found) == {"variance"}


def test_a_value_that_few_shops_know_is_withheld() -> None:
    nan = float("nan")
    found = day(publishable(facts(6, lost=[1.0, 1, 1, 1, nan, nan], variance=[1.0, 1, 1, 1, nan, nan])))
    assert set(SHARED) - set(found) == {"lost", "variance"}


def test_shops_that_only_told_of_a_delivery_have_no_data_on_sales() -> None:
    blind = {name: [SHARED[name]] * 4 + [0.0] * 2 for name in ("sold", "lost", "in_stock", "observed", "variance")}
    assert publishable(facts(6, restocked=[0.0] * 4 + [12.0] * 2, **blind)) == {}


def test_what_adding_up_in_another_order_leaves_is_no_sale_that_was_taken_back() -> None:
    found = day(publishable(facts(6, in_stock=[800.0] * 5 + [-1e-13])))
    assert found["sold"] == 24.0


def scattered(seed: int) -> Facts:
    """Shops in three cells over two hours, some sold out, some blind, some of unknown loss."""
    rng = np.random.default_rng(seed)
    shops = int(rng.integers(5, 13))
    paths = np.zeros((shops, 5), dtype=np.int64)
    paths[:, 2:] = rng.integers(1, 4, shops)[:, None] * np.array([1, 10, 100])
    shop, window = (each.ravel() for each in np.meshgrid(np.arange(shops), np.arange(8), indexing="ij"))
    observed = rng.choice([0.0, 30.0, 900.0], shop.size, p=[0.1, 0.1, 0.8])
    in_stock = observed * rng.choice([0.0, 0.1, 1.0], shop.size, p=[0.1, 0.1, 0.8])
    sold = rng.poisson(rng.choice([0.5, 2.0, 8.0], shops)[shop]) * (in_stock > 0)
    lost = np.where(observed > 0, (observed - in_stock) / 100 + rng.random(shop.size), np.nan)
    values = {"sold": sold.astype(float), "put_back": rng.integers(0, 2, shop.size).astype(float),
              "restocked": rng.choice([0.0, 24.0], shop.size), "lost": lost, "in_stock": in_stock,
              "observed": observed, "variance": lost ** 2}
    return Facts(paths, shop, window, values)


@settings(max_examples=8)
@given(st.integers(0, 2**32))
def test_no_sum_or_difference_of_any_column_tells_of_few_shops(seed: int) -> None:
    found = scattered(seed)
    rows = publishable(found)
    for name, values in found.values.items():
        weights = [(found.window * 900 // length * length == start) & (found.paths[found.shop, level - 5] == cell)
                   for (length, level, cell, start), row in rows.items() if name in row.values]
        told = ~np.isnan(values) & ((found.values["observed"] > 0) | (np.nan_to_num(values) != 0))
        matrix = np.array(weights, dtype=float).reshape(len(weights), len(values))[:, told]
        assert matrix @ values[told] == pytest.approx([row.values[name] for row in rows.values() if name in row.values])
        assert isolated(matrix, found.shop[told], SHOPS) is None
        assert dominated(matrix, values[told], found.shop[told], DOMINANT) is None
