"""`cornergrid-edge install`, `uninstall` and `support-bundle`: the agent as a service, and its story in one file."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from edge import profile as profiles
from edge.box import bundle, plan, program
from edge.box.raw import WANTED, folder_of
from edge.box.runner import Runner
from edge.box.steps import Change, Command, Step
from edge.clock import SystemClock
from edge.consoles import err, out
from edge.errors import ConfigError, Problem
from edge.outbox_commands import is_running, read_status
from edge.uplink import look as looks

USUAL = Path(plan.PROFILE)
WAIT_S = 5.0
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")]
Root = Annotated[Path, typer.Option(help="Install into this folder instead, for an image: files only, no commands.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Add the commands `install`, `uninstall` and `support-bundle`."""
    app.command()(install)
    app.command()(uninstall)
    app.command("support-bundle")(support_bundle)


def install(
    profile: Annotated[Path | None, typer.Argument(help=f"The device profile; {USUAL} where none is named.")] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    root: Root = Path("/"),
    yes: Yes = False,
    wheels: Annotated[Path | None, typer.Option(help="Make the program of the wheels in this folder, in "
                                                     "/opt/cornergrid; without it, this very program is used.")] = None,
    program_at: Annotated[str, typer.Option("--program", help="Where the program will lie, in an image.")] = "",
    finish: Annotated[bool, typer.Option(help="Complete what a power cut interrupted.", hidden=True)] = False,
) -> None:
    """Make the agent a service of this box: unit, user, names of devices, limits of its log.

    Shows what changes first, and asks on a terminal. May be run again: what is so already stays. A power cut at any
    moment does no harm: the next start completes it. Exit code 0: done, 2: it cannot be done.

    Example: `sudo cornergrid-edge install shop.toml --dry-run`
    """
    runner = Runner(root)
    if finish:
        _finish(runner)
        return
    steps, making = _wanted(runner, profile, wheels, program_at)
    _carry_out(runner, steps, dry_run=dry_run, as_json=as_json, yes=yes, first=making)
    if not dry_run and not as_json:
        out.print("next: systemctl status cornergrid; journalctl --namespace=cornergrid --follow" if runner.is_box else
                  "no service manager runs here: the agent starts when this system does")


def uninstall(dry_run: DryRun = False, as_json: AsJson = False, root: Root = Path("/"), yes: Yes = False) -> None:
    """Take the service off this box. The profile, the data folder with what is not sent yet, and the log stay.

    Example: `sudo cornergrid-edge uninstall --dry-run`
    """
    _carry_out(Runner(root), plan.uninstall_steps(), dry_run=dry_run, as_json=as_json, yes=yes)
    if not as_json:
        out.print(f"these stay: {USUAL}, the data folder, the user cornergrid, its log, /opt/cornergrid")


def _wanted(runner: Runner, profile: Path | None, wheels: Path | None,
            program_at: str) -> tuple[tuple[Step, ...], Callable[[], None] | None]:
    """The steps, and what has to be made before them."""
    path = profile or USUAL
    settings = profiles.load_profile(path)
    found, label, making = _program(wheels, program_at)
    problems = [Problem(f"cameras[{i}].model", "is not absolute", "the service runs in another folder: write it whole")
                for i, camera in enumerate(settings.cameras) if camera.model and not camera.model.is_absolute()]
    if runner.is_box and not wheels and not program_at:
        problems += program.unreachable(found)
    if problems:
        raise ConfigError("install", tuple(problems))
    return plan.install_steps(plan.Wanted(
        found.command, path.read_text(encoding="utf-8"), settings.device.data, label,
        _systemd_version() if runner.is_box else 0, found.prefixes)), making


def _program(wheels: Path | None, program_at: str) -> tuple[program.Program, str, Callable[[], None] | None]:
    if program_at:
        return program.Program((program_at,)), version("cornergrid"), None
    if wheels is None:
        return program.running(), version("cornergrid"), None
    folder = wheels.absolute()
    found, label, missing = program.from_wheels(folder)
    return found, label, (lambda: program.make(folder, found)) if missing else None


def _systemd_version() -> int:
    done = subprocess.run(("systemctl", "--version"), capture_output=True, text=True, check=False)  # noqa: S607  # the box's own
    words = done.stdout.split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def _carry_out(runner: Runner, steps: Sequence[Step], *, dry_run: bool, as_json: bool, yes: bool,
               first: Callable[[], None] | None = None) -> None:
    """Show the changes, ask, and do them; `first` is done before them, and is no part of them."""
    pending = bool(runner.pending())
    changes = plan.changes(steps, runner.there, anew=pending, commands=runner.is_box)
    if as_json:
        typer.echo(json.dumps({"dry_run": dry_run, "interrupted": pending, "root": str(runner.root), "steps": [
            {"what": each.what, "name": each.name, "shown": each.shown} for each in changes]}))
    else:
        _show(changes, pending=pending)
    if dry_run or not (first or pending or any(each.what != "unchanged" for each in changes)):
        return
    if runner.root == Path("/") and os.geteuid() != 0:
        raise ConfigError("install", (Problem("user", "only root may change the system", "put sudo before it"),))
    if not yes and not as_json and out.is_terminal and not typer.confirm("Do this?", default=True):
        raise typer.Abort
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=err, disable=not err.is_terminal,
                  transient=True) as progress:
        task = progress.add_task("making the program of its wheels", total=None)
        if first is not None:
            first()
        runner.run(steps, changes, lambda each: progress.update(task, description=each.name))


