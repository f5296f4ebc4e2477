"""The commands that judge the demand estimate and choose its parameters, on a file whose truth is known; and the
production feed, which forecasts what the ingest has estimated."""

from __future__ import annotations

import contextlib
import csv
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from edge.clock import SystemClock
from edge.errors import ConfigError, Problem

if TYPE_CHECKING:
    from cloud_ingest.estimate.evaluate import Score, Tick
    from cloud_ingest.estimate.parameters import Parameters
    from cloud_ingest.forecast import Backtest
    from cloud_ingest.forecast_reading import Production

File = Annotated[Path, typer.Argument(metavar="FILE.parquet", help="Hourly sales and stock-outs of 90 days, a row for "
                                                                   "each city, store, product and day.")]
Table_ = Annotated[Path | None, typer.Option("--parameters", help="A TOML table instead of the shipped one.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
ROWS = {"random": "series, random stock-out", "driven": "series, stock-out driven by demand",
        "cells": "cells of at least 5 series, driven", "cells_random": "cells of at least 5 series, random"}
err = Console(stderr=True, highlight=False)


def register(app: typer.Typer) -> None:
    """Add the commands `demand forecast`, `demand evaluate`, `demand fit` and `demand backtest`."""
    demand = typer.Typer(no_args_is_help=True, help="Forecast demand; judge the estimate, and choose its parameters.")
    demand.command("forecast")(_forecast)
    demand.command("evaluate")(_evaluate)
    demand.command("fit")(_fit)
    demand.command("backtest")(_backtest)
    app.add_typer(demand, name="demand")


def _evaluate(file: File, parameters: Table_ = None, as_json: Json = False) -> None:
    """Hide hours of days without a stock-out, estimate them, and compare: bias, WAPE, 80% intervals, in percent.

    Days 1 to 60 are history, days 61 to 90 are judged; every shop of the file is. The hidden hours are the same each
    time. The simpler methods stand above.

    Example: `cornergrid-cloud demand evaluate freshretailnet_half.parquet --json`
    """
    from cloud_ingest.estimate import evaluate as judge  # noqa: PLC0415  # numpy is slow to load
    from cloud_ingest.estimate.freshretail import read_panel  # noqa: PLC0415

    chosen = _parameters(parameters)
    with _progress(judge.STEPS + 60, "reading") as tick:
        panel = read_panel(file)
        found = judge.evaluate(panel, chosen, tick)
        simple = {} if as_json else judge.baselines(panel)
    if as_json:
        typer.echo(msgspec.json.encode(found | {"seed": judge.SEED}).decode())
    else:
        _show(_table(found, simple), sys.stdout)


def _fit(
    file: File, parameters: Table_ = None,
    out: Annotated[Path | None, typer.Option(help="Write the TOML table here instead of to the terminal.")] = None,
) -> None:
    """Choose the parameters on half of the shops, and judge them on the other half.

    The search starts at --parameters, or at the shipped table, and takes a few minutes. The scores of both halves go
    to stderr.

    Example: `cornergrid-cloud demand fit freshretailnet_half.parquet --out parameters.toml`
    """
    from cloud_ingest.estimate import evaluate as judge  # noqa: PLC0415  # numpy is slow to load
    from cloud_ingest.estimate import tune  # noqa: PLC0415
    from cloud_ingest.estimate.freshretail import read_panel  # noqa: PLC0415
    from cloud_ingest.estimate.parameters import to_toml  # noqa: PLC0415

    start = _parameters(parameters)
    with _progress(tune.STEPS, "reading") as tick:
        panel = read_panel(file)
        best = tune.fit(panel, start, tick)
        sheets = judge.sheets(panel, best, lambda _: None)
    mine = tune.choosing(panel)
    for told, shops in (("chosen on these shops", mine), ("judged on the others", ~mine)):
        _show(_table(tune.scores(tune.half(sheets, shops), best), {}, told), sys.stderr)
    if out is None:
        typer.echo(to_toml(best), nl=False)
        return
    try:
        out.write_text(to_toml(best), encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(out), (Problem("--out", f"cannot be written: {error.strerror}"),)) from error


def _backtest(file: File, parameters: Table_ = None, as_json: Json = False) -> None:
    """Forecast 28 days of demand per SKU and region from three starts, and compare with what came.

    Prints seasonal-naive and, where the extra `forecast` is installed, exponential smoothing; the simple one is used
    unless it is beaten.

    Example: `cornergrid-cloud demand backtest freshretailnet_half.parquet`
    """
    from cloud_ingest import forecast  # noqa: PLC0415  # numpy is slow to load
    from cloud_ingest.estimate.freshretail import read_panel  # noqa: PLC0415
    from cloud_ingest.estimate.history import demand_history  # noqa: PLC0415

    with _progress(None, "reading") as tick:
        history = demand_history(read_panel(file), _parameters(parameters), tick)
        found = forecast.backtest(history, tick)
    used = forecast.choose(found)
    if as_json:
        typer.echo(msgspec.json.encode({"methods": found, "used": used}).decode())
        return
    _show(_methods(found), sys.stdout)
    typer.echo(f"used: {used}")
    _not_compared(found)


def _forecast(  # noqa: PLR0913, PLR0917  # one argument for each option
    db: Annotated[Path, typer.Option("--db", help="The ingest's database file.")] = Path("cloud.db"),
    scope: Annotated[Literal["public", "operator"], typer.Option(
        help="public: regions that are published; operator: everything, nothing withheld.")] = "public",
    resolution: Annotated[int, typer.Option(help="H3 resolution of the regions, 5 (coarse) to 9 (fine).")] = 6,
    days: Annotated[int, typer.Option(help="Days ahead, 1 to 28.")] = 28,
    sku: Annotated[list[str] | None, typer.Option(help="Only this SKU; may be repeated.")] = None,
    category: Annotated[str | None, typer.Option(help="Only SKUs of this category.")] = None,
    cell: Annotated[str | None, typer.Option(help="Only within this H3 cell, or around it.")] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="The rows as CSV.")] = False,
) -> None:
    """Units expected per SKU and region on each of the next days (of UTC), with 80% intervals, for production plans.

    They are what customers will want, in shops that are heard of and in silent ones. The last week is repeated,
    unless exponential smoothing (extra `forecast`) beats it in a back-test on this database's own past; which way was
    used, its figures and what it stands on go to stderr, or into the JSON object.

    Example: `cornergrid-cloud demand forecast --db cloud.db --resolution 6 --days 28 --csv > plan.csv`
    """
    from cloud_ingest.area import parse_area  # noqa: PLC0415  # numpy, Arrow and DuckDB are slow to load
    from cloud_ingest.forecast_reading import Asked, read_production  # noqa: PLC0415

    if as_json and as_csv:
        raise ConfigError("forecast", (Problem("--csv", "and --json are given", "choose one"),))
    with _progress(None, "reading") as tick:
        found = read_production(Asked(db, SystemClock().now(), scope, resolution, days, parse_area(cell, None, None),
                                      tuple(sku) if sku else None, category), tick)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    _tell(found)
    if as_csv:
        _write_csv(found)
    elif found.rows:
        _show(_expected(found), sys.stdout)


