"""`cornergrid-edge commission`: from an invited label to a signed report that the shop works."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import structlog
import typer
from rich.markup import escape
from rich.table import Table

from edge import profile as profiles
from edge.box.owner import for_the_agent
from edge.clock import HonestClock, SystemClock
from edge.commissioning.person import Answers, Keyboard, Nobody, Person, Stopped, read_answers
from edge.consoles import err, out
from edge.errors import ConfigError, Problem
from edge.trusted import CAMERA, camera_given, has_login, read_line, refuse_open

if TYPE_CHECKING:
    from edge.commissioning.place import Place
    from edge.commissioning.state import Chest, Run

USUAL = Path("/etc/cornergrid/shop.toml")
EXIT_WARNINGS, EXIT_STOPPED = 1, 3
KEYS = """Each step ends by itself once it shows what was asked for. Meanwhile
  Enter        take it as it is
  s and Enter  skip it
  q and Enter  leave; the same command goes on from there"""
MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "skipped": "[dim]skipped[/]"}


def register(app: typer.Typer) -> None:
    """Add the command `commission`."""
    app.command()(commission)


def commission(  # noqa: PLR0913, PLR0917  # one flag for each answer
    path: Annotated[Path, typer.Argument(metavar="PROFILE", help="The device profile, TOML; made where it is not "
                                                                 "there.")] = USUAL,
    unattended: Annotated[bool, typer.Option("--unattended", help="Ask nobody: flags and --answers say it.")] = False,
    answers: Annotated[Path | None, typer.Option(help="A TOML file, like firmware_configs/shops/answers.toml; flags "
                                                      "go before it.")] = None,
    by: Annotated[str, typer.Option(help="Who commissions.")] = "",
    label: Annotated[str, typer.Option("--label-file", help='A file with what the sticker says; "-" reads one line '
                                                            "from standard input.")] = "",
    server: Annotated[str, typer.Option(help="HOST:PORT of the enrolment server, where the label names none.")] = "",
    broker: Annotated[str, typer.Option(help="HOST:PORT, for a profile that is not there yet.")] = "",
    data: Annotated[str, typer.Option(help="Data folder, for a profile that is not there yet.")] = "",
    port: Annotated[list[str] | None, typer.Option(help="A port to look behind, in place of all that the box has; may "
                                                        "be repeated.")] = None,
    camera: Annotated[str | None, typer.Option(help="A camera's address without a login.")] = None,
    camera_file: Annotated[str, typer.Option(help='A file of mode 0600 with its address and login, or "-"; '
                                                  f"{CAMERA} in the environment does too.")] = "",
    known_weight: Annotated[str, typer.Option(help='To check the scales with, like "1 kg".')] = "",
    catalogue: Annotated[Path | None, typer.Option(help="CSV of products: gtin,name.")] = None,
    confirm: Annotated[list[str] | None, typer.Option(help="A sensor whose make is certain; may be repeated.")] = None,
    skip: Annotated[list[str] | None, typer.Option(help="A step, sensor or camera; may be repeated.")] = None,
    patience: Annotated[float, typer.Option(min=1, help="Seconds to wait for a hand, or for the cloud.")] = 60.0,
    other_ports: Annotated[bool, typer.Option(help="Look also behind ports that the profile does not name.")] = True,
    anew: Annotated[bool, typer.Option("--anew", help="Begin again, though an earlier run was not finished.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object at the end.")] = False,
) -> None:
    """From the sticker on a box to a signed report that the shop works: every part is tried, with your hands.

    A profile is made of what is found where there is none; one that is there keeps its lines. Each step ends by
    itself once the device shows what was asked for. Enter takes it as it is, s skips it, q leaves; the same command
    then goes on, also after a power cut. Stop the agent first: the ports are needed.

    Exit code 0: no warning is left, 1: some are (they stand in the report), 2: something cannot be used, 3: stopped.

    Example: `cornergrid-edge commission /etc/cornergrid/shop.toml --by "A. Fitter" --known-weight "1 kg"`

    Nobody there: `cornergrid-edge commission shop.toml --unattended --answers answers.toml --label-file label.txt`
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
                        logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    given = _answers(answers, Answers(
        by=by, label=read_line(label, "--label-file") if label else "", server=server, broker=broker, data=data,
        ports=tuple(port or ()), camera=camera_given(camera, camera_file) or "", known_weight=known_weight,
        catalogue=str(catalogue or ""), confirmed=tuple(confirm or ()), skip=tuple(skip or ())))
    _to_its_end(path, Nobody(err) if unattended else Keyboard(err), Wishes(given, patience, other_ports, anew), as_json)


def _to_its_end(path: Path, person: Person, wishes: Wishes, as_json: bool) -> None:
    try:
        told = _run(path, person, wishes)
    except (Stopped, KeyboardInterrupt) as error:
        err.print("\nstopped; what was done is kept, and the same command goes on from here", style="yellow")
        raise typer.Exit(EXIT_STOPPED) from error
    if as_json:
        typer.echo(json.dumps(told))
    else:
        _show(told)
    raise typer.Exit(EXIT_WARNINGS if told["warnings"] else 0)


