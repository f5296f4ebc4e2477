"""What must hold once all is healed and drained: the cloud's database against what the outside world knows."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from edge.wire import LOSS, Fact, loss_of, window_of
from tests.simulation.device import Device

ROUNDED_S = 0.0025
"""Times and shifts are rounded to milliseconds, each."""


def number_of(name: str, unit: str, value: object) -> int | None:
    """The number that every fact carries; None for the outbox's own records."""
    if name == LOSS:
        return None
    if unit.startswith("n"):
        return int(unit[1:])
    return int(value.partition(":")[0]) if isinstance(value, str) else int(float(str(value)))


@dataclass(slots=True)
class Known:
    """What the cloud has of one device."""

    at: dict[int, tuple[str, int, float]] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    lost: int = 0
    lost_facts_only: bool = True
    missing: int = 0
    holes: list[str] = field(default_factory=list)


def audit(db: Path, devices: Sequence[Device]) -> None:
    """AssertionError where anything does not hold."""
    cloud = sqlite3.connect(db)
    try:
        known = {device.name: Known() for device in devices}
        _read(cloud, known)
        _streams(cloud, known)
        for device in devices:
            _accounted(device, known[device.name])
            _times(device, known[device.name])
        _sums(cloud, devices, known)
    finally:
        cloud.close()


def _read(cloud: sqlite3.Connection, known: dict[str, Known]) -> None:
    """No number twice, and within a stream in the order in which they were put."""
    before = ("", 0)
    for st, seq, name, t, unit, value, device in cloud.execute(
            "SELECT st, seq, name, t, unit, value, device FROM reading ORDER BY st, seq"):
        cloud_has, number = known[device], number_of(name, unit, value)
        if number is None:
            loss = loss_of(Fact(name, t, unit, value))
            assert loss is not None
            cloud_has.lost += loss.n
            cloud_has.lost_facts_only &= loss.what not in ("event", "unknown")
            continue
        assert number not in cloud_has.at, f"{device}: {number} is there twice"
        assert before[0] != st or before[1] < number, f"{device}: {number} stands behind {before[1]} in {st}"
        before = (st, number)
        cloud_has.at[number] = st, seq, t
    for device, raw in cloud.execute("SELECT device, payload FROM quarantine WHERE reason LIKE 'record %'"):
        fact = msgspec.json.decode(raw, type=Fact)
        number = number_of(fact.name, fact.unit, fact.value)
        if number is not None:
            known[device].refused.add(number)
        elif loss := loss_of(fact):  # the operator finds it in the quarantine
            known[device].lost += loss.n
            known[device].lost_facts_only = False


def _streams(cloud: sqlite3.Connection, known: dict[str, Known]) -> None:
    """Every sequence that a stream's marks cover is a row, was refused, or is missing."""
    count = dict(cloud.execute("SELECT st, count(*) FROM reading GROUP BY st").fetchall())
    for st, device, mark, ahead, refused, missing, losses in cloud.execute(
            "SELECT st, device, mark, ahead, refused, missing, losses FROM stream"):
        above = msgspec.json.decode(ahead, type=list[tuple[int, int]])
        covered = mark + sum(last - first + 1 for first, last in above)
        there = count.get(st, 0)
        assert there + refused + missing == covered, f"{device} {st}: {there} + {refused} + {missing} of {covered}"
        told = cloud.execute("SELECT coalesce(sum(n), 0) FROM loss WHERE st = ?", (st,)).fetchone()[0]
        assert told == losses, f"{device} {st}: {told} lost by its records, {losses} by its count"
        known[device].missing += missing
        known[device].holes += [f"{st} {mark} {ahead}"] if above else []


def _accounted(device: Device, cloud: Known) -> None:
    """Every fact that was kept is in the cloud, in its quarantine, excused, or told as lost."""
    kept = {each.number for each in device.ledger.made.values() if each.kept}
    invented = cloud.at.keys() - device.ledger.made.keys()
    assert not invented, f"{device.name}: {invented} never was"
    gone = kept - cloud.at.keys() - cloud.refused - device.ledger.excused
    told = cloud.lost + device.ledger.forgiven
    assert len(gone) <= told, f"{device.name}: {len(gone)} gone, {told} told: {sorted(gone)[:20]}"
    assert cloud.missing <= told, f"{device.name}: {cloud.missing} missing, {told} told"
    # A stream whose last record is spoilt cannot tell its end.
    if not device.ledger.excused and not device.ledger.flipped:
        assert not cloud.holes, f"{device.name}: the cloud waits for what is not there: {cloud.holes}"
    if device.ledger.exact and not device.ledger.excused and not device.ledger.forgiven:
        assert cloud.missing == told, f"{device.name}: {cloud.missing} missing, {told} told, exactly"
        if cloud.lost_facts_only:  # what a cut put left on the disk may have been evicted too
            may = len(device.ledger.made.keys() - kept - cloud.at.keys())
            assert len(gone) <= told <= len(gone) + may, f"{device.name}: {len(gone)} gone, {told} told, exactly"


def _times(device: Device, cloud: Known) -> None:
    """A time is as it was put, or, where the clock was put right before it was sent, as it was."""
    for number, (st, seq, t) in cloud.at.items():
        made = device.ledger.made[number]
        put = abs(t - made.fact.t) <= ROUNDED_S
        true = abs(t - made.true) <= ROUNDED_S
        right = made.right_from is not None and device.ledger.first_sent[st, seq] > made.right_from
        either = made.unsure or made.right_from is not None
        assert true if right and not made.unsure else put or (either and true), (
            f"{device.name}: {number} was at {made.true:.3f}, put as {made.fact.t:.3f}, came as {t:.3f}, "
            f"{'corrected' if right else 'as it was put'}")


def _sums(cloud: sqlite3.Connection, devices: Sequence[Device], known: dict[str, Known]) -> None:
    """The sums are those of the facts that are there."""
    sums: defaultdict[tuple[str, int], float] = defaultdict(float)
    for device in devices:
        for number, (_, _, t) in known[device.name].at.items():
            fact = device.ledger.made[number].fact
            if fact.sku is not None:
                sums[fact.sku, window_of(t)] += float(number)
    there = {(sku, window): sold for sku, window, sold in cloud.execute("SELECT sku, window, sold FROM flow")}
    assert there == dict(sums), f"sold: {there}, but the facts say {dict(sums)}"
