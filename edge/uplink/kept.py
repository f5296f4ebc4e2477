"""What the uplink's parts hand each other: kinds of records, streams, slices of the outbox. Pure.

A *place* is a record's position in the outbox, over all streams; its sequence on the wire is `place - base` of the
stream that it belongs to.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import msgspec

from edge.wire import LOSS, Clk, Fact, Loss, Range, flow_of, loss_of


class Kind(IntEnum):
    """What a record is worth when not everything can be kept: the least first."""

    READING = 0
    LEVEL = 1
    FLOW = 2
    EVENT = 3


@functools.lru_cache(maxsize=4096)
def kind_of(name: str) -> int:
    """The kind of a record by its name: alarms and losses are events, additive facts are flow.

    A plain int: SQLite's module would look for an adapter of every enum.
    """
    if name.startswith("event/") or name == LOSS:
        return int(Kind.EVENT)
    if flow_of(name) is not None:
        return int(Kind.FLOW)
    return int(Kind.LEVEL if name.startswith("slot/") else Kind.READING)


class Glance(msgspec.Struct, frozen=True, gc=False):
    """As much of an encoded record as tells whether it repeats another one."""

    n: str = ""
    t: float = 0.0
    v: float | None = None
    vb: bool | None = None
    vs: str | None = None
    q: str = "ok"

    @property
    def says(self) -> tuple[object, ...]:
        """What it says, whenever it says it."""
        return self.v, self.vb, self.vs, self.q


_glance = msgspec.json.Decoder(Glance)


def glance(body: bytes) -> Glance:
    """The gist of an encoded record; an empty one where it is none."""
    try:
        return _glance.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError):
        return Glance()


def loss_in(seen: Glance) -> Loss | None:
    """The loss that a record tells, or None where it tells none."""
    return loss_of(Fact(seen.n, seen.t, "", seen.vs))


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """One start of the device and one stretch of its clock: the places behind `base`, up to the next stream's.

    Event time `t` of a record was taken at monotonic time `t - w + m` of `boot`; `shift` (s) is what must be added
    to it, once the clock was found to be wrong by that much.
    """

    base: int
    st: str
    boot: int
    clk: Clk = "ok"
    w: float | None = None
    m: float | None = None
    shift: float = 0.0


Place = tuple[int, int, bytes]
"""A record as it is kept: its place, its kind and its bytes."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Encoded records of one stream: the places `first` .. `last` without those in `gaps`."""

    stream: Stream
    first: int
    last: int
    bodies: tuple[bytes, ...]
    gaps: tuple[Range, ...] = ()

    @property
    def seq(self) -> int:
        """The wire's sequence of `first`."""
        return self.first - self.stream.base


@dataclass(frozen=True, slots=True)
class Held:
    """What is held: places `lo` .. `hi`, none where `lo > hi`; `records` of them, in `used` bytes."""

    lo: int
    hi: int
    records: int
    used: int


class Kept(Protocol):
    """Somewhere to keep records: the disk's outbox, the memory that stands in for it, and both as one."""

    def put(self, facts: Sequence[Fact], snapshot: bytes | None = None) -> int:
        """Keep facts and the state they follow from, together; returns the last place. StoreError where it cannot."""

    def peek(self, after: int, most: int, upto: int) -> Slice | None:
        """Up to `most` records of one stream, oldest first, behind `after` and not behind `upto`; they stay."""

    def drop(self, st: str, mark: int) -> int:
        """Delete what the cloud has of a stream, up to the sequence `mark`; returns how many records that were."""

    def streams(self) -> tuple[Stream, ...]:
        """All streams that may have records here, oldest first."""

    def held(self) -> Held:
        """What is held now; takes the same time however much that is."""

    def lowest(self, stream: Stream) -> int:
        """The lowest place of a stream that is held; the one behind its last where none is."""

    def close(self) -> None:
        """Let go; everything that was put stays."""
