"""The simpler methods that the estimate is measured against, and a series' usual day as they take it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloud_ingest.estimate.freshretail import SLOTS, Panel
from cloud_ingest.estimate.hiding import Hidden
from cloud_ingest.estimate.rows import Bools, Floats, Ints, count, grouped, grouped_rows

POOLED_DAYS = 5.0
PRIOR_UNITS = 4.0
CELL_UNITS = 8.0
LEAST_EXPOSURE = 0.01
GAMMA_POISSON = "Gamma-Poisson, r = 4"


@dataclass(frozen=True, slots=True, eq=False)
class Usual:
    """`share` [series, slot] of the day by category, `day` [series] units, `weekday` [7] factors."""

    share: Floats
    day: Floats
    weekday: Floats


def usual_day(panel: Panel, first: int) -> Usual:
    """Learned from the days before `first`: m = (sum s + 5 m_product) / (sum E + 5), E by category and hour."""
    past = slice(0, first)
    sku, category = panel.series.sku, panel.series.category[panel.series.sku]
    categories = count(panel.series.category)
    sold = grouped_rows(category, panel.sold[:, past].sum(1, dtype=float), categories)
    hours = grouped_rows(category, panel.in_stock[:, past].sum(1, dtype=float), categories)
    rate = sold / np.maximum(hours, 1.0) + 1e-9
    share = (rate / rate.sum(1, keepdims=True))[category]
    seen = np.einsum("sdh,sh->sd", panel.in_stock[:, past].astype(np.float32), share.astype(np.float32)).astype(float)
    units = panel.sold[:, past].sum(-1, dtype=float)
    skus = panel.series.category.size
    product = grouped(sku, units.sum(1), skus) / np.maximum(grouped(sku, seen.sum(1), skus), 1e-9)
    day = np.maximum((units.sum(1) + POOLED_DAYS * product[sku]) / (seen.sum(1) + POOLED_DAYS), 1e-6)
    kind = (panel.first_weekday + np.arange(first)) % 7
    weekday = np.array([units[:, kind == number].sum() / max((seen * day[:, None])[:, kind == number].sum(), 1e-9)
                        for number in range(7)])
    return Usual(share, day, weekday)


def simple_estimates(panel: Panel, hidden: Hidden, usual: Usual) -> dict[str, Floats]:
    """Units a day [series, day] by each of the simple methods."""
    sold, seen, expected = _seen(panel, hidden, usual)
    hours = hidden.in_stock.sum(-1) / SLOTS
    rate = (PRIOR_UNITS + sold) / (PRIOR_UNITS / expected + seen)
    return {
        "observed sales": sold,
        "sales / share of hours in stock": _divided(sold, hours, hours > 0),
        "s / E with an hour-of-day profile": _divided(sold, np.maximum(seen, LEAST_EXPOSURE), seen > 0),
        GAMMA_POISSON: sold + rate * (1.0 - seen),
    }


def additive_ratio(panel: Panel, hidden: Hidden, usual: Usual, cell: Ints) -> Floats:
    """Units a day per cell of the judged rows in order: sum s + sum((1 - E) m) (sum s + 8) / (sum E m + 8)."""
    sold, seen, expected = (part[hidden.judged] for part in _seen(panel, hidden, usual))
    total, met, missed = (grouped(cell, part, count(cell)) for part in (sold, seen * expected, (1 - seen) * expected))
    return total + missed * (total + CELL_UNITS) / (met + CELL_UNITS)


def _seen(panel: Panel, hidden: Hidden, usual: Usual) -> tuple[Floats, Floats, Floats]:
    """Units sold, exposure seen, and units expected of a whole day, [series, day]."""
    sold = hidden.sold.sum(-1, dtype=float)
    seen = np.einsum("sdh,sh->sd", hidden.in_stock.astype(np.float32), usual.share.astype(np.float32)).astype(float)
    weekday = (panel.first_weekday + hidden.first + np.arange(sold.shape[1])) % 7
    return sold, seen, np.maximum(usual.day[:, None] * usual.weekday[weekday], 1e-6)


def _divided(sold: Floats, part: Floats, known: Bools) -> Floats:
    return np.divide(sold, part, out=np.zeros_like(sold), where=known)
