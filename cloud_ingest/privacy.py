"""What of a day may be published, so that nobody can work out a single shop's numbers: pure rules, no input or output.

**The rule.** A sum may be known where at least SHOPS shops have data in it and no two of them hold over DOMINANT of it.

**What is published.** One SKU, one day, one region (an H3 cell of resolution 5), one measure such as units sold. Its
data are a table of shops by quarter hours; a shop has data where the measure is known and anything was seen or moved.
What is published by the same cuts, as the seconds in stock and observed are with the units sold, holds the rule in
the same sums. Three *levels* are cut, from fine in space and coarse in time to the other way round: days, hours,
quarters. Each level cuts the shops into areas and the day into spans, and every sum of an area over a span holds the
rule. An area is a cell, or what is left of a cell when its other children are cells of their own: where a child
fails, all failing children go together into that rest, and if the rest fails too, the smallest passing child goes
with it, and so on; where no child is left, the cell is not cut. So a sum that fails rolls up to its parent, and no
subtraction from the parent gives it back. Spans of hours and quarters are cut in the same way. The levels are nested:
the areas of hours are unions of areas of days, the spans of hours unions of spans of quarters. And every area of days
has data of SHOPS shops in every span of quarters. Published rows are sums of these.

**Why that is enough.** Whoever adds and subtracts published rows gets f(a, t) = u(a) + v(b, s) + w(c, t) as the weight
of the data of area a (of days) in span t (of quarters), where b and c are the areas of hours and of quarters around a,
and s the hour span around t.
1. f is the same for all data within a x t. Where it is not 0 it therefore takes in all of some a x t: SHOPS shops.
2. A sum of data has f >= 0. Move the least u within each b into v: u >= 0. Move the least v within each c and s into
   w: v >= 0. At the place where both least ones were, f = w, so w >= 0. (Every a x t has data, so f >= 0 says
   something about each.) So f is a sum of published sums with weights >= 0; each holds the rule, and where no two
   shops hold over 85% of each part, no two hold over 85% of the whole.
3. Other SKUs, days, regions and measures are other data; none of their sums mixes with these.
4. Late data are published as a table of their own by the same cuts (`cloud_ingest.release`), so the difference of two
   revisions is a sum of that table, of which 1. and 2. hold again.

What this does not hide: that an area fails, how many shops it has and how many were heard, and bounds that follow
from sums of numbers that are never negative. A row of 0 units is published like any other and says that each of its
shops sold none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

SHOPS = 5
DOMINANT = 0.85
SLACK = 1e-9
"""Of a sum: what adding up in another order may change."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
P = TypeVar("P")


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """Shops that are summed together: the cell `cell` at `resolution`, or, with `cell` None, the rest of its parent."""

    cell: int | None
    resolution: int
    shops: Ints
    parts: tuple[Area, ...] = ()

    def walk(self) -> Iterator[Area]:
        """This area and all below, the coarse first."""
        yield self
        for part in self.parts:
            yield from part.walk()


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """Windows that are summed together; `start` is the number of the hour or quarter that it is, None for a rest."""

    start: int | None
    windows: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """The areas below `root`, each published over each of `spans` that has a start; see the module."""

    window: int
    root: Area
    spans: tuple[Span, ...]


def holds(values: Floats, data: Bools) -> Bools:
    """Whether each column's sum over the rows, one for each shop, may be known; what is negative counts by its size."""
    if len(values) < SHOPS:
        return np.zeros(values.shape[1], dtype=bool)
    size = np.abs(values)
    largest = np.partition(size, len(size) - 2, axis=0)[-2:].sum(axis=0)
    allowed: Bools = (data.sum(axis=0) >= SHOPS) & (largest <= DOMINANT * size.sum(axis=0) * (1 + SLACK))
    return allowed


def levels(values: Floats, data: Bools, tree: Area, quarters: int = 4, beside: Sequence[Floats] = ()
           ) -> tuple[Level, ...]:
    """The levels of one table, days first; fewer where hours or quarters cannot be had, none where nothing can.

    `values` and `data` are [shop, window], over whole hours of `quarters` windows; `tree` holds the numbers of the
    rows that have data, as `grow` makes it. Sums of `beside` are published by the same cuts, so they hold the rule too.
    """
    everyone = tree.shops
    windows = np.flatnonzero(data[everyone].any(axis=0))
    whole, every = Span(0, windows), (values, *beside)
    if not _passes(every, data, [whole])(everyone):
        return ()
    finer = _spans(every, data, everyone, windows, quarters)
    enough = _counts(data, [(whole,), *finer][-1])
    made: list[Level] = []
    for window, cut in zip((quarters * 24, quarters, 1), ((whole,), *finer), strict=False):
        fits = _passes(every, data, cut)
        tree = _cut(tree, lambda shops, fits=fits: fits(shops) and enough(shops))  # type: ignore[misc]  # typed above
        made.append(Level(window, tree, cut))
    return tuple(made)


