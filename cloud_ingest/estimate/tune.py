"""Choose the parameters on half of the shops of a file, so that the other half can judge them.

One after the other: what is pooled and how long the past counts, by the mean WAPE; the prior, by the mean WAPE among
those whose bias stays within BIAS; the variances, so that the 80% intervals cover 80%. Siblings and SKUs of all shops
are seen, as they will be in use; judged are the shops of one half.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from itertools import product

import msgspec
import numpy as np

from cloud_ingest.estimate.evaluate import SEED, Score, Sheet, Tick, cell_score, covered, only, series_score, sheets
from cloud_ingest.estimate.freshretail import Panel
from cloud_ingest.estimate.parameters import Parameters
from cloud_ingest.estimate.posterior import interval, posterior
from cloud_ingest.estimate.rows import Bools

BIAS = {"random": 1.2, "driven": 1.5, "cells": 1.2}
"""Percent; the prior must keep within, so that shops it never saw keep within what is asked: 2, 3 and 2."""
STRUCTURE: dict[str, tuple[float, ...]] = {
    "category_units": (20, 50, 200),
    "sku_units": (30, 60, 150),
    "weekday_units": (50, 200, 1000),
    "memory_days": (15, 30, 60),
    "level_days": (1, 2, 4),
    "today_all_units": (20, 50, 200),
    "today_region_units": (50, 100, 300),
    "today_sku_units": (50, 100, 300),
    "today_both_units": (20, 50, 150),
    "today_store_units": (100, 200, 500),
}
PRIORS = tuple(product((0.5, 1.0, 1.5, 2.0, 3.0, 5.0), (0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.7)))
SPREADS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16)
COVER = 80.0
LARGE = 10
"""What a cell's series share rules the intervals of cells of at least so many."""
COVER_HALVES = 81.0
"""With half of the shops, cells have half of their series: whole cells were covered 1 to 2 less often."""
STEPS = 2 + sum(len(values) - 1 for values in STRUCTURE.values())


def choosing(panel: Panel) -> Bools:
    """Which series are in shops that the parameters are chosen on: the even half by CRC-32 of the shop's number."""
    return np.array([zlib.crc32(str(number).encode()) % 2 == 0 for number in panel.store])


def scores(found: dict[str, Sheet], parameters: Parameters) -> dict[str, Score]:
    """The three rows that are judged."""
    return {"random": series_score(found["random"], parameters), "driven": series_score(found["driven"], parameters),
            "cells": cell_score(found["driven"], parameters)}


def half(found: dict[str, Sheet], chosen: Bools) -> dict[str, Sheet]:
    """The sheets of some series."""
    return {kind: only(sheet, chosen[sheet.days.series]) for kind, sheet in found.items()}


def fit(panel: Panel, start: Parameters, tick: Tick, seed: int = SEED) -> Parameters:
    """The parameters chosen on half of the shops, from `start` on."""
    mine = choosing(panel)

    def look(parameters: Parameters) -> dict[str, Sheet]:
        tick("going through the judged days")
        return half(sheets(panel, parameters, lambda _: None, seed), mine)

    best = _structure(start, look)
    found = look(best)
    best = _prior(best, found)
    best = _variance(best, found)
    return _common(best, found)


def _structure(start: Parameters, look: Callable[[Parameters], dict[str, Sheet]]) -> Parameters:
    best, least = start, _wape(scores(look(start), start))
    for name, values in STRUCTURE.items():
        for value in values:
            if value == getattr(start, name):
                continue
            tried = msgspec.structs.replace(best, **{name: value})
            if (found := _wape(scores(look(tried), tried))) < least:
                best, least = tried, found
    return best


def _prior(start: Parameters, found: dict[str, Sheet]) -> Parameters:
    tried = [msgspec.structs.replace(start, prior_units=units, prior_share=share) for units, share in PRIORS]
    return min(tried, key=lambda parameters: _cost(scores(found, parameters)))


def _cost(found: dict[str, Score]) -> float:
    """Mean WAPE, and a wall at the bias allowed."""
    over = sum(max(0.0, abs(found[row].bias) - allowed) for row, allowed in BIAS.items())
    return _wape(found) + 100 * over


def _wape(found: dict[str, Score]) -> float:
    return float(np.nanmean([row.wape for row in found.values()]))


def _variance(start: Parameters, found: dict[str, Sheet]) -> Parameters:
    """`noise` covers 80% for each `spread`; the spread whose coverage depends least on how much a series sells."""
    tried = [_noise(msgspec.structs.replace(start, spread=spread), found) for spread in SPREADS]
    return min(tried, key=lambda parameters: _unevenness(found.values(), parameters))


def _noise(start: Parameters, found: dict[str, Sheet]) -> Parameters:
    def cover(value: float) -> float:
        tried = msgspec.structs.replace(start, noise=value)
        return float(np.mean([_cover(sheet, tried) for sheet in found.values()]))

    return msgspec.structs.replace(start, noise=_solve(cover, 0.5, 8.0))


def _common(start: Parameters, found: dict[str, Sheet]) -> Parameters:
    """A file of few shops, without large cells, leaves it as it was."""
    def cover(value: float) -> float:
        tried = msgspec.structs.replace(start, common=value)
        return float(np.mean([cell_score(sheet, tried, LARGE).coverage80 or 0.0 for sheet in found.values()]))

    if np.isnan(cover(start.common)):
        return start
    return msgspec.structs.replace(start, common=_solve(cover, 0.0, 0.2, COVER_HALVES))


def _cover(sheet: Sheet, parameters: Parameters) -> float:
    part = posterior(sheet.days, sheet.expected, parameters)
    low, high = interval(part.lost, part.variance, whole=parameters.whole)
    rows = sheet.censored
    return covered(sheet.true[rows], (part.sold + low)[rows], (part.sold + high)[rows])


def _unevenness(found: Iterable[Sheet], parameters: Parameters) -> float:
    total = 0.0
    for sheet in found:
        edges = np.quantile(sheet.expected, np.linspace(0, 1, 7)[1:-1])
        group = np.digitize(sheet.expected, edges)
        total += sum(abs(_cover(only(sheet, group == number), parameters) - COVER) for number in range(6))
    return total


def _solve(cover: Callable[[float], float], low: float, high: float, aim: float = COVER) -> float:
    """Where a coverage that grows with its parameter reaches `aim`, by bisection, to three digits."""
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (low, middle) if cover(middle) >= aim else (middle, high)
    return float(f"{(low + high) / 2:.3g}")
