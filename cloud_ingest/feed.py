"""The demand feed: rows per H3 cell, SKU and window, read from the ingest's database, as a file or a table."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from cloud_ingest.demand import DemandRow, demand, share
from cloud_ingest.store.versions import VERSION
from edge.errors import ConfigError, Problem, StoreError
from edge.wire import WINDOW_S

RESOLUTIONS = (5, 6, 7, 8, 9)
MAX_WINDOW_S = 366 * 86_400
COLUMNS = tuple(field.name for field in fields(DemandRow))
Format = Literal["table", "csv", "json", "parquet"]
MEDIA = {"csv": "text/csv; charset=utf-8", "json": "application/json", "parquet": "application/vnd.apache.parquet"}

# Written with a resolution from RESOLUTIONS only; every other value is a parameter.
_QUERY = """
WITH cell AS (
    SELECT store.r{r} AS id, count(DISTINCT store.id) AS stores,
           CASE WHEN count(*) = count(progress.complete_to) THEN min(progress.complete_to) END AS complete_to
    FROM store LEFT JOIN progress ON progress.store = store.id GROUP BY store.r{r}
), heard AS (
    SELECT store.r{r} AS cell, flow.window / :window * :window AS start, count(DISTINCT flow.store) AS stores
    FROM flow JOIN store ON store.id = flow.store
    WHERE flow.window >= :since AND flow.window < :until AND (:cell IS NULL OR store.r{r} = :cell)
    GROUP BY 1, 2
)
SELECT cell.id, flow.sku, flow.window / :window * :window AS start, sum(flow.sold), sum(flow.put_back),
       sum(flow.restocked), sum(flow.in_stock), sum(flow.observed), cell.stores, heard.stores,
       cell.complete_to
FROM flow JOIN store ON store.id = flow.store JOIN cell ON cell.id = store.r{r}
     JOIN heard ON heard.cell = cell.id AND heard.start = flow.window / :window * :window
WHERE flow.window >= :since AND flow.window < :until
  AND (:sku IS NULL OR flow.sku = :sku) AND (:cell IS NULL OR cell.id = :cell)
GROUP BY cell.id, flow.sku, heard.start
ORDER BY heard.start DESC, cell.id, flow.sku
"""


@contextlib.contextmanager
def reading(db: Path) -> Iterator[sqlite3.Connection]:
    """The ingest's database, read-only; StoreError where it is missing or is none."""
    if not db.exists():
        raise StoreError(str(db), "there is no such database", "name the file of `cornergrid-cloud run --db`")
    try:
        address = f"{db.resolve().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=10)) as connection:
            version = connection.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()[0]
            if version != VERSION:
                raise StoreError(str(db), f"is version {version}, this program reads {VERSION}",
                                 "start `cornergrid-cloud run` on it once, which brings an older one up to date")
            yield connection
    except sqlite3.Error as error:
        raise StoreError(str(db), f"cannot be read: {error}", "name the file of `cornergrid-cloud run --db`") from error


