"""Readings into stock levels, and levels into facts that add up: pure functions over typed values.

    Reading ─▶ units (weight / item weight, or facings x depth)
            ─▶ level, once `agree` equal readings came in a row
            ─▶ taken ─▶ back within `put_back_s`? put_back, else sold (at the time it was taken)
               more than was taken ─▶ restocked
    and the seconds of each window in which the slot was observed, and in stock.

A change after three equal readings is off by -2% to -3% at 2% to 10% miscounts, where the raw differences'
sum is off by +157% to +678%. A sale waits until a put-back is no longer to be expected, so `sold` never has to be
taken back; the wait is part of the state, which the outbox commits together with the facts.

Event time may turn back when a wrong clock is put right. What then lies in the future is taken to be of the present.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import msgspec

from edge.readings import OK, Reading
from edge.wire import WINDOW_S, Fact, window_of

OFF_UNIT = Decimal("0.35")
"""A weight this far, in units, from any whole number of items is something else on the pan."""
FLUSH_S = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a slot's readings mean: `source` is the reading's name, weights are kg."""

    slot: str
    sku: str
    source: str
    item_weight: Decimal | None = None
    tare: Decimal = Decimal(0)
    depth: int = 1
    agree: int = 3
    put_back_s: float = 180.0
    gap_s: float = 300.0


class Taken(msgspec.Struct, frozen=True):
    """Units that left the shelf and may still come back; `t` is when they left."""

    t: float
    n: int


class SlotState(msgspec.Struct, frozen=True):
    """All that is remembered of a slot. `level` is None until the first agreement; times are event times."""

    level: int | None = None
    candidate: int | None = None
    streak: int = 0
    since: float = 0.0
    taken: tuple[Taken, ...] = ()
    seen: float | None = None
    window: int = 0
    flushed: float = 0.0
    observed: float = 0.0
    in_stock: float = 0.0
    means: str = ""


def units_of(plan: Plan, reading: Reading) -> int | None:
    """Units that a reading shows, or None where it tells nothing of the stock."""
    if reading.quality != OK or reading.value is None or isinstance(reading.value, bool):
        return None
    if plan.item_weight is None:
        return int(reading.value) * plan.depth
    exact = (reading.value - plan.tare) / plan.item_weight
    units = int(exact.to_integral_value())
    if units < 0 or abs(exact - units) > OFF_UNIT:
        return None
    return units


def resume(plan: Plan, kept: SlotState | None) -> SlotState:
    """The state to go on from: the kept one, unless the slot's readings now mean something else.

    Another SKU, weight, tare, depth or source would turn a level that did not move into a sale.
    """
    means = f"{plan.sku} {plan.source} {plan.item_weight} {plan.tare} {plan.depth}"
    return kept if kept is not None and kept.means == means else SlotState(means=means)


def step(plan: Plan, state: SlotState, reading: Reading) -> tuple[SlotState, tuple[Fact, ...]]:
    """The slot's state after one reading of its source, and the facts that follow."""
    state, facts = tick(plan, state, reading.t)
    units = units_of(plan, reading)
    if units is None:
        return msgspec.structs.replace(state, candidate=None, streak=0), facts
    state, passed = _observe(plan, state, reading.t)
    state, moved = _agree(plan, state, units, reading.t)
    return state, facts + passed + moved


def tick(plan: Plan, state: SlotState, now: float) -> tuple[SlotState, tuple[Fact, ...]]:
    """What is due at `now` without any reading: units taken too long ago to come back were sold."""
    if not state.taken:
        return state, ()
    # After the clock went back by days, a sale must not wait for days.
    taken = tuple(Taken(min(each.t, now), each.n) for each in state.taken)
    kept = tuple(each for each in taken if now - each.t <= plan.put_back_s)
    facts = tuple(_fact(plan, "sold", each.t, each.n) for each in taken if now - each.t > plan.put_back_s)
    return msgspec.structs.replace(state, taken=kept), facts


