"""How good the estimate is, on days whose truth is known: bias, WAPE and what the 80% intervals cover.

History are the days 1 to 60 with their own stock-outs, judged are the days 61 to 90 without one: part of each is
hidden, estimated from what is left, and compared with what was hidden. The estimator sees the days before, and of the
day itself what was left in the same and in other shops, all of it as hidden. A series is judged on the days in which a
stock-out was put, a cell on all its days with at least 5 judged series: a cell is one product in one city.

Days without a stock-out sell less than others: about 9% less than expected. So a small positive bias on `random` is
what an estimator of all days must show here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from cloud_ingest.estimate.baselines import GAMMA_POISSON, additive_ratio, simple_estimates, usual_day
from cloud_ingest.estimate.cells import combine
from cloud_ingest.estimate.estimator import Model, estimate_day, learn, learn_days
from cloud_ingest.estimate.freshretail import SLOTS, Panel, windows
from cloud_ingest.estimate.hiding import HIDING, Hidden
from cloud_ingest.estimate.parameters import Parameters
from cloud_ingest.estimate.posterior import interval, posterior
from cloud_ingest.estimate.rows import Bools, Days, Floats, Ints, Windows, grouped
from edge.errors import ConfigError, Problem

HISTORY_DAYS = 60
LEAST_SERIES = 5
SEED = 20240625
CELL_ROWS = {"driven": "cells", "random": "cells_random"}
Tick = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Score:
    """`bias`, `wape` and `coverage80` in percent, over `n` days of series or cells; None where no interval is given."""

    bias: float
    wape: float
    coverage80: float | None
    n: int


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """The judged days of one way of hiding, one row per series and day: what was left to see, and the truth.

    `expected` is what the series was expected to sell, `true` what it sold, both units of a whole day. `cell` numbers
    the cells of each day from 0.
    """

    days: Days
    expected: Floats
    true: Floats
    censored: Bools
    cell: Ints


@dataclass(frozen=True, slots=True)
class History:
    """The first days of a panel, made as they are read, as often as they are read."""

    panel: Panel
    tick: Tick

    def __iter__(self) -> Iterator[Windows]:
        for day in range(HISTORY_DAYS):
            self.tick(f"history, day {day + 1}")
            yield windows(self.panel, day)


STEPS = 5 * HISTORY_DAYS
"""Ticks of `learn_history`; each way of hiding adds one for each judged day."""


def learn_history(panel: Panel, parameters: Parameters, tick: Tick) -> Model:
    """What days 1 to 60 teach; ConfigError where there are not more days than that."""
    if panel.days <= HISTORY_DAYS:
        raise ConfigError("evaluate", (Problem("dt", f"{panel.days} days are there, {HISTORY_DAYS} are the history",
                                               "give a file of 90 days"),))
    return learn(History(panel, tick), panel.series, SLOTS, parameters)


def follow(panel: Panel, hidden: Hidden, model: Model, tick: Tick) -> Sheet:
    """Go through the judged days: expect each from those before and from the day's own sales elsewhere."""
    found: list[tuple[Floats | Ints | Bools, ...]] = []
    for number in range(panel.days - hidden.first):
        tick(f"day {hidden.first + number + 1}")
        part = windows(panel, hidden.first + number, hidden.sold[:, number], hidden.in_stock[:, number])
        day = estimate_day(part, model)
        model = learn_days([day.days], model)
        rows = hidden.judged[day.days.series, number]
        who = day.days.series[rows]
        found.append((who, day.days.sold[rows], day.days.seen[rows], day.days.gap[rows], day.expected[rows],
                      hidden.true[who, number], hidden.censored[who, number], _cell(panel, who, number)))
    who, sold, seen, gap, expected, true, censored, cell = map(np.concatenate, zip(*found, strict=True))
    return Sheet(Days(who, 0, sold, seen, gap, np.zeros_like(gap)), expected, true, censored,
                 np.unique(cell, return_inverse=True)[1])


def _no_truth(panel: Panel) -> ConfigError:
    return ConfigError("evaluate", (Problem("so", f"no day after the {HISTORY_DAYS}th of {panel.days} is without a "
                                            "stock-out", "there is nothing to judge by"),))


