"""The feed from a terminal: show it, publish it, export it, hand it to a broker."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from edge.clock import SystemClock
from edge.errors import ConfigError, Problem

Format = Literal["table", "csv", "json", "parquet", "arrow", "geojson"]
Scope = Literal["public", "operator"]
Database = Annotated[Path, typer.Option("--db", help="The ingest's database file.")]
ScopeOption = Annotated[Scope, typer.Option(help="public: what is published; operator: everything, nothing withheld.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
err = Console(stderr=True, highlight=False)


def register(app: typer.Typer) -> None:
    """Add the command `feed` and those below it to the cloud's command line."""
    feed = typer.Typer(invoke_without_command=True, rich_markup_mode="markdown")
    feed.callback()(_show)
    feed.command("publish")(_publish)
    feed.command("export")(_export)
    feed.command("mqtt")(_mqtt)
    feed.command("signals")(_signals)
    feed.command("schema")(_schema)
    app.add_typer(feed, name="feed")


def _show(  # noqa: PLR0913, PLR0917  # one argument for each option
    context: typer.Context,
    db: Database = Path("cloud.db"),
    scope: ScopeOption = "public",
    resolution: Annotated[int, typer.Option(help="H3 resolution, 5 (coarse) to 9 (fine).")] = 8,
    window: Annotated[str, typer.Option(help="Length of a window: a multiple of 15m, like 15m, 1h or 1d.")] = "15m",
    form: Annotated[Format, typer.Option("--format", help="How to write the rows.")] = "table",
    sku: Annotated[list[str] | None, typer.Option(help="Only this SKU; may be repeated.")] = None,
    category: Annotated[str | None, typer.Option(help="Only SKUs of this category.")] = None,
    cell: Annotated[str | None, typer.Option(help="Only within this H3 cell, or around it.")] = None,
    bbox: Annotated[str | None, typer.Option(help="Only within west,south,east,north (degrees).")] = None,
    polygon: Annotated[str | None, typer.Option(help="Only within lon,lat;lon,lat;... or a GeoJSON file.")] = None,
    since: Annotated[str | None, typer.Option(help="From this time on: ISO 8601 (UTC) or Unix seconds.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    store: Annotated[str | None, typer.Option(help="One shop's own numbers; with --scope operator.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many rows.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of the terminal.")] = None,
) -> None:
    """Demand per H3 cell, SKU and window, newest first.

    Example: `cornergrid-cloud feed --db cloud.db --resolution 7 --window 1d --format parquet --out feed.parquet`

    The public feed starts with the first `cornergrid-cloud feed publish` after a day's end. A shop's own numbers, as
    they come: `cornergrid-cloud feed --scope operator --store store-42`
    """
    if context.invoked_subcommand is not None:
        return
    from cloud_ingest import feed  # noqa: PLC0415  # numpy, Arrow and DuckDB are slow to load
    from cloud_ingest.area import parse_area  # noqa: PLC0415
    from cloud_ingest.formats import BINARY, encode  # noqa: PLC0415

    if form in BINARY and out is None and sys.stdout.isatty():
        raise _bad("format", f"{form} is not for a terminal", f"add --out feed.{form}, or send it into a pipe")
    asked = feed.Query(db, scope, resolution, feed.parse_window(window), parse_area(cell, bbox, _polygon(polygon)),
                       tuple(sku) if sku else None, category, feed.parse_time(since),
                       feed.parse_time(until, "until"), store, None, limit)
    pieces = encode(feed.whole(feed.tables(asked)), form)
    if form == "table":
        err.print(f"{scope} feed", style="dim")
    with _target(out) as target, progress("writing") as tick:
        for piece in pieces:
            target.write(piece)
            tick("")


def _polygon(given: str | None) -> str | None:
    """The polygon itself, or what the file of that name says."""
    if given is None or "," in given:
        return given
    try:
        return Path(given).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _bad("polygon", f"{given!r} cannot be read: {error}", "lon,lat;lon,lat;... or a GeoJSON file") from error


@contextlib.contextmanager
def _target(out: Path | None) -> Iterator[BinaryIO]:
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    with _writing("out", str(out)), out.open("wb") as file:
        yield file


@contextlib.contextmanager
def progress(what: str) -> Iterator[Callable[[str], None]]:
    """Shows on a terminal that something is under way, and the last word of it."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=err,
                  transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield lambda word: shown.update(task, description=f"{what} {word}")


def _publish(
    db: Database = Path("cloud.db"),
    grace: Annotated[str, typer.Option(help="How long after its end (UTC) a day is published.")] = "6h",
    as_json: Json = False,
) -> None:
    """Publish the days that are over, and late data of which enough came; what is published is never taken back.

    Run it once an hour, from cron or a timer; a run that is interrupted is simply done again.

    Example: `cornergrid-cloud feed publish --db cloud.db`
    """
    from cloud_ingest import feed  # noqa: PLC0415
    from cloud_ingest.release import release  # noqa: PLC0415

    with progress("publishing") as tick, _writing("db", f"beside {db}"):
        done = release(db, SystemClock().now(), feed.parse_window(grace, "grace"), tick)
    if as_json:
        typer.echo(msgspec.json.encode(asdict(done)).decode())
    elif done.rows:
        typer.echo(f"release {done.release}: {done.rows} rows of {done.days} days from {done.facts} facts; "
                   f"{done.waiting} facts wait for more shops")
    else:
        typer.echo(f"nothing new to publish; {done.waiting} facts wait for more shops")


def _export(
    out: Annotated[Path, typer.Option(help="The folder.")],
    db: Database = Path("cloud.db"),
    scope: ScopeOption = "public",
    resolution: Annotated[list[int] | None, typer.Option(help="H3 resolution; may be repeated. Default: all.")] = None,
    window: Annotated[list[str] | None, typer.Option(help="Window length; may be repeated. Default: 15m, 1h, 1d.")]
    = None,
    since: Annotated[str | None, typer.Option(help="From this time on: ISO 8601 (UTC) or Unix seconds.")] = None,
    every: Annotated[str | None, typer.Option(help="Publish and export again so often, like 1h, until it is stopped.")]
    = None,
    as_json: Json = False,
) -> None:
    """Bring a folder of Parquet files up to date, which DuckDB, Spark and pandas read as one table.

    It is partitioned the Hive way, by window, resolution and date. Run it from cron or a timer, after `feed publish`,
    or let it do both with --every; only days that changed are written again.

    Example: `cornergrid-cloud feed export --db cloud.db --out export --every 1h`
    """
    from cloud_ingest import feed  # noqa: PLC0415
    from cloud_ingest.export import NAMES, export  # noqa: PLC0415
    from cloud_ingest.release import release  # noqa: PLC0415

    pause = None if every is None else feed.parse_window(every, "every")
    if pause == 0:
        raise _bad("every", f"{every!r} would never pause", "use 15m, 30m, 1h or 1d")
    asked = feed.Query(db, scope, since=feed.parse_time(since))
    lengths = tuple(feed.parse_window(each) for each in window or NAMES.values())
    stop = _stopped() if every else None
    while True:
        with progress("exporting") as tick, _writing("out", str(out)):
            if every and scope == "public":
                release(db, SystemClock().now(), tick=tick)
            done = export(asked, out, tuple(resolution or feed.RESOLUTIONS), lengths, tick)
        typer.echo(msgspec.json.encode(asdict(done)).decode() if as_json else
                   f"{done.days} days had changed: {done.rows} rows in {done.files} files")
        if stop is None or stop.wait(pause):
            return


@contextlib.contextmanager
def _writing(key: str, place: str) -> Iterator[None]:
    """ConfigError where a file or folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise _bad(key, f"{place} cannot be written: {error.strerror or error}",
                   "name a writable folder on a disk with room") from error


def _stopped() -> threading.Event:
    """Set by SIGINT and SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _mqtt(
    db: Database = Path("cloud.db"),
    broker: Annotated[str, typer.Option(help="HOST:PORT of the MQTT broker.")] = "127.0.0.1:1883",
    scope: ScopeOption = "public",
    resolution: Annotated[int, typer.Option(help="H3 resolution, 5 (coarse) to 9 (fine).")] = 7,
    window: Annotated[str, typer.Option(help="Length of a window; the newest is handed over.")] = "1d",
) -> None:
    """Hand the newest window to a broker: a retained message for each cell, under cg/v1/feed/WINDOW/CELL.

    Each is a JSON list of the cell's rows; cells that have none any more are cleared. The operator's feed goes under
    cg/v1/operator, so that a broker's access list can tell them apart.

    Example: `cornergrid-cloud feed mqtt --db cloud.db --broker 127.0.0.1:1883`
    """
    from cloud_ingest import feed  # noqa: PLC0415
    from cloud_ingest.formats import by_cell  # noqa: PLC0415
    from cloud_ingest.subscriber import put_retained  # noqa: PLC0415

    host, _, port = broker.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise _bad("broker", f"{broker} is not HOST:PORT", "like 127.0.0.1:1883")
    found = next(feed.tables(feed.Query(db, scope, resolution, feed.parse_window(window))), None)
    below = f"cg/v1/{'feed' if scope == 'public' else scope}/{window}"
    cells = {} if found is None else by_cell(found)
    try:
        gone = put_retained((host, int(port)), below, {f"{below}/{cell}": rows for cell, rows in cells.items()})
    except OSError as error:
        raise _bad("broker", f"{broker}: {error}", "start the broker, or name another") from error
    typer.echo(f"{len(cells)} cells under {below}; {gone} cleared")


def _signals(
    name: Annotated[Literal["slow", "near-date", "hot-spots", "cold-chain", "uptake"], typer.Argument()],
    db: Database = Path("cloud.db"),
    scope: ScopeOption = "public",
    resolution: Annotated[int, typer.Option(help="H3 resolution of hot spots and uptake.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list.")] = False,
) -> None:
    """What somebody should look at, the most important first, as CSV.

    slow: stock that sells slowly or not at all. near-date: units that will not be sold in time. hot-spots: cells where
    shelves were empty. cold-chain: what stood too warm. uptake: what new products sell. All but hot-spots and uptake
    tell of single shops, and need --scope operator.

    Example: `cornergrid-cloud feed signals slow --db cloud.db --scope operator`
    """
    import pyarrow.csv as pa_csv  # noqa: PLC0415

    from cloud_ingest.signal_reading import Asked, read_signal, to_table  # noqa: PLC0415

    rows = read_signal(name, Asked(db, scope, resolution, SystemClock().now()))
    if as_json:
        typer.echo(msgspec.json.encode(rows).decode())
    elif rows:
        pa_csv.write_csv(to_table(rows), sys.stdout.buffer)
    else:
        err.print("nothing to look at")


def _schema() -> None:
    """What each column means, with its unit.

    Example: `cornergrid-cloud feed schema`
    """
    from cloud_ingest.rows import MEANING  # noqa: PLC0415

    for name, meaning in MEANING.items():
        typer.echo(f"{name:<16} {meaning}")


def _bad(key: str, wrong: str, fix: str) -> ConfigError:
    return ConfigError("feed", (Problem(key, wrong, fix),))