def turned(plan: Plan, state: SlotState, shift: float) -> tuple[SlotState, tuple[Fact, ...]]:
    """The state after event time turned by `shift` (s), and the seconds counted so far, still in the old time."""
    state, facts = _flush(plan, state, state.flushed)
    seen = None if state.seen is None else state.seen + shift
    return msgspec.structs.replace(
        state, taken=tuple(Taken(taken.t + shift, taken.n) for taken in state.taken), since=state.since + shift,
        seen=seen, flushed=state.flushed + shift, window=window_of(state.flushed + shift)), facts


def _observe(plan: Plan, state: SlotState, t: float) -> tuple[SlotState, tuple[Fact, ...]]:
    """Count the time since the last good reading, split at the window's edge, and report it in time."""
    seen = state.seen
    facts: tuple[Fact, ...] = ()
    if state.level is None or seen is None or not 0 <= t - seen <= plan.gap_s:
        state, facts = _flush(plan, state, t)
        return msgspec.structs.replace(state, seen=t), facts
    while window_of(seen) != window_of(t):
        edge = float(window_of(seen) + WINDOW_S)
        state = _add_time(state, edge - seen)
        state, passed = _flush(plan, state, edge)
        facts += passed
        seen = edge
    state = _add_time(state, t - seen)
    if t - state.flushed >= FLUSH_S:
        state, passed = _flush(plan, state, t)
        facts += passed
    return msgspec.structs.replace(state, seen=t), facts


def _add_time(state: SlotState, seconds: float) -> SlotState:
    in_stock = seconds if state.level else 0.0
    return msgspec.structs.replace(state, observed=state.observed + seconds, in_stock=state.in_stock + in_stock)


def _flush(plan: Plan, state: SlotState, t: float) -> tuple[SlotState, tuple[Fact, ...]]:
    """Report the seconds counted so far as facts of the window they lie in, and begin again at `t`."""
    facts: tuple[Fact, ...] = ()
    if state.observed > 0:
        at = float(state.window)
        facts = (_fact(plan, "observed", at, round(state.observed, 3)),
                 _fact(plan, "in_stock", at, round(state.in_stock, 3)))
    return msgspec.structs.replace(
        state, window=window_of(t), flushed=t, observed=0.0, in_stock=0.0), facts


def _agree(plan: Plan, state: SlotState, units: int, t: float) -> tuple[SlotState, tuple[Fact, ...]]:
    if units == state.level:
        return msgspec.structs.replace(state, candidate=None, streak=0), ()
    if units != state.candidate:
        state = msgspec.structs.replace(state, candidate=units, streak=0, since=t)
    state = msgspec.structs.replace(state, streak=state.streak + 1, since=min(state.since, t))
    if state.streak < plan.agree:
        return state, ()
    state, moves = _move(plan, state, units, state.since)
    level = Fact(f"slot/{plan.slot}/level", t, "count", float(units), OK, plan.sku)
    return msgspec.structs.replace(state, level=units, candidate=None, streak=0), (*moves, level)


def _move(plan: Plan, state: SlotState, units: int, t: float) -> tuple[SlotState, tuple[Fact, ...]]:
    if state.level is None:
        return state, ()
    change = units - state.level
    if change < 0:
        return msgspec.structs.replace(state, taken=(*state.taken, Taken(t, -change))), ()
    if change > sum(taken.n for taken in state.taken):
        return state, (_fact(plan, "restocked", t, change),)
    return msgspec.structs.replace(state, taken=_give_back(state.taken, change)), (
        _fact(plan, "put_back", t, change),)


def _give_back(taken: tuple[Taken, ...], n: int) -> tuple[Taken, ...]:
    """What is still out after `n` units came back: the last taken are the first back."""
    kept: list[Taken] = []
    for each in reversed(taken):
        back = min(n, each.n)
        n -= back
        if each.n > back:
            kept.append(Taken(each.t, each.n - back))
    return tuple(reversed(kept))


def _fact(plan: Plan, column: str, t: float, value: float) -> Fact:
    unit = "s" if column in ("observed", "in_stock") else "count"
    return Fact(f"slot/{plan.slot}/{column}", t, unit, float(value), OK, plan.sku)
