"""Changes of a slot's level into movements that add up: sold, put back, restocked, or none of these. Pure.

    down by n ─▶ more than customers take at once? ─▶ set aside: a tared pan, a shelf cleared or re-faced, never a sale
              ─▶ else taken ─▶ back within `put_back_s`? put_back, else sold (at the time it was taken)
    up by n   ─▶ set aside before? that is back first, and nothing moved
              ─▶ else more than was taken? restocked, all of it
"""

from __future__ import annotations

import math

import msgspec

from edge.plan import Plan
from edge.readings import OK
from edge.wire import Fact

ASIDE_S = 1800.0
"""So long after a shelf was cleared its goods are taken to be the same ones again."""
PER_UNIT_S = 120.0
"""Over a silence, customers take one unit more in so long: what left meanwhile did not leave at once."""


class Taken(msgspec.Struct, frozen=True):
    """Units that left the shelf and may still come back; `t` is when they left, `var` the variance of `n`."""

    t: float
    n: int
    var: float = 0.0


class Moves(msgspec.Struct, frozen=True):
    """What is still open of a slot's movements: taken by customers, and set aside by somebody who works on it."""

    taken: tuple[Taken, ...] = ()
    aside: Taken | None = None


def move(plan: Plan, moves: Moves, change: Taken, elapsed_s: float) -> tuple[Moves, tuple[Fact, ...]]:
    """What follows from a level that changed by `change.n` at `change.t`, `elapsed_s` after the look before."""
    moves, facts = due(plan, moves, change.t)
    if change.n < 0:
        left = Taken(change.t, -change.n, change.var)
        if left.n > at_once(plan, elapsed_s):
            return msgspec.structs.replace(moves, aside=left), (*facts, _set_aside(plan, left))
        return msgspec.structs.replace(moves, taken=(*moves.taken, left)), facts
    moves, came = _from_aside(moves, change)
    if came.n == 0:
        return moves, facts
    if came.n > sum(taken.n for taken in moves.taken):
        return moves, (*facts, flow(plan, "restocked", came.t, came.n, came.var))
    return msgspec.structs.replace(moves, taken=_give_back(moves.taken, came.n)), (
        *facts, flow(plan, "put_back", came.t, came.n, came.var))


def due(plan: Plan, moves: Moves, now: float) -> tuple[Moves, tuple[Fact, ...]]:
    """What is due at `now`: units taken too long ago to come back were sold."""
    if not moves.taken:
        return moves, ()
    # After the clock went back by days, a sale must not wait for days.
    taken = tuple(Taken(min(each.t, now), each.n, each.var) for each in moves.taken)
    kept = tuple(each for each in taken if now - each.t <= plan.put_back_s)
    facts = tuple(flow(plan, "sold", each.t, each.n, each.var) for each in taken if now - each.t > plan.put_back_s)
    return msgspec.structs.replace(moves, taken=kept), facts


def shifted(moves: Moves, shift: float) -> Moves:
    """The same after event time turned by `shift` (s)."""
    aside = moves.aside and Taken(moves.aside.t + shift, moves.aside.n, moves.aside.var)
    return Moves(tuple(Taken(each.t + shift, each.n, each.var) for each in moves.taken), aside)


def at_once(plan: Plan, elapsed_s: float) -> float:
    """The most units that customers take between two looks `elapsed_s` apart."""
    if plan.at_once is None:
        return math.inf
    return max(plan.at_once, 2 * plan.depth) + max(0.0, elapsed_s) / PER_UNIT_S


def flow(plan: Plan, column: str, t: float, value: float, var: float = 0.0) -> Fact:
    """An additive fact of the slot; `var` is the variance of `value`."""
    unit = "s" if column in ("observed", "in_stock") else "count"
    return Fact(f"slot/{plan.slot}/{column}", t, unit, float(value), OK, plan.sku, round(math.sqrt(var), 3))


def event(plan: Plan, what: str, t: float, text: str) -> Fact:
    """Something about the slot that a person must know."""
    return Fact(f"event/{what}", t, "", f"slot {plan.slot}: {text}"[:500], OK, plan.sku)


def _set_aside(plan: Plan, left: Taken) -> Fact:
    return event(plan, "cleared", left.t, f"{left.n} units gone at once, not counted as sold: was the pan tared, "
                 "the shelf cleared or re-faced?")


def _from_aside(moves: Moves, change: Taken) -> tuple[Moves, Taken]:
    """What came that was not set aside before."""
    aside = moves.aside
    if aside is None or not 0 <= change.t - aside.t <= ASIDE_S:
        return msgspec.structs.replace(moves, aside=None), change
    back = min(change.n, aside.n)
    left = Taken(aside.t, aside.n - back, aside.var) if aside.n > back else None
    return msgspec.structs.replace(moves, aside=left), Taken(change.t, change.n - back, change.var)


def _give_back(taken: tuple[Taken, ...], n: int) -> tuple[Taken, ...]:
    """What is still out after `n` units came back: the last taken are the first back."""
    kept: list[Taken] = []
    for each in reversed(taken):
        back = min(n, each.n)
        n -= back
        if each.n > back:
            kept.append(Taken(each.t, each.n - back, each.var))
    return tuple(reversed(kept))
