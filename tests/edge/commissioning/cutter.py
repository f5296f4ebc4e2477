"""Runs a commissioning again and again, each cut off (kill -9) one step later, until one comes through.

A step is whatever changes a file of the box, as Python's audit hooks tell it (PEP 578). With `torn`, the files that
were being written then lose their second half, as after a power cut before the disk was done.

Input: one JSON object {"torn", "cases": [{"profile", "label"}, ...]}. A case with a label begins without a profile, and
its box has a scale, a door, a camera and an authority to enrol at. Output: a line for each case, `cut` or `done`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import structlog

from edge import commission_commands
from edge.commissioning import devices, eyes, lines, place
from edge.commissioning import steps as steps  # noqa: PLC0414  # loaded before the first fork
from edge.commissioning.person import Answers, Nobody
from edge.consoles import err
from edge.finds import Choice, Find
from edge.readings import Reading
from edge.sensors import AnySettings
from edge.sensors.ports import Port
from tests.edge.cuts import WRITES, cut_at, cut_each, tear
from tests.edge.vision.goods import Blind

STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.link"}
PASSING = ("/check-", "/.write-test")
"""What a check makes and takes away again: nothing is read of it later."""
PORT, LINE = "/dev/serial/by-id/usb-scale", "/dev/serial/by-id/usb-line"
CHOICES = {
    PORT: Choice(PORT, "scale", "Toledo 8217", "0.000 kg", "", "", {
        "driver": "toledo-8217", "port": PORT, "unit": "kg"}),
    LINE: Choice(LINE, "modbus", "Waveshare, address 2", "", "", "", {
        "driver": "modbus", "port": LINE, "device": "waveshare-io-8ch", "address": 2})}


class Still:
    """A pan that is empty, or an input module whose doors stay closed."""

    def __init__(self, settings: AnySettings) -> None:
        self._name, self._scale = settings.name, settings.port == PORT

    def read(self) -> tuple[Reading, ...]:
        if self._scale:
            return (Reading(self._name, "weight", 1.0, Decimal("0.000"), "kg"),)
        return (Reading(self._name, "input-1", 1.0, value=False),)

    def close(self) -> None:
        """Nothing is open."""


def furnish(put: Callable[[Any, str, Any], None]) -> None:
    """Let `put(module, name, what)` put these devices into the box."""
    for module in (place, devices, lines):
        put(module, "open_driver", lambda settings, _clock: Still(settings))
    put(devices, "look_behind", lambda socket, *_, **__: Find(socket, (CHOICES[socket.name],)))
    put(devices, "found_ports", lambda: tuple(Port(name, name) for name in CHOICES))
    put(eyes, "load_detector", lambda _: Blind())


def commission(profile: Path, label: str = "") -> dict[str, Any]:
    """A whole commissioning by nobody, of a box without devices, or of a furnished one from its label on."""
    answers = Answers(by="A. Fitter", skip=("drill",))
    if label:
        answers = Answers(
            by="A. Fitter", skip=("drill", "foreign", "committed"), label=label, broker="127.0.0.1:9",
            data=str(profile.with_suffix("")), cameras=({"name": "cam-1", "source": str(profile.with_name("frames"))},),
            slots=({"name": "A1", "sku": "4006381333931", "capacity": 9, "scale": "scale-1", "item_weight": "250 g"},
                   {"name": "B1", "sku": "4006381333931", "capacity": 9, "camera": "cam-1", "region": [0, 0, 1, 1]}))
    wishes = commission_commands.Wishes(answers, patience_s=0.01, other_ports=bool(label), anew=False)
    return commission_commands._run(profile, Nobody(err), wishes)


def main() -> None:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # standard output is the answer
    given = json.load(sys.stdin)
    furnish(setattr)

    def run(step: int, case: dict[str, str]) -> None:
        profile, label = Path(case["profile"]), case["label"]
        folder, before = profile.with_suffix(""), False

        def is_step(event: str, args: tuple[Any, ...]) -> bool:
            if event not in STEPS or not str(args[0]).startswith((f"{folder}/", f"{profile}")):
                return False
            if label:  # where half a file may lie, and where the documents do not know of it; the rest is cut without
                nonlocal before
                whole = event == "os.rename" or (event == "os.remove" and not str(args[0]).endswith((".part", "-test")))
                if not whole or "/documents.backup" in str(args[0]):
                    return False
                twice, before = before and "/documents." in str(args[0]), "/documents." in str(args[0])
                return not twice
            writes = event != "open" or bool(WRITES & args[2])
            return writes and not any(name in str(args[0]) for name in PASSING)

        parts = (part for place in (folder.rglob("*.part"), profile.parent.glob(f"{profile.name}.part"))
                 for part in place)
        cut_at(step, is_step, lambda: tear(parts) if given["torn"] else None)
        commission(profile, label)

    cut_each(given["cases"], run)


if __name__ == "__main__":
    main()
