"""The feed's one schema: a row's columns, their meaning and their units, for every way out."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import pyarrow as pa

Scope = Literal["public", "operator"]
MEANING = {
    "cell": "H3 cell (h3geo.org), 15 hexadecimal digits",
    "sku": "The SKU, a GTIN where it exists; facts under a name that was replaced count for the new one",
    "start": "Start of the window, Unix seconds; a window holds the facts whose event time lies in it",
    "window_s": "Length of the window, seconds; windows are aligned to the Unix epoch, so days are days of UTC",
    "covered_s": "Seconds of the window that the row adds up; less where single hours of a longer window are withheld",
    "sold": "Units that left the shelf and were not put back in time",
    "put_back": "Units put back",
    "restocked": "Units put on the shelf by the shop",
    "in_stock": "Seconds, in opening hours and observed, with the SKU on the shelf, summed over shops",
    "observed": "Seconds, in opening hours, observed, summed over shops",
    "in_stock_share": "in_stock / observed, 0..1; null: nothing was observed",
    "demand": "Units wanted in the time observed: sold + lost; null: not known, as where nobody was heard, or withheld",
    "demand_low": "Lower end of the 80% interval of demand, units",
    "demand_high": "Upper end of the 80% interval of demand, units",
    "lost": "Units wanted while the shelf was empty, estimated",
    "silent": "Units wanted in opening hours where nothing was observed, estimated; in no other column",
    "stores_expected": "Shops registered in the cell and open at some time of the window",
    "stores_reporting": "Of these, shops that sent facts on the window, on whatever SKU",
    "complete_to": "Unix seconds up to which every shop of the cell has delivered; null: one never has; in public by "
                   "quarter hours, and at most the end of the day",
    "revision": "Grows with each change of the row's facts; 0: there are none. Estimates lean on all facts of their "
                "day, and move a little with them",
    "withheld": "Columns that are withheld here and in rows of coarser cells or longer windows instead, by blanks",
    "withheld_stores": "Shops of this row that stand in no row of finer cells for this SKU and window length",
}


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One SKU in one H3 cell and one window of event time; MEANING has the columns' meaning and units."""

    cell: str
    sku: str
    start: int
    window_s: int
    covered_s: int
    sold: float
    put_back: float | None
    restocked: float | None
    in_stock: float
    observed: float
    in_stock_share: float | None
    demand: float | None
    demand_low: float | None
    demand_high: float | None
    lost: float | None
    silent: float | None
    stores_expected: int
    stores_reporting: int
    complete_to: float | None
    revision: int
    withheld: str
    withheld_stores: int

    @property
    def heard(self) -> bool:
        """Whether any shop sent facts; else the row tells what silent ones would have sold, and how many they are."""
        return self.observed > 0 or self.sold > 0 or bool(self.put_back) or bool(self.restocked)


COLUMNS = tuple(field.name for field in fields(FeedRow))
_KINDS = {"cell": pa.string(), "sku": pa.string(), "start": pa.int64(), "window_s": pa.int32(),
          "covered_s": pa.int32(), "revision": pa.int64(), "stores_expected": pa.int32(),
          "stores_reporting": pa.int32(), "withheld": pa.string(), "withheld_stores": pa.int32()}
SCHEMA = pa.schema([pa.field(name, _KINDS.get(name, pa.float64()), metadata={"meaning": MEANING[name]})
                    for name in COLUMNS])


def rows_of(table: pa.Table) -> list[FeedRow]:
    """The rows of a table of SCHEMA."""
    columns = [table.column(name).to_pylist() for name in COLUMNS]
    return [FeedRow(*values) for values in zip(*columns, strict=True)]
