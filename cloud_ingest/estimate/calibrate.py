"""How steady the shops at hand are: sales of past days are hidden, estimated, and compared.

The shipped prior and variances were chosen on one chain's sales. Others are steadier or wilder: there an interval is
too wide or too narrow, and a day's own few sales count for too much or too little. Hidden are hours of a fifth of the
series, at random or once a stock drawn for the day is sold, as in `evaluate`; the more of them there are, the less the
shipped values count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import msgspec
import numpy as np

from cloud_ingest.estimate import levels, profile
from cloud_ingest.estimate.estimator import Model, estimate_day
from cloud_ingest.estimate.hiding import STOCK
from cloud_ingest.estimate.parameters import Parameters
from cloud_ingest.estimate.posterior import interval, posterior, variance
from cloud_ingest.estimate.rows import Bools, Days, Floats, Ints, Windows, count, grouped

PART = 0.2
SEED = 20240625
COVER = 80.0
SHIPPED_SERIES, SHIPPED_CELLS = 200.0, 20.0
"""The shipped values count as much as so many hidden series, or cells, of a day."""
LEAST_SERIES = 5
STEPS = 12
LEAST, MOST_WHOLE, SLACK = 0.05, 1.0, 1e-6
STEADIER = (1.0, 0.5, 2.0, 4.0, 8.0, 16.0)
"""Factors on the prior's shape that are tried, the shipped one first: it stays unless another is better."""


@dataclass(frozen=True, slots=True, eq=False)
class _Hidden:
    """Per series and day in which something was hidden: the day as it was left, units `expected` of all of it, the
    `exposure` that was hidden, the `true` units in it, and a number for SKU, region and day."""

    sold: Floats
    seen: Floats
    expected: Floats
    exposure: Floats
    true: Floats
    cell: Ints

    def estimate(self, parameters: Parameters) -> Floats:
        """Units in what was hidden."""
        none = np.zeros_like(self.seen)
        found = posterior(Days(self.cell, 0, self.sold, self.seen, self.exposure, none), self.expected, parameters)
        return found.lost


def calibrate(days: Iterable[Windows], model: Model, seed: int = SEED) -> Parameters:
    """The model's parameters with prior, variances and `whole` as these days of its own past would have them."""
    rng = np.random.default_rng(seed)
    parts = [_hide(part, model, rng) for part in days]
    if not sum(part.true.size for part in parts):
        return model.parameters
    found = _Hidden(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(_Hidden)))
    chosen = _prior(model.parameters, found)
    estimate = found.estimate(chosen)
    return _cells(_series(chosen, estimate, found.true), estimate, found)


def _hide(part: Windows, model: Model, rng: np.random.Generator) -> _Hidden:
    """One day: hide some, and see what is left to estimate it with."""
    series = model.series
    hidden = _chosen(part, levels.usual(model.levels, series, model.parameters), rng)
    left = replace(part, sold=np.where(hidden, 0.0, part.sold), in_stock=np.where(hidden, 0.0, part.in_stock))
    day = estimate_day(left, model)
    row = np.searchsorted(day.days.series, part.series)
    size = day.days.series.size
    exposure = grouped(row, profile.shares(part, series, model.profiles) * part.in_stock * hidden, size)
    some = exposure > 0
    who = day.days.series[some]
    cell = (int(part.day[0]) * count(series.region) + series.region[who]) * series.category.size + series.sku[who]
    return _Hidden(day.days.sold[some], day.days.seen[some], day.expected[some], exposure[some],
                   grouped(row, part.sold * hidden, size)[some], cell)


def _chosen(part: Windows, usual: Floats, rng: np.random.Generator) -> Bools:
    """Which windows in stock are hidden: of a fifth of the series, from a slot on that is drawn or sold out."""
    size = usual.size
    chosen, driven = rng.random(size) < PART, rng.random(size) < 0.5
    cut = rng.integers(part.slot.min(), part.slot.max() + 1, size)
    stock = np.maximum(1.0, np.round(usual * rng.uniform(*STOCK, size)))
    order = np.lexsort((part.slot, part.series))
    total = np.cumsum(part.sold[order]) - part.sold[order]
    first = np.flatnonzero(np.diff(part.series[order], prepend=-1))
    before = np.empty_like(total)
    before[order] = total - np.repeat(total[first], np.diff(first, append=len(total)))
    over = np.where(driven[part.series], before >= stock[part.series], part.slot >= cut[part.series])
    return np.asarray(chosen[part.series] & over & (part.in_stock > 0))


def _prior(parameters: Parameters, found: _Hidden) -> Parameters:
    """The prior whose estimates err least, in units squared; few series leave it as it is."""
    if found.true.size < SHIPPED_SERIES:
        return parameters
    tried = [msgspec.structs.replace(parameters, prior_units=parameters.prior_units * factor,
                                     prior_share=parameters.prior_share * factor) for factor in STEADIER]
    return min(tried, key=lambda each: float(((found.estimate(each) - found.true) ** 2).sum()))


def _series(parameters: Parameters, estimate: Floats, true: Floats) -> Parameters:
    """One factor on the variance of series, from the squares of their errors, and `whole` so that 80% are within."""
    weight = estimate.size / (estimate.size + SHIPPED_SERIES)
    ratio = float(((estimate - true) ** 2).sum()) / max(float(variance(estimate, parameters).sum()), 1e-9)
    factor = min(max(ratio, LEAST), 1 / LEAST) ** weight
    scaled = msgspec.structs.replace(parameters, noise=parameters.noise * factor, spread=parameters.spread * factor)
    low, high = 0.0, MOST_WHOLE
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if _covered(scaled, middle, estimate, true) >= COVER else (middle, high)
    return msgspec.structs.replace(scaled, whole=weight * low + (1 - weight) * parameters.whole)


def _covered(parameters: Parameters, whole: float, estimate: Floats, true: Floats) -> float:
    low, high = interval(estimate, variance(estimate, parameters), whole=whole)
    return 100 * float(((low - SLACK <= true) & (true <= high + SLACK)).mean())


def _cells(parameters: Parameters, estimate: Floats, found: _Hidden) -> Parameters:
    """`common` from what cells err beyond the sum of their series' variances."""
    cell = np.unique(found.cell, return_inverse=True)[1]
    large = np.bincount(cell) >= LEAST_SERIES
    units, true, own = (grouped(cell, values, large.size)[large] for values in (
        estimate, found.true, variance(estimate, parameters)))
    if not units.any():
        return parameters
    beyond = float(((true - units) ** 2 - own).sum()) / float((units ** 2).sum())
    weight = units.size / (units.size + SHIPPED_CELLS)
    return msgspec.structs.replace(parameters, common=weight * max(0.0, beyond) + (1 - weight) * parameters.common)
