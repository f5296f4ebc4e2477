"""The production feed, read from the ingest's database: expected units per SKU and region on each of the next days.

What is forecast is what customers wanted: `demand` of the feed's days, and `silent` beside it, since a factory bakes
for the shops whose line is down, too. Where `silent` is withheld, shops that sent nothing all day are taken to sell as
the others do, and a day of which less than half of the shops told is not known. Regions are the feed's cells. The
public scope knows only what is published, so a region of few shops has no row, and no row tells more than the feed did.

A day on which no shop of the region is open counts 0, before and ahead; any other day that is not known stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cloud_ingest import feed, forecast
from cloud_ingest.area import EVERYWHERE, Area
from cloud_ingest.estimate.rows import Floats, Ints
from cloud_ingest.facts import engine, load_hours, load_registry, reading
from cloud_ingest.forecast import Backtest, Forecast, Tick
from cloud_ingest.release import date_name, days_of
from cloud_ingest.rows import FeedRow, Scope

DAY_S = 86_400
HISTORY_DAYS = 112
ALIVE_DAYS = 28
"""A series that was not heard of for so long is not forecast."""
_OPEN = """
SELECT here.id, day.day
FROM (SELECT DISTINCT printf('%x', r{resolution}) AS id, schedule, since, until FROM place) AS here
JOIN (SELECT schedule, win // {day} AS day, max(part) AS part FROM
      (SELECT every.schedule, span.win, coalesce(opened.part, 1) AS part
       FROM (SELECT DISTINCT schedule FROM place) AS every CROSS JOIN span
       LEFT JOIN opened ON opened.schedule = every.schedule AND opened.win = span.win) GROUP BY ALL) AS day
     ON day.schedule = here.schedule AND here.since < (day.day + 1) * {day} AND here.until > day.day * {day}