def grow(paths: Ints, rows: Ints, first: int) -> Area:
    """The tree over `rows` of `paths` [shop, level]: each shop's cell at resolutions `first`, `first` + 1, ..."""
    return _grow(paths, rows, 0, first)


def _grow(paths: Ints, rows: Ints, level: int, first: int) -> Area:
    parts: tuple[Area, ...] = ()
    if level + 1 < paths.shape[1]:
        cells = paths[rows, level + 1]
        parts = tuple(_grow(paths, rows[cells == cell], level + 1, first) for cell in np.unique(cells))
    return Area(int(paths[rows[0], level]), first + level, rows, parts)


def _spans(every: Sequence[Floats], data: Bools, shops: Ints, windows: Ints, quarters: int) -> list[tuple[Span, ...]]:
    """The spans of hours, and of quarters within them; none where there is nothing to cut."""
    mine, there = [values[shops] for values in every], data[shops]

    def passes(part: Span) -> bool:
        heard = _any(there, [part])
        return all(bool(holds(_sums(values, [part]), heard)[0]) for values in mine)

    def weight(part: Span) -> float:
        return float(np.abs(mine[0][:, part.windows]).sum())

    hours = _partition(_chop(windows, quarters), passes, weight, _merge_spans)
    if hours is None:
        return []
    cut: list[Span] = []
    for hour in hours:
        smaller = None if hour.start is None else _partition(_chop(hour.windows, 1), passes, weight, _merge_spans)
        cut += [Span(None, hour.windows)] if smaller is None else smaller
    return [tuple(hours), tuple(cut)]


def _chop(windows: Ints, length: int) -> list[Span]:
    starts = windows // length
    return [Span(int(start), windows[starts == start]) for start in np.unique(starts)]


def _merge_spans(spans: Sequence[Span]) -> Span:
    return Span(None, np.concatenate([span.windows for span in spans]))


def _cut(area: Area, fits: Callable[[Ints], bool]) -> Area:
    """The area with as many parts as fit; one part alone is the area itself under a finer name."""
    parts = _partition(area.parts, lambda part: fits(part.shops), lambda part: float(len(part.shops)), _merge_areas)
    return Area(area.cell, area.resolution, area.shops, tuple(_cut(part, fits) for part in parts or ()))


def _merge_areas(areas: Sequence[Area]) -> Area:
    return Area(None, areas[0].resolution, np.concatenate([area.shops for area in areas]))


def _partition(parts: Sequence[P], fits: Callable[[P], bool], weight: Callable[[P], float],
               merge: Callable[[Sequence[P]], P]) -> list[P] | None:
    """The parts that fit, and one rest of those that do not, which fits too; None where no part would be left."""
    good: list[P] = []
    bad: list[P] = []
    for part in parts:
        (good if fits(part) else bad).append(part)
    good.sort(key=weight, reverse=True)
    while bad:
        rest = merge(bad)
        if fits(rest):
            return [*good, rest] if good else None
        if not good:
            return None
        bad.append(good.pop())
    return good or None


def _passes(every: Sequence[Floats], data: Bools, spans: Sequence[Span]) -> Callable[[Ints], bool]:
    """Whether given shops hold the rule in every span, by each of the tables."""
    sums, there = [_sums(values, spans) for values in every], _any(data, spans)
    return lambda shops: all(bool(holds(each[shops], there[shops]).all()) for each in sums)


def _counts(data: Bools, spans: Sequence[Span]) -> Callable[[Ints], bool]:
    """Whether enough of given shops have data in every span."""
    there = _any(data, spans)
    return lambda shops: bool((there[shops].sum(axis=0) >= SHOPS).all())


def _sums(values: Floats, spans: Sequence[Span]) -> Floats:
    return np.stack([values[:, span.windows].sum(axis=1) for span in spans], axis=1)


def _any(data: Bools, spans: Sequence[Span]) -> Bools:
    return np.stack([data[:, span.windows].any(axis=1) for span in spans], axis=1)
