"""A month of readings of many slots against its truth, as `../shared/demand/README.md` measured filters."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import chain

from edge import stock
from edge.plan import Plan
from edge.profile import Slot
from edge.readings import Reading
from edge.sim.day import polls
from edge.sim.story import DAY_S, Event, Habits, PutBack, Restocked, Taken, change, day
from edge.sim.truth import Total, TruthEvent, totals, truth_of
from edge.wire import Fact

FROM = date(2026, 3, 2)
PERIOD_S = 300.0
# 15% put back what they took, within ten minutes: three in four of these are seen by a look each five minutes.
HABITS = Habits(customers_per_hour=1.2, apart_s=0.0, returned=0.15, return_s=(0.0, 600.0))
PUT_BACK_S = 600.0


@dataclass(slots=True)
class Sums:
    """Counted and true units, and the variance that the device states of what it counted."""

    sold: float = 0.0
    true: float = 0.0
    restocked: float = 0.0
    true_restocked: float = 0.0
    var: float = 0.0
    available: float = 0.0
    true_available: float = 0.0

    @property
    def bias(self) -> float:
        return self.sold / self.true - 1


def scale_slot(n: int) -> Slot:
    return Slot.model_validate({"name": f"A{n}", "sku": f"sku-{n}", "capacity": 24, "scale": f"scale-{n}",
                                "item_weight": "0.250 kg", "tare": "1.2 kg"})


def camera_slot(n: int) -> Slot:
    return Slot.model_validate({"name": f"B{n}", "sku": f"sku-{n}", "capacity": 12, "camera": "cam-1",
                                "region": [0, 0, 1, 1]})


def story(slot: Slot, seed: int, days: int) -> tuple[Event, ...]:
    """The slot's days one after another, each beginning full."""
    return tuple(chain.from_iterable(day([slot], seed, FROM + timedelta(days=n), HABITS) for n in range(days)))


def truth(slot: Slot, events: Iterable[Event]) -> Iterator[TruthEvent]:
    level = slot.capacity
    for event in events:
        if isinstance(event, Taken | PutBack | Restocked) and event.slot == slot.name:
            level += change(event)
            yield truth_of(event, slot.sku, level)


Readings = Callable[[Slot, tuple[Event, ...], Iterator[float], int], Iterator[tuple[Reading, ...]]]


def month(slots: Iterable[Slot], readings: Readings, days: int, seed: int = 0) -> Sums:
    """What `edge.stock` makes of the slots' readings, summed."""
    since = datetime(FROM.year, FROM.month, FROM.day, tzinfo=UTC).timestamp()
    until = since + days * DAY_S
    sums = Sums()
    for slot in slots:
        events = story(slot, seed, days)
        told = tuple(truth(slot, events))
        true = totals(told, since, until).get(slot.sku, Total())
        plan = Plan(slot.name, slot.sku, slot.source, slot.item_weight_kg, slot.tare_kg, slot.depth,
                    put_back_s=PUT_BACK_S, gap_s=900.0)
        found, var = counted(plan, chain.from_iterable(readings(slot, events, polls(since, until, PERIOD_S), seed)))
        sums.sold += found["sold"]
        sums.restocked += found["restocked"]
        sums.var += var["sold"]
        sums.true += true.sold
        sums.true_restocked += true.restocked
        sums.available += found["in_stock"]
        sums.true_available += in_stock(slot, told, since, until)
    return sums


def counted(plan: Plan, readings: Iterable[Reading]) -> tuple[dict[str, float], dict[str, float]]:
    """Sum and stated variance of each additive fact."""
    state, facts, t = stock.SlotState(), list[Fact](), 0.0
    for reading in readings:
        t = reading.t
        state, more = stock.step(plan, state, reading)
        facts += more
    facts += stock.tick(plan, state, t + 1e6)[1]
    sums: dict[str, float] = defaultdict(float)
    var: dict[str, float] = defaultdict(float)
    for fact in facts:
        if isinstance(fact.value, float):
            column = fact.name.rpartition("/")[2]
            sums[column] += fact.value
            var[column] += (fact.sd or 0.0) ** 2
    assert all(math.isfinite(each) for each in (*sums.values(), *var.values()))
    return sums, var


def in_stock(slot: Slot, told: Iterable[TruthEvent], since: float, until: float) -> float:
    """Seconds in which the slot truly was not empty."""
    seconds, before, level = 0.0, since, slot.capacity
    for event in told:
        seconds += (event.t - before) * (level > 0)
        before, level = event.t, event.level
    return seconds + (until - before) * (level > 0)