def read_feed(db: Path, resolution: int = 8, window_s: int = WINDOW_S, sku: str | None = None,
              cell: str | None = None, since: float | None = None, until: float | None = None) -> list[DemandRow]:
    """The feed's rows, newest first.

    `window_s` is a multiple of 900 s, `since` and `until` are Unix seconds and widened to whole windows.
    ConfigError for a resolution or window that is not to be had, StoreError for the database.
    """
    if resolution not in RESOLUTIONS:
        raise _bad("resolution", f"{resolution} is not stored", "use 5, 6, 7, 8 or 9")
    if window_s <= 0 or window_s % WINDOW_S or window_s > MAX_WINDOW_S:
        raise _bad("window", f"{window_s} s is no multiple of {WINDOW_S // 60}m", "use 15m, 30m, 1h or 1d")
    given = {
        "window": window_s, "sku": sku, "cell": cell,
        "since": -(2**62) if since is None else int(since // window_s) * window_s,
        "until": 2**62 if until is None else -int(-until // window_s) * window_s,
    }
    with reading(db) as connection:
        return [_row(found, window_s) for found in connection.execute(_QUERY.format(r=resolution), given)]


def latest_window(db: Path, window_s: int = WINDOW_S) -> int | None:
    """The start of the newest window that has facts; None before the first."""
    with reading(db) as connection:
        newest = connection.execute("SELECT max(window) FROM flow").fetchone()[0]
    return None if newest is None else int(newest) // window_s * window_s


def _row(found: tuple[str, str, int, float, float, float, float, float, int, int, float | None],
         window_s: int) -> DemandRow:
    cell, sku, start, sold, put_back, restocked, in_stock, observed, expected, reporting, complete_to = found
    wanted = demand(sold, in_stock, observed)
    return DemandRow(cell, sku, start, window_s, sold, put_back, restocked, in_stock, observed,
                     share(in_stock, observed), wanted, None if wanted is None else wanted - sold,
                     expected, reporting, complete_to)


def parse_window(text: str) -> int:
    """Seconds from `15m`, `2h` or `1d`; ConfigError for anything else."""
    match = re.fullmatch(r"(\d{1,6})([mhd])", text.strip())
    if match is None:
        raise _bad("window", f"{text!r} is no duration", "use 15m, 30m, 1h or 1d")
    return int(match[1]) * {"m": 60, "h": 3600, "d": 86_400}[match[2]]


def parse_time(text: str | None) -> float | None:
    """Unix seconds from Unix seconds or an ISO 8601 time (UTC where it names no zone); ConfigError otherwise."""
    if text is None:
        return None
    try:
        if re.fullmatch(r"\d{1,11}(\.\d+)?", text):
            return float(text)
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise _bad("since", f"{text!r} is no time", "use 2026-03-02T08:00 (UTC) or Unix seconds") from error


def _bad(key: str, wrong: str, fix: str) -> ConfigError:
    return ConfigError("feed", (Problem(key, wrong, fix),))


def render(rows: Sequence[DemandRow], form: str) -> bytes:
    """The rows as a `table` for people, or as `csv`, `json` or `parquet`; what is not known is empty or null."""
    if form == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([getattr(row, name) for name in COLUMNS] for row in rows)
        return text.getvalue().encode()
    if form == "json":
        return msgspec.json.encode(rows) + b"\n"
    if form == "parquet":
        return _parquet(rows)
    return _table(rows)


def _parquet(rows: Sequence[DemandRow]) -> bytes:
    import pyarrow as pa  # noqa: PLC0415  # slow to load, and only this format needs it
    import pyarrow.parquet as pq  # noqa: PLC0415

    kinds = {"cell": pa.string(), "sku": pa.string(), "start": pa.int64(), "window_s": pa.int32(),
             "stores_expected": pa.int32(), "stores_reporting": pa.int32()}
    schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in COLUMNS])
    table = pa.table({name: [getattr(row, name) for row in rows] for name in COLUMNS}, schema=schema)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _table(rows: Sequence[DemandRow]) -> bytes:
    table = Table(box=None, pad_edge=False, header_style="")
    for head in ("window (UTC)", "cell", "sku"):
        table.add_column(head, no_wrap=True)
    for head in ("sold", "back", "restocked", "in stock", "demand", "lost", "stores", "complete to"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        stock = "not known" if row.in_stock_share is None else f"{row.in_stock_share:.0%}"
        table.add_row(_utc(row.start), row.cell, row.sku, _units(row.sold), _units(row.put_back),
                      _units(row.restocked), stock, _units(row.demand), _units(row.lost),
                      f"{row.stores_reporting}/{row.stores_expected}", _utc(row.complete_to))
    text = io.StringIO()
    Console(file=text, width=200, highlight=False, color_system=None).print(table if rows else "no rows yet")
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()).encode()


def _units(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}"


def _utc(t: float | None) -> str:
    return "not known" if t is None else datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M")


def register(app: typer.Typer) -> None:
    """Add the command `feed` to the cloud's command line."""
    app.command("feed")(_feed)


def _feed(
    db: Annotated[Path, typer.Option("--db", help="The ingest's database file.")] = Path("cloud.db"),
    resolution: Annotated[int, typer.Option(help="H3 resolution, 5 (coarse) to 9 (fine).")] = 8,
    window: Annotated[str, typer.Option(help="Length of a window: a multiple of 15m, like 15m, 1h or 1d.")] = "15m",
    form: Annotated[Format, typer.Option("--format", help="How to write the rows.")] = "table",
    sku: Annotated[str | None, typer.Option(help="Only this SKU.")] = None,
    cell: Annotated[str | None, typer.Option(help="Only this H3 cell.")] = None,
    since: Annotated[str | None, typer.Option(help="From this time on: ISO 8601 (UTC) or Unix seconds.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of the terminal.")] = None,
) -> None:
    """Demand per H3 cell, SKU and window, newest first.

    Example: `cornergrid-cloud feed --db cloud.db --resolution 8 --window 1h --format parquet --out feed.parquet`
    """
    if form == "parquet" and out is None and sys.stdout.isatty():
        raise _bad("format", "parquet is not for a terminal", "add --out feed.parquet, or send it into a pipe")
    data = render(read_feed(db, resolution, parse_window(window), sku, cell, parse_time(since)), form)
    if out is None:
        typer.echo(data, nl=False)
        return
    try:
        out.write_bytes(data)
    except OSError as error:
        raise _bad("out", f"{out}: {error.strerror}", "name a file in a writable folder") from error
