"""A town whose truth is known: who wanted what and when, what was there, and which of it the ingest ever heard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h3
import numpy as np
from numpy.typing import NDArray

from cloud_ingest.rows import FeedRow
from tests.cloud_ingest.town import DAY, MIDNIGHT, REGION, Given, Town

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
SKUS = ("4000417025005", "4000417025012", "4008400402222", "4311501489703", "5449000131805", "4001686301265")
UNITS = np.array([24.0, 12.0, 8.0, 5.0, 3.0, 1.5])
"""Units of each SKU that a mean shop's customers want on a mean day."""
WEEKDAY = np.array([0.9, 0.9, 0.95, 1.0, 1.2, 1.3, 0.0])
TZ, HOURS = "Europe/Berlin", "Mo-Sa 07:00-21:00"
OPENS, SLOTS, WINDOW_S = 6, 56, 900
"""Hour of UTC in winter, windows of an open day, and their length."""
DELIVERED, REFILLED, EMPTIED = 0.6, 0.02, 0.003
"""Chances: that a morning has a delivery; that a window has one; that in a window the rest is lost."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a town is made. `swing` is the variance of a day's factor on a series' rate: 0 is plain Poisson demand.

    `days_of_stock` is what a delivery fills up to, in mean days, and sets how often the shelf is empty; `offline` the
    part of the open hours in which a shop sends nothing.
    """

    shops: int
    days: int
    swing: float = 0.0
    days_of_stock: float = 1.2
    offline: float = 0.1
    seed: int = 20260302


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Units `wanted` and `sold`, seconds `in_stock`, all [shop, SKU, window]; `starts` [window] in Unix seconds.

    `heard` and `late` are [shop, window]: sent at once, and sent days afterwards; what is neither never comes.
    """

    cells: list[str]
    starts: NDArray[np.int64]
    wanted: Floats
    sold: Floats
    in_stock: Floats
    heard: Bools
    late: Bools


def live(plan: Plan) -> Truth:
    """Let a town's customers shop, its shelves run empty and its lines fail."""
    rng = np.random.default_rng(plan.seed)
    every = sorted(h3.cell_to_children(REGION, 9))
    cells = [every[i] for i in rng.choice(len(every), plan.shops)]
    days = [day for day in range(plan.days) if WEEKDAY[day % 7] > 0]
    starts = np.concatenate([MIDNIGHT + day * DAY + OPENS * 3600 + np.arange(SLOTS) * WINDOW_S for day in days])
    usual = rng.lognormal(-0.125, 0.5, (plan.shops, 1)) * UNITS  # the mean shop is 1
    factor = np.stack([WEEKDAY[day % 7] * _swing(rng, plan.swing, usual.shape) for day in days], axis=2)
    rate = (usual[:, :, None] * factor)[..., None] * _day()[None, :, None, :]
    wanted = rng.poisson(rate).astype(float).reshape(*usual.shape, -1)
    sold, in_stock = _shelves(rng, wanted, usual * plan.days_of_stock)
    silent, late = _offline(rng, plan, len(starts))
    return Truth(cells, starts, wanted, sold, in_stock, ~silent, late)


def _swing(rng: np.random.Generator, variance: float, shape: tuple[int, ...]) -> Floats:
    return rng.gamma(1 / variance, variance, shape) if variance > 0 else np.ones(shape)


def _day() -> Floats:
    """Shares of the day [SKU, slot]: a morning, a noon and an evening that differ by SKU."""
    hour = OPENS + 1 + np.arange(SLOTS) / 4
    bumps = np.stack([np.exp(-((hour - middle) / 1.5) ** 2) for middle in (8.5, 12.5, 18.0)])
    weight = np.array([[0.2, 0.6, 1.5], [1.2, 0.4, 0.8], [0.3, 0.6, 1.2], [1.5, 0.3, 0.5], [0.3, 1.0, 1.0],
                       [0.2, 0.5, 1.0]])
    share = 0.25 + weight @ bumps
    return np.asarray(share / share.sum(1, keepdims=True))


def _shelves(rng: np.random.Generator, wanted: Floats, most: Floats) -> tuple[Floats, Floats]:
    """What was sold and how long there was any, window after window; customers before an empty shelf leave."""
    most = np.maximum(np.round(most), 2.0)
    stock = most.copy()
    sold, in_stock = np.zeros_like(wanted), np.zeros_like(wanted)
    for window in range(wanted.shape[2]):
        chance = DELIVERED if window % SLOTS == 0 else REFILLED
        stock = np.where(rng.random(stock.shape) < chance, most, stock)
        stock = np.where(rng.random(stock.shape) < EMPTIED, 0.0, stock)
        want = wanted[:, :, window]
        sold[:, :, window] = np.minimum(want, stock)
        # The last unit goes with customer number `stock` of the `want` who come at any time of the window.
        ends = rng.beta(np.maximum(stock, 1.0), np.maximum(want - stock, 0.0) + 1.0)
        in_stock[:, :, window] = WINDOW_S * np.where(stock == 0, 0.0, np.where(want < stock, 1.0, ends))
        stock = stock - sold[:, :, window]
    return sold, in_stock


