"""A thermometer's file that behaves as a serial adapter does: plugged, pulled, and saying what it is told to."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.edge.sensors.serial_bench import Answer, silent

NAME = "28-0316a2794bff"


class WireAdapter:
    """The folder of one thermometer; its file says `unasked`, or where that is empty what `answer` gives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._answer: Answer = silent
        self._unasked = b""
        self.plug()

    @property
    def answer(self) -> Answer:
        return self._answer

    @answer.setter
    def answer(self, answer: Answer) -> None:
        self._answer = answer
        self.plug()

    @property
    def unasked(self) -> bytes:
        return self._unasked

    @unasked.setter
    def unasked(self, data: bytes) -> None:
        self._unasked = data
        self.plug()

    def plug(self) -> None:
        """Appear, with what it says now."""
        self.path.mkdir(exist_ok=True)
        part = self.path / ".part"
        part.write_bytes(self._unasked or self._answer(b""))
        os.replace(part, self.path / "w1_slave")

    def unplug(self) -> None:
        """Go, as the kernel's folder does."""
        shutil.rmtree(self.path, ignore_errors=True)
