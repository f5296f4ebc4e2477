"""From windows to demand: learn a history, then estimate day after day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cloud_ingest.estimate import levels as lv
from cloud_ingest.estimate import profile
from cloud_ingest.estimate.parameters import Parameters
from cloud_ingest.estimate.posterior import Estimates, posterior, variance
from cloud_ingest.estimate.rows import Days, Floats, Series, Windows


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What a history taught: who the series are, what days look like, and where each series stands."""

    series: Series
    profiles: profile.Profiles
    levels: lv.Levels
    parameters: Parameters


@dataclass(frozen=True, slots=True, eq=False)
class DayEstimate:
    """One local day: `days` as seen, `expected` units of a whole day, `estimates`, all with the same rows."""

    days: Days
    expected: Floats
    estimates: Estimates


def learn(history: Iterable[Windows], series: Series, slots: int, parameters: Parameters) -> Model:
    """The model after a history: the windows of one local day each, oldest first, `slots` to a day.

    It is gone through five times: give a list, or an iterable that can start again.
    """
    profiles = profile.learn(history, series, slots, parameters)
    return learn_days((profile.to_days(part, series, profiles) for part in history),
                      Model(series, profiles, lv.no_levels(series), parameters))


def learn_days(days: Iterable[Days], model: Model) -> Model:
    """The model after more days, oldest first."""
    levels = model.levels
    for day in days:
        levels = lv.learn_day(levels, day, model.series, model.profiles, model.parameters)
    return Model(model.series, model.profiles, levels, model.parameters)


def estimate_day(windows: Windows, model: Model) -> DayEstimate:
    """The estimate of one local day, over or under way: windows that are not there are in no figure.

    All series of a region belong into one call: they tell each other how the day runs.
    """
    return estimate(profile.to_days(windows, model.series, model.profiles), model)


def estimate(days: Days, model: Model) -> DayEstimate:
    """The same from the day's sums."""
    expected = lv.expect(model.levels, days, model.series, model.profiles, model.parameters)
    return DayEstimate(days, expected, posterior(days, expected, model.parameters))


def by_window(windows: Windows, model: Model, day: DayEstimate) -> Estimates:
    """A day's estimate on each of its windows: `lost` and `silent` add up to the day's, `variance` to less.

    The variance of a window is its own; the windows of a day err together, so add up days, not windows, for an
    interval.
    """
    row = np.searchsorted(day.days.series, windows.series)
    share = profile.shares(windows, model.series, model.profiles)
    rate = day.estimates.rate[row]
    lost = rate * share * (windows.observed - windows.in_stock)
    return Estimates(windows.sold, rate, lost, rate * share * (windows.opened - windows.observed),
                     variance(lost, model.parameters))
