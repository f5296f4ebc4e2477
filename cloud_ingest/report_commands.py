"""`cornergrid-cloud report`: which shops were commissioned, what was found there, and whether that can be trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from cloud_ingest.consoles import out
from cloud_ingest.pki_commands import opened
from cloud_ingest.plain import plain
from cloud_ingest.reports import Report, Sent, Verdict, judge_sent, judge_text, read_sent, shown_time
from edge.errors import ConfigError, Problem

EXIT_NOT_VALID = 1
MOST_BYTES = 16 * 1024 * 1024
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]
Authority = Annotated[Path, typer.Option("--ca", help="The authority's folder.")]
Database = Annotated[Path, typer.Option("--db", help="The ingest's database file.")]


def register(app: typer.Typer) -> None:
    """Add the commands `report list`, `report show` and `report verify`."""
    report = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown",
                         help="Commissioning reports: joined, verified, shown.")
    report.command("list")(_list)
    report.command("show")(_show)
    report.command("verify")(_verify)
    app.add_typer(report, name="report")


def _list(ca: Authority = Path("ca"), db: Database = Path("cloud.db"), as_json: AsJson = False) -> None:
    """Every commissioning that a device reported, the newest first.

    Exit code 0: all are valid, 1: one is not, 2: database or authority cannot be read.

    Example: `cornergrid-cloud report list --ca ca --db cloud.db --json`
    """
    rows = _judged(ca, db, None)
    if as_json:
        typer.echo(json.dumps({"reports": [_row(sent, verdict) for sent, verdict in rows]}))
    else:
        table = Table("device", "ended", "by", "result", "proof", title="Commissionings", title_justify="left")
        for sent, verdict in rows:
            told = verdict.report
            table.add_row(*map(_cell, (sent.device, shown_time(told.ended if told else sent.t), told.by if told else "",
                                       _result(told), _proof(verdict))))
        out.print(table if rows else "no commissioning was reported yet")
    raise typer.Exit(0 if all(verdict.valid for _, verdict in rows) else EXIT_NOT_VALID)


def _show(
    device: Annotated[str, typer.Argument(help="The device's id.")],
    html: Annotated[Path | None, typer.Option(help="Write it as a page that needs nothing else.")] = None,
    ca: Authority = Path("ca"), db: Database = Path("cloud.db"), as_json: AsJson = False,
) -> None:
    """The newest report of a device: what was tried, what was found, what is still to be done.

    What cannot be trusted is shown too, and says so first. Exit code 0: it is valid, 1: it is not, 2: there is none.

    Example: `cornergrid-cloud report show shop-0042 --html shop-0042.html`
    """
    sent, verdict = _newest(ca, db, device)
    if html is not None:
        from cloud_ingest.report_page import page  # noqa: PLC0415  # only here

        html.write_text(page(sent.device, verdict), encoding="utf-8")
    if as_json:
        told = msgspec.to_builtins(verdict.report) if verdict.report else None
        typer.echo(json.dumps({**_row(sent, verdict), "report": told}))
    else:
        _tell(verdict, sent.device)
        if verdict.report is not None:
            _steps(verdict.report)
        if html is not None:
            out.print(f"wrote {html}", markup=False)
    raise typer.Exit(0 if verdict.valid else EXIT_NOT_VALID)


def _verify(
    what: Annotated[str, typer.Argument(metavar="FILE_OR_DEVICE", help="A report.jws, or a device, whose newest report "
                                                                       "is taken.")],
    ca: Authority = Path("ca"), db: Database = Path("cloud.db"), as_json: AsJson = False,
) -> None:
    """Is this report whole, unaltered, and of the device that it names?

    Exit code 0: it is, 1: it is not (what is wrong is told), 2: there is none, or it cannot be read.

    Example: `cornergrid-cloud report verify report.jws --ca ca`
    """
    if Path(what).is_file():
        name, verdict = what, _of_file(Path(what), ca)
    else:
        sent, verdict = _newest(ca, db, what)
        name = sent.device
    if as_json:
        typer.echo(json.dumps({"of": name, **_worth(verdict)}))
    else:
        _tell(verdict, name)
    raise typer.Exit(0 if verdict.valid else EXIT_NOT_VALID)


def _of_file(file: Path, ca: Path) -> Verdict:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise ConfigError(str(file), (Problem("file", "is too large for a report"),))
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(file), (Problem("file", f"cannot be read: {error}"),)) from error
    with opened(ca) as (folder, ledger, _):
        return judge_text(text, folder, ledger)


def _judged(ca: Path, db: Path, device: str | None) -> list[tuple[Sent, Verdict]]:
    with opened(ca) as (folder, ledger, _):
        return [(sent, judge_sent(sent, folder, ledger)) for sent in read_sent(db, device)]


def _newest(ca: Path, db: Path, device: str) -> tuple[Sent, Verdict]:
    rows = _judged(ca, db, device)
    if not rows:
        raise ConfigError("report", (Problem(device, "sent no report, and is no file", "see `cornergrid-cloud report "
                                             "list`; the report waits in the device's outbox until it is connected"),))
    return rows[0]


def _worth(verdict: Verdict) -> dict[str, Any]:
    told = verdict.report
    return {"valid": verdict.valid, "kind": verdict.kind, "wrong": verdict.wrong, "fix": verdict.fix,
            "note": verdict.note,
            "device": told.device if told else None, "run": told.run if told else None,
            "by": told.by if told else None, "begun": told.begun if told else None,
            "ended": told.ended if told else None, "result": told.result if told else None,
            "warnings": told.warnings if told else None}


def _row(sent: Sent, verdict: Verdict) -> dict[str, Any]:
    return {**_worth(verdict), "device": sent.device, "run": sent.run, "sent": sent.t}


def _tell(verdict: Verdict, name: str) -> None:
    told = verdict.report
    if verdict.valid and told is not None:
        by = _cell(told.by or "nobody named")
        out.print(f"valid: {_cell(name)}, commissioned by {by}, {shown_time(told.ended)}: {_result(told)}",
                  style="green")
        if verdict.note:
            out.print(f"but {verdict.note}", style="yellow")
    else:
        out.print(f"NOT valid ({verdict.kind}): {_cell(name)}: {_cell(verdict.wrong)}", style="red")
        out.print(f"→ {_cell(verdict.fix)}")


def _steps(report: Report) -> None:
    table = Table("", "step", "found", "what to do")
    for each in report.steps:
        table.add_row(*map(_cell, (each.outcome.state, each.title, each.outcome.found, each.outcome.fix)))
    out.print(table)


def _cell(text: str) -> str:
    """What a device said, as it may be shown on a terminal."""
    return escape(plain(text))


def _proof(verdict: Verdict) -> str:
    if verdict.valid:
        return f"valid, but {verdict.note}" if verdict.note else "valid"
    return f"NOT valid ({verdict.kind}): {verdict.wrong}"


def _result(report: Report | None) -> str:
    if report is None:
        return "cannot be read"
    return f"{report.warnings} warning{'s' if report.warnings != 1 else ''} left" if report.warnings else "all works"
