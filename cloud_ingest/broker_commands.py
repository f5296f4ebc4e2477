"""`cornergrid-cloud broker`: write a closed mosquitto's folder, and see what it refused."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from cloud_ingest.consoles import out
from cloud_ingest.pki import broker as brokers
from cloud_ingest.pki import folder as folders
from cloud_ingest.pki.ledger import Ledger
from cloud_ingest.pki.status import Status, look
from cloud_ingest.pki.x509 import is_host
from cloud_ingest.plain import plain
from edge.clock import SystemClock
from edge.errors import ConfigError, Problem

EXIT_TROUBLE = 1
Where = Annotated[Path, typer.Option("--ca", help="The authority's folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]
broker = typer.Typer(no_args_is_help=True, help="The MQTT broker: configure it closed, see what it refused.")


def register(app: typer.Typer) -> None:
    """Add the command `broker`."""
    app.add_typer(broker, name="broker")


@broker.command("config")
def config(
    to: Annotated[Path, typer.Option("--out", help="The broker's folder.")] = Path("broker"),
    name: Annotated[list[str] | None, typer.Option(help="A name or address by which devices reach it; may be "
                                                        "repeated.")] = None,
    listen: Annotated[str, typer.Option(help="HOST:PORT for devices.")] = "0.0.0.0:8883",
    services: Annotated[str, typer.Option(help="HOST:PORT for the ingest and the guard; keep it off the internet.")]
    = "127.0.0.1:8884",
    connections: Annotated[int, typer.Option(min=1, help="Devices at once.")] = 20_000,
    user: Annotated[str, typer.Option(help="Whom root hands the broker to.")] = "",
    path: Where = Path("ca"),
    as_json: AsJson = False,
) -> None:
    """Write all that mosquitto needs: configuration, certificates, access list, revocation list.

    Everything is closed: TLS 1.2 or newer, a certificate for every client, each device only on topics of its own.

    Example: `cornergrid-cloud broker config --out /etc/cornergrid/broker --name mqtt.example.org`, then
    `mosquitto -c /etc/cornergrid/broker/mosquitto.conf`
    """
    device_bind, device_port = address("--listen", listen)
    service_bind, service_port = address("--services", services)
    names = tuple(dict.fromkeys([*(name or ()), *(bind for bind in (device_bind, service_bind)
                                                  if bind not in {"0.0.0.0", "::"})]))  # noqa: S104  # compared
    if not name and device_bind in {"0.0.0.0", "::"}:  # noqa: S104  # compared
        raise ConfigError("broker config", (Problem("--name", "is missing", "the name or address by which devices "
                                                    "reach the broker: they refuse any other"),))
    if odd := [each for each in names if not is_host(each)]:
        raise ConfigError("broker config", (Problem("--name", f"{odd[0]!r} is no name or address of a machine",
                                                    "like mqtt.example.org, without a port"),))
    log_events(logging.WARNING)
    folder = folders.load(path)
    ledger = Ledger(folder.ledger)
    listeners = brokers.Listeners(names, device_port, service_port, device_bind, service_bind)
    try:
        done = brokers.configure(folder, ledger, to, listeners, brokers.Limits(connections), SystemClock().now(), user)
    finally:
        ledger.close()
    if as_json:
        typer.echo(json.dumps({"folder": str(to.absolute()), "names": names, "told": done.told}))
        return
    out.print(f"wrote {escape(str(to))}: closed to everybody without a certificate; devices on {listen}, services on "
              f"{services}, known as {', '.join(names)}")
    out.print(f"next: mosquitto -c {escape(str(to / 'mosquitto.conf'))}, and keep `cornergrid-cloud ca serve` running")
    out.print(f"as a service: systemctl link {escape(str(to.absolute() / brokers.UNIT))}; new connections in a second: "
              f"nft -f {escape(str(to.absolute() / brokers.RULES))}")


@broker.command("status")
def status(path: Where = Path("ca"), as_json: AsJson = False) -> None:
    """What was refused in the last day, the revocation list's age, who is silenced, and what to do.

    Exit code 0: nothing is wrong, 1: something is.

    Example: `cornergrid-cloud broker status --json`
    """
    show_status(path, as_json)


def show_status(path: Path, as_json: bool) -> None:
    """Print the status, and end with the exit code that it means."""
    folder = folders.load(path)
    ledger = Ledger(folder.ledger)
    now = SystemClock().now()
    try:
        found = look(folder, ledger, now)
    finally:
        ledger.close()
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    else:
        out.print(_render(found))
    raise typer.Exit(EXIT_TROUBLE if found.troubles else 0)


def _render(found: Status) -> Group:
    head = Table(show_header=False, box=None, title="authority and broker", title_justify="left")
    head.add_row("devices", f"{found.devices}, {found.enrolled} with a valid certificate; {found.open_labels} labels "
                 "open")
    head.add_row("broker", f"{escape(found.broker) or 'none configured here'}"
                 + (f", {'runs' if found.running else '[red]does not run[/]'}" if found.broker else ""))
    if found.crl_ends is not None:
        head.add_row("revocation list", f"number {found.crl_number}, good until {_time(found.crl_ends)}")
    silent = Table("device", "silent because")
    for name, why in found.silent.items():
        silent.add_row(name, why)
    refused = Table("what", "who", "from", "times", "last (UTC)", "detail", title="refused in the last day")
    for each in found.refusals[:40]:
        refused.add_row(each.kind, escape(plain(each.subject)), each.source, str(each.n), _time(each.last),
                        escape(plain(each.detail)[:60]))
    troubles = Table("trouble", "what to do")
    for trouble in found.troubles:
        troubles.add_row(f"[red]{escape(plain(trouble.what))}[/]", escape(trouble.fix))
    return Group(head, *(table for table in (silent, refused, troubles) if table.row_count))


def _time(t: float) -> str:
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M:%S")


def end_session(ledger: Ledger, device: str) -> bool:
    """End a revoked device's live session; whether that was possible."""
    from cloud_ingest.pki.serving import try_end_session  # noqa: PLC0415  # needs paho

    return try_end_session(ledger, device)


def address(option: str, text: str) -> tuple[str, int]:
    """HOST:PORT; ConfigError naming the option."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(option, (Problem(text, "is not HOST:PORT", "like 127.0.0.1:8443"),))
    return host.strip("[]"), int(port)


def log_events(level: int = logging.INFO) -> None:
    """Events for a person on a terminal, as JSON lines otherwise; always on stderr."""
    # Not the usual traceback with every variable: one of them may be a key.
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            plain if sys.stderr.isatty() else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
