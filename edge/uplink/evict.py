"""What goes when not everything can be kept: the least important first, and every loss is told.

    1. readings that repeat the one before and the one after (folded: first and last of a run stay)
    2. the oldest readings    3. the oldest levels    4. the oldest flow    5. alarms, births, losses

The newest records and the last of each stream stay: the first are on their way, the second tell the cloud how far
the stream went.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from edge.uplink.kept import Kind, glance, loss_in
from edge.wire import Loss

CHUNK = 2000
FOLD = "fold"
STAGES = (FOLD, *(kind.name.lower() for kind in Kind))
Row = tuple[int, int, bytes]


class Sweep(msgspec.Struct):
    """How far each stage has gone, as places; kept in the outbox, so that a restart sweeps nothing twice."""

    reached: dict[str, int] = msgspec.field(default_factory=dict)
    told: int = 0

    @property
    def accounted(self) -> int:
        """Holes up to this place come from sweeps, or were told."""
        return max([self.told, *self.reached.values()])


@dataclass(slots=True)
class Gone:
    """Records of one kind that went for one reason, and the event times they lay in."""

    n: int = 0
    t0: float = float("inf")
    t1: float = float("-inf")

    def add(self, n: int, times: Iterable[float]) -> None:
        """Count `n` more."""
        self.n += n
        for t in times:
            self.t0, self.t1 = min(self.t0, t), max(self.t1, t)

    def loss(self, why: str, what: str) -> Loss:
        """As it is told."""
        known = self.t1 >= self.t0
        return Loss(why=why, what=what, n=self.n, t0=self.t0 if known else None, t1=self.t1 if known else None)


@dataclass(slots=True)
class Room:
    """One clean-up: sweeps chunk after chunk until there is room; never behind `limit`, never in `last_of_streams`."""

    db: sqlite3.Connection
    sweep: Sweep
    limit: int
    last_of_streams: frozenset[int]
    gone: dict[tuple[str, str], Gone] = field(default_factory=dict)
    deleted: int = 0

    def make(self, enough: Callable[[], bool]) -> tuple[Loss, ...]:
        """Delete until `enough()`, or until nothing more may go; within the caller's transaction."""
        for stage in STAGES:
            while not enough():
                at = self.sweep.reached.get(stage, 0)
                rows = self.db.execute("SELECT seq, kind, body FROM record WHERE seq > ? AND seq <= ? ORDER BY seq "
                                       "LIMIT ?", (at, self.limit, CHUNK)).fetchall()
                if not rows:
                    break
                self.sweep.reached[stage] = rows[-1][0]
                self._delete(stage, [row for row in rows if row[0] not in self.last_of_streams])
        return tuple(gone.loss(*of) for of, gone in self.gone.items() if gone.n)

    def _delete(self, stage: str, rows: list[Row]) -> None:
        if stage == FOLD:
            picked, of = repeats(rows), ("folded", "reading")
        else:
            picked, of = [row for row in rows if row[1] == Kind[stage.upper()]], ("evicted", stage)
        if not picked:
            return
        self.db.executemany("DELETE FROM record WHERE seq = ?", [(row[0],) for row in picked])
        times = (t for row in picked if (t := glance(row[2]).t))
        self.gone.setdefault(of, Gone()).add(len(picked), times)
        self.deleted += len(picked)
        if told := sum(told_by(row[2]) for row in picked if row[1] == Kind.EVENT):
            self.gone.setdefault((of[0], "unknown"), Gone()).add(told, ())


def told_by(body: bytes) -> int:
    """How many records a loss record tells, which must be told anew where it goes itself; 0 for any other."""
    loss = loss_in(glance(body))
    return loss.n if loss else 0


def repeats(rows: Iterable[Row]) -> list[Row]:
    """The readings inside a run of equal ones: neither the first nor the last of their run. Pure."""
    picked: list[Row] = []
    runs: dict[str, tuple[tuple[object, ...], Row | None]] = {}
    for row in rows:
        if row[1] != Kind.READING:
            continue
        seen = glance(row[2])
        says, inner = runs.get(seen.n, ((), None))
        if says != seen.says:
            runs[seen.n] = (seen.says, None)
        else:
            if inner is not None:
                picked.append(inner)
            runs[seen.n] = (says, row)
    picked.sort()
    return picked
