"""How a sensor is doing, over more than one read: ok, degraded or lost, with since when and why. Pure.

                 good for stable_s                nothing good for lost_s
    starting ─▶ ok ◀───────────── degraded ─────────────────────────────▶ lost
                 ─────────────────▶          ◀──────────────────────────
                   anything wrong              the first good read
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from edge.readings import OK, Reading

RECOVERING = "recovering"


@dataclass(frozen=True, slots=True)
class Rule:
    """How long nothing good may come before a device counts as lost, and how long all must be well again."""

    lost_s: float = 10.0
    stable_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Health:
    """`since` is event time, Unix seconds; `good` and `well_since` are monotonic, None before there is any.

    `good` is when a read last succeeded, `well_since` since when no read has failed.
    """

    state: Literal["starting", "ok", "degraded", "lost"] = "starting"
    since: float = 0.0
    why: str = ""
    good: float | None = None
    well_since: float | None = None

    def reading(self, sensor: str) -> Reading:
        """The health as a reading, `scale-1/health`, whose event time is since when it is so: `lost no_answer`."""
        return Reading(sensor, "health", self.since, f"{self.state} {self.why}".rstrip())


def step(health: Health, why: str, t: float, monotonic: float, rule: Rule) -> Health:
    """The health after one read at event time `t`; `why` is empty where all was well."""
    if not why:
        return _well(health, t, monotonic, rule)
    health = replace(health, well_since=None)
    heard = health.good is not None and monotonic - health.good < rule.lost_s
    return _become(health, "degraded" if heard else "lost", why, t)


def touched(health: Health, monotonic: float) -> Health:
    """The device answered, though not all that it said was a value."""
    return replace(health, good=monotonic)


def _well(health: Health, t: float, monotonic: float, rule: Rule) -> Health:
    health = replace(health, good=monotonic,
                     well_since=monotonic if health.well_since is None else health.well_since)
    settled = health.well_since is not None and monotonic - health.well_since >= rule.stable_s
    if settled or health.state in ("ok", "starting"):
        return _become(health, "ok", "", t)
    return _become(health, "degraded", RECOVERING, t)


def _become(health: Health, state: Literal["ok", "degraded", "lost"], why: str, t: float) -> Health:
    if state == health.state:
        return replace(health, why=why)
    return replace(health, state=state, why=why, since=t)


def why_of(readings: tuple[Reading, ...]) -> str:
    """What is wrong with the values of one read, `probe-3 no_probe`; empty where all are well or a weight moves."""
    for reading in readings:
        if reading.quality not in (OK, "unstable"):
            return f"{reading.quantity} {reading.quality.removeprefix('bad:')}"
    return ""
