"""What a commissioning has come to so far: a document that is kept after each step, so that a power cut costs one."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from edge.documents import Documents

TABLE, NAME = "commissionings", "present"


class Picture(msgspec.Struct, frozen=True):
    """A picture beside the report: its name, its file under the data folder, and the SHA-256 of that."""

    name: str
    file: str
    sha256: str


class Outcome(msgspec.Struct, frozen=True):
    """What came of one step. `fix` says what to do about a warning; `learned` is what later work is judged by."""

    state: Literal["ok", "warning", "skipped"]
    found: str
    fix: str = ""
    learned: dict[str, Any] = {}
    pictures: tuple[Picture, ...] = ()


class Done(msgspec.Struct, frozen=True):
    """A step that is through: when it ended, Unix seconds, how long it took, and its outcome."""

    step: str
    title: str
    at: float
    seconds: float
    outcome: Outcome


class Run(msgspec.Struct, frozen=True):
    """One commissioning: who did it, when it began, how often it was taken up again, and its steps so far."""

    id: str
    device: str
    by: str
    begun: float
    resumed: int = 0
    steps: tuple[Done, ...] = ()
    reported: float | None = None

    def done(self, step: str) -> Done | None:
        """The step, where it is through."""
        return next((each for each in self.steps if each.step == step), None)


@dataclass(frozen=True, slots=True)
class Chest:
    """Where the run lies, between starts of the program."""

    documents: Documents

    def take_up(self, device: str, by: str, now: float, *, anew: bool) -> Run:
        """The run that was cut off, or a new one where there is none or `anew`."""
        kept = self.documents.kept(TABLE, NAME)
        if kept is not None and not anew:
            run = msgspec.convert(kept["run"], Run)
            if run.reported is None and run.device == device:
                run = msgspec.structs.replace(run, resumed=run.resumed + 1, by=by or run.by)
                self.keep(run)
                return run
        run = Run(uuid.uuid4().hex, device, by, now)
        self.keep(run)
        return run

    def keep(self, run: Run) -> None:
        """Keep the run as it is now."""
        self.documents.keep(TABLE, NAME, {"run": msgspec.to_builtins(run)})