def _show(changes: Sequence[Change], *, pending: bool) -> None:
    if pending:
        out.print("an earlier install or uninstall was interrupted: all its commands are run again")
    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(overflow="fold")  # half a path helps nobody
    for each in changes:
        table.add_row(each.what, each.name if isinstance(each.step, Command) else f"{each.name} {_first(each.shown)}")
    out.print(table)
    for each in changes:
        if "\n" in each.shown:
            out.print(f"\n{each.name}")
            out.print(each.shown, markup=False)
    if all(each.what == "unchanged" for each in changes):
        out.print("nothing to do")


def _first(shown: str) -> str:
    return "" if "\n" in shown else shown


def _finish(runner: Runner) -> None:
    steps = runner.pending()
    if steps:
        changes = plan.changes(steps, runner.there, anew=True, commands=runner.is_box)
        runner.run(steps, changes, lambda each: err.print(f"completing: {each.what} {each.name}", markup=False))
    runner.forget()


def support_bundle(
    profile: Annotated[Path, typer.Argument(help="The device profile, TOML.")] = USUAL,
    target: Annotated[Path | None, typer.Option("--out", help="The .tar.gz to write, not there yet.")] = None,
    log: Annotated[list[Path] | None, typer.Option(help="A log file, instead of the journal; may be repeated.")] = None,
    with_pictures: Annotated[bool, typer.Option("--with-pictures", help="The shelves' pictures too.")] = False,
    data: Annotated[Path | None, typer.Option(help="The data folder, where the profile cannot be read.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put all that a helper needs into one file: versions, profile, state, logs, the last bytes of each serial line.

    Passwords, keys, claim codes and pictures stay here. Works beside the running agent and without it.

    Example: `sudo cornergrid-edge support-bundle /etc/cornergrid/shop.toml --out bundle.tar.gz`
    """
    clock = SystemClock()
    device = _device(profile, data)
    name, folder = (device.id, device.data) if device else ("unknown", data or Path("/var/lib/cornergrid"))
    stamp = datetime.fromtimestamp(clock.now(), UTC).strftime("%Y%m%dT%H%M%SZ")
    file = target or Path(f"cornergrid-{name}-{stamp}.tar.gz")
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=err, disable=not err.is_terminal,
                  transient=True) as progress:
        task = progress.add_task("asking the agent for its serial lines", total=None)
        _ask_for_raw(folder)
        source = bundle.Source(profile, folder, tuple(log or ()), with_pictures, _reports(device) if device else {})
        manifest = bundle.pack(file, bundle.collect(
            source, lambda part: progress.update(task, description=part)), clock.now())
    if as_json:
        typer.echo(json.dumps({"file": str(file), **manifest}))
        return
    for each in manifest["files"]:
        out.print(f"{each['bytes']:>10}  {each['name']}", markup=False)
    for each in manifest["left_out"]:
        out.print(f"  left out  {each['name']}: {each['why']}", markup=False)
    out.print(f"wrote {file}; passwords, keys and claim codes are replaced by ***", markup=False)


def _device(profile: Path, data: Path | None) -> profiles.Device | None:
    """Whose bundle it is; None where the profile cannot be used, which the bundle then shows."""
    try:
        device = profiles.load_profile(profile).device
    except ConfigError:
        return None
    return device.model_copy(update={"data": data}) if data else device


def _reports(device: profiles.Device) -> dict[str, Callable[[], Any]]:
    def outbox() -> dict[str, Any]:
        seen, found = looks.look(device.outbox), looks.verify(device.outbox)
        return {"bytes": seen.bytes, "tally": msgspec.to_builtins(seen.tally), "sound": found.sound,
                "records": found.records, "bad": found.bad, "damaged": found.damaged, "hidden": found.hidden,
                "streams": [{**msgspec.to_builtins(each.stream), "lo": each.lo, "hi": each.hi}
                            for each in seen.streams]}

    return {"status.json": lambda: read_status(device), "outbox.json": outbox}


def _ask_for_raw(data: Path) -> None:
    """Let the running agent write its serial lines; it looks each second. Without it, what it wrote last is taken."""
    wanted, clock, rest = folder_of(data) / WANTED, SystemClock(), threading.Event()
    try:
        if not is_running(data):
            return
        os.close(os.open(wanted, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644))
    except OSError as error:
        err.print(f"the agent cannot be asked for its serial lines: {error.strerror}", markup=False)
        return
    until = clock.monotonic() + WAIT_S
    while wanted.exists() and clock.monotonic() < until:
        rest.wait(0.1)
    wanted.unlink(missing_ok=True)