def _offline(rng: np.random.Generator, plan: Plan, windows: int) -> tuple[Bools, Bools]:
    """Spells of an hour to some days in which a shop's line is down; half of them are sent afterwards."""
    silent, late = np.zeros((2, plan.shops, windows), dtype=bool)
    while silent.mean() < plan.offline:
        shop, begin = rng.integers(plan.shops), rng.integers(windows)
        spell = slice(begin, begin + int(rng.choice((4, 12, 56, 168))))
        silent[shop, spell] = True
        late[shop, spell] = rng.random() < 0.5
    return silent, late


def settle(truth: Truth, path: Path) -> Town:
    """The town's registry, with nothing sent yet."""
    return Town(path, truth.cells, TZ, HOURS)


def send(town: Town, truth: Truth, which: Bools, day: int | None = None) -> None:
    """Send the facts of these [shop, window], of one day since MIDNIGHT or of all."""
    if day is not None:
        which = which & ((truth.starts - MIDNIGHT) // DAY == day)
    town.send(_told(truth, which), MIDNIGHT + 15 * DAY)


def _told(truth: Truth, which: Bools) -> Iterator[Given]:
    for shop, window in zip(*np.nonzero(which), strict=True):
        for number, sku in enumerate(SKUS):
            flows = {"in_stock": truth.in_stock[shop, number, window], "observed": float(WINDOW_S)}
            if truth.sold[shop, number, window]:
                flows["sold"] = truth.sold[shop, number, window]
            yield f"s{shop}", sku, int(truth.starts[window]), flows


@dataclass(frozen=True, slots=True)
class Judged:
    """In percent: bias and WAPE of demand, how many true demands lie in the 80% interval, over `n` rows.

    `interval_n` of them lost something, and only these are counted for the interval. `silent_bias` and `silent_wape`
    compare what silent shops would have sold with what was wanted there, `unheard` units. `lost` is how much of the
    true demand met an empty shelf.
    """

    bias: float
    wape: float
    covered: float
    lost: float
    silent_bias: float
    silent_wape: float
    unheard: float
    n: int
    interval_n: int

    def __str__(self) -> str:
        return (f"bias {self.bias:+.1f}%, WAPE {self.wape:.1f}%, {self.covered:.1f}% in the 80% interval "
                f"({self.interval_n:,} of {self.n:,} rows), {self.lost:.1f}% lost; silent: bias "
                f"{self.silent_bias:+.1f}%, WAPE {self.silent_wape:.1f}%")


def judge(truth: Truth, heard: Bools, rows: list[FeedRow], resolution: int) -> Judged:
    """Rows of whole days against the truth of the same cells, SKUs and days.

    What silent shops would have sold is judged over the rows, too: a row needs one shop that sent something.
    AssertionError where the sales do not add up to those that were sent.
    """
    shown = {(row.cell, row.sku, row.start): row for row in rows if row.covered_s == DAY}
    seen = _by_row(truth, truth.wanted * heard[:, None, :], resolution)
    sold = _by_row(truth, truth.sold * heard[:, None, :], resolution)
    quiet = _by_row(truth, truth.wanted * ~heard[:, None, :], resolution)
    keys = sorted(shown)
    assert all(abs(shown[key].sold - sold[key]) < 1e-6 for key in keys), "the facts did not add up to the sales"
    true, unheard = (np.array([found[key] for key in keys]) for found in (seen, quiet))
    got = {name: np.array([_number(getattr(shown[key], name)) for key in keys])
           for name in ("demand", "demand_low", "demand_high", "lost", "silent")}
    known = np.isfinite(got["demand"])
    open_ = known & (got["lost"] > 0)
    inside = (got["demand_low"] <= true) & (true <= got["demand_high"])
    told = np.isfinite(got["silent"])
    silent_error = got["silent"][told] - unheard[told]
    wanted = true[known]
    error = got["demand"][known] - wanted
    return Judged(_percent(error, wanted), _percent(np.abs(error), wanted), 100 * float(inside[open_].mean()),
                  100 * (1 - sum(sold[key] for key in keys) / float(true.sum())),
                  _percent(silent_error, unheard[told]), _percent(np.abs(silent_error), unheard[told]),
                  float(unheard.sum()), int(known.sum()), int(open_.sum()))


def _percent(error: Floats, total: Floats) -> float:
    return 100 * float(error.sum()) / (float(total.sum()) or float("nan"))


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _by_row(truth: Truth, units: Floats, resolution: int) -> dict[tuple[str, str, int], float]:
    """Sums per cell, SKU and start of the day."""
    days = (truth.starts - MIDNIGHT) // DAY
    found: dict[tuple[str, str, int], float] = {}
    for day in np.unique(days):
        of_day = units[:, :, days == day].sum(2)
        for shop, cell in enumerate(truth.cells):
            for number, sku in enumerate(SKUS):
                key = h3.cell_to_parent(cell, resolution), sku, int(MIDNIGHT + day * DAY)
                found[key] = found.get(key, 0.0) + float(of_day[shop, number])
    return found
