"""Runs a commissioning again and again, each cut off (kill -9) one step later, until one comes through.

A step is whatever changes a file of the box, as Python's audit hooks tell it (PEP 578). With `torn`, the file that was
being written then loses its second half, as after a power cut before the disk was done.

Input: one JSON object {"torn", "cases": [profile, ...]}. Output: a line for each case, `cut` or `done`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import structlog

from edge import commission_commands
from edge.commissioning import steps as steps  # noqa: PLC0414  # loaded before the first fork
from edge.commissioning.person import Answers, Nobody
from edge.profile import load_profile

STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.link"}
PASSING = ("/check-", "/.write-test")
"""What a check makes and takes away again: nothing is read of it later."""
WRITES = os.O_WRONLY | os.O_RDWR


def cut_at(step: int, folder: Path, *, torn: bool) -> None:
    """From now on, end this process right before the step of that number."""
    left = step

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal left
        if event not in STEPS or not str(args[0]).startswith(str(folder)) or (
                event == "open" and not WRITES & args[2]) or any(name in str(args[0]) for name in PASSING):
            return
        left -= 1
        if left == 0:
            if torn:
                tear(folder)
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def tear(folder: Path) -> None:
    for part in folder.rglob("*.part"):
        if part.stat().st_nlink == 1:  # a second name of a file is not being written
            os.truncate(part, part.stat().st_size // 2)


def commission(profile: Path) -> dict[str, Any]:
    """A whole commissioning of a box without devices, by nobody."""
    wishes = commission_commands.Wishes(
        Answers(by="A. Fitter", skip=("drill",)), patience_s=0.01, other_ports=False, anew=False)
    return commission_commands._run(profile, Nobody(commission_commands.err), wishes)


def main() -> None:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # standard output is the answer
    given = json.load(sys.stdin)
    for step, case in enumerate(given["cases"], 1):
        child = os.fork()
        if child == 0:
            profile = Path(case)
            cut_at(step, load_profile(profile).device.data, torn=given["torn"])
            commission(profile)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        cut = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        sys.stdout.write("cut\n" if cut else "done\n" if status == 0 else f"failed {status}\n")
        if not cut:
            return


if __name__ == "__main__":
    main()
