"""FreshRetailNet-50K as a panel: hourly sales and stock-out flags of 90 days (Dingdong, arXiv 2505.16319).

Sales are scaled by their publisher and come in steps of 0.1; a step is taken as one unit here. Hours from 6 to 23 are
judged: before 6, there is next to no trade, and stock-outs last over night.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cloud_ingest.estimate.rows import Ints, Series, Windows
from edge.errors import ConfigError, Problem

if TYPE_CHECKING:
    import pyarrow as pa

HOURS = 24
OPENS = 6
SLOTS = HOURS - OPENS
STEP = 0.1
COLUMNS = ("city", "store", "cat3", "product", "dt", "sale", "so")
EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """`sold` (units) and `in_stock`, [series, day, slot]; `present` [series, day]; `store` has the file's numbers.

    `first_weekday` is that of day 0. A day that is not in the file is not present, and sold nothing.
    """

    series: Series
    store: Ints
    first_weekday: int
    sold: NDArray[np.float32]
    in_stock: NDArray[np.bool_]
    present: NDArray[np.bool_]

    @property
    def days(self) -> int:
        """Days from the first to the last in the file."""
        return int(self.sold.shape[1])


def read_panel(file: Path) -> Panel:
    """The panel in a Parquet file; ConfigError where it is none, naming the column."""
    import pyarrow as pa  # noqa: PLC0415  # slow to load, and only this reads Parquet
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        source = pq.ParquetFile(file)
        if missing := [name for name in COLUMNS if name not in source.schema_arrow.names]:
            raise _bad(file, *(Problem(name, "there is no such column") for name in missing))
        table = source.read(columns=list(COLUMNS))
    except (OSError, pa.ArrowException) as error:
        raise _bad(file, Problem("file", f"cannot be read as Parquet: {str(error).splitlines()[0]}")) from error
    if not table.num_rows:
        raise _bad(file, Problem("rows", "there are none"))
    return _panel(file, table)


def _panel(file: Path, table: pa.Table) -> Panel:
    city, store, category, product = (_numbers(file, table, name) for name in ("city", "store", "cat3", "product"))
    date = _dates(file, table)
    key = np.stack([city, store, product], 1)
    who, first, row = np.unique(key, axis=0, return_index=True, return_inverse=True)
    row = row.reshape(-1)
    day = date - date.min()
    size = len(who), int(day.max()) + 1
    flat = row * size[1] + day
    if len(np.unique(flat)) != len(flat):
        raise _bad(file, Problem("dt", "a store, product and day is there twice", "give each one row"))
    sold, out = _hours(file, table, "sale") / STEP, _hours(file, table, "so")
    panel_sold = np.zeros((size[0] * size[1], SLOTS), dtype=np.float32)
    in_stock, present = np.zeros(panel_sold.shape, dtype=bool), np.zeros(len(panel_sold), dtype=bool)
    in_stock[flat] = out[:, OPENS:] == 0
    panel_sold[flat] = np.where(in_stock[flat], np.round(sold[:, OPENS:]), 0.0)
    present[flat] = True
    return Panel(_series(who, category[first]), who[:, 1], (EPOCH_WEEKDAY + int(date.min())) % 7,
                 panel_sold.reshape(*size, SLOTS), in_stock.reshape(*size, SLOTS), present.reshape(size))


def _series(who: Ints, category: Ints) -> Series:
    (_, region), (_, store), (skus, sku) = (np.unique(who[:, column], return_inverse=True) for column in range(3))
    of_sku = np.zeros(skus.size, dtype=np.intp)
    of_sku[sku] = np.unique(category, return_inverse=True)[1]
    return Series(store, sku, region, of_sku)


def _numbers(file: Path, table: pa.Table, name: str) -> Ints:
    values = table[name].to_numpy()
    if values.dtype.kind not in "iu":
        raise _bad(file, Problem(name, f"holds {table[name].type}", "whole numbers without gaps"))
    return np.asarray(values, dtype=np.intp)


def _dates(file: Path, table: pa.Table) -> Ints:
    try:
        return np.asarray(table["dt"].to_numpy().astype("datetime64[D]").astype(np.int64), dtype=np.intp)
    except ValueError as error:
        raise _bad(file, Problem("dt", f"holds {table['dt'].type}", "dates")) from error


def _hours(file: Path, table: pa.Table, name: str) -> NDArray[np.float32]:
    column = table[name].combine_chunks()
    values = getattr(column, "flatten", lambda: column)()
    if len(values) != table.num_rows * HOURS or values.null_count or column.null_count:
        raise _bad(file, Problem(name, "does not hold 24 values in each row", "a list, one value an hour"))
    return np.asarray(values.to_numpy(), dtype=np.float32).reshape(-1, HOURS)


def _bad(file: Path, *problems: Problem) -> ConfigError:
    return ConfigError(str(file), problems)


def windows(panel: Panel, day: int, sold: NDArray[np.float32] | None = None,
            in_stock: NDArray[np.bool_] | None = None) -> Windows:
    """One day of the panel; `sold` and `in_stock` [series, slot] stand for what the panel has, where given."""
    rows = np.flatnonzero(panel.present[:, day])
    sales = panel.sold[:, day] if sold is None else sold
    stock = panel.in_stock[:, day] if in_stock is None else in_stock
    size = rows.size * SLOTS
    return Windows(
        np.repeat(rows, SLOTS), np.full(size, day), np.full(size, (panel.first_weekday + day) % 7),
        np.tile(np.arange(SLOTS), rows.size), sales[rows].reshape(-1).astype(float),
        stock[rows].reshape(-1).astype(float), np.ones(size), np.ones(size),
    )
