"""What one record may say: names, units, additive facts and losses. Pure."""

from __future__ import annotations

import re

import msgspec

from edge.errors import WireError
from edge.wire.messages import ABSOLUTE_TIME, END, Fact, Loss, Record, decode, encode

WINDOW_S = 900
"""Additive facts belong to windows of this length, aligned to the Unix epoch: 15 minutes."""

UNITS = {"kg": "weight", "Cel": "temperature", "%RH": "relative humidity", "count": "units", "s": "seconds",
         "/": "ratio"}
FLOW_UNITS = {"sold": "count", "put_back": "count", "restocked": "count", "in_stock": "s", "observed": "s"}
"""The facts that add up per store, SKU and window: last part of the record's name, and its unit."""
LOSS = "outbox/loss"

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_:./-]{0,199}" + END)


def value_of(record: Record) -> float | bool | str | None:
    """The record's one value; None where it has none, or several."""
    given = [value for value in (record.v, record.vb, record.vs) if value is not None]
    return given[0] if len(given) == 1 else None


def foreign(device: str, name: str) -> str | None:
    """Why a full name is not `device`'s, or None."""
    if not name.startswith(f"{device}/"):
        return f"bad_name: {name[:100]!r} is not under {device}/"
    return None


def wrong(fact: Fact, record: Record) -> str | None:
    """Why a record's values contradict the contract, or None."""
    if not _NAME.match(fact.name):
        return f"bad_name: {fact.name[:100]!r}"
    if fact.t < ABSOLUTE_TIME:
        return f"bad_time: {fact.t} is before 1978-07: no absolute time (RFC 8428 section 4.5.3)"
    if sum(value is not None for value in (record.v, record.vb, record.vs)) > 1:
        return "bad_value: more than one of v, vb, vs"
    if (fact.value is None) == (fact.quality == "ok"):
        return f"bad_value: a value and quality {fact.quality!r} do not go together"
    if isinstance(fact.value, float) and fact.unit not in UNITS:
        return f"bad_unit: {fact.unit!r} is none of {', '.join(UNITS)}"
    return _wrong_of_kind(fact)


def _wrong_of_kind(fact: Fact) -> str | None:
    """What the names that mean something more ask for: losses and additive facts."""
    flow = flow_of(fact.name)
    if flow is None:
        return "bad_value: no loss" if fact.name == LOSS and loss_of(fact) is None else None
    column = flow[1]
    if fact.unit != FLOW_UNITS[column]:
        return f"bad_unit: {column} is in {FLOW_UNITS[column]!r}, not {fact.unit!r}"
    if fact.sku is None:
        return f"bad_value: {column} without a SKU"
    limit = WINDOW_S if FLOW_UNITS[column] == "s" else 10_000
    if not isinstance(fact.value, float) or not 0 <= fact.value <= limit:
        return f"bad_value: {column} of {fact.value!r} is not within 0..{limit}"
    return None


def flow_of(name: str) -> tuple[str, str] | None:
    """The slot and the flow column of an additive fact's name, or None for any other name."""
    head, _, rest = name.partition("/")
    slot, _, column = rest.rpartition("/")
    return (slot, column) if head == "slot" and slot and column in FLOW_UNITS else None


def loss_fact(loss: Loss, t: float) -> Fact:
    """The record that tells a loss; `t` is when it was noticed, Unix seconds."""
    return Fact(LOSS, t, "", encode(loss).decode())


def loss_of(fact: Fact) -> Loss | None:
    """The loss that a record tells, or None where it tells none."""
    if fact.name != LOSS or not isinstance(fact.value, str):
        return None
    try:
        return decode(fact.value.encode(), Loss)
    except (WireError, UnicodeEncodeError, msgspec.DecodeError):
        return None


def window_of(t: float) -> int:
    """The start, Unix seconds, of the window that event time `t` belongs to."""
    return int(t // WINDOW_S) * WINDOW_S
