"""Runs an enrolment or a rotation again and again, each cut off (kill -9) one step later, until one comes through.

A step is whatever changes the disk or asks the network, as Python's audit hooks tell it (PEP 578). With `torn`, the
file that was being written then loses its second half, as after a power cut before the disk was done.

Input: one JSON object {"what", "torn", "cases": [{"label", "folder"}]}. Output: a line for each case, `cut` or `done`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edge.clock import SystemClock
from edge.identity.enrol import begin, send
from edge.identity.files import Store
from edge.identity.keeper import Keeper
from edge.identity.trust import Moment
from edge.wire.enrol import parse_label
from tests.edge.cuts import WRITES, cut_at, cut_each, tear

STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "socket.connect"}


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


def main() -> None:
    given = json.load(sys.stdin)
    what = {"enrol": enrol, "rotate": rotate}[given["what"]]

    def run(step: int, case: dict[str, str]) -> None:
        folder = Path(case["folder"])

        def is_step(event: str, args: tuple[Any, ...]) -> bool:
            return event in STEPS and (
                event != "open" or bool(WRITES & args[2] and str(args[0]).startswith(str(folder))))

        cut_at(step, is_step, lambda: tear(folder.glob("*.part")) if given["torn"] else None)
        what(Store(folder), case["label"])

    cut_each(given["cases"], run)


if __name__ == "__main__":
    main()
