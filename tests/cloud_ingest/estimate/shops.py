"""Made-up shops for the estimator: series, windows, and a file in FreshRetailNet's format."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cloud_ingest.estimate.parameters import Parameters, read_parameters
from cloud_ingest.estimate.rows import Floats, Ints, Series, Windows

SHARES = np.array([0.1, 0.4, 0.2, 0.3])
SLOTS = len(SHARES)
SHIPPED = read_parameters()


def tuned(**changes: float) -> Parameters:
    """The shipped parameters with changes."""
    return msgspec.structs.replace(SHIPPED, **changes)


def series(stores: int, skus: int, regions: int = 1) -> Series:
    """Every SKU in every store, one category; series number is store * skus + sku."""
    store, sku = (part.reshape(-1) for part in np.meshgrid(np.arange(stores), np.arange(skus), indexing="ij"))
    return Series(store, sku, store % regions, np.zeros(skus, dtype=np.intp))


def windows(who: Ints, sold: Floats, in_stock: Floats, observed: Floats | None = None, day: int = 0,
            opened: Floats | None = None) -> Windows:
    """One day of some series; `sold`, `in_stock`, `observed` and `opened` are [series, slot]."""
    slots = sold.shape[1]
    size = sold.size
    seen = np.ones(sold.shape) if observed is None else observed
    hours = np.ones(sold.shape) if opened is None else opened
    return Windows(np.repeat(who, slots), np.full(size, day), np.full(size, day % 7),
                   np.tile(np.arange(slots), len(who)), sold.reshape(-1).astype(float),
                   in_stock.reshape(-1).astype(float), seen.reshape(-1).astype(float),
                   hours.reshape(-1).astype(float))


def full_day(who: Ints, units: Floats, day: int = 0) -> Windows:
    """A day without a stock-out that sells `units` a series, spread as SHARES."""
    sold = units[:, None] * SHARES
    return windows(who, sold, np.ones(sold.shape), day=day)


def write_panel(path: Path, seed: int = 1, days: int = 90, stores: int = 12, columns: tuple[str, ...] = ()) -> Path:
    """Poisson shops with evening stock-outs on a third of their days; `columns` are left out."""
    rng = np.random.default_rng(seed)
    hours = np.zeros(24)
    hours[6:] = rng.dirichlet(np.full(18, 4.0))
    rows: dict[str, list[object]] = {name: [] for name in ("city", "store", "cat3", "product", "dt", "sale", "so")}
    for store in range(stores):
        for product in range(3):
            level = rng.gamma(8, 2.0)
            for day in range(days):
                rate = level * (1.3 if day % 7 in {2, 3} else 1.0) * rng.gamma(20, 1 / 20)
                sold = rng.poisson(rate * hours)
                out = np.arange(24) >= (rng.integers(12, 22) if rng.random() < 0.33 else 24)
                values = (store % 2, 10 + store, product % 2, product, date(2024, 3, 28) + timedelta(day),
                          list(np.where(out, 0, sold) * 0.1), [int(flag) for flag in out])
                for name, value in zip(rows, values, strict=True):
                    rows[name].append(value)
    kinds = {"city": pa.uint8(), "store": pa.uint16(), "cat3": pa.uint16(), "product": pa.uint16(),
             "dt": pa.date32(), "sale": pa.list_(pa.float32()), "so": pa.list_(pa.uint8())}
    pq.write_table(pa.table({name: pa.array(column, kinds[name]) for name, column in rows.items()
                             if name not in columns}), path)
    return path
