"""What a series is expected to sell on a day: its recent level, the weekday, and how the day runs around it.

A level is pooled: a series leans on its SKU, a SKU on its category, a category on all, as far as they have been seen.
How the day runs comes from the windows in stock of the same day: the ratio of sold to expected, for all series, then
per region, SKU, SKU within region, and store, each correcting the one before and believed as far as it has sales
(Clayton & Kaldor 1987: gamma-shrunk ratios of observed to expected).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloud_ingest.estimate.parameters import Parameters
from cloud_ingest.estimate.profile import Profiles
from cloud_ingest.estimate.rows import Days, Floats, Ints, Series, count, grouped

LEAST = 1e-6
"""Units a day that are expected at the least, so that a ratio to them stays finite."""


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Per series: units sold and days seen (in stock, weighted by hour and weekday), older days counting less."""

    sold: Floats
    seen: Floats


def no_levels(series: Series) -> Levels:
    """Before the first day."""
    return Levels(np.zeros(series.store.size), np.zeros(series.store.size))


def learn_day(levels: Levels, days: Days, series: Series, profiles: Profiles, parameters: Parameters) -> Levels:
    """The levels once a day is over."""
    keep = float(np.exp(-1.0 / parameters.memory_days))
    size = levels.sold.size
    return Levels(levels.sold * keep + grouped(days.series, days.sold, size),
                  levels.seen * keep + grouped(days.series, days.seen * _weekday(days, series, profiles), size))


def usual(levels: Levels, series: Series, parameters: Parameters) -> Floats:
    """Units a series sells on a mean weekday."""
    days = parameters.level_days
    overall = levels.sold.sum() / max(levels.seen.sum(), LEAST)
    category = series.category[series.sku]
    of_category = _pool(levels, category, np.full(count(series.category), overall), days)
    of_sku = _pool(levels, series.sku, of_category[series.category], days)
    return np.asarray((levels.sold + days * of_sku[series.sku]) / (levels.seen + days))


def _pool(levels: Levels, index: Ints, above: Floats, days: float) -> Floats:
    size = above.size
    return np.asarray((grouped(index, levels.sold, size) + days * above) / (grouped(index, levels.seen, size) + days))


def expect(levels: Levels, days: Days, series: Series, profiles: Profiles, parameters: Parameters) -> Floats:
    """Units each row of `days` is expected to sell in a whole day; above 0."""
    usually = usual(levels, series, parameters)[days.series]
    expected = np.maximum(usually * _weekday(days, series, profiles), LEAST)
    store, sku, region = series.store[days.series], series.sku[days.series], series.region[days.series]
    both = np.unique(region * (count(series.sku) + 1) + sku, return_inverse=True)[1]
    for index, units in ((np.zeros_like(sku), parameters.today_all_units), (region, parameters.today_region_units),
                         (sku, parameters.today_sku_units), (both, parameters.today_both_units),
                         (store, parameters.today_store_units)):
        size = count(index)
        ratio = ((grouped(index, days.sold, size) + units)
                 / (grouped(index, days.seen * expected, size) + units))
        expected = expected * ratio[index]
    return expected


def _weekday(days: Days, series: Series, profiles: Profiles) -> Floats:
    return np.asarray(profiles.factor[series.category[series.sku[days.series]], days.weekday])
