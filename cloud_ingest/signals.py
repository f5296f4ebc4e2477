"""Signals: what somebody should look at. Pure functions over what a shop has, sells and measures; reading is below.

    slow       stock that sells slowly or not at all: days of cover, days without a movement
    near-date  units of deliveries with a known date, and how many of them will not be sold in time
    hot-spots  cells in which demand was lost to empty shelves
    cold-chain units that stood warmer than they may
    uptake     what a new product sells per shop, week after week

Hot spots and uptake are made of rows of the feed, so they exist for the public feed too, and tell no more than it. The
others tell of single shops, and are the operator's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from cloud_ingest.rows import FeedRow

DAY_S = 86_400
WEEK_S = 7 * DAY_S
SLOW_DAYS = 30.0
"""More days of cover than this are slow."""
STILL_DAYS = 14.0
"""Stock without a movement for so long counts as unsalable."""
LEAST_SHARE = 0.8
GAP_S = 3600.0
"""A reading stands for the time until the next, at most so long."""
FRIDGE_CELSIUS = 12.0
"""A probe that was colder for a tenth of the day hangs in a fridge: one that failed last night is still no room."""


@dataclass(frozen=True, slots=True)
class Stock:
    """One SKU in one shop: units `on_hand`, units sold a day, Unix seconds of its last movement, days it was watched.

    `last_move` is None where none was seen in those days.
    """

    store: str
    sku: str
    on_hand: float
    per_day: float
    last_move: float | None
    days: float


@dataclass(frozen=True, slots=True)
class Slow:
    """Stock that is slow: `cover_days` None where nothing sells, `still_days` at least so many without a movement."""

    store: str
    sku: str
    on_hand: float
    per_day: float
    cover_days: float | None
    still_days: float
    unsalable: bool


def slow(stocks: Iterable[Stock], now: float) -> list[Slow]:
    """Stock with over SLOW_DAYS of cover, or still for STILL_DAYS; the most units first."""
    found = []
    for each in stocks:
        cover = each.on_hand / each.per_day if each.per_day > 0 else inf
        still = each.days if each.last_move is None else max(0.0, (now - each.last_move) / DAY_S)
        unsalable = still >= STILL_DAYS
        if each.on_hand > 0 and (unsalable or (cover > SLOW_DAYS and each.days >= STILL_DAYS)):
            found.append(Slow(each.store, each.sku, each.on_hand, each.per_day, None if cover == inf else cover, still,
                              unsalable))
    return sorted(found, key=lambda row: (not row.unsalable, -row.on_hand, row.store, row.sku))


@dataclass(frozen=True, slots=True)
class Batch:
    """A delivery: `units` of a SKU that are good until `best_before` (Unix seconds)."""

    best_before: int
    received: int
    units: float


@dataclass(frozen=True, slots=True)
class NearDate:
    """Units of one date: `left` on the shelf, `at_risk` of not being sold in `days_left` (below 0: past its date)."""

    store: str
    sku: str
    best_before: int
    days_left: float
    left: float
    at_risk: float


def near_date(stock: Stock, batches: Sequence[Batch], now: float, within_days: float = 14.0) -> list[NearDate]:
    """What is left of each date, and what will not sell in time at the usual pace.

    The shop is taken to sell what expires first, so what is on hand are the units that expire last.
    """
    remaining, left = stock.on_hand, []
    for batch in sorted(batches, key=lambda each: (-each.best_before, -each.received)):
        units = min(batch.units, remaining)
        remaining -= units
        left.append((batch.best_before, units))
    found, before = [], 0.0
    for best_before, units in reversed(left):
        days = (best_before - now) / DAY_S
        sold = stock.per_day * max(0.0, days)
        at_risk = max(0.0, min(units, before + units - sold))
        before += units - at_risk  # what is past its date will not be sold before the next
        if units > 0 and days <= within_days:
            found.append(NearDate(stock.store, stock.sku, best_before, days, units, at_risk))
    return found


@dataclass(frozen=True, slots=True)
class HotSpot:
    """A cell in which a SKU was missing: units `lost` of `demand`, and the share of the time it was there."""

    cell: str
    sku: str
    days: int
    lost: float
    demand: float
    in_stock_share: float


def hot_spots(rows: Iterable[FeedRow]) -> list[HotSpot]:
    """Cells and SKUs on the shelf for less than LEAST_SHARE of the time over all rows, the most lost units first."""
    groups: defaultdict[tuple[str, str], list[FeedRow]] = defaultdict(list)
    for row in rows:
        if row.lost is not None and row.observed > 0:
            groups[row.cell, row.sku].append(row)
    found = []
    for (cell, sku), days in groups.items():
        share = min(1.0, sum(row.in_stock for row in days) / sum(row.observed for row in days))
        lost = sum(row.lost or 0.0 for row in days)
        if share < LEAST_SHARE and lost > 0:
            found.append(HotSpot(cell, sku, len(days), lost, lost + sum(row.sold for row in days), share))
    return sorted(found, key=lambda spot: (-spot.lost, spot.cell, spot.sku))


@dataclass(frozen=True, slots=True)
class Warm:
    """A SKU that stood too warm by one probe: for how many hours in all, the warmest, and the units on hand."""

    store: str
    probe: str
    sku: str
    most_celsius: float
    hours: float
    warmest: float
    units_at_risk: float


def cold_chain(store: str, probes: dict[str, Sequence[tuple[float, float]]], limits: dict[str, tuple[float, float]],
               ) -> list[Warm]:
    """What got too warm. `probes`: (Unix seconds, degrees Celsius) in order; `limits`: warmest allowed and on hand."""
    found = []
    for probe, readings in probes.items():
        cold = sorted(celsius for _, celsius in readings)[len(readings) // 10] if readings else inf
        if cold >= FRIDGE_CELSIUS:
            continue
        for sku, (most, on_hand) in limits.items():
            seconds = sum(min(GAP_S, until - t) for (t, celsius), (until, _) in pairwise(readings) if celsius > most)
            if seconds > 0:
                warmest = max(celsius for _, celsius in readings)
                found.append(Warm(store, probe, sku, most, seconds / 3600, warmest, on_hand))
    return sorted(found, key=lambda warm: (-warm.hours * warm.units_at_risk, warm.probe, warm.sku))


@dataclass(frozen=True, slots=True)
class Uptake:
    """A new SKU in one cell, `week` 0 beginning with its launch: units sold, wanted (None: not known), per shop a day.

    `shops` reported in the cell at most on any day of the week, whether they have the SKU or not.
    """

    cell: str
    sku: str
    week: int
    sold: float
    demand: float | None
    shops: int
    sold_per_shop_day: float


def uptake(rows: Iterable[FeedRow], launched: dict[str, int]) -> list[Uptake]:
    """Week after week since the launch, from rows of days."""
    weeks: defaultdict[tuple[str, str, int], list[FeedRow]] = defaultdict(list)
    for row in rows:
        if row.heard and row.start >= launched.get(row.sku, 2**62) // DAY_S * DAY_S:
            weeks[row.cell, row.sku, (row.start - launched[row.sku] // DAY_S * DAY_S) // WEEK_S].append(row)
    found = []
    for (cell, sku, week), days in sorted(weeks.items()):
        shops = max(row.stores_reporting for row in days)
        sold = sum(row.sold for row in days)
        known = [row.demand for row in days if row.demand is not None]
        found.append(Uptake(cell, sku, week, sold, sum(known) if known else None, shops,
                            sold / shops / len(days) if shops else 0.0))
    return found


def grouped(pairs: Iterable[tuple[tuple[str, str], Batch]]) -> Iterator[tuple[tuple[str, str], list[Batch]]]:
    """The batches of each (store, SKU)."""
    found: defaultdict[tuple[str, str], list[Batch]] = defaultdict(list)
    for pair, batch in pairs:
        found[pair].append(batch)
    yield from found.items()
