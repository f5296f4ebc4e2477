"""Profiles: how a day's sales spread over its slots, and how weekdays differ, learned from time in stock.

Sums over time in stock only, each weighted with the level of its series: otherwise an hour in which the fast series
are sold out would look slow. Shares are learned for two kinds of day, quiet and busy ones; which weekdays are busy is
taken from the sales, not from a calendar, so that a Friday weekend is one too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from cloud_ingest.estimate.parameters import Parameters
from cloud_ingest.estimate.rows import (
    WEEKDAYS,
    Bools,
    Days,
    Floats,
    Ints,
    Series,
    Windows,
    count,
    grouped,
    grouped_rows,
)

BUSY = 1.05
"""A weekday is busy where it sells this many times the mean day."""


@dataclass(frozen=True, slots=True, eq=False)
class Profiles:
    """What a day looks like.

    `share` [SKU, kind, slot] adds up to 1 over the slots; kind 1 is that of busy weekdays, `busy` [weekday] says which
    those are. `factor` [category, weekday] is what a weekday sells against the level of a series.
    """

    share: Floats
    busy: Bools
    factor: Floats

    @property
    def slots(self) -> int:
        """Slots in a day."""
        return int(self.share.shape[2])


def learn(history: Iterable[Windows], series: Series, slots: int, parameters: Parameters) -> Profiles:
    """The profiles of a history, read four times: a list, or an iterable that can start again.

    First with levels by the clock, then with levels by the shares so found: a series that is sold out in busy slots
    only looks slow by the clock.
    """
    level = _levels(history, series, lambda part: np.full(part.slot.shape, 1.0 / slots))
    found = _learn(history, series, level, slots, parameters)
    level = _levels(history, series, lambda part: shares(part, series, found))
    return _learn(history, series, level, slots, parameters)


def _levels(history: Iterable[Windows], series: Series, share: Callable[[Windows], Floats]) -> Floats:
    """Units a day; thin series lean on the mean of all."""
    size = series.store.size
    sold, days = np.zeros(size), np.zeros(size)
    for part in history:
        sold += grouped(part.series, part.sold, size)
        days += grouped(part.series, part.in_stock * share(part), size)
    mean = sold.sum() / days.sum() if days.sum() > 0 else 0.0
    return np.asarray((sold + mean) / (days + 1.0))


def _learn(history: Iterable[Windows], series: Series, level: Floats, slots: int, parameters: Parameters) -> Profiles:
    skus = series.category.size
    sold, weight = np.zeros(skus * WEEKDAYS * slots), np.zeros(skus * WEEKDAYS * slots)
    for part in history:
        place = (series.sku[part.series] * WEEKDAYS + part.weekday) * slots + part.slot
        sold += grouped(place, part.sold, sold.size)
        weight += grouped(place, part.in_stock * level[part.series], sold.size)
    return _profiles(sold.reshape(skus, WEEKDAYS, slots), weight.reshape(skus, WEEKDAYS, slots), series.category,
                     count(series.category), parameters)


def _profiles(sold: Floats, weight: Floats, category: Ints, categories: int, parameters: Parameters) -> Profiles:
    by_weekday = _ratio(sold.sum((0, 2)), weight.sum((0, 2)), 1.0)
    mean = _ratio(sold.sum(), weight.sum(), 1.0)
    busy = np.asarray(by_weekday > BUSY * mean)
    share = np.empty((sold.shape[0], 2, sold.shape[2]))
    for kind in (0, 1):
        # A history without such a day says nothing about it: then all days stand for it.
        chosen = busy == bool(kind) if weight[:, busy == bool(kind)].sum() > 0 else np.ones(WEEKDAYS, dtype=bool)
        share[:, kind] = _shares(sold[:, chosen].sum(1), weight[:, chosen].sum(1), category, categories, parameters)
    expected = np.einsum("kws,kws->kw", weight, share[:, busy.astype(int)])
    factor = _factors(grouped_rows(category, sold.sum(2), categories), grouped_rows(category, expected, categories),
                      parameters.weekday_units)
    return Profiles(share, busy, factor)


def _shares(sold: Floats, weight: Floats, category: Ints, categories: int, parameters: Parameters) -> Floats:
    """Shares of the day per SKU: all sales, corrected by the category, corrected by the SKU."""
    overall = _ratio(sold.sum(0), weight.sum(0), 0.0)
    if overall.sum() <= 0:
        return np.full(sold.shape, 1.0 / sold.shape[1])
    units = parameters.category_units
    of_category = overall * ((grouped_rows(category, sold, categories) + units)
                             / (grouped_rows(category, weight * overall, categories) + units))
    units = parameters.sku_units
    raw = of_category[category] * (sold + units) / (weight * of_category[category] + units)
    return np.asarray(raw / raw.sum(1, keepdims=True))


def _factors(sold: Floats, expected: Floats, units: float) -> Floats:
    overall = _ratio(sold.sum(0), expected.sum(0), 1.0)
    return np.asarray(overall * (sold + units) / (expected * overall + units))


def _ratio(sold: Floats | np.floating, expected: Floats | np.floating, otherwise: float) -> Floats:
    known = np.asarray(expected) > 0
    return np.asarray(np.where(known, sold / np.where(known, expected, 1.0), otherwise), dtype=np.float64)


def shares(windows: Windows, series: Series, profiles: Profiles) -> Floats:
    """The part of a usual day's sales that falls into each window."""
    kind = profiles.busy[windows.weekday].astype(np.intp)
    return np.asarray(profiles.share[series.sku[windows.series], kind, windows.slot])


def to_days(windows: Windows, series: Series, profiles: Profiles) -> Days:
    """The windows of one local day per series; ValueError where they are of several days."""
    if windows.day.size and windows.day.min() != windows.day.max():
        raise ValueError("to_days takes the windows of one local day")
    who, inverse = np.unique(windows.series, return_inverse=True)
    share = shares(windows, series, profiles)
    weekday = int(windows.weekday[0]) if windows.weekday.size else 0
    total = [grouped(inverse, values, who.size) for values in (
        windows.sold, share * windows.in_stock, share * (windows.observed - windows.in_stock),
        share * (windows.opened - windows.observed))]
    return Days(who, weekday, *total)