def sheets(panel: Panel, parameters: Parameters, tick: Tick, seed: int = SEED) -> dict[str, Sheet]:
    """The judged days under each way of hiding, each with its own random numbers from `seed`."""
    model, usual = learn_history(panel, parameters, tick), usual_day(panel, HISTORY_DAYS)
    if not (panel.present & panel.in_stock.all(-1))[:, HISTORY_DAYS:].any():
        raise _no_truth(panel)
    return {kind: follow(panel, hide(panel, HISTORY_DAYS, usual.day, np.random.default_rng(seed)), model, tick)
            for kind, hide in HIDING.items()}


def only(sheet: Sheet, rows: Bools) -> Sheet:
    """Some rows of a sheet, to judge on part of the shops."""
    days = sheet.days
    return Sheet(Days(days.series[rows], days.weekday, days.sold[rows], days.seen[rows], days.gap[rows],
                      days.silent[rows]), sheet.expected[rows], sheet.true[rows], sheet.censored[rows],
                 np.unique(sheet.cell[rows], return_inverse=True)[1])


def series_score(sheet: Sheet, parameters: Parameters) -> Score:
    """The estimate of series on the days in which a stock-out was put."""
    part = only(sheet, sheet.censored)
    found = posterior(part.days, part.expected, parameters)
    low, high = interval(found.lost, found.variance, whole=parameters.whole)
    return score(found.demand, part.true, (found.sold + low, found.sold + high))


def cell_score(sheet: Sheet, parameters: Parameters, least: int = LEAST_SERIES) -> Score:
    """The estimate of cells of at least `least` series; intervals count where something of the cell was hidden."""
    cells = combine(sheet.cell, posterior(sheet.days, sheet.expected, parameters), parameters)
    true = grouped(sheet.cell, sheet.true, cells.sold.size)
    chosen = cells.series >= least
    hidden = chosen & (grouped(sheet.cell, sheet.censored.astype(float), cells.sold.size) > 0)
    within = covered(true[hidden], cells.low[hidden], cells.high[hidden])
    return replace(score(cells.demand[chosen], true[chosen]), coverage80=within)


def score(estimate: Floats, true: Floats, bounds: tuple[Floats, Floats] | None = None) -> Score:
    """Bias and weighted absolute percentage error of estimates, and what their bounds cover; NaN without truth."""
    total = float(true.sum()) or float("nan")
    error = estimate - true
    return Score(100 * float(error.sum()) / total, 100 * float(np.abs(error).sum()) / total,
                 covered(true, *bounds) if bounds else None, len(true))


def covered(true: Floats, low: Floats, high: Floats) -> float:
    """Percent of the true values within their bounds."""
    slack = 1e-6
    return 100 * float(((true >= low - slack) & (true <= high + slack)).mean()) if true.size else float("nan")


def evaluate(panel: Panel, parameters: Parameters, tick: Tick, seed: int = SEED) -> dict[str, Score]:
    """`random` and `driven` for series, `cells` and `cells_random` for cells: `cells` is under `driven`."""
    found = sheets(panel, parameters, tick, seed)
    return ({kind: series_score(sheet, parameters) for kind, sheet in found.items()}
            | {CELL_ROWS[kind]: cell_score(sheet, parameters) for kind, sheet in found.items()})


def baselines(panel: Panel, seed: int = SEED) -> dict[str, dict[str, Score]]:
    """The simple methods on the same days and stock-outs: method, then the rows of `evaluate` that it has."""
    usual = usual_day(panel, HISTORY_DAYS)
    table: dict[str, dict[str, Score]] = {}
    for kind, hide in HIDING.items():
        hidden = hide(panel, HISTORY_DAYS, usual.day, np.random.default_rng(seed))
        simple = simple_estimates(panel, hidden, usual)
        for method, units in simple.items():
            table.setdefault(method, {})[kind] = score(units[hidden.censored], hidden.true[hidden.censored])
        who, number = np.nonzero(hidden.judged)
        cell = np.unique(_cell(panel, who, number), return_inverse=True)[1]
        large = np.bincount(cell) >= LEAST_SERIES
        true = grouped(cell, hidden.true[hidden.judged], large.size)[large]
        summed = grouped(cell, simple[GAMMA_POISSON][hidden.judged], large.size)[large]
        row = CELL_ROWS[kind]
        table[GAMMA_POISSON][row] = score(summed, true)
        table.setdefault("additive ratio", {})[row] = score(additive_ratio(panel, hidden, usual, cell)[large], true)
    return table


def _cell(panel: Panel, who: Ints, number: int | Ints) -> Ints:
    """A number for the cell and day of each row: one product in one city."""
    series = panel.series
    return (series.region[who] * series.category.size + series.sku[who]) * panel.days + number
