"""What the uplink's tests share: facts to put, and all that is kept, by the names that the cloud knows it by."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from edge.clock import Era
from edge.uplink.kept import Kept, Slice, glance
from edge.wire import LOSS, Fact, Loss, decode

T0 = 1_800_000_000.0
FREE = Era(T0, 5.0, "free")
SURE = Era(T0 + 100.0, 105.0, "ok")
ALL = 10**12
NAMES = {"reading": "scale-1/weight", "level": "slot/A1/level", "flow": "slot/A1/sold", "event": "event/door"}
Name = tuple[str, int]
"""A record as the cloud knows it: stream and sequence."""


class Turning(Kept, Protocol):
    """Somewhere to keep records through turns of the clock."""

    def turn(self, era: Era, shift: float | None = None) -> None:
        """Begin a stream."""


def fact(value: float, kind: str = "reading", t: float = T0) -> Fact:
    return Fact(NAMES[kind], t, "kg", value)


def facts(first: int, n: int, kind: str = "reading") -> list[Fact]:
    """Facts that no two are alike of: value and time tell which one each is."""
    return [fact(float(i), kind, T0 + i) for i in range(first, first + n)]


def places(found: Slice) -> list[int]:
    """The places of a slice's records."""
    gone = {place for first, last in found.gaps for place in range(first, last + 1)}
    return [place for place in range(found.first, found.last + 1) if place not in gone]


def everything(kept: Kept) -> dict[Name, bytes]:
    """Every record that is kept, by its name; peeked as the sender would."""
    records: dict[Name, bytes] = {}
    after = 0
    while (found := kept.peek(after, 100, ALL)) is not None:
        stream = found.stream
        named = [((stream.st, place - stream.base), body)
                 for place, body in zip(places(found), found.bodies, strict=True)]
        assert not records.keys() & {name for name, _ in named}
        records.update(named)
        after = found.last
    return records


def losses(bodies: Iterable[bytes]) -> list[Loss]:
    """What the loss records among them tell."""
    return [decode(str(told.vs).encode(), Loss) for told in map(glance, bodies) if told.n == LOSS]


def values(bodies: Iterable[bytes]) -> list[float]:
    """The values of those that are no losses."""
    return [told.v for told in map(glance, bodies) if told.v is not None]


def told(bodies: Iterable[bytes]) -> Counter[str]:
    """Records that were told as lost, by the reason and the kind."""
    found: Counter[str] = Counter()
    for loss in losses(bodies):
        found[f"{loss.why} {loss.what}"] += loss.n
    return found


def behind(path: Path, do: Callable[[sqlite3.Connection], object]) -> None:
    """Change an outbox behind the back of whoever has it open."""
    db = sqlite3.connect(path, isolation_level=None)
    do(db)
    db.close()


def flip(path: Path, offset: int, mask: int = 0xFF) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes((byte ^ mask,)))
