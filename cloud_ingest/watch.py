"""What the operator sees: every device, what it last told, what it still holds and what it lost."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
from msgspec import UNSET

from cloud_ingest.facts import reading
from cloud_ingest.tokens import Refused
from edge.wire import LOSS, OutboxState, State

LOSSES, LOSSES_EACH = 200, 10
"""Newest losses that are shown, of all devices and of one: one that loses thousands leaves room for the others."""
REFUSALS = 200
STRANGERS_EACH = 10
"""Newest sources of one kind and name that are shown of what the HTTP side refused: strangers have many addresses."""
NAMES_EACH = 200
"""Newest values of one device that are shown: one that names thousands does not push the others off the screen."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a device last told of its outbox; times in Unix seconds, `runway_s` and `catch_up_s` real seconds."""

    where: str
    buffered: int
    bytes: int
    cap: int
    oldest: float | None
    runway_s: float | None
    backlog: int
    catch_up_s: float | None
    why: str


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One device: `boot` and `committed` of its newest stream, counts of records over all, times in Unix seconds.

    `unexplained` is what is missing and no loss record tells of. `why` is the newest reason for a refusal.
    """

    device: str
    store: str
    online: bool
    boot: int
    last_seen: float | None
    buffered: int
    committed: int
    complete_to: float | None
    refused: int
    missing: int
    losses: int
    unexplained: int
    why: str
    clk: str | None
    trouble: tuple[str, ...]
    held: Held | None


@dataclass(frozen=True, slots=True)
class LossRow:
    """`n` records of the kind `what` that a device could not keep; all times in Unix seconds."""

    device: str
    t: float
    what: str
    n: int
    t0: float | None
    t1: float | None
    why: str


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """`n` messages or records of a device that were refused for a `kind` of reason; times in Unix seconds."""

    device: str
    kind: str
    n: int
    first_t: float
    last_t: float
    detail: str


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The newest value of one name of one device."""

    device: str
    name: str
    t: float
    value: float | str | None
    unit: str
    quality: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything on the operator's screen: of losses, refusals and values the newest, of each device so many.

    `refusals` are the ingest's, `http_refusals` those of the HTTP side.
    """

    devices: tuple[DeviceRow, ...]
    losses: tuple[LossRow, ...]
    telemetry: tuple[Telemetry, ...]
    quarantined: int
    refusals: tuple[RefusalRow, ...] = ()
    http_refusals: tuple[Refused, ...] = ()


def read_fleet(db: Path) -> Fleet:
    """The fleet as the database has it now; StoreError where there is none."""
    with reading(db) as connection:
        connection.row_factory = sqlite3.Row
        devices = tuple(_device(row) for row in connection.execute(_DEVICES))
        connection.row_factory = None
        losses = tuple(LossRow(*row) for row in connection.execute(_LOSSES, (LOSSES_EACH, LOSSES)))
        telemetry = tuple(Telemetry(*row) for row in connection.execute(_TELEMETRY, (LOSS, NAMES_EACH)))
        quarantined = connection.execute("SELECT coalesce(sum(count), 0) FROM quarantine").fetchone()[0]
        refusals = tuple(RefusalRow(*row) for row in connection.execute(
            "SELECT device, kind, n, first_t, last_t, detail FROM ingest_refusal ORDER BY last_t DESC, device, kind "
            "LIMIT ?", (REFUSALS,)))
        over_http = tuple(Refused(*row) for row in connection.execute(_OVER_HTTP, (STRANGERS_EACH, REFUSALS)))
    return Fleet(devices, losses, telemetry, quarantined, refusals, over_http)


# From a device's newest streams with losses, the newest of each by its key: nothing sorts all that a device ever lost.
_LOSSES = """
WITH told AS (SELECT st FROM (
    SELECT st, row_number() OVER (PARTITION BY device ORDER BY last_t DESC, rowid DESC) AS place
    FROM stream WHERE losses > 0) WHERE place <= ?1),
few AS (SELECT loss.*, row_number() OVER (PARTITION BY device ORDER BY t DESC, loss.st, seq DESC) AS place
    FROM told JOIN loss ON loss.st = told.st AND seq IN (
        SELECT seq FROM loss AS newest WHERE newest.st = told.st ORDER BY seq DESC LIMIT ?1))
SELECT device, t, what, n, t0, t1, why FROM few WHERE place <= ?1 ORDER BY t DESC, st, seq DESC LIMIT ?2
"""
_OVER_HTTP = """
SELECT kind, subject, source, n, first_t, last_t FROM (
    SELECT *, row_number() OVER (PARTITION BY kind, subject ORDER BY last_t DESC, n DESC, source) AS place
    FROM http_refusal) WHERE place <= ? ORDER BY last_t DESC, n DESC, kind, subject, source LIMIT ?
"""


_TELEMETRY = """
SELECT device, name, t, value, unit, quality FROM (
    SELECT *, row_number() OVER (PARTITION BY device ORDER BY t DESC, name) AS place FROM latest WHERE name != ?)
WHERE place <= ? ORDER BY device, name
"""


# total(): a device's word may exceed what sum() adds up.
_DEVICES = """
SELECT d.id, d.store, d.online, d.boot, d.last_seen, d.state, d.held, p.complete_to, s.mark, s.clk,
       t.refused, t.missing, t.losses,
       (SELECT why FROM stream WHERE device = d.id AND why IS NOT NULL ORDER BY last_t DESC, rowid DESC LIMIT 1) AS why
FROM device d JOIN progress p ON p.device = d.id
LEFT JOIN stream s ON s.device = d.id AND s.st = (
    SELECT st FROM stream WHERE device = d.id ORDER BY last_t DESC, rowid DESC LIMIT 1)
LEFT JOIN (SELECT device, total(refused) AS refused, total(missing) AS missing, total(losses) AS losses
           FROM stream GROUP BY device) t ON t.device = d.id
ORDER BY d.id
"""


def _device(row: sqlite3.Row) -> DeviceRow:
    state = msgspec.json.decode(row["state"], type=State) if row["state"] else None
    held = msgspec.json.decode(row["held"], type=State) if row["held"] else None
    outbox = held.outbox if held else UNSET
    told = held or state
    sensors = state.sensors if state else {}
    missing, losses = int(row["missing"] or 0), int(row["losses"] or 0)
    return DeviceRow(
        device=row["id"], store=row["store"], online=bool(row["online"]), boot=row["boot"], last_seen=row["last_seen"],
        buffered=told.buffered if told else 0, committed=row["mark"] or 0, complete_to=row["complete_to"],
        refused=int(row["refused"] or 0), missing=missing, losses=losses, unexplained=max(0, missing - losses),
        why=row["why"] or "", clk=row["clk"] if outbox is UNSET else outbox.clk,
        trouble=tuple(f"{name} {status}" for name, status in sensors.items() if status != "ok"),
        held=None if held is None or outbox is UNSET else _held(held, outbox))


def _held(state: State, outbox: OutboxState) -> Held:
    return Held(outbox.where, state.buffered, outbox.bytes, outbox.cap, outbox.oldest, outbox.runway_s, outbox.backlog,
                outbox.catch_up_s, outbox.why)


def to_json(fleet: Fleet) -> str:
    """The fleet as one JSON object."""
    return json.dumps(asdict(fleet))
