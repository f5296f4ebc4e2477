"""Readings into stock levels, and levels into facts that add up: pure functions over typed values.

    Reading ─▶ look (`sight`: units, by weight or by facings)
            ─▶ looks that differ from the level wait until the likeliest path through them is settled (`filter`)
            ─▶ level, and its changes: sold, put back, restocked, or somebody's work on the shelf (`moves`)
    and the seconds of each window in which the slot was observed, and in stock.

A sale waits until a put-back is no longer to be expected, so `sold` never has to be taken back; what waits is part of
the state, which the outbox commits together with the facts. Every fact states its standard deviation.

Event time may turn back when a wrong clock is put right. What then lies in the future is taken to be of the present.
"""

from __future__ import annotations

import math
from itertools import chain

import msgspec

from edge.filter import HABIT, Look, best_path, earlier, joined
from edge.fusion import Apart, compare
from edge.moves import Moves, Taken, due, event, flow, move, shifted
from edge.plan import Plan
from edge.readings import OK, Reading
from edge.sight import Odd, Senses, heard, learned, look_of, tared, weighs
from edge.wire import WINDOW_S, Fact, window_of

FLUSH_S = 60.0
SURE = 3.0
"""Log odds from which a path is believed: 20 to 1."""
PATIENCE = 4
"""So many times `agree` looks wait at most; then the older half is believed."""
BLUNT = 2.0
ODD_S, ODD_LOOKS = 600.0, 5
"""What no number of units explains, seen so often and so long, is another product or a moved pan."""


class SlotState(msgspec.Struct, frozen=True):
    """All that is remembered of a slot. `level` is None until it is known; times are event times."""

    level: int | None = None
    pending: tuple[Look, ...] = ()
    moves: Moves = Moves()
    senses: Senses = Senses()
    apart: Apart = Apart()
    odd: int = 0
    odd_since: float = 0.0
    doubt: int = 0
    looked: float | None = None
    seen: float | None = None
    window: int = 0
    flushed: float = 0.0
    observed: float = 0.0
    in_stock: float = 0.0
    unsure: float = 0.0
    means: str = ""


Step = tuple[SlotState, tuple[Fact, ...]]
_with = msgspec.structs.replace


def resume(plan: Plan, kept: SlotState | None) -> SlotState:
    """The state to go on from: the kept one, unless the slot's readings now mean something else.

    Another SKU, weight, tare, depth or source would turn a level that did not move into a sale.
    """
    means = f"{plan.sku} {plan.source} {plan.item_weight} {plan.tare} {plan.depth}"
    return kept if kept is not None and kept.means == means else SlotState(means=means)


def step(plan: Plan, state: SlotState, reading: Reading) -> Step:
    """The slot's state after one reading of one of its sources, and the facts that follow."""
    state, facts = tick(plan, state, reading.t)
    by_scale = weighs(plan, reading)
    if by_scale:
        state = _with(state, senses=heard(plan, tared(plan, state.senses, reading, state.level), reading))
    look = look_of(plan, state.senses, reading, state.looked)
    if look is None:
        return state, facts
    if isinstance(look, Odd):
        state, more = _take_odd(plan, state, look, reading.t)
        return state, facts + more
    state = _with(state, odd=0) if by_scale else _with(state, looked=reading.t)
    told: tuple[Fact, ...] = ()
    if plan.camera:
        apart, told = compare(plan, state.apart, look, by_scale=by_scale)
        state = _with(state, apart=apart)
    state, more = _take(plan, state, look)
    return state, facts + told + more


def tick(plan: Plan, state: SlotState, now: float) -> Step:
    """What is due at `now` without any reading: units taken too long ago to come back were sold."""
    waiting = state.pending and 0 <= now - state.pending[-1].end <= plan.gap_s
    moves, facts = due(plan, state.moves, min(state.pending[0].t, now) if waiting else now)
    return (_with(state, moves=moves) if moves is not state.moves else state), facts


