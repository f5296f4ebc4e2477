"""A panel as the history that forecasts start from: demand per SKU and region on each day, as it was estimated then."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cloud_ingest.estimate.estimator import estimate_day, learn, learn_days
from cloud_ingest.estimate.evaluate import Tick
from cloud_ingest.estimate.freshretail import SLOTS, Panel, windows
from cloud_ingest.estimate.parameters import Parameters
from cloud_ingest.estimate.rows import Floats, Windows, grouped

LEARN_DAYS = 14
"""Shares of the day and weekdays come from the first two weeks, so that no forecast knows its future."""


class _Start:
    def __init__(self, panel: Panel, tick: Tick) -> None:
        self.panel, self.tick = panel, tick

    def __iter__(self) -> Iterator[Windows]:
        for day in range(min(LEARN_DAYS, self.panel.days)):
            self.tick("learning what days look like")
            yield windows(self.panel, day)


def demand_history(panel: Panel, parameters: Parameters, tick: Tick) -> Floats:
    """Units a day, [SKU and region, day], summed over the shops; NaN where no shop told that day."""
    model = learn(_Start(panel, tick), panel.series, SLOTS, parameters)
    cell = np.unique(panel.series.region * panel.series.category.size + panel.series.sku, return_inverse=True)[1]
    size = int(cell.max()) + 1
    out = np.full((size, panel.days), np.nan)
    for day in range(panel.days):
        tick(f"demand of day {day + 1}")
        found = estimate_day(windows(panel, day), model)
        if day >= LEARN_DAYS:
            model = learn_days([found.days], model)
        who = cell[found.days.series]
        told = np.bincount(who, minlength=size) > 0
        out[:, day] = np.where(told, grouped(who, found.estimates.demand, size), np.nan)
    return out
