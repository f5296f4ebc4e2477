"""The columns the estimator works on: series, windows, days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
WEEKDAYS = 7


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Who sells what where: one entry per (store, SKU).

    `store`, `sku` and `region` are numbers from 0; `category` has one entry per SKU. A region is the area within
    which a SKU's day is taken to run alike, such as the H3 cell of resolution 5.
    """

    store: Ints
    sku: Ints
    region: Ints
    category: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Facts per series and window, one row each, in any order.

    `series` points into Series; `day`, `weekday` (Monday is 0) and `slot` (0 at local midnight) are local time, see
    `local.local_slots`. `sold` is units. `in_stock`, `observed` and `opened` are parts of the window, 0..1: in
    opening hours and on the shelf, in opening hours and observed, in opening hours; none is above the next. A series
    that sent nothing on a window has a row too, with 0 observed, for its silence to be estimated.
    """

    series: Ints
    day: Ints
    weekday: Ints
    slot: Ints
    sold: Floats
    in_stock: Floats
    observed: Floats
    opened: Floats


    def of(self, rows: Ints | Bools) -> Windows:
        """Some of the rows."""
        return Windows(*(getattr(self, field.name)[rows] for field in fields(self)))


def join(parts: Sequence[Windows]) -> Windows:
    """One after the other, as those of several time zones."""
    return Windows(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Windows)))


def by_day(windows: Windows) -> Iterator[Windows]:
    """The windows of each local day, the oldest day first."""
    order = np.argsort(windows.day, kind="stable")
    edges = np.flatnonzero(np.diff(windows.day[order])) + 1
    yield from (windows.of(rows) for rows in np.split(order, edges) if rows.size)


@dataclass(frozen=True, slots=True, eq=False)
class Days:
    """The windows of one local day, summed per series: one row per series.

    `sold` is units; `seen`, `gap` and `silent` are exposures, the parts of a usual day's sales that fell into time in
    stock, out of stock, and not observed. On a day that is open as long as the longest they add up to 1; on one with a
    repeated hour, when summer time ends, to a little more.
    """

    series: Ints
    weekday: int
    sold: Floats
    seen: Floats
    gap: Floats
    silent: Floats


def grouped(index: Ints, values: Floats, size: int) -> Floats:
    """The sums of `values` per number in `index`: an array of `size`."""
    return np.asarray(np.bincount(index, weights=values, minlength=size), dtype=np.float64)


def grouped_rows(index: Ints, table: Floats, size: int) -> Floats:
    """The sums of a table's rows per number in `index`."""
    out = np.zeros((size, *table.shape[1:]))
    np.add.at(out, index, table)
    return out


def count(index: Ints) -> int:
    """How many numbers an index of 0, 1, ... needs."""
    return int(index.max()) + 1 if index.size else 0
