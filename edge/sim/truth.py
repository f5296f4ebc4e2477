"""What really happened in the virtual shop, one JSON object a line, written as it happens.

    {"t": 1767254400.0, "kind": "taken", "slot": "A1", "sku": "4006381333931", "n": 1, "level": 23}

Kinds: `start` (a level when the file begins), `taken`, `put_back`, `restocked`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from edge.errors import ConfigError, Problem
from edge.sim.story import Move, PutBack, Restocked, Taken

KINDS: dict[type[Taken | PutBack | Restocked], Literal["taken", "put_back", "restocked"]] = {
    Taken: "taken", PutBack: "put_back", Restocked: "restocked"}


class TruthEvent(msgspec.Struct, frozen=True):
    """One thing that happened: event time in Unix seconds, units moved, and the slot's level afterwards."""

    t: float
    kind: Literal["start", "taken", "put_back", "restocked"]
    slot: str
    sku: str
    n: int
    level: int


@dataclass(frozen=True, slots=True)
class Total:
    """Units of one SKU over a time: `sold` was taken and not put back."""

    sold: int = 0
    put_back: int = 0
    restocked: int = 0


class TruthFile:
    """A truth file being written; replaces one that is there."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb", buffering=0)

    def start(self, t: float, slot: str, sku: str, level: int) -> None:
        """Write down a slot's level at the beginning."""
        self._write(TruthEvent(t, "start", slot, sku, 0, level))

    def moved(self, move: Move, sku: str, level: int) -> None:
        """Write down a movement and the level after it."""
        self._write(truth_of(move, sku, level))

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _write(self, event: TruthEvent) -> None:
        self._file.write(msgspec.json.encode(event) + b"\n")


def truth_of(move: Move, sku: str, level: int) -> TruthEvent:
    """A movement as it stands in the truth."""
    return TruthEvent(move.t, KINDS[type(move)], move.slot, sku, move.n, level)


def read_truth(path: Path) -> tuple[TruthEvent, ...]:
    """All whole lines of a truth file; ConfigError with the line that is none. A last line still being written waits.
    """
    decode = msgspec.json.Decoder(TruthEvent).decode
    events: list[TruthEvent] = []
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        if not line.endswith(b"\n"):
            break
        try:
            events.append(decode(line))
        except msgspec.DecodeError as error:
            raise ConfigError(str(path), (Problem(f"line {number}", str(error)),)) from error
    return tuple(events)


def totals(events: Iterable[TruthEvent], since: float, until: float) -> dict[str, Total]:
    """Units per SKU of events with `since <= t < until`; what came back is taken off at the time of its take.

    A put-back belongs to the latest take of its slot, as the agent counts it.
    """
    sold: dict[str, int] = {}
    back: dict[str, int] = {}
    restocked: dict[str, int] = {}
    taken_at: dict[str, float] = {}
    for event in events:
        inside = since <= event.t < until
        if event.kind == "taken":
            taken_at[event.slot] = event.t
            _add(sold, event.sku, event.n if inside else 0)
        elif event.kind == "put_back":
            of_this_time = since <= taken_at.get(event.slot, event.t) < until
            _add(sold, event.sku, -event.n if of_this_time else 0)
            _add(back, event.sku, event.n if inside else 0)
        elif event.kind == "restocked":
            _add(restocked, event.sku, event.n if inside else 0)
    skus = sorted({*sold, *back, *restocked})
    return {sku: Total(sold.get(sku, 0), back.get(sku, 0), restocked.get(sku, 0)) for sku in skus}


def _add(to: dict[str, int], sku: str, n: int) -> None:
    to[sku] = to.get(sku, 0) + n
