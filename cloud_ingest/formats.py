"""The feed's rows as bytes, piece by piece: JSON, CSV, Parquet, Arrow, GeoJSON, and a table for people.

Every format has the same columns with the same names and units; what is not known is empty or null. None needs more
memory than the largest table it is given.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from cloud_ingest.grid import ring
from cloud_ingest.rows import COLUMNS, SCHEMA, FeedRow, rows_of

Tables = Iterator[pa.Table]
Bytes = Iterator[bytes]
PIECE = 10_000


def _json(found: Tables) -> Bytes:
    yield from _listed(b"[", found, msgspec.json.encode, b"]\n")


def _listed(head: bytes, found: Tables, encode: Callable[[FeedRow], bytes], tail: bytes) -> Bytes:
    yield head
    between = b""
    for table in found:
        for start in range(0, len(table), PIECE):
            yield between + b",".join(encode(row) for row in rows_of(table.slice(start, PIECE)))
            between = b","
    yield tail


def _csv(found: Tables) -> Bytes:
    yield ",".join(COLUMNS).encode() + b"\n"
    for table in found:
        sink = pa.BufferOutputStream()
        pa_csv.write_csv(table, sink, pa_csv.WriteOptions(include_header=False, quoting_style="needed"))
        yield sink.getvalue().to_pybytes()


class _Sink(io.RawIOBase):
    """A file that only goes forward and gives away what was written."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._length += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        return self._length

    def take(self) -> bytes:
        """What came since the last call."""
        taken, self._parts = b"".join(self._parts), []
        return taken


def _parquet(found: Tables) -> Bytes:
    sink = _Sink()
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd") as writer:
        for table in found:
            writer.write_table(table)
            yield sink.take()
    yield sink.take()


def _arrow(found: Tables) -> Bytes:
    sink = _Sink()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        for table in found:
            writer.write_table(table)
            yield sink.take()
    yield sink.take()


def _geojson(found: Tables) -> Bytes:
    rings: dict[str, msgspec.Raw] = {}

    def feature(row: FeedRow) -> bytes:
        if row.cell not in rings:
            rings[row.cell] = msgspec.Raw(msgspec.json.encode({"type": "Polygon", "coordinates": [ring(row.cell)]}))
        return msgspec.json.encode({"type": "Feature", "geometry": rings[row.cell], "properties": row})

    yield from _listed(b'{"type":"FeatureCollection","features":[', found, feature, b"]}\n")


def _table(found: Tables) -> Bytes:
    """For people; lines up over all rows, so it is for answers that a person reads."""
    rows = [row for table in found for row in rows_of(table)]
    table = Table(box=None, pad_edge=False, header_style="")
    for head in ("window (UTC)", "cell", "sku"):
        table.add_column(head, no_wrap=True)
    for head in ("sold", "back", "restocked", "in stock", "demand", "80%", "lost", "stores", "complete to"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        stock = "not known" if row.in_stock_share is None else f"{row.in_stock_share:.0%}"
        between = "" if row.demand_low is None else f"{_units(row.demand_low)}..{_units(row.demand_high)}"
        table.add_row(_utc(row.start), row.cell, row.sku, _units(row.sold), _units(row.put_back),
                      _units(row.restocked), stock, _units(row.demand), between, _units(row.lost),
                      f"{row.stores_reporting}/{row.stores_expected}", _utc(row.complete_to))
    text = io.StringIO()
    Console(file=text, width=200, highlight=False, color_system=None).print(table if rows else "no rows yet")
    yield "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()).encode()


def _units(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}"


def _utc(t: float | None) -> str:
    return "not known" if t is None else datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M")


FORMATS: dict[str, tuple[str, Callable[[Tables], Bytes]]] = {
    "json": ("application/json", _json),
    "csv": ("text/csv; charset=utf-8", _csv),
    "parquet": ("application/vnd.apache.parquet", _parquet),
    "arrow": ("application/vnd.apache.arrow.stream", _arrow),
    "geojson": ("application/geo+json", _geojson),
    "table": ("text/plain; charset=utf-8", _table),
}
"""Each format's media type, and how tables become its bytes."""
BINARY = ("parquet", "arrow")


def encode(found: Tables, form: str) -> Bytes:
    """The tables in a format of FORMATS."""
    return FORMATS[form][1](found)



def by_cell(table: pa.Table) -> dict[str, bytes]:
    """The rows of the table's newest window as one JSON list for each cell."""
    newest = pc.max(table["start"])
    found: dict[str, list[FeedRow]] = {}
    for row in rows_of(table.filter(pc.equal(table["start"], newest))):
        found.setdefault(row.cell, []).append(row)
    return {cell: msgspec.json.encode(rows) for cell, rows in found.items()}
