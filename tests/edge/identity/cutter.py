"""Runs an enrolment or a rotation again and again, each cut off (kill -9) one step later, until one comes through.

A step is whatever changes the disk or asks the network, as Python's audit hooks tell it (PEP 578). With `torn`, the
file that was being written then loses its second half, as after a power cut before the disk was done.

Input: one JSON object {"what", "torn", "cases": [{"label", "folder"}]}. Output: a line for each case, `cut` or `done`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from edge.clock import SystemClock
from edge.identity.enrol import begin, send
from edge.identity.files import Store
from edge.identity.keeper import Keeper
from edge.identity.trust import Moment
from edge.wire.enrol import parse_label

STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "socket.connect"}
WRITES = os.O_WRONLY | os.O_RDWR


def enrol(store: Store, label: str) -> None:
    send(store, begin(store, parse_label(label)), Moment(0.0, False, 0.0))


def rotate(store: Store, _label: str) -> None:
    keeper = Keeper(store, SystemClock())
    store.recover()
    keeper.refused()
    keeper.step()
    keeper.context()
    keeper.accepted()
    keeper.step()


def cut_at(step: int, folder: Path, *, torn: bool) -> None:
    """From now on, end this process right before the step of that number."""
    left = step

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal left
        if event not in STEPS or (event == "open" and not (WRITES & args[2] and str(args[0]).startswith(str(folder)))):
            return
        left -= 1
        if left == 0:
            if torn:
                tear(folder)
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def tear(folder: Path) -> None:
    for part in folder.glob("*.part"):
        os.truncate(part, part.stat().st_size // 2)


def main() -> None:
    given = json.load(sys.stdin)
    run = {"enrol": enrol, "rotate": rotate}[given["what"]]
    for step, case in enumerate(given["cases"], 1):
        child = os.fork()
        if child == 0:
            folder = Path(case["folder"])
            cut_at(step, folder, torn=given["torn"])
            run(Store(folder), case["label"])
            os._exit(0)
        _, status = os.waitpid(child, 0)
        cut = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        sys.stdout.write("cut\n" if cut else "done\n" if status == 0 else f"failed {status}\n")
        if not cut:
            return


if __name__ == "__main__":
    main()
