"""One reading of a slot as a look at its units, by a scale or by a camera. Pure.

A scale drifts: what is left over to a whole number of units is followed slowly (its zero for this slot), so that
a third of a unit a day never becomes a sale. A weight that fits no whole number is something else on the senses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from edge.filter import Look
from edge.plan import Plan
from edge.readings import OK, Reading

_with = msgspec.structs.replace
OFF_UNIT = 0.35
"""A weight this far, in units, from any whole number of items is something else on the senses."""
REZERO_S = 7200.0
QUIETEST, LOUDEST, USUAL = 0.05, 0.5, 0.12
"""Bounds and beginning of what a scale is taken to scatter, in units."""
NOISE_STEP = 0.02
MEDIAN = 0.954
"""The median distance of two Gaussian looks, in their deviation: 0.6745 times the root of 2."""
REPEATS_S = 10.0
"""Camera frames closer than this show one another's mistakes again."""
SEEN_SD, MISCOUNTS = 0.3, (0.005, 0.06)
SLIP_LOOKS = 200


class Senses(msgspec.Struct, frozen=True):
    """What is known of a slot's sensors.

    Of the scale: its zero and its scatter, in units, whether it was tared, and its last weight. Of the camera: the
    chance of a miscount by one to either side.
    """

    zero: float = 0.0
    noise: float = USUAL
    net: bool = False
    last: float | None = None
    slip: float = 0.01

    @property
    def odd(self) -> float:
        """From so far off a whole number on, a weight is another thing's; a scale that scatters more cannot tell."""
        return max(OFF_UNIT, 2.5 * self.noise)


@dataclass(frozen=True, slots=True)
class Odd:
    """A weight that no number of units explains: how many units it would be."""

    units: float


def weighs(plan: Plan, reading: Reading) -> bool:
    """Whether this reading is the slot's scale's."""
    return plan.item_weight is not None and reading.name == plan.source


def look_of(plan: Plan, senses: Senses, reading: Reading, since: float | None) -> Look | Odd | None:
    """The look that a reading is, None where it tells nothing; `since` is the time of the camera's look before."""
    if reading.quality != OK or not isinstance(reading.value, Decimal):
        return None
    if not weighs(plan, reading):
        return _counted(plan, senses, reading, since)
    assert plan.item_weight is not None  # noqa: S101  # `weighs` says so
    units = float((reading.value - plan.tare) / plan.item_weight) - senses.zero
    if round(units) < 0 or abs(units - round(units)) > senses.odd:
        return Odd(units)
    own = 0.0 if reading.sd is None else reading.sd / float(plan.item_weight)
    return Look(reading.t, units, max(senses.noise, own))


def _counted(plan: Plan, senses: Senses, reading: Reading, since: float | None) -> Look:
    """Facings as units. What stands behind the front row is not seen: the last of a facing may be all that is left."""
    facings = float(reading.value or 0)
    weight = 1.0 if since is None or not 0 <= reading.t - since < REPEATS_S else max(
        (reading.t - since) / REPEATS_S, 0.02)
    sd = SEEN_SD if reading.sd is None else max(reading.sd, SEEN_SD)
    if plan.item_weight is None:
        return Look(reading.t, facings, sd, senses.slip, 1.0, weight)
    hidden = (plan.depth - 1) / 2
    units = max(0.0, facings * plan.depth - hidden) if facings else 0.0
    spread = math.hypot(sd * plan.depth, plan.depth / math.sqrt(12) if plan.depth > 1 else 0.0)
    return Look(reading.t, units, spread, senses.slip, float(plan.depth), weight)


def heard(plan: Plan, senses: Senses, reading: Reading) -> Senses:
    """The scale's scatter, as two weights in a row tell it: their median distance, which sales hardly move."""
    if reading.quality != OK or not isinstance(reading.value, Decimal) or plan.item_weight is None:
        return senses
    units = float((reading.value - plan.tare) / plan.item_weight)
    if senses.last is None:
        return _with(senses, last=units)
    median = senses.noise * MEDIAN
    median *= 1 + math.copysign(NOISE_STEP, abs(units - senses.last) - median)
    return _with(senses, last=units, noise=min(max(median / MEDIAN, QUIETEST), LOUDEST))


def learned(senses: Senses, look: Look, level: int, elapsed_s: float) -> Senses:
    """What a look at a believed level tells: a scale's zero follows slowly, a camera's miscounts are counted."""
    rest = look.units - level
    if look.slip > 0:
        slip = senses.slip + look.weight * ((0.5 if abs(rest) > 0.5 * look.step else 0.0) - senses.slip) / SLIP_LOOKS
        return _with(senses, slip=min(max(slip, MISCOUNTS[0]), MISCOUNTS[1]))
    if abs(rest) > senses.odd:
        return senses
    return _with(senses, zero=senses.zero + (1 - math.exp(-max(0.0, elapsed_s) / REZERO_S)) * rest)


def tared(plan: Plan, senses: Senses, reading: Reading, level: int | None) -> Senses:
    """What is known after the scale said that it was tared, or no longer is: the goods on it stay what they were."""
    if reading.quality != OK or reading.net == senses.net or not isinstance(reading.value, Decimal):
        return senses
    if level is None or plan.item_weight is None:
        return _with(senses, net=reading.net)
    units = float((reading.value - plan.tare) / plan.item_weight)
    return _with(senses, zero=units - level, net=reading.net, last=units)
