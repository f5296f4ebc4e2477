"""`cornergrid-cloud ca`, `site` and `device`: the authority, whom it invites, and whom it bars."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from cloud_ingest import broker_commands
from cloud_ingest.consoles import err, out
from cloud_ingest.pki import folder as folders
from cloud_ingest.pki.broker import publish
from cloud_ingest.pki.desk import INVITED_S, Desk
from cloud_ingest.pki.folder import Folder
from cloud_ingest.pki.ledger import Ledger
from cloud_ingest.pki.x509 import DAY_S
from edge.clock import SystemClock
from edge.errors import ConfigError, EnrolError, Problem
from edge.wire.enrol import EnrolRequest, Label

EXIT_REFUSED = 1
Where = Annotated[Path, typer.Option("--ca", help="The authority's folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]
ca = typer.Typer(no_args_is_help=True, help="The authority: start with `init`, keep `serve` running.")
site = typer.Typer(no_args_is_help=True, help="Sites: where devices are.")
device = typer.Typer(no_args_is_help=True, help="Devices: invite, list, revoke.")


def register(app: typer.Typer) -> None:
    """Add the commands `ca`, `site`, `device` and `broker`."""
    app.add_typer(ca, name="ca")
    app.add_typer(site, name="site")
    app.add_typer(device, name="device")
    broker_commands.register(app)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[Folder, Ledger, Desk]]:
    """The authority in a folder; StoreError where there is none. What the command itself tells is not logged too."""
    broker_commands.log_events(logging.ERROR)
    folder = folders.load(path)
    ledger = Ledger(folder.ledger)
    try:
        yield folder, ledger, Desk(folder, ledger, SystemClock())
    finally:
        ledger.close()


@ca.command("init")
def init(
    path: Where = Path("ca"),
    name: Annotated[str, typer.Option(help="For people; stands in the certificates.")] = "Cornergrid",
    as_json: AsJson = False,
) -> None:
    """Make an authority: a root, which labels name, and below it what signs devices and services.

    Example: `cornergrid-cloud ca init --ca /var/lib/cornergrid/ca --name "Corner Shops Ltd"`
    """
    folder = folders.create(path, name, SystemClock().now())
    Ledger(folder.ledger).close()
    if as_json:
        typer.echo(json.dumps({"folder": str(path), "fingerprint": folder.fingerprint}))
        return
    out.print(f"made the authority in {escape(str(path))}; fingerprint {folder.fingerprint}")
    out.print(f"now move {escape(str(path / 'root.key'))} to a safe place, and keep a backup of the folder")
    out.print("next: cornergrid-cloud broker config, then site add, then device invite")


@ca.command("serve")
def serve(
    path: Where = Path("ca"),
    listen: Annotated[str, typer.Option(help="HOST:PORT of the enrolment server.")] = "127.0.0.1:8443",
    name: Annotated[list[str] | None, typer.Option(help="A name or address by which devices reach it; may be "
                                                        "repeated. Without one: the address of --listen.")] = None,
) -> None:
    """Enrol and renew devices, and guard the broker: until SIGINT or SIGTERM.

    The revocation list is signed anew each day, refusals in the broker's log are counted and told, floods silenced.
    By default it listens on loopback only.

    Example: `cornergrid-cloud ca serve --listen 0.0.0.0:8443 --name enrol.example.org`
    """
    from cloud_ingest.pki.serving import serve as run  # noqa: PLC0415  # the other commands need no server

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with opened(path) as (folder, ledger, desk):
        broker_commands.log_events()
        run(folder, ledger, desk, broker_commands.address("--listen", listen), name or [], stop)


@site.command("add")
def add_site(
    site_id: Annotated[str, typer.Argument(metavar="SITE", help="Site id, like berlin-042.")],
    name: Annotated[str, typer.Option(help="For people.")] = "",
    path: Where = Path("ca"),
) -> None:
    """Add a site; again to rename it.

    Example: `cornergrid-cloud site add berlin-042 --name "Corner shop, Unter den Linden"`
    """
    with opened(path) as (_, _, desk):
        desk.add_site(site_id, name)
    out.print(f"{site_id} is a site; next: cornergrid-cloud device invite DEVICE --site {site_id}")


@site.command("list")
def list_sites(path: Where = Path("ca"), as_json: AsJson = False) -> None:
    """All sites, and how many devices each has.

    Example: `cornergrid-cloud site list --json`
    """
    with opened(path) as (_, ledger, _):
        rows = ledger.rows("SELECT site.id, site.name, count(device.id) FROM site LEFT JOIN device ON "
                           "device.site = site.id GROUP BY site.id ORDER BY site.id")
    if as_json:
        typer.echo(json.dumps([dict(zip(("site", "name", "devices"), row, strict=True)) for row in rows]))
        return
    table = Table("site", "name", "devices")
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row))
    out.print(table)


@device.command("invite")
def invite(
    devices: Annotated[list[str], typer.Argument(metavar="DEVICE...", help="Device ids, like shop-0042.")],
    at: Annotated[str, typer.Option("--site", help="Where they will be; may be left out for one that has a site.")]
    = "",
    server: Annotated[str, typer.Option(help="HOST:PORT of the enrolment server, to stand on the label.")] = "",
    days: Annotated[float, typer.Option(min=0.01, max=365, help="For how long the label opens the door.")]
    = INVITED_S / DAY_S,
    png: Annotated[Path | None, typer.Option(help="Folder for a PNG of each.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="An HTML file with all of them, to be printed.")] = None,
    path: Where = Path("ca"),
    as_json: AsJson = False,
) -> None:
    """Make a label for each device: its id, a claim code that works once, and the authority's fingerprint.

    The code is shown now and never again: the ledger keeps only what it takes to check it.

    Example: `cornergrid-cloud device invite shop-0042 --site berlin-042 --server enrol.example.org:8443`

    Many: `cornergrid-cloud device invite shop-{0001..0100} --site berlin-042 --sheet labels.html`
    """
    from cloud_ingest.pki import labels  # noqa: PLC0415  # only this command draws

    with opened(path) as (_, ledger, desk), ledger.change():  # a label that nobody sees must not end the one before
        made: list[Label] = [desk.invite(each, at, server, days * DAY_S) for each in
                             track(devices, "inviting", console=err, transient=True, disable=len(devices) < 20)]
        if png is not None:
            png.mkdir(parents=True, exist_ok=True)
            for label in made:
                labels.write_png(label, png)
        if sheet is not None:
            labels.write_sheet(made, sheet)
    if as_json:
        typer.echo(json.dumps([{"device": label.device, "label": str(label)} for label in made]))
        return
    for label in made if png is None and sheet is None else ():
        typer.echo(labels.terminal(label))
        typer.echo(str(label))
    what = ", ".join(str(place) for place in (png, sheet) if place)
    out.print(f"{len(made)} label{'s' if len(made) != 1 else ''}, good for {days:g} days"
              + (f", in {escape(what)}; delete that once it is printed" if what else ""))


@device.command("list")
def list_devices(path: Where = Path("ca"), as_json: AsJson = False) -> None:
    """All devices: invited, enrolled, run out, silent or revoked, and until when the certificate lives.

    Example: `cornergrid-cloud device list --json`
    """
    now = SystemClock().now()
    with opened(path) as (_, ledger, _):
        rows = ledger.rows(
            "SELECT id, site, CASE WHEN barred IS NOT NULL THEN 'revoked' WHEN paused > ?1 THEN 'silent' "
            "WHEN ends <= ?1 THEN 'run out' WHEN ends IS NOT NULL THEN 'enrolled' ELSE 'invited' END, ends, why "
            "FROM device ORDER BY id", now)
    if as_json:
        typer.echo(json.dumps([dict(zip(("device", "site", "state", "ends", "why"), row, strict=True))
                               for row in rows]))
        return
    table = Table("device", "site", "", "certificate until (UTC)", "why")
    for name, where, state, ends, why in rows:
        until = datetime.fromtimestamp(float(str(ends)), UTC).strftime("%Y-%m-%d %H:%M") if ends else "-"
        table.add_row(str(name), str(where), str(state), until, escape(str(why)))
    out.print(table)


@device.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(metavar="DEVICE")],
    why: Annotated[str, typer.Option(help="Stands in the list, and in what the device is told.")] = "by the operator",
    path: Where = Path("ca"),
    as_json: AsJson = False,
) -> None:
    """Bar a device now: its certificates, its open label, and what it says on a live connection.

    Exit code 0: done and the broker was told; 1: done, but no broker runs here that could be told.

    Example: `cornergrid-cloud device revoke shop-0042 --why "stolen"`
    """
    with opened(path) as (folder, ledger, desk):
        valid = desk.revoke(name, why)
        told = publish(folder, ledger, SystemClock().now()).told
        ended = told and broker_commands.end_session(ledger, name)
    result = {"device": name, "certificates": valid, "told": told, "session_ended": ended}
    if as_json:
        typer.echo(json.dumps(result))
    else:
        out.print(f"{name} is revoked, with {valid} valid certificate{'s' if valid != 1 else ''}; "
                  + ("the broker was told" if told else "no broker runs here: `cornergrid-cloud broker status`"))
    raise typer.Exit(0 if told else EXIT_REFUSED)


@device.command("sign")
def sign(
    request: Annotated[Path, typer.Argument(help="DEVICE.request.json from the stick.")],
    path: Where = Path("ca"),
    as_json: AsJson = False,
) -> None:
    """Answer a request that came on a USB stick: DEVICE.bundle.json is written beside it.

    Exit code 0: signed; 1: refused, and it says why; 2: the file cannot be read.

    Example: `cornergrid-cloud device sign /media/stick/shop-0042.request.json`
    """
    try:
        asked = msgspec.json.decode(request.read_bytes(), type=EnrolRequest)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(request), (Problem("file", f"is no request: {error}", "write it again with "
                                                 "`cornergrid-edge enroll LABEL --usb FOLDER`"),)) from error
    try:
        with opened(path) as (folder, ledger, desk):
            issued = desk.enrol(asked, "usb stick")
            publish(folder, ledger, SystemClock().now())
    except EnrolError as error:
        if as_json:
            typer.echo(json.dumps({"signed": False, "kind": error.kind, "wrong": error.wrong, "fix": error.fix}))
        else:
            err.print(f"{error.wrong}\n→ {error.fix}", style="red", markup=False)
        raise typer.Exit(EXIT_REFUSED) from error
    file = request.with_name(f"{asked.device}.bundle.json")
    folders.write(file, msgspec.json.format(msgspec.json.encode(issued)))
    if as_json:
        typer.echo(json.dumps({"signed": True, "file": str(file)}))
    else:
        out.print(f"wrote {escape(str(file))}, which holds no secret; next, on the box: cornergrid-edge enroll --usb "
                  "FOLDER")


@ca.command("status")
def status(path: Where = Path("ca"), as_json: AsJson = False) -> None:
    """How authority and broker are doing; the same as `broker status`.

    Example: `cornergrid-cloud ca status`
    """
    broker_commands.show_status(path, as_json)