def _answers(file: Path | None, flags: Answers) -> Answers:
    """The answers of a file, with what the flags say in their place."""
    kept = read_answers(file) if file else Answers()
    if file and (kept.label or any(has_login(str(each.get("source", ""))) for each in kept.cameras)):
        refuse_open(file, "answers")
    said = {each.name: value for each in msgspec.structs.fields(Answers) if (value := getattr(flags, each.name))}
    return msgspec.structs.replace(kept, **said)


@contextlib.contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Neither the agent nor a second commissioning at the same time; ConfigError where there is one."""
    from edge.outbox_commands import is_running  # noqa: PLC0415  # loads the uplink

    data.mkdir(parents=True, exist_ok=True)
    if is_running(data):
        raise ConfigError(str(data), (Problem("agent", "is running and has the ports",
                                              "stop it first: systemctl stop cornergrid"),))
    with (data / "commissioning.lock").open("w", encoding="utf-8") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(str(data), (Problem("commission", "is running already", "finish or stop it"),)) from error
        yield


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the flags say of the run as a whole."""

    answers: Answers
    patience_s: float
    other_ports: bool
    anew: bool


def _run(path: Path, person: Person, wishes: Wishes) -> dict[str, Any]:
    """Every step that is left, then the report; what is told at the end."""
    from edge.commissioning.begin import begin  # noqa: PLC0415  # loads the vision libraries
    from edge.commissioning.place import Place  # noqa: PLC0415
    from edge.commissioning.state import Chest  # noqa: PLC0415
    from edge.commissioning.steps import go_on  # noqa: PLC0415
    from edge.documents import Documents  # noqa: PLC0415

    answers, clock = wishes.answers, HonestClock(SystemClock())
    if person.there:
        person.tell(KEYS)
    if not path.exists():
        answers = begin(path, answers, person)
    profile = profiles.load_profile(path)
    with _alone(profile.device.data), for_the_agent(profile.device.data):
        documents = Documents(profile.device.data)
        chest = Chest(documents)
        if not answers.by:
            answers = msgspec.structs.replace(answers, by=person.ask("who are you?"))
        run = chest.take_up(profile.device.id, answers.by, clock.now(), anew=wishes.anew)
        place = Place(path, profile, clock, person, answers, documents, run.id, wishes.patience_s,
                      other_ports=wishes.other_ports)
        if documents.recovered:
            person.tell(documents.recovered)
        if run.resumed:
            person.tell(f"going on after {len(run.steps)} steps that are done; --anew begins again")
        for step, after in go_on(run, chest, place):
            run = after
            outcome = run.steps[-1].outcome
            err.print(f"  {MARKS[outcome.state]} {escape(step.name)}: {escape(outcome.found)}")
        return _report(place, chest, run, documents.recovered)


def _report(place: Place, chest: Chest, run: Run, recovered: str) -> dict[str, Any]:
    """Write, sign and send the report, and close the run."""
    from edge.commissioning import report, uplink  # noqa: PLC0415
    from edge.identity.files import Store  # noqa: PLC0415

    store = Store(place.profile.device.identity)
    signed = report.write(run, place.profile, store.read(store.current), place.folder)
    content = json.dumps(signed) if signed else (place.folder / "report.json").read_text(encoding="utf-8")
    trip = run.done("committed")
    sent = uplink.send_up(place, report.facts(run, content, place.clock.now()),
                          waits=trip is not None and trip.outcome.state == "ok")
    chest.keep(msgspec.structs.replace(run, reported=place.clock.now()))
    return {"device": run.device, "run": run.id, "by": run.by, "ok": not report.warnings(run),
            "warnings": len(report.warnings(run)), "resumed": run.resumed, "recovered": recovered,
            "signed": signed is not None, "committed": sent, "folder": str(place.folder),
            "steps": [{"step": each.step, "title": each.title, "state": each.outcome.state,
                       "found": each.outcome.found, "fix": each.outcome.fix, "seconds": each.seconds}
                      for each in run.steps]}


def _show(told: dict[str, Any]) -> None:
    table = Table(title=f"Commissioning of {told['device']}", title_justify="left")
    for column in ("", "step", "found", "what to do"):
        table.add_column(column, overflow="fold")  # half a path helps nobody
    for row in told["steps"]:
        table.add_row(MARKS[row["state"]], escape(row["title"]), escape(row["found"]), escape(row["fix"]))
    out.print(table)
    if told["recovered"]:
        out.print(told["recovered"], markup=False)
    out.print(f"{'signed' if told['signed'] else 'unsigned'} report: {Path(told['folder']) / 'report.html'}",
              markup=False)
    out.print("the cloud has it" if told["committed"] else "it waits in the outbox, and goes up with the agent")
    out.print("no warning is left" if told["ok"] else f"{told['warnings']} warnings are left; they are in the report")
