"""Messages into what is to be done with them; what is not the contract's is rejected with the reason. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import UNSET

from cloud_ingest.allowance import BAD_BYTES, BAD_MESSAGE, BAD_RECORD
from cloud_ingest.plain import plain
from cloud_ingest.store.protocol import Arrival, Rejected
from cloud_ingest.subscriber import Message
from edge import wire
from edge.errors import WireError

BATCHES = ("data", "backlog")
MOST_PARTS = 1000
"""Sensors or slots that one device has."""
MOST_TEXT = 200
MOST_COUNT = 2**53
MOST_NUMBER = 1e12


@dataclass(slots=True)
class Sorted:
    """Messages by what is to be done with them; of each device's births and states the newest."""

    arrivals: list[Arrival] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    births: dict[str, wire.Birth] = field(default_factory=dict)
    states: dict[str, wire.State] = field(default_factory=dict)


def sort(messages: Sequence[Message]) -> Sorted:
    """Decode messages."""
    found = Sorted()
    for message in messages:
        sort_into(found, message)
    return found


def sort_into(found: Sorted, message: Message) -> dict[str, float]:
    """Decode one message; what that costs beside what any message does, as `allowance` counts it."""
    device = channel = ""
    try:
        device, channel = wire.parse_up(message.topic)
        if message.fault:
            raise WireError(*message.fault.split(": ", 1))
        if channel == "birth":
            _take_birth(found, device, wire.decode(message.payload, wire.Birth))
        elif channel == "state":
            _take_state(found, device, wire.decode(message.payload, wire.State))
        else:
            batch = wire.decode_batch(device, message.payload)
            found.arrivals.append(Arrival(device, message.topic, batch))
            return {"records": len(batch.facts) + BAD_RECORD * len(batch.refused)}
    except WireError as error:
        found.rejected.append(rejected(message, device, channel, str(error)))
        return {"messages": BAD_MESSAGE + _unpacked(message.payload) / BAD_BYTES}
    return {}


def _unpacked(payload: bytes) -> int:
    """Bytes of a payload, unpacked where it was unpacked to be read."""
    try:
        return len(wire.unpack(payload))
    except WireError:
        return min(len(payload), wire.MAX_PAYLOAD)


def rejected(message: Message, device: str, channel: str, reason: str) -> Rejected:
    """A message that is not taken, with the sequences it names."""
    claim = (wire.identify(message.payload) or message.claim) if channel in BATCHES else None
    return Rejected(device, plain(message.topic), plain(reason), message.payload, claim)


def _take_birth(found: Sorted, device: str, birth: wire.Birth) -> None:
    if birth.device != device:
        raise WireError("foreign_birth", f"it says it is {birth.device}")
    _check_parts("sensors", birth.sensors)
    _check_parts("slots", birth.slots)
    if len(birth.agent) > MOST_TEXT:
        raise WireError("bad_birth", f"agent of {len(birth.agent)} characters")
    before = found.births.get(device)
    if before is None or birth.boot >= before.boot or birth.st != before.st:
        found.births[device] = birth


def _take_state(found: Sorted, device: str, state: wire.State) -> None:
    _check_parts("sensors", state.sensors)
    if state.outbox is not UNSET:
        _check_outbox(state.outbox)
    before = found.states.get(device)
    if before is None or state.boot >= before.boot:
        found.states[device] = state


def _check_parts(what: str, parts: Mapping[str, str]) -> None:
    if len(parts) > MOST_PARTS:
        raise WireError("bad_state", f"{len(parts)} {what}, at most {MOST_PARTS}")
    if any(len(name) > MOST_TEXT or len(value) > MOST_TEXT for name, value in parts.items()):
        raise WireError("bad_state", f"{what} with a text of more than {MOST_TEXT} characters")


def _check_outbox(outbox: wire.OutboxState) -> None:
    """Numbers that neither a database nor a screen could hold: the schema of version 1 sets them no bound."""
    counts = {"bytes": outbox.bytes, "cap": outbox.cap, "backlog": outbox.backlog, "lost": outbox.lost,
              "refused": outbox.refused}
    for name, count in counts.items():
        if count > MOST_COUNT:
            raise WireError("bad_state", f"outbox.{name} is over {MOST_COUNT}")
    spans = {"runway_s": outbox.runway_s, "catch_up_s": outbox.catch_up_s}
    for name, span in spans.items():
        if span is not None and not 0 <= span <= MOST_NUMBER:
            raise WireError("bad_state", f"outbox.{name} is not within 0..{MOST_NUMBER:g}")
    for name, t in (("oldest", outbox.oldest), ("committed_to", outbox.committed_to)):
        if t is not None and not (math.isfinite(t) and abs(t) <= MOST_NUMBER):
            raise WireError("bad_state", f"outbox.{name} is no time")
