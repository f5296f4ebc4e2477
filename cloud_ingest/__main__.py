"""cornergrid-cloud: what the operator and the central team type."""

from __future__ import annotations

import contextlib
import logging
import re
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import structlog
import typer
from rich.live import Live

from cloud_ingest import (
    catalogue_commands,
    contract,
    demand_commands,
    feed_commands,
    pki_commands,
    quarantine_commands,
    report_commands,
    screen,
    token_commands,
)
from cloud_ingest import watch as fleets
from cloud_ingest.consoles import err, out
from edge.clock import SystemClock
from edge.errors import ConfigError, CornergridError, Problem, system_told

EXIT_BAD_INPUT = 2
Database = Annotated[Path, typer.Option("--db", help="The ingest's database file.")]
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown",
                  help="The cloud ingest. Start with `store add`, then `run`; `watch` and `feed` show what came.")
stores = typer.Typer(no_args_is_help=True, help="The registry of stores.")
app.add_typer(stores, name="store")
feed_commands.register(app)
catalogue_commands.register(app)
contract.register(app)
pki_commands.register(app)
quarantine_commands.register(app)
report_commands.register(app)
demand_commands.register(app)
token_commands.register(app)


@app.command()
def run(  # noqa: PLR0913, PLR0917  # one argument for each option
    db: Database = Path("cloud.db"),
    broker: Annotated[str, typer.Option(help="HOST:PORT of the MQTT broker.")] = "127.0.0.1:1883",
    http: Annotated[str, typer.Option(help='HOST:PORT for the feed and the page; "" for neither.')] = "127.0.0.1:18832",
    scope: Annotated[Literal["public", "operator"], typer.Option(
        help="The most that --http gives: the public feed, or everything, to tokens of the scope operate.")] = "public",
    http_cert: Annotated[Path | None, typer.Option(help="Certificate chain (PEM): --http speaks TLS 1.2 or newer.")] \
        = None,
    http_key: Annotated[Path | None, typer.Option(help="Its private key (PEM), where that is another file.")] = None,
    http_proxy: Annotated[str | None, typer.Option(help="Address of the proxy in front of --http that does TLS; it is "
                                                        "believed what clients' addresses are.")] = None,
    registry: Annotated[Path | None, typer.Option(help="TOML with [[stores]], applied at start.")] = None,
    client_id: Annotated[str, typer.Option(help="MQTT client id and this worker's name: each needs its own, and keeps "
                                                "it from start to start.")] = "cornergrid-ingest",
    budget: Annotated[int, typer.Option(min=1, help="Records of backlogs that may be under way to this worker at "
                                                    "once.")] = 100_000,
    tls: Annotated[Path | None, typer.Option(help="The closed broker's folder, made by `broker config`; without it "
                                                  "only a broker on loopback is used.")] = None,
) -> None:
    """Take messages from the broker, and serve the feed, until SIGINT or SIGTERM.

    Example: `cornergrid-cloud run --db cloud.db --broker 127.0.0.1:1883 --registry stores.toml`

    A second worker shares the work: `cornergrid-cloud run --db cloud.db --client-id ingest-2 --http ""`

    A closed broker: `cornergrid-cloud run --broker 127.0.0.1:8884 --tls /etc/cornergrid/broker`

    Read from elsewhere: `token add`, then `cornergrid-cloud run --http 0.0.0.0:8443 --http-cert feed.pem`
    """
    from cloud_ingest.pacing import Pacer  # noqa: PLC0415  # `feed` need not load what only this command uses
    from cloud_ingest.pki.service import secured  # noqa: PLC0415
    from cloud_ingest.registry import load_registry  # noqa: PLC0415
    from cloud_ingest.service import Service  # noqa: PLC0415
    from cloud_ingest.store import STORES  # noqa: PLC0415
    from cloud_ingest.subscriber import Subscriber  # noqa: PLC0415

    _log()
    broker_host, broker_port = _address("--broker", broker)
    where = _address("--http", http) if http else None
    closed = secured(tls, broker_host)
    _check_worker(client_id)
    shops = load_registry(registry) if registry else []
    store = STORES["sqlite"](db)
    for shop in shops:
        store.add_shop(shop)
    stop = _until_told()
    subscriber = Subscriber(broker_host, broker_port, client_id, secured=closed)
    with _serving(db, where, scope, (http_cert, http_key, http_proxy)):
        Service(subscriber, store, SystemClock(), Pacer(budget)).run(stop)