def turned(plan: Plan, state: SlotState, shift: float) -> Step:
    """The state after event time turned by `shift` (s), and the seconds counted so far, still in the old time."""
    state, facts = _flush(plan, state, state.flushed)
    seen = None if state.seen is None else state.seen + shift
    looked = None if state.looked is None else state.looked + shift
    pending = tuple(_with(look, t=look.t + shift, until=look.end + shift) for look in state.pending)
    return _with(state, moves=shifted(state.moves, shift), pending=pending, seen=seen, looked=looked,
                 odd_since=state.odd_since + shift, apart=state.apart.shifted(shift), flushed=state.flushed + shift,
                 window=window_of(state.flushed + shift)), facts


def _take(plan: Plan, state: SlotState, look: Look) -> Step:
    """A look: passed where it shows the level, else kept until enough agree on another."""
    held = None if state.level is None else -(-state.level // plan.grain)
    if held is not None and not state.pending and look.fits(held):
        return _pass(plan, state, (look,), (held,), 0.0)
    pending = joined(earlier(state.pending, look.t), look)
    path = best_path(held, look.t if state.seen is None else state.seen, pending)
    if path.odds >= SURE and _agreeing(pending, path.units) >= plan.agree:
        return _pass(plan, _with(state, pending=()), pending, path.units, path.doubt())
    if len(pending) < PATIENCE * plan.agree:
        return _with(state, pending=pending), ()
    half = len(pending) // 2
    if held is None:
        return _with(state, pending=pending[half:]), ()
    return _pass(plan, _with(state, pending=pending[half:]), pending[:half], path.units[:half], path.doubt())


def _agreeing(looks: tuple[Look, ...], units: tuple[int, ...]) -> int:
    """How many of the last looks show where the path ends, and were there; a blunt one does not gainsay a sharp one."""
    n, sharpest = 0, min(look.sd for look in looks)
    for look, held in zip(reversed(looks), reversed(units), strict=True):
        fits = look.fits(held)
        if held != units[-1] or not (fits or look.sd > BLUNT * sharpest):
            break
        n += look.n if fits else 0
    return n


def _pass(plan: Plan, state: SlotState, looks: tuple[Look, ...], units: tuple[int, ...], doubt: float) -> Step:
    """The state after looks whose units are believed; `doubt` is the chance that they are not right."""
    facts: list[Fact] = []
    if state.level is None:
        # A level seen twice before it changed was there: its change is a movement, not the beginning.
        n = next((i for i, held in enumerate(units) if held != units[0]), len(units))
        n = n if sum(look.n for look in looks[:n]) > 1 else len(units)
        state = _with(state, level=units[n - 1] * plan.grain, seen=looks[n - 1].end,
                      window=window_of(looks[n - 1].end), flushed=looks[n - 1].end)
        facts.append(_level(plan, state, looks[n - 1].end, doubt))
        looks, units = looks[n:], units[n:]
    was = state.level
    for look, held in zip(looks, units, strict=True):
        state, more = _believe(plan, state, look, held * plan.grain, doubt)
        facts += more
    if state.level != was:
        facts.append(_level(plan, state, looks[-1].end, doubt))
    return state, tuple(facts)


def _believe(plan: Plan, state: SlotState, look: Look, units: int, doubt: float) -> Step:
    before = state.level or 0
    elapsed = 0.0 if state.seen is None else look.t - state.seen
    state, facts = _observe(plan, state, look.t, units)
    if units != before and state.level is not None:
        change = Taken(look.t, units - before, _var(plan, units - before, doubt, elapsed))
        set_aside = state.moves.aside
        moves, moved = move(plan, state.moves, change, elapsed)
        if moves.aside is None or moves.aside is not set_aside:
            by_scale = plan.item_weight is not None
            state = _with(state, doubt=moves.aside.n if moves.aside is not None and by_scale else 0)
        state, facts = _with(state, moves=moves, level=units), facts + moved
    state = _with(state, senses=learned(state.senses, look, units // (1 if look.step > 1 else plan.grain), elapsed))
    if look.end > look.t:
        state, more = _observe(plan, state, look.end, units)
        facts += more
    return state, facts


def _var(plan: Plan, change: int, doubt: float, elapsed_s: float) -> float:
    """A movement's variance: that it is none, what stands unseen behind the facings, what came and went unseen."""
    unseen = min(HABIT.per_s * max(0.0, elapsed_s), float(change ** 2))
    return doubt * change ** 2 + (plan.grain ** 2 - 1) / 6 + unseen


def _take_odd(plan: Plan, state: SlotState, odd: Odd, t: float) -> Step:
    """A weight that no number of units explains: a pan tared unseen, or, lasting, another product."""
    n, since = state.odd + 1, min(state.odd_since, t) if state.odd else t
    if odd.units < 0 and state.doubt and n >= plan.agree and state.level is not None:
        senses = _with(state.senses, zero=state.senses.zero - state.doubt)
        text = f"the pan was tared with {state.doubt} units on it: they are counted again"
        state = _with(state, senses=senses, level=state.level + state.doubt, doubt=0, odd=0, pending=(),
                      moves=_with(state.moves, aside=None))
        return state, (event(plan, "tared", t, text), _level(plan, state, t, 0.0))
    state = _with(state, odd=n, odd_since=since)
    if state.level is None or n < ODD_LOOKS or t - since < ODD_S:
        return state, ()
    state, counted = _flush(plan, state, t)
    moves, sold = due(plan, state.moves, math.inf)
    text = f"{odd.units:.2f} units on the pan: is it another product, or does something lean on it?"
    state = _with(state, level=None, pending=(), moves=moves, doubt=0, seen=None)
    return state, (*counted, *sold, event(plan, "odd_weight", t, text),
                   Fact(f"slot/{plan.slot}/level", t, "count", None, "bad:odd_weight", plan.sku))


def _level(plan: Plan, state: SlotState, t: float, doubt: float) -> Fact:
    """The level as a fact; behind a camera's facing there may be as few as one unit."""
    if state.doubt and not state.level:
        return Fact(f"slot/{plan.slot}/level", t, "count", None, "bad:cleared_or_tared", plan.sku)
    sd = round(math.sqrt(doubt + (plan.grain ** 2 - 1) / 12), 3)
    return Fact(f"slot/{plan.slot}/level", t, "count", float(state.level or 0), OK, plan.sku, sd)


def _observe(plan: Plan, state: SlotState, t: float, units: int) -> Step:
    """Count the time since the last good look, split at the window's edge, and report it in time."""
    seen = state.seen
    unknown = state.level is None or (state.doubt and not state.level)
    if unknown or seen is None or not 0 <= t - seen <= plan.gap_s:
        state, facts = _flush(plan, state, t)
        return _with(state, seen=t), facts
    # Where it ran out or was filled between the two looks, it was so for half of the time, give or take.
    share = ((state.level or 0) > 0) / 2 + (units > 0) / 2
    var = (t - seen) ** 2 / 12 if share == 0.5 else 0.0
    parts: list[tuple[Fact, ...]] = []
    while window_of(seen) != window_of(t):
        edge = float(window_of(seen) + WINDOW_S)
        state = _add_time(state, edge - seen, share, var)
        state, passed = _flush(plan, state, edge)
        parts.append(passed)
        seen = edge
    state = _add_time(state, t - seen, share, var)
    if t - state.flushed >= FLUSH_S:
        state, passed = _flush(plan, state, t)
        parts.append(passed)
    return _with(state, seen=t), tuple(chain.from_iterable(parts))


def _add_time(state: SlotState, seconds: float, share: float, var: float) -> SlotState:
    return _with(state, observed=state.observed + seconds, in_stock=state.in_stock + share * seconds,
                 unsure=state.unsure + var)


def _flush(plan: Plan, state: SlotState, t: float) -> Step:
    """Report the seconds counted so far as facts of the window they lie in, and begin again at `t`."""
    facts: tuple[Fact, ...] = ()
    if state.observed > 0:
        at = float(state.window)
        facts = (flow(plan, "observed", at, round(state.observed, 3)),
                 flow(plan, "in_stock", at, round(state.in_stock, 3), state.unsure))
    return _with(state, window=window_of(t), flushed=t, observed=0.0, in_stock=0.0, unsure=0.0), facts
