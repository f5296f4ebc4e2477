"""What the outside world knows of one device: every fact it made, and what became of it that nobody can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge.uplink.buffer import Buffer
from edge.uplink.kept import glance
from edge.wire import Fact, loss_of

OWED = 1 << 60
"""No publish is that late."""


@dataclass(slots=True)
class Made:
    """A fact, and when it `true`ly was; from the publish `right_from` on its time must say so."""

    number: int
    fact: Fact
    true: float
    start: int
    free: bool
    kept: bool = False
    right_from: int | None = None
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """A copy of the disk: how many facts were made by then, and which of these were in memory only."""

    folder: Path
    made: int
    volatile: frozenset[int]


@dataclass(slots=True)
class Ledger:
    """`volatile`: facts in memory only. `excused`: gone with a disk or a memory, so that nobody can tell their loss.

    `forgiven`: records told in loss records that went so, or were spoilt. `exact`: nothing was told as lost that may
    have been delivered. `exposed`: something that is held may have been delivered.
    """

    made: dict[int, Made] = field(default_factory=dict)
    volatile: set[int] = field(default_factory=set)
    excused: set[int] = field(default_factory=set)
    forgiven: int = 0
    flipped: int = 0
    exact: bool = True
    exposed: bool = False
    owing: bool = False
    lost: int = 0
    publishes: int = 0
    first_sent: dict[tuple[str, int], int] = field(default_factory=dict)
    snapshots: set[bytes | None] = field(default_factory=lambda: {None})

    def kept(self, facts: Sequence[Made], snapshot: bytes, *, in_memory: bool) -> None:
        """A put has returned."""
        for each in facts:
            each.kept = True
        if in_memory:
            self.volatile.update(each.number for each in facts)
            self.exact = False
        else:
            self.volatile.clear()
            self.snapshots = {snapshot}
            for each in self.made.values() if self.owing else ():
                each.right_from = self.publishes if each.right_from == OWED else each.right_from
            self.owing = False

    def sent(self, st: str, seq: int, n: int) -> None:
        """A message with these sequences has left."""
        self.publishes += 1
        self.exposed = True
        for each in range(seq, seq + n):
            self.first_sent.setdefault((st, each), self.publishes)

    def corrected(self, start: int, offset: float, *, whole: bool, in_memory: bool) -> None:
        """The clock of this start was put right: what it says is right, even where that is off by `offset`.

        `in_memory`: the disk may know of it only once it takes something again.
        """
        self.owing = self.owing or in_memory
        for each in self.made.values():
            if each.free and each.start == start and each.right_from is None:
                each.true += offset
                each.right_from, each.unsure = OWED if in_memory else self.publishes, not whole

    def look(self, lost: int) -> None:
        """So many records are told as lost now."""
        self.exact = self.exact and (lost == self.lost or not self.exposed)
        self.lost = lost

    def dead(self, volatile: set[int], owed: int, *, in_memory: bool) -> None:
        """A process has ended, and with it what it had in memory: facts, losses, and corrections the disk not took."""
        self.excused |= volatile
        self.forgiven += owed + self.flipped * in_memory  # the cloud may know a gap whose loss the disk did not take
        self.volatile.clear()
        for each in self.made.values() if in_memory else ():
            each.unsure |= each.right_from is not None

    def put_back(self, image: Image | None, owed: int) -> None:
        """An older disk, or a new one: what was only on the present one is gone."""
        self.excused.update(list(self.made)[image.made if image else 0:], image.volatile if image else ())
        self.forgiven += owed + self.flipped  # what is spoilt may be missing before its loss is on the disk
        self.exact = False
        self.snapshots = {b"%d" % number for number in self.made} | {None}
        for each in self.made.values():
            each.unsure |= each.free


def owed(body: bytes) -> int:
    """How many records a loss record tells; 0 for any other."""
    seen = glance(body)
    loss = loss_of(Fact(seen.n, seen.t, "", seen.vs))
    return loss.n if loss else 0


def owed_by_memory(buffer: Buffer) -> int:
    """What the loss records in memory tell."""
    memory = buffer.refuge.memory
    return sum(owed(body) for _, _, body in memory.moved_to(0)[1]) if memory else 0


def owed_by_disk(buffer: Buffer) -> int:
    """What the loss records on the disk tell."""
    disk = buffer.refuge.disk
    return sum(owed(body) for _, _, body in disk.export()) if disk else 0
