"""`cornergrid-cloud token`: who may ask over HTTP."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from cloud_ingest.consoles import err, out
from cloud_ingest.refusals import OVER_HTTP
from edge.clock import SystemClock

DAY_S = 86_400
Database = Annotated[Path, typer.Option("--db", help="The ingest's database file.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose it is, like planning-team; never the token itself.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]
ADMIN = "admin includes operate and feed; nothing can be changed over HTTP yet, so that no route asks for more than " \
        "operate"


def register(app: typer.Typer) -> None:
    """Add the commands `token add`, `token list` and `token revoke`."""
    token = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown",
                        help="Tokens: who may read feed and page over HTTP.")
    token.command("add")(_add)
    token.command("list")(_list)
    token.command("revoke")(_revoke)
    app.add_typer(token, name="token")


def _add(
    name: Name,
    scope: Annotated[Literal["feed", "operate", "admin"], typer.Option(
        help=f"feed: the public feed, page, schema, catalogue. operate: the operator's view too. {ADMIN}.")],
    days: Annotated[float, typer.Option(min=0.01, max=3650, help="For how long it is valid.")] = 90,
    db: Database = Path("cloud.db"),
    as_json: AsJson = False,
) -> None:
    """Make a token and print it: now and never again, the database keeps only its SHA-256.

    From the first token on, every server of this database asks for one, on loopback too.

    Example: `cornergrid-cloud token add planning-team --scope feed --db cloud.db`

    Straight into a file: `(umask 077; cornergrid-cloud token add planning-team --scope feed > planning.token)`
    """
    from cloud_ingest import tokens  # noqa: PLC0415  # DuckDB is slow to load

    now = SystemClock().now()
    made = tokens.add(db, name, scope, days, now)
    if as_json:
        typer.echo(json.dumps({"name": name, "scope": scope, "until": now + days * DAY_S, "token": made}))
        return
    typer.echo(made)
    err.print(f"for {name}, scope {scope}, until {_time(now + days * DAY_S)} UTC; it is shown this once", markup=False)
    if scope == "admin":
        err.print(ADMIN)


def _list(db: Database = Path("cloud.db"), as_json: AsJson = False) -> None:
    """All tokens without their secrets, and what the HTTP side refused in the last day.

    Example: `cornergrid-cloud token list --db cloud.db --json`
    """
    from cloud_ingest import tokens  # noqa: PLC0415

    now = SystemClock().now()
    found, refused = tokens.listed(db), tokens.refused(db, now - DAY_S)
    if as_json:
        typer.echo(json.dumps({"tokens": [{**asdict(each), "state": each.state(now)} for each in found],
                               "refused": [asdict(each) for each in refused]}))
        return
    table = Table("name", "scope", "", "made (UTC)", "until", "last used", "id")
    for each in found:
        table.add_row(each.name, each.scope, each.state(now), _time(each.made), _time(each.ends),
                      _time(each.used) if each.used else "never", each.id)
    out.print(table)
    if refused:
        lines = Table("what", "whose", "from", "times", "last (UTC)", "meaning", title="refused in the last day")
        for line in refused[:40]:
            lines.add_row(line.kind, line.subject, line.source, str(line.n), _time(line.last),
                          OVER_HTTP.get(line.kind, ""))
        out.print(lines)


def _revoke(name: Name, db: Database = Path("cloud.db")) -> None:
    """End a token, every login that it opened, and within a second its streams.

    Example: `cornergrid-cloud token revoke planning-team --db cloud.db`
    """
    from cloud_ingest import tokens  # noqa: PLC0415

    tokens.revoke(db, name, SystemClock().now())
    out.print(f"the token of {name} is revoked", markup=False)


def _time(t: float) -> str:
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M")
