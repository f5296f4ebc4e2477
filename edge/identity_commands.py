"""`cornergrid-edge enroll`: from the label on the sticker to a certificate, over the network or by a USB stick."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from edge import profile as profiles
from edge.clock import SystemClock
from edge.consoles import err, out
from edge.errors import ConfigError, EnrolError, Problem
from edge.identity import enrol
from edge.identity.files import Identity, Pending, Store
from edge.identity.trust import moment
from edge.wire.enrol import Label, parse_label

EXIT_REFUSED, EXIT_BAD_INPUT, EXIT_UNREACHABLE = 1, 2, 3
DATA = Path("/var/lib/cornergrid")


def register(app: typer.Typer) -> None:
    """Add the command `enroll`."""
    app.command()(enroll)


def enroll(
    label: Annotated[str, typer.Argument(help='What the sticker says, scanned or typed; "-" reads it from standard '
                                              "input, where no list of processes shows it.")] = "",
    profile: Annotated[Path | None, typer.Option(help="The device profile: its id and data folder are used.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder, where there is no profile yet.")] = None,
    server: Annotated[str, typer.Option(help="HOST:PORT of the enrolment server, where the label names none.")] = "",
    usb: Annotated[Path | None, typer.Option(help="Without a network: the folder of a USB stick. First the request is "
                                             "written there, and once it is signed, the certificate is read.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Get this device's certificate with the label that the operator made.

    The key is made here and stays here. A power cut at any moment does no harm: run it again, or start the agent.

    Exit code 0: enrolled, or the request is on the stick; 1: refused; 2: the label or a folder cannot be used;
    3: the server does not answer.

    Example: `cornergrid-edge enroll "CG1:shop-0042:9K3M-2QXW-7TBD-R:4F7HK-9M2QX-WTBD1-3RSVA" --server
    enrol.example.org:8443 --profile /etc/cornergrid/shop.toml`

    By USB stick: `cornergrid-edge enroll "CG1:..." --usb /media/stick`, then at the authority `cornergrid-cloud device
    sign /media/stick/shop-0042.request.json`, then here `cornergrid-edge enroll --usb /media/stick`
    """
    _hide(label)
    known = profiles.load_profile(profile).device if profile else None
    store = Store((data or (known.data if known else DATA)) / "identity")
    text = sys.stdin.readline() if label == "-" else label
    try:
        given = _label(text, known.id if known else "") if text else None
        if present := enrol.already(store, given):
            result = _enrolled(present)
        else:
            pending = _pending(store, given, server)
            result = _by_stick(store, pending, usb, profile, data) if usb else _online(store, pending)
    except EnrolError as error:
        _tell({"enrolled": False, "kind": error.kind, "wrong": error.wrong, "fix": error.fix,
               "retry_s": error.retry_s}, as_json, error=True)
        raise typer.Exit(EXIT_UNREACHABLE if error.kind == "unreachable" else EXIT_REFUSED) from error
    _tell(result, as_json)


def _hide(label: str) -> None:
    """Start again with the label on standard input: any user of this machine sees the arguments of a process."""
    if label in {"", "-"} or label not in sys.argv:
        return
    reading, writing = os.pipe()
    os.write(writing, label.encode()[:4096] + b"\n")
    os.close(writing)
    os.dup2(reading, sys.stdin.fileno())
    os.execv(sys.executable, [sys.executable, *("-" if each == label else each for each in sys.orig_argv[1:])])  # noqa: S606  # ourselves


def _label(text: str, device: str) -> Label:
    label = parse_label(text)
    if device and device != label.device:
        raise ConfigError("enroll", (Problem("device", f"the label is for {label.device}, the profile's device is "
                                             f"{device}", "use the sticker of this box, or change the profile"),))
    return label


def _pending(store: Store, label: Label | None, server: str) -> Pending:
    if label is not None:
        return enrol.begin(store, dataclasses.replace(label, server=server.lower() or label.server))
    pending = store.pending()
    if pending is None:
        raise ConfigError("enroll", (Problem("LABEL", "is missing, and no enrolment is under way",
                                             'scan or type it: cornergrid-edge enroll "CG1:..."'),))
    return pending


def _online(store: Store, pending: Pending) -> dict[str, Any]:
    if not pending.server:
        raise ConfigError("enroll", (Problem("--server", "the label names no server", "add --server HOST:PORT, or "
                                             "--usb FOLDER where there is no network"),))
    with err.status(f"asking {escape(pending.server)}"):
        return _enrolled(enrol.send(store, pending, moment(SystemClock(), store.floor())))


def _by_stick(store: Store, pending: Pending, stick: Path, profile: Path | None, data: Path | None) -> dict[str, Any]:
    answer = enrol.from_stick(pending, stick)
    if answer is not None:
        return _enrolled(enrol.accept(store, pending, answer))
    file = enrol.to_stick(pending, stick)
    there = f"cornergrid-cloud device sign {file.name}"
    given = [("--usb", stick), ("--profile", profile), ("--data", data)]
    here = shlex.join(["cornergrid-edge", "enroll", *(str(word) for pair in given if pair[1] for word in pair)])
    return {"enrolled": False, "request": str(file), "next": [f"{there}   (where the authority is)", here]}


def _enrolled(identity: Identity) -> dict[str, Any]:
    return {"enrolled": True, "device": identity.device, "begins": identity.begins, "ends": identity.ends,
            "serial": f"{identity.certificate.serial_number:x}"}


def _tell(result: dict[str, Any], as_json: bool, *, error: bool = False) -> None:
    if as_json:
        typer.echo(json.dumps(result))
    elif error:
        err.print(f"{result['wrong']}\n→ {result['fix']}", style="red", markup=False)
    elif result["enrolled"]:
        days = (result["ends"] - result["begins"]) / 86_400
        out.print(f"{result['device']} is enrolled; its certificate lives {days:.0f} days and is renewed by itself")
    else:
        out.print(f"wrote {escape(result['request'])}, which holds no secret; next:")
        for line in result["next"]:
            out.print(f"  {escape(line)}")
