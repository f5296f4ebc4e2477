"""A whole day without a wall clock: the readings that ideal drivers would give, as fast as they can be made."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from edge.profile import Slot
from edge.readings import Reading, no_value
from edge.sim.scale import INCREMENT, with_noise
from edge.sim.story import DAY_S, Arm, Event, Move, PutBack, Restocked, Taken, change

HANDLED_S = 2.0
"""How long a scale is in motion after each movement, in simulated seconds."""


def levels(slot: Slot, events: Iterable[Event], times: Iterable[float]) -> Iterator[tuple[float, int, float]]:
    """(time, units in the slot, time of its last movement) for each of the rising `times`.

    `events` begin with the slot full, as every day of a story does.
    """
    moves = iter([event for event in events if isinstance(event, Taken | PutBack | Restocked)
                  and event.slot == slot.name])
    following: Move | None = next(moves, None)
    level, moved = slot.capacity, float("-inf")
    for t in times:
        while following is not None and following.t <= t:
            level, moved = level + change(following), following.t
            following = next(moves, None)
        yield t, level, moved


def polls(since: float, until: float, period_s: float) -> Iterator[float]:
    """Times from `since` to before `until`, one each period."""
    n = 0
    while (t := since + n * period_s) < until:
        yield t
        n += 1


@dataclass(frozen=True, slots=True)
class Wear:
    """How bad a scale is, in units of what stands on it: Gaussian noise, and drift a day."""

    noise: float = 0.0
    drift: float = 0.0


def scale_readings(slot: Slot, events: Iterable[Event], times: Iterable[float], seed: int = 0,
                   wear: Wear = Wear()) -> Iterator[tuple[Reading, ...]]:  # a frozen value, made once
    """What the slot's scale reads: kg to the gram, noise within half of one, `unstable` while it is handled.

    Its drift is 0 at the first of the times.
    """
    if slot.scale is None or slot.item_weight_kg is None:
        raise ValueError(f"slot {slot.name} has no scale")
    rng, began = random.Random(f"{seed}/{slot.name}/weight"), None
    for t, level, moved in levels(slot, events, times):
        began = t if began is None else began
        if t - moved < HANDLED_S:
            yield (Reading(slot.scale, "weight", t, None, "kg", "unstable"),)
            continue
        units = level + rng.gauss(0.0, wear.noise) + wear.drift * (t - began) / DAY_S
        weight = with_noise(slot.tare_kg + slot.item_weight_kg * Decimal(round(units, 6)), "kg", rng)
        yield (Reading(slot.scale, "weight", t, max(Decimal(0), weight.quantize(INCREMENT["kg"])), "kg"),)


def camera_readings(slot: Slot, events: Iterable[Event], times: Iterable[float], seed: int = 0,
                    miscounted: float = 0.0, occluded: float = 0.0) -> Iterator[tuple[Reading, ...]]:
    """What the slot's camera counts: facings, off by one at the rate `miscounted`.

    No value while somebody's arm is there, and besides at the rate `occluded`.
    """
    if slot.camera is None:
        raise ValueError(f"slot {slot.name} has no camera")
    events = tuple(events)
    arms = [event for event in events if isinstance(event, Arm) and event.slot == slot.name]
    rng = random.Random(f"{seed}/{slot.name}/facings")
    quantity = f"facings/{slot.name}"
    for t, level, _ in levels(slot, events, times):
        while arms and arms[0].until <= t:
            arms.pop(0)
        if (arms and arms[0].t <= t) or rng.random() < occluded:
            yield (no_value(slot.camera, quantity, t, "occluded", "count"),)
            continue
        facings = -(-level // slot.depth)
        if rng.random() < miscounted:
            facings = max(0, facings + rng.choice((-1, 1)))
        yield (Reading(slot.camera, quantity, t, Decimal(facings), "count"),)