def _until_told() -> threading.Event:
    """What SIGINT and SIGTERM set."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


@contextlib.contextmanager
def _serving(db: Path, where: tuple[str, int] | None, scope: Literal["public", "operator"],
             door: tuple[Path | None, Path | None, str | None]) -> Iterator[None]:
    """The feed and the page, while the ingest runs."""
    if where is None:
        yield
        return
    from cloud_ingest import http as web  # noqa: PLC0415  # a worker without needs no web server
    from cloud_ingest.keeper import Door  # noqa: PLC0415

    cert, key, proxy = door
    server = web.start(db, *where, scope, Door(cert=cert, key=key, proxy=proxy))
    structlog.get_logger().info("serving", address=server.address, db=str(db), scope=scope)
    try:
        yield
    finally:
        server.stop()


@stores.command("add")
def add(  # noqa: PLR0913, PLR0917  # one argument for each option
    store: Annotated[str, typer.Argument(help="Store id.")],
    device: Annotated[list[str], typer.Option(help="A device that speaks for it; may be repeated.")],
    lat: Annotated[float, typer.Option(help="Degrees north, WGS 84.")],
    lon: Annotated[float, typer.Option(help="Degrees east, WGS 84.")],
    name: Annotated[str, typer.Option(help="For people.")] = "",
    tz: Annotated[str, typer.Option(help="IANA time zone.")] = "UTC",
    hours: Annotated[str, typer.Option(help="Opening hours, as in OpenStreetMap: Mo-Sa 07:00-22:00; Su 09:00-18:00. "
                                            "None: always open.")] = "",
    since: Annotated[str | None, typer.Option(help="It moved here at this time (ISO 8601, UTC): what was before stays "
                                                   "where it was. Without: it was always here.")] = None,
    db: Database = Path("cloud.db"),
) -> None:
    """Register a store, its place and its devices; again to change them.

    Example: `cornergrid-cloud store add store-42 --device shop-0042 --lat 52.5163 --lon 13.3777`
    """
    import msgspec  # noqa: PLC0415

    from cloud_ingest.registry import StoreEntry, to_shop  # noqa: PLC0415
    from cloud_ingest.store import STORES  # noqa: PLC0415

    given = {"id": store, "lat": lat, "lon": lon, "devices": device, "name": name, "tz": tz, "hours": hours}
    if since is not None:
        given["since"] = since
    try:
        shop = to_shop(msgspec.convert(given, StoreEntry))
    except msgspec.ValidationError as error:
        raise ConfigError("store add", (Problem("option", str(error)),)) from error
    database = STORES["sqlite"](db)
    database.add_shop(shop)
    database.close()
    out.print(f"{store} is in cell {shop.cells[0]}; {', '.join(device)} may send for it")


@stores.command("remove")
def remove(
    store: Annotated[str, typer.Argument(help="Store id.")],
    when: Annotated[str | None, typer.Option(help="It ended at this time: ISO 8601 (UTC). Default: now.")] = None,
    db: Database = Path("cloud.db"),
) -> None:
    """Let a store end: its past stays in the feed, and nothing is expected of it any more.

    Example: `cornergrid-cloud store remove store-42`
    """
    from cloud_ingest.feed import parse_time  # noqa: PLC0415
    from cloud_ingest.store import STORES  # noqa: PLC0415

    at = parse_time(when, "when")
    database = STORES["sqlite"](db)
    found = database.remove_shop(store, int(SystemClock().now() if at is None else at))
    database.close()
    if not found:
        raise ConfigError("store remove", (Problem(store, "is no store of the registry", "see the page or the feed"),))
    out.print(f"{store} has ended; its past stays")


@app.command()
def watch(
    db: Database = Path("cloud.db"),
    once: Annotated[bool, typer.Option(help="Show once and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, and end.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = 1.0,
) -> None:
    """The fleet and its telemetry, live on a terminal, a line for each change in a pipe.

    Example: `cornergrid-cloud watch --db .demo/cloud.db`
    """
    fleet = fleets.read_fleet(db)
    if as_json:
        typer.echo(fleets.to_json(fleet))
    elif once:
        out.print(screen.render(fleet, SystemClock().now()))
    else:
        (_watch_live if out.is_terminal else _watch_lines)(db, _until_told(), interval)


def _watch_live(db: Path, stop: threading.Event, interval: float) -> None:
    clock = SystemClock()
    with Live(console=out, auto_refresh=False, screen=True) as live:
        while not stop.is_set():
            live.update(screen.render(fleets.read_fleet(db), clock.now()), refresh=True)
            stop.wait(interval)


def _watch_lines(db: Path, stop: threading.Event, interval: float) -> None:
    before: fleets.Fleet | None = None
    while not stop.is_set():
        after = fleets.read_fleet(db)
        for line in screen.changes(before, after):
            typer.echo(line)
        sys.stdout.flush()
        before = after
        stop.wait(interval)


def _address(option: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(option, (Problem(text, "is not HOST:PORT", "like 127.0.0.1:1883"),))
    return host.strip("[]"), int(port)


def _check_worker(client_id: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", client_id):
        raise ConfigError("--client-id", (Problem(client_id, "is no name of a worker, which is part of a topic",
                                                  "letters, digits, - and _, like ingest-2"),))


def _log() -> None:
    """Events for a person on a terminal, as JSON lines otherwise; always on stderr."""
    # Plain traces: the usual ones show local variables, and a private key may be one.
    for_people = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            for_people if sys.stderr.isatty() else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def main() -> None:
    """The console script: every error on purpose is one clear message and an exit code, never a trace."""
    try:
        app()
    except CornergridError as error:
        err.print(str(error), style="red", markup=False)
        sys.exit(EXIT_BAD_INPUT)
    except OSError as error:
        err.print(system_told(error), style="red", markup=False)
        sys.exit(EXIT_BAD_INPUT)
    except sqlite3.Error as error:
        err.print(f"the database does not answer: {error} (is its disk full, or another command at work on it? put "
                  "that right, and run this again)", style="red", markup=False)
        sys.exit(EXIT_BAD_INPUT)


if __name__ == "__main__":
    main()
