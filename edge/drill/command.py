"""`cornergrid-edge drill`: practise outages on this box, and see that nothing is lost and nothing counted twice."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.table import Table

from edge import profile as profiles
from edge.box.owner import for_the_agent
from edge.clock import SystemClock
from edge.consoles import err, out
from edge.drill.cases import CASES, Case
from edge.drill.cloud import StandInCloud
from edge.drill.ground import Counts, DrillError, Ground
from edge.errors import ConfigError, Problem

LIMIT_S = 180.0
NEEDS_BYTES = 64 * 1024 ** 2
EXIT_FAILED = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case: whether it passed, its counts, and what was done or what went wrong."""

    case: str
    ok: bool
    put: int
    delivered: int
    lost: int
    twice: int
    seconds: float
    note: str


def register(app: typer.Typer) -> None:
    """Add the command `drill`."""
    app.command()(drill)


def drill(
    path: Annotated[Path, typer.Argument(metavar="PROFILE", help="The device profile; its disk is the one used.")],
    only: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same choices.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Practise outages on this box with a synthetic stream, beside the real one and without touching it.

    A small broker and ingest stand in on loopback; the disk is the real one (a folder `drill` in the profile's data
    folder). At most three minutes. Exit code 0: every case passed, 1: one failed; its folder is then kept.

    Example: `cornergrid-edge drill /etc/cornergrid/shop.toml`
    """
    cases = _chosen(only)
    data = profiles.load_profile(path).device.data
    folder = data / "drill"
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # the table is what counts here
    outcomes: list[Outcome] = []
    with for_the_agent(data):
        for outcome in run(folder, cases, seed):
            outcomes.append(outcome)
            if not as_json:
                mark = "ok  " if outcome.ok else "FAIL"
                err.print(f"{mark} {outcome.case}: {outcome.note} ({outcome.seconds:.1f} s)")
    ok = len(outcomes) == len(cases) and all(outcome.ok for outcome in outcomes)
    if as_json:
        typer.echo(json.dumps({"ok": ok, "cases": [asdict(outcome) for outcome in outcomes]}))
    else:
        out.print(table(outcomes))
        out.print("nothing lost without a word, nothing counted twice" if ok else f"not passed; kept: {folder}")
    if ok:
        shutil.rmtree(folder, ignore_errors=True)
    raise typer.Exit(0 if ok else EXIT_FAILED)


def _chosen(only: list[str] | None) -> list[Case]:
    names = {case.name for case in CASES}
    if wrong := [name for name in only or [] if name not in names]:
        raise ConfigError("drill", (Problem("--only", f"there is no case {wrong[0]!r}", f"one of {', '.join(names)}"),))
    return [case for case in CASES if not only or case.name in only]


def run(folder: Path, cases: list[Case], seed: int) -> Iterator[Outcome]:
    """Run cases one after another, each in a fresh folder; none begins after `LIMIT_S`."""
    clock = SystemClock()
    begin = clock.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if shutil.disk_usage(folder).free < NEEDS_BYTES:
        raise ConfigError(str(folder), (Problem("disk", "has less than 64 MB free", "make room first"),))
    for case in cases:
        at = clock.monotonic()
        if at - begin > LIMIT_S:
            yield Outcome(case.name, False, 0, 0, 0, 0, 0.0, f"not begun: {LIMIT_S:.0f} s were over")
            continue
        ok, note, counts = _one(case, folder / case.name, random.Random(f"{seed} {case.name}"))
        yield Outcome(case.name, ok, counts.put, counts.delivered, counts.lost, counts.twice,
                      round(clock.monotonic() - at, 1), note)


def _one(case: Case, folder: Path, rng: random.Random) -> tuple[bool, str, Counts]:
    with StandInCloud() as cloud:
        ground = Ground(folder, cloud)
        try:
            note = case.run(ground, rng)
        except DrillError as error:
            return False, f"{error}; see {folder / 'worker.log'}", ground.counts()
        finally:
            ground.close()
        counts = ground.counts()
        return counts.exact(may_lose=case.may_lose), note, counts


def table(outcomes: list[Outcome]) -> Table:
    """All cases with their counts."""
    shown = Table("", "case", "kept", "delivered", "told as lost", "twice", "seconds", "what was done", title="drill",
                  title_justify="left")
    does = {case.name: case.does for case in CASES}
    for each in outcomes:
        shown.add_row("[green]ok[/]" if each.ok else "[red]FAIL[/]", does[each.case], str(each.put),
                      str(each.delivered), str(each.lost), str(each.twice), f"{each.seconds:.1f}", each.note)
    return shown
