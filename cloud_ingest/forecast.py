"""The production feed's core: units wanted per SKU and region on each of the next 1 to 28 days, with intervals.

Two ways, and the simple one wins unless beaten: seasonal-naive repeats the last week (Hyndman & Athanasopoulos,
Forecasting: Principles and Practice, 5.2 and 5.5), exponential smoothing with a weekly season, ETS(A,N,A), comes from
the library statsforecast, where the extra `forecast` is installed. `backtest` measures both on a history;
`cornergrid-cloud demand backtest` prints that.

A history is [series, day] of estimated demand in units, oldest first, NaN for a day that is not known. It is demand,
not sales: a forecast of sales would repeat the stock-outs.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from cloud_ingest.estimate.rows import Floats
from edge.errors import ConfigError, Problem

WEEK = 7
HORIZON = 28
COVER = 0.8
LEAST_DAYS = 3 * WEEK
"""Exponential smoothing needs three weeks; a shorter history gets the simple way."""
ORIGINS = 3
BACKTEST_DAYS = LEAST_DAYS + HORIZON + 2 * WEEK * (ORIGINS - 1)
"""The shortest history that can be tested: three weeks to learn from, and two more for each further start."""
SIMPLE = "seasonal naive"
LIBRARY = "statsforecast"
Tick = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """Units a day, [series, days ahead]: the mean and its 80% interval. Never below 0."""

    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class Backtest:
    """Over all series, origins and days ahead, in percent: bias, WAPE, WAPE of each week ahead, interval coverage."""

    bias: float
    wape: float
    weeks: tuple[float, ...]
    coverage80: float
    n: int


def seasonal_naive(history: Floats, horizon: int, tick: Tick) -> Forecast:
    """The last week again and again; k weeks ahead, 80% of the past was that near to what was k weeks before it."""
    tick(SIMPLE)
    known = filled(history)
    ahead = np.arange(horizon)
    mean = known[:, -WEEK:][:, ahead % WEEK]
    width = np.stack([_width(known, weeks) for weeks in range(1, -(-horizon // WEEK) + 1)], axis=1)[:, ahead // WEEK]
    return Forecast(mean, np.maximum(mean - width, 0.0), mean + width)


def _width(known: Floats, weeks: int) -> Floats:
    """Half the width of the interval `weeks` ahead; from fewer weeks, and its root law, where the past is short."""
    lag = min(weeks, known.shape[1] // WEEK - 1)
    if lag < 1:
        return np.asarray(NormalDist().inv_cdf(0.5 + COVER / 2) * np.sqrt(known.mean(1) * weeks))
    step = np.abs(known[:, lag * WEEK:] - known[:, :-lag * WEEK])
    return np.asarray(np.quantile(step, COVER, axis=1) * np.sqrt(weeks / lag))


def exponential_smoothing(history: Floats, horizon: int, tick: Tick) -> Forecast:
    """ETS(A,N,A) of statsforecast; series that are shorter than LEAST_DAYS or never change stay seasonal-naive.

    ConfigError where the library is not installed.
    """
    if importlib.util.find_spec(LIBRARY) is None:
        raise ConfigError(LIBRARY, (Problem("import", "is not installed", "pip install 'cornergrid[forecast]'"),))
    simple = seasonal_naive(history, horizon, lambda _: None)
    known = filled(history)
    if known.shape[1] < LEAST_DAYS:
        return simple
    # Looked up at run time: the extra is optional, and slow to load.
    model = importlib.import_module(f"{LIBRARY}.models").AutoETS(season_length=WEEK, model="ANA")
    level = round(100 * COVER)
    for row in np.flatnonzero(np.ptp(known, axis=1) > 0):
        tick("exponential smoothing")
        found = model.forecast(y=known[row], h=horizon, level=[level])
        for column, name in ((simple.mean, "mean"), (simple.low, f"lo-{level}"), (simple.high, f"hi-{level}")):
            column[row] = np.maximum(found[name], 0.0)
    return simple


FORECASTERS: dict[str, Callable[[Floats, int, Tick], Forecast]] = {
    SIMPLE: seasonal_naive,
    "exponential smoothing": exponential_smoothing,
}


def available() -> tuple[str, ...]:
    """The ways that can be used here."""
    return tuple(FORECASTERS) if importlib.util.find_spec(LIBRARY) else (SIMPLE,)


def filled(history: Floats) -> Floats:
    """Days that are not known as the mean of the series' same weekdays, else of its days; a series of none is 0.

    A history of less than a week becomes one: its days, then their mean.
    """
    if history.shape[1] < WEEK:
        short = np.full((len(history), WEEK), np.nan)
        short[:, WEEK - history.shape[1]:] = history
        history = short
    known = np.isfinite(history)
    weekday = np.arange(history.shape[1]) % WEEK
    out = np.where(known, history, 0.0)
    overall = out.sum(1) / np.maximum(known.sum(1), 1)
    for day in range(WEEK):
        chosen = weekday == day
        count = known[:, chosen].sum(1)
        mean = np.where(count > 0, out[:, chosen].sum(1) / np.maximum(count, 1), overall)
        out[:, chosen] = np.where(known[:, chosen], out[:, chosen], mean[:, None])
    return out


def forecast(history: Floats, horizon: int, method: str, tick: Tick) -> Forecast:
    """The next `horizon` days, 1 to 28, by the method that `choose` found; ConfigError for another horizon."""
    check_horizon(horizon)
    return FORECASTERS[method](history, horizon, tick)


def check_horizon(horizon: int) -> None:
    """ConfigError unless it is 1 to 28 days."""
    if not 1 <= horizon <= HORIZON:
        raise ConfigError("forecast", (Problem("horizon", f"is {horizon} days", f"1 to {HORIZON}"),))


def backtest(history: Floats, tick: Tick, methods: tuple[str, ...] | None = None) -> dict[str, Backtest]:
    """Forecast the last days of a history from those before, from ORIGINS starts two weeks apart.

    ConfigError where the history is too short for that: it takes 28 days and two weeks for each further start, after
    three weeks to learn from.
    """
    origins = [history.shape[1] - HORIZON - 2 * WEEK * back for back in reversed(range(ORIGINS))]
    if origins[0] < LEAST_DAYS:
        raise ConfigError("backtest", (Problem("days", f"{history.shape[1]} are there", f"at least {BACKTEST_DAYS}"),))
    true = np.stack([history[:, origin:origin + HORIZON] for origin in origins])
    found = {}
    for method in methods or available():
        parts = [FORECASTERS[method](history[:, :origin], HORIZON, tick) for origin in origins]
        found[method] = _score(Forecast(*(np.stack([getattr(part, name) for part in parts])
                                          for name in ("mean", "low", "high"))), true)
    return found


def choose(found: Mapping[str, Backtest]) -> str:
    """The method with the least WAPE; the simple one unless it is beaten."""
    best = min(found, key=lambda method: (found[method].wape, method != SIMPLE))
    return best if found[best].wape < found[SIMPLE].wape else SIMPLE


def _score(ahead: Forecast, true: Floats) -> Backtest:
    known = np.isfinite(true)
    error = np.where(known, ahead.mean - true, 0.0)
    total = np.where(known, true, 0.0)
    weeks = [slice(start, start + WEEK) for start in range(0, HORIZON, WEEK)]
    within = ((true >= ahead.low) & (true <= ahead.high))[known]
    return Backtest(_percent(error, total), _percent(np.abs(error), total),
                    tuple(_percent(np.abs(error)[..., week], total[..., week]) for week in weeks),
                    100 * float(within.mean()) if within.size else float("nan"), int(known.sum()))


def _percent(error: Floats, total: Floats) -> float:
    return 100 * float(error.sum()) / (float(total.sum()) or float("nan"))
