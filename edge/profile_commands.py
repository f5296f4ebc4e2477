"""`cornergrid-edge profile`: is a device profile, mine or someone else's, right?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from edge.consoles import out
from edge.errors import ConfigError, Problem
from edge.sensors.modbus_check import Report, check_profile

EXIT_WRONG, EXIT_UNUSABLE = 1, 2


def register(app: typer.Typer) -> None:
    """Add the command `profile`."""
    profile = typer.Typer(no_args_is_help=True, help="Profiles of Modbus devices: registers, scaling, sentinels.")
    profile.callback()(_profile)
    profile.command()(check)
    app.add_typer(profile, name="profile")


def _profile() -> None:
    """Profiles of Modbus devices: registers, scaling, sentinels."""


def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Profiles of Modbus devices, TOML.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check a device profile without the device: its form, its registers, and its own vectors as tests.

    Exit code 0: nothing is wrong (doubts may be), 1: something is, 2: a sensor could not use it at all.

    Example: `cornergrid-edge profile check firmware_configs/devices/r4dcb08.toml`
    """
    reports = [_look(file) for file in files]
    if as_json:
        typer.echo(json.dumps({"ok": not any(report.mistakes for report in reports),
                               "files": [asdict(report) for report in reports]}))
    else:
        for report in reports:
            _tell(report)
    unusable = any(not report.usable for report in reports)
    raise typer.Exit(EXIT_UNUSABLE if unusable else EXIT_WRONG if any(report.mistakes for report in reports) else 0)


def _look(file: Path) -> Report:
    try:
        return check_profile(file)
    except ConfigError as error:
        return Report(str(file), False, error.problems, (), 0, 0)


def _tell(report: Report) -> None:
    passed = f"{report.passed} of {report.vectors} vectors pass"
    said = f"{len(report.mistakes)} to put right" if report.mistakes else "nothing is wrong"
    out.print(f"{escape(report.file)}: {said}; {passed}", style="red" if report.mistakes else "green")
    for what, style, problems in (("wrong", "red", report.mistakes), ("doubt", "yellow", report.doubts)):
        for problem in problems:
            out.print(f"  [{style}]{what}[/{style}] {escape(_line(problem))}")


def _line(problem: Problem) -> str:
    return f"{problem.key}: {problem.wrong}" + (f" → {problem.fix}" if problem.fix else "")
