"""The stock of all slots of a shop: readings in, facts and the state to commit with them out."""

from __future__ import annotations

import msgspec
import structlog

from edge import wire
from edge.plan import Plan
from edge.profile import Profile
from edge.readings import Reading
from edge.stock import SlotState, resume, step, tick, turned

log = structlog.get_logger(__name__)
_states = msgspec.json.Decoder(dict[str, SlotState])


def plans_of(profile: Profile) -> tuple[Plan, ...]:
    """What each slot's readings mean."""
    stock = profile.stock
    return tuple(Plan(
        slot.name, slot.sku, slot.source, slot.item_weight_kg, slot.tare_kg, slot.depth, stock.agree, stock.put_back_s,
        stock.gap_s, stock.at_once, slot.view if slot.scale else "") for slot in profile.slots)


class Shelf:
    """The stock of every slot: readings in, facts and the state to commit with them out."""

    def __init__(self, profile: Profile, snapshot: bytes | None) -> None:
        self._plans = plans_of(profile)
        self._looked_at = {source: plan for plan in self._plans for source in (plan.source, plan.camera) if source}
        kept = _kept_states(snapshot)
        self._states = {plan.slot: resume(plan, kept.get(plan.slot)) for plan in self._plans}

    def step(self, reading: Reading) -> tuple[wire.Fact, ...]:
        """The facts that follow from one reading; none where no slot looks at it."""
        plan = self._looked_at.get(reading.name)
        if plan is None:
            return ()
        self._states[plan.slot], facts = step(plan, self._states[plan.slot], reading)
        return facts

    def tick(self, now: float) -> tuple[wire.Fact, ...]:
        """The facts that are due without any reading."""
        facts: list[wire.Fact] = []
        for plan in self._plans:
            self._states[plan.slot], due = tick(plan, self._states[plan.slot], now)
            facts.extend(due)
        return tuple(facts)

    def turn(self, shift: float) -> tuple[wire.Fact, ...]:
        """Event time turned by `shift` seconds; the facts that are still in the old time."""
        facts: list[wire.Fact] = []
        for plan in self._plans:
            self._states[plan.slot], due = turned(plan, self._states[plan.slot], shift)
            facts.extend(due)
        return tuple(facts)

    def levels(self) -> dict[str, int | None]:
        """Units on the shelf by slot; None where nothing is known yet."""
        return {slot: state.level for slot, state in self._states.items()}

    def snapshot(self) -> bytes:
        """All slots' state, to be committed with the facts."""
        return msgspec.json.encode(self._states)


def _kept_states(snapshot: bytes | None) -> dict[str, SlotState]:
    try:
        return _states.decode(snapshot) if snapshot else {}
    except msgspec.DecodeError as error:
        log.error("stock_state_unreadable", error=str(error), fix="none needed: levels are learned again")
        return {}
