"""`cornergrid-cloud quarantine`: what the ingest refused, with the bytes as they came."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cloud_ingest.consoles import out
from cloud_ingest.plain import plain
from edge.clock import SystemClock

_QUERY = """
SELECT id, device, topic, reason, payload, count, first_t, last_t FROM quarantine
WHERE ?1 = '' OR device = ?1 ORDER BY last_t DESC, id DESC LIMIT ?2
"""
_SHOWN = 80


def register(app: typer.Typer) -> None:
    """Add the command `quarantine`."""
    app.command("quarantine")(_list)


def _list(
    device: Annotated[str, typer.Option(help="Of this device alone.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The newest so many.")] = 40,
    db: Annotated[Path, typer.Option("--db", help="The ingest's database file.")] = Path("cloud.db"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array, payloads in hexadecimal.")] = False,
) -> None:
    """What the ingest refused and kept: the newest payloads, each once, with how often it came.

    Of one device 1000 payloads or 8 MB are kept, of all 10,000; `watch` has the counts, which are complete.

    Example: `cornergrid-cloud quarantine --db cloud.db --device shop-0042`
    """
    from cloud_ingest.facts import reading  # noqa: PLC0415  # Arrow is slow to load
    from cloud_ingest.screen import clock_time  # noqa: PLC0415

    with reading(db) as connection:
        rows = connection.execute(_QUERY, (device, limit)).fetchall()
    if as_json:
        names = ("id", "device", "topic", "reason", "payload", "count", "first_t", "last_t")
        typer.echo(json.dumps([dict(zip(names, (*row[:4], row[4].hex(), *row[5:]), strict=True)) for row in rows]))
        return
    now, table = SystemClock().now(), Table("device", "last", "times", "why", "bytes", "begins")
    for _, name, _, reason, payload, count, _, last in rows:
        begin = plain(payload[:_SHOWN].decode("utf-8", "backslashreplace"))
        cells = (plain(name), clock_time(last, now), str(count), plain(reason[:200]), str(len(payload)), begin[:_SHOWN])
        table.add_row(*map(escape, cells))
    out.print(table)
