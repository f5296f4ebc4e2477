"""Runs a commissioning again and again, each cut off (kill -9) one step later, until one comes through.

A step is whatever changes a file of the box, as Python's audit hooks tell it (PEP 578). With `torn`, the file that was
being written then loses its second half, as after a power cut before the disk was done.

Input: one JSON object {"torn", "cases": [profile, ...]}. Output: a line for each case, `cut` or `done`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import structlog

from edge import commission_commands
from edge.commissioning import steps as steps  # noqa: PLC0414  # loaded before the first fork
from edge.commissioning.person import Answers, Nobody
from edge.consoles import err
from edge.profile import load_profile
from tests.edge.cuts import WRITES, cut_at, cut_each, tear

STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.link"}
PASSING = ("/check-", "/.write-test")
"""What a check makes and takes away again: nothing is read of it later."""


def commission(profile: Path) -> dict[str, Any]:
    """A whole commissioning of a box without devices, by nobody."""
    wishes = commission_commands.Wishes(
        Answers(by="A. Fitter", skip=("drill",)), patience_s=0.01, other_ports=False, anew=False)
    return commission_commands._run(profile, Nobody(err), wishes)


def main() -> None:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # standard output is the answer
    given = json.load(sys.stdin)

    def run(step: int, case: str) -> None:
        profile = Path(case)
        folder = load_profile(profile).device.data

        def is_step(event: str, args: tuple[Any, ...]) -> bool:
            if event not in STEPS or not str(args[0]).startswith(str(folder)):
                return False
            writes = event != "open" or bool(WRITES & args[2])
            return writes and not any(name in str(args[0]) for name in PASSING)

        cut_at(step, is_step, lambda: tear(folder.rglob("*.part")) if given["torn"] else None)
        commission(profile)

    cut_each(given["cases"], run)


if __name__ == "__main__":
    main()