def _tell(found: Production) -> None:
    """What a forecast stands on."""
    if found.known_to is None:
        err.print("nothing is known yet; the public forecast starts with `cornergrid-cloud feed publish`", markup=False,
                  soft_wrap=True)
        return
    err.print(f"{found.method}: {found.why}; from {found.history_days} days up to {found.known_to}, "
              f"{100 * found.silent_share:.1f}% of their units estimated for silent shops", markup=False,
              soft_wrap=True)
    if found.backtest:
        _show(_methods(found.backtest), sys.stderr)
        _not_compared(found.backtest)


def _write_csv(found: Production) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    names = ("cell", "sku", "date", "ahead", "units", "low", "high")
    writer.writerow(names)
    for row in found.rows:
        writer.writerow([round(value, 3) if isinstance(value, float) else value
                         for value in (getattr(row, name) for name in names)])


def _expected(found: Production) -> Table:
    table = Table(box=None, pad_edge=False, header_style="")
    for head in ("region", "SKU", "day"):
        table.add_column(head)
    for head in ("units", "80% interval"):
        table.add_column(head, justify="right")
    for row in found.rows:
        table.add_row(row.cell, row.sku, row.date, f"{row.units:.1f}", f"{row.low:.1f} - {row.high:.1f}")
    return table


def _methods(found: Mapping[str, Backtest]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="")
    for head in ("method", "bias %", "WAPE %", "week 1", "week 2", "week 3", "week 4", "in 80% interval", "days"):
        table.add_column(head, justify="left" if head == "method" else "right")
    for method, score in found.items():
        table.add_row(method, f"{score.bias:+.1f}", f"{score.wape:.1f}", *(f"{week:.1f}" for week in score.weeks),
                      f"{score.coverage80:.1f}", f"{score.n:,}")
    return table


def _not_compared(found: Mapping[str, Backtest]) -> None:
    from cloud_ingest import forecast  # noqa: PLC0415  # numpy is slow to load

    if missing := [method for method in forecast.FORECASTERS if method not in found]:
        err.print(f"not compared: {', '.join(missing)}, which needs pip install 'cornergrid[forecast]'", markup=False)


def _parameters(file: Path | None) -> Parameters:
    from cloud_ingest.estimate.parameters import SHIPPED, read_parameters  # noqa: PLC0415  # `--help` needs none

    return read_parameters(file or SHIPPED)


@contextlib.contextmanager
def _progress(steps: int | None, first: str) -> Iterator[Tick]:
    """A bar on a terminal's stderr, a pulse where `steps` is not known; nothing in a pipe."""
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as progress:
        task = progress.add_task(first, total=steps)
        yield lambda told: progress.update(task, advance=1, description=told)


def _table(found: Mapping[str, Score], simple: Mapping[str, Mapping[str, Score]], title: str | None = None) -> Table:
    table = Table(box=None, pad_edge=False, header_style="", title=title, title_justify="left", title_style="")
    table.add_column("judged")
    table.add_column("method")
    for head in ("bias %", "WAPE %", "in 80% interval", "days"):
        table.add_column(head, justify="right")
    for row, told in ROWS.items():
        for method, scores in simple.items():
            if row in scores:
                table.add_row(told, method, *_cells(scores[row]))
        if row in found:
            table.add_row(told, "Cornergrid", *_cells(found[row]))
    return table


def _cells(score: Score) -> tuple[str, str, str, str]:
    cover = "" if score.coverage80 is None else f"{score.coverage80:.1f}"
    return f"{score.bias:+.1f}", f"{score.wape:.1f}", cover, f"{score.n:,}"


def _show(table: Table, to: TextIO) -> None:
    Console(file=to, highlight=False, width=None if to.isatty() else 120).print(table)