WHERE day.part > 0 GROUP BY ALL
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which forecast: `days` ahead (1 to 28) for regions of `resolution`; `now` is Unix seconds.

    `methods` are those that may be used, None for all that are installed; the simple one is always among them.
    """

    db: Path
    now: float
    scope: Scope = "public"
    resolution: int = 6
    days: int = forecast.HORIZON
    area: Area = EVERYWHERE
    skus: tuple[str, ...] | None = None
    category: str | None = None
    methods: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """Units wanted of a SKU in a region (H3 cell) on a day of UTC, `ahead` days after the last that is known.

    `low` and `high` are the 80% interval of that one day; those of several days do not add up.
    """

    cell: str
    sku: str
    date: str
    ahead: int
    units: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Production:
    """A forecast and what it stands on.

    It is made from `history_days` days up to the end of `known_to` (a date, None where nothing is known) by `method`;
    `why` says why it is that one. `backtest` has the figures of each method that was compared, in percent, over this
    same history; it is empty where the history is too short. `silent_share`, 0..1, is the part of the history's units
    that stands for silent shops.
    """

    method: str
    why: str
    known_to: str | None
    history_days: int
    silent_share: float
    backtest: dict[str, Backtest]
    rows: list[Expected]


@dataclass(frozen=True, slots=True, eq=False)
class _Past:
    """`units` [series, day] up to the day `end` (days since 1970-01-01, left out), NaN where not known."""

    series: list[tuple[str, str]]
    end: int
    units: Floats
    silent_share: float


def read_production(asked: Asked, tick: Tick = lambda _: None) -> Production:
    """The forecast, rows sorted by cell, SKU and day; ConfigError for a question that has no answer."""
    forecast.check_horizon(asked.days)
    tick("reading")
    end = _end(asked)
    rows = [] if end is None else feed.read_feed(feed.Query(
        asked.db, asked.scope, asked.resolution, DAY_S, asked.area, asked.skus, asked.category,
        (end - HISTORY_DAYS) * DAY_S, end * DAY_S))
    if end is None or not rows:
        return Production(forecast.SIMPLE, "no day is known yet", None, 0, 0.0, {}, [])
    first = min(row.start for row in rows) // DAY_S
    opened = _opened(asked, first, end + asked.days)
    past = _past(rows, first, end, opened)
    method, why, found = _method(asked, past, tick)
    ahead = _forecast(past, asked.days, method, tick)
    return Production(method, why, date_name(end - 1), end - first, past.silent_share, found,
                      list(_rows(past, ahead, opened)))


def _end(asked: Asked) -> int | None:
    """The day after the last that is over and known."""
    if asked.scope == "public":
        published = days_of(asked.db)
        return published[-1] + 1 if published else None
    newest = feed.latest_window(asked.db, asked.now, DAY_S)
    if newest is None:
        return None
    return newest // DAY_S + (newest + DAY_S <= asked.now)


def _opened(asked: Asked, first: int, last: int) -> set[tuple[str, int]]:
    """The cells and days on which a shop is open."""
    with reading(asked.db) as source, engine() as duck:
        load_registry(duck, source)
        load_hours(duck, first * DAY_S, last * DAY_S)
        return set(duck.sql(_OPEN.format(resolution=asked.resolution, day=DAY_S)).fetchall())


def _past(rows: list[FeedRow], first: int, end: int, opened: set[tuple[str, int]]) -> _Past:
    alive = {(row.cell, row.sku) for row in rows if row.heard and row.start // DAY_S >= end - ALIVE_DAYS}
    place = {pair: number for number, pair in enumerate(sorted(alive))}
    units = np.full((len(place), end - first), np.nan)
    silent = 0.0
    for (cell, _), number in place.items():
        units[number] = [np.nan if (cell, day) in opened else 0.0 for day in range(first, end)]
    for row in rows:
        number = place.get((row.cell, row.sku), -1)
        if number >= 0 and (wanted := _wanted(row)) is not None:
            units[number, row.start // DAY_S - first] = sum(wanted)
            silent += wanted[1]
    return _Past(list(place), end, units, silent / (float(np.nansum(units)) or 1.0))


def _wanted(row: FeedRow) -> tuple[float, float] | None:
    """Units wanted in shops that were heard, and in silent ones; None where too little of it is known."""
    if row.demand is None or row.covered_s < row.window_s:
        return None
    if row.silent is not None or "silent" not in row.withheld.split():
        return row.demand, row.silent or 0.0
    if 2 * row.stores_reporting < max(row.stores_expected, 1):
        return None
    return row.demand, row.demand * max(0.0, row.stores_expected / row.stores_reporting - 1)


def _method(asked: Asked, past: _Past, tick: Tick) -> tuple[str, str, dict[str, Backtest]]:
    days = past.units.shape[1]
    if days < forecast.BACKTEST_DAYS:
        return forecast.SIMPLE, (f"{days} days are known; a back-test, which another must win, takes "
                                 f"{forecast.BACKTEST_DAYS}"), {}
    found = forecast.backtest(past.units, tick, asked.methods)
    used = forecast.choose(found)
    others = [method for method in found if method != forecast.SIMPLE]
    if not others:
        return used, "no other was compared", found
    return used, "it has the least WAPE in the back-test" if used != forecast.SIMPLE else \
        f"{' and '.join(others)} did not beat it in the back-test", found


def _forecast(past: _Past, days: int, method: str, tick: Tick) -> Forecast:
    """Each series from its own first week on, so that what was before it does not look like steady sales."""
    known = np.isfinite(past.units) & (past.units > 0)
    first = np.where(known.any(1), known.argmax(1), 0)
    # Whole weeks are cut off, counted from the end: the weekday must stay in its place.
    length = past.units.shape[1]
    begin = length - np.minimum(-(-(length - first) // forecast.WEEK) * forecast.WEEK, length)
    out = Forecast(*(np.zeros((len(past.series), days)) for _ in range(3)))
    for start in np.unique(begin):
        some: Ints = np.flatnonzero(begin == start)
        found = forecast.forecast(past.units[some, start:], days, method, tick)
        for name in ("mean", "low", "high"):
            getattr(out, name)[some] = getattr(found, name)
    return out


def _rows(past: _Past, ahead: Forecast, opened: set[tuple[str, int]]) -> Iterator[Expected]:
    for number, (cell, sku) in enumerate(past.series):
        for day in range(ahead.mean.shape[1]):
            part = 1.0 if (cell, past.end + day) in opened else 0.0
            mean, low, high = (part * float(values[number, day]) for values in (ahead.mean, ahead.low, ahead.high))
            yield Expected(cell, sku, date_name(past.end + day), day + 1, mean, low, high)
