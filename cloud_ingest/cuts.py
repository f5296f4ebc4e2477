"""From the facts of one region and day to the rows that may be published: `cloud_ingest.privacy` on real columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from cloud_ingest.privacy import Area, Bools, Floats, Ints, grow, levels
from edge.wire import WINDOW_S

DAY_S = 86_400
WINDOWS = DAY_S // WINDOW_S
COARSEST = 5
MEASURES = ("sold", "put_back", "restocked", "lost", "variance")
"""Each is a table of its own: what is withheld of one does not touch the others. A row needs the first."""
FOLLOW = {"in_stock": "sold", "observed": "sold"}
"""Seconds go where their measure goes, so a sum of it may be known only where theirs may be, too."""
FACT_VALUES = (*MEASURES, *FOLLOW)
SILENT = "silent"
"""A table of other windows, those in which nothing was heard."""
ROW_VALUES = (*FACT_VALUES, SILENT)
DUST = 1e-9
"""Below this a number is what adding up in another order left."""
Key = tuple[int, int, int, int]
"""Window length (s), resolution, cell, start (s of the day)."""


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """Facts of one region, day and SKU, one row each: `shop` and `window` number them, `values` are by name.

    `paths` [shop, level] are the cells of all shops at resolutions 5 to 9. A value that is not known is nan.
    """

    paths: Ints
    shop: Ints
    window: Ints
    values: dict[str, Floats]


@dataclass(slots=True)
class Row:
    """A row by the values that may be known; `alone` are its shops that no finer row of its kind holds."""

    alone: int
    values: dict[str, float] = field(default_factory=dict)


def publishable(facts: Facts, quiet: Facts | None = None) -> dict[Key, Row]:
    """The rows of one SKU; none where its region may not be published. `quiet` has its silent units."""
    rows: dict[Key, Row] = {}
    for measure in MEASURES:
        names = [measure, *(name for name, lead in FOLLOW.items() if lead == measure)]
        for key, area, values in _measured(facts, measure, names):
            if measure == MEASURES[0]:
                rows[key] = Row(_alone(area))
            if key in rows:
                rows[key].values |= values
        if not rows:
            return rows
    if quiet is not None:
        for key, _, values in _measured(quiet, SILENT, [SILENT]):
            if key in rows:
                rows[key].values |= values
    return rows


def _measured(facts: Facts, measure: str, names: list[str]) -> Iterator[tuple[Key, Area, dict[str, float]]]:
    """Each sum that may be known of a measure, with those of `names` that are known at all."""
    tables = {name: table for name in names if (table := _dense(facts, name)) is not None}
    if measure not in tables or any(_mixed(facts.values[name]) for name in tables):
        return
    data = _told(facts, measure, names)
    there = np.flatnonzero(data.any(axis=1))
    if not len(there):
        return
    beside = [table for name, table in tables.items() if name != measure]
    for level in levels(tables[measure], data, grow(facts.paths, there, COARSEST), beside=beside):
        length = level.window * WINDOW_S
        for area in level.root.walk():
            if area.cell is None:
                continue
            for span in level.spans:
                if span.start is not None:
                    part = np.ix_(area.shops, span.windows)
                    yield ((length, area.resolution, area.cell, span.start * length), area,
                           {name: float(table[part].sum()) for name, table in tables.items()})


def _told(facts: Facts, measure: str, names: list[str]) -> Bools:
    """Which shops have data on a measure, in which windows: it is known there, and something was seen or happened.

    Who only told of a delivery, or was blind, is no shop that sold nothing.
    """
    happened = np.zeros(len(facts.shop), dtype=bool)
    for name in {*names, "observed"} & facts.values.keys():
        happened |= np.abs(np.nan_to_num(facts.values[name])) > DUST
    some = happened & ~np.isnan(facts.values[measure])
    data = np.zeros((len(facts.paths), WINDOWS), dtype=bool)
    data[facts.shop[some], facts.window[some]] = True
    return data


def _dense(facts: Facts, name: str) -> Floats | None:
    """The values as [shop, window]; None where nothing of it is known. What is not known in a row counts as none."""
    values = facts.values[name]
    known: Bools = ~np.isnan(values)
    if not known.any():
        return None
    table = np.zeros((len(facts.paths), WINDOWS))
    np.add.at(table, (facts.shop[known], facts.window[known]), values[known])
    return table


def _mixed(values: Floats) -> bool:
    """Whether some are above 0 and some below: their sums cancel, and the rule is one of sizes."""
    return bool(np.nanmin(values) < -DUST and np.nanmax(values) > DUST)


def _alone(area: Area) -> int:
    """Shops that stand in no finer row of the level; none at the finest resolution, which has no finer ones."""
    if area.resolution == COARSEST + 4:
        return 0
    if not area.parts:
        return len(area.shops)
    return sum(len(part.shops) for part in area.parts if part.cell is None)
