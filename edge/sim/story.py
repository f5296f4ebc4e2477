"""A shop's day as a sorted sequence of events, from one seed.

Each slot's day begins and ends full (the shopkeeper fills the shelves after closing), so every day stands on its
own and a story can begin on any date and run for ever.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
OPENS, CLOSES = 7, 21
BUSY = (1.1, 1.3, 0.8, 0.6, 0.7, 1.2, 1.2, 0.7, 0.6, 0.8, 1.3, 1.5, 1.3, 0.8)
"""How busy each hour from 07:00 to 21:00 is, against the mean."""
SECOND_UNIT = 0.2
PATIENCE_S = (20 * 60.0, 40 * 60.0)
LOW = 0.25
ARM_S = (6.0, 8.0)


class StorySlot(Protocol):
    """What the story needs to know about a profile's slot."""

    @property
    def name(self) -> str: ...
    @property
    def capacity(self) -> int: ...
    @property
    def camera(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Taken:
    """A customer took `n` units from a slot."""

    t: float
    slot: str
    n: int


@dataclass(frozen=True, slots=True)
class PutBack:
    """A customer put `n` units back where they came from."""

    t: float
    slot: str
    n: int


@dataclass(frozen=True, slots=True)
class Restocked:
    """The shopkeeper added `n` units, up to the slot's capacity."""

    t: float
    slot: str
    n: int


@dataclass(frozen=True, slots=True)
class DoorOpened:
    """The fridge's door opened."""

    t: float


@dataclass(frozen=True, slots=True)
class DoorClosed:
    """The fridge's door closed."""

    t: float


@dataclass(frozen=True, slots=True)
class Arm:
    """Somebody's arm is in front of a slot from `t` until `until`."""

    t: float
    until: float
    slot: str


Move = Taken | PutBack | Restocked
Event = Move | DoorOpened | DoorClosed | Arm


@dataclass(frozen=True, slots=True)
class Habits:
    """How the shop's people behave.

    Attributes:
        customers_per_hour: who want something from one slot, in a mean opening hour (Poisson).
        doors_per_hour: openings of the fridge in a mean opening hour.
        apart_s: least time between two movements of one slot, a put-back counted with its take. At 60 times the
            wall's speed, 240 s are four frames of a camera at one frame a second: enough for three that agree.
            A put-back comes within the 30 to 120 s that people take, so a slow sensor may see neither it nor the
            take, which leaves the units sold right.
        returned: share of those who put back what they took, after a time within `return_s`.
    """

    customers_per_hour: float = 3.6
    doors_per_hour: float = 6.0
    apart_s: float = 240.0
    returned: float = 0.1
    return_s: tuple[float, float] = (30.0, 120.0)


HABITS = Habits()


def day(slots: Iterable[StorySlot], seed: int, on: date, habits: Habits = HABITS) -> tuple[Event, ...]:
    """Every event of one UTC day, sorted by time; the same arguments give the same day."""
    midnight = datetime(on.year, on.month, on.day, tzinfo=UTC).timestamp()
    events: list[Event] = list(_doors(random.Random(f"{seed}/{on}/door"), midnight, habits))
    for slot in slots:
        moves = tuple(_slot_day(random.Random(f"{seed}/{on}/{slot.name}"), slot, midnight, habits))
        events += moves
        if slot.camera is not None:
            events += (Arm(move.t - ARM_S[0], move.t + ARM_S[1], slot.name) for move in moves)
    return tuple(sorted(events, key=lambda event: (event.t, type(event).__name__)))


def story(slots: Iterable[StorySlot], seed: int, start: float, habits: Habits = HABITS) -> Iterator[Event]:
    """Events of day after day without end, from the midnight (UTC) before `start`, Unix seconds.

    Every slot is full at that midnight.
    """
    slots = tuple(slots)
    on = datetime.fromtimestamp(start, UTC).date()
    while True:
        yield from day(slots, seed, on, habits)
        on += timedelta(days=1)


def _arrivals(rng: random.Random, midnight: float, per_hour: float) -> Iterator[float]:
    """Times of a Poisson process whose rate changes with the hour, by thinning (Lewis and Shedler 1979)."""
    most = max(BUSY) * per_hour / HOUR_S
    t = OPENS * HOUR_S
    while (t := t - math.log(1.0 - rng.random()) / most) < CLOSES * HOUR_S:
        if rng.random() < BUSY[int(t / HOUR_S) - OPENS] / max(BUSY):
            yield round(midnight + t, 3)


def _doors(rng: random.Random, midnight: float, habits: Habits) -> Iterator[Event]:
    closed = 0.0
    for t in _arrivals(rng, midnight, habits.doors_per_hour):
        if t > closed + 30.0:
            closed = round(t + rng.uniform(15.0, 90.0), 3)
            yield DoorOpened(t)
            yield DoorClosed(closed)


def _slot_day(rng: random.Random, slot: StorySlot, midnight: float, habits: Habits) -> Iterator[Move]:
    level, free, restock = slot.capacity, 0.0, math.inf
    for t in _arrivals(rng, midnight, habits.customers_per_hour):
        wanted = 2 if rng.random() < SECOND_UNIT else 1
        returned, after = rng.random() < habits.returned, round(rng.uniform(*habits.return_s), 3)
        if restock < t:
            at = round(max(restock, free), 3)
            yield Restocked(at, slot.name, slot.capacity - level)
            level, free, restock = slot.capacity, at + habits.apart_s, math.inf
        n = min(wanted, level)
        if n == 0 or t < free:
            continue
        yield Taken(t, slot.name, n)
        level, free = level - n, t + habits.apart_s
        if returned:
            yield PutBack(round(t + after, 3), slot.name, n)
            level, free = level + n, t + after + habits.apart_s
        if level <= slot.capacity * LOW and restock == math.inf:
            restock = t + rng.uniform(*PATIENCE_S)
    if level < slot.capacity:
        at = max(free, midnight + CLOSES * HOUR_S + rng.uniform(*PATIENCE_S))
        yield Restocked(round(at, 3), slot.name, slot.capacity - level)


def change(move: Move) -> int:
    """By how many units a movement changes its slot's level."""
    return -move.n if isinstance(move, Taken) else move.n
