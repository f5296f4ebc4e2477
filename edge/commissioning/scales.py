"""Scales with the installer's hands: empty, a known weight, and so many units of the product that lies on it.

Nothing is asked that the scale can tell itself: each step ends by itself once the pan shows what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from edge.commissioning.place import Place, ok, skipped, warning, watch
from edge.commissioning.state import Outcome
from edge.errors import ConfigError, Problem
from edge.profile import Slot, to_kilograms
from edge.readings import OK, Reading
from edge.sensors import AnySettings

TABLE = "calibrations"
ZERO_KG = Decimal("0.005")
"""Two to five increments of a shop's scale (OIML R 76-1: class III of 15 kg has 5 g)."""
SHARE = Decimal("0.02")
UNITS = 5


def zero(settings: AnySettings, place: Place) -> Outcome:
    """The pan without goods shows the tare of the slot's tray."""
    slot = _slot(settings, place)
    tare = slot.tare if slot else Decimal(0)
    tray = f", but for its tray of {tare} kg" if tare else ""
    place.person.tell(f"{settings.name}: empty the pan{tray}")
    seen = _wait(settings, place, tare, ZERO_KG)
    if seen is None:
        return _no_weight(settings)
    off = seen - tare
    if abs(off) > ZERO_KG:
        return warning(f"shows {seen} kg when empty, {off:+} kg off", "press its own zero key, and commission again",
                       zero_kg=str(seen))
    _keep(settings, place, zero_kg=str(seen))
    return ok(f"shows {seen} kg when empty", zero_kg=str(seen))


def known(settings: AnySettings, place: Place) -> Outcome:
    """A weight that the installer brought shows as what it is."""
    text = place.answers.known_weight or place.person.ask(
        f'{settings.name}: a known weight that you have with you, like "1 kg" (Enter: none)')
    if not text:
        return skipped("nobody brought a known weight")
    weight = _weight(text)
    place.person.tell(f"{settings.name}: put the known weight of {weight} kg on the pan")
    expected = _zero_of(settings, place) + weight
    seen = _wait(settings, place, expected, max(ZERO_KG, SHARE / 4 * weight))
    if seen is None:
        return _no_weight(settings)
    shown = seen - _zero_of(settings, place)
    if abs(shown - weight) > max(ZERO_KG, SHARE / 4 * weight):
        return warning(f"shows {shown} kg for {weight} kg", "calibrate it by its manual, or have it done",
                       known_kg=str(weight), shown_kg=str(shown))
    _keep(settings, place, known_kg=str(weight), shown_kg=str(shown))
    return ok(f"shows {shown} kg for {weight} kg", known_kg=str(weight), shown_kg=str(shown))


def item(settings: AnySettings, slot: Slot, place: Place) -> Outcome:
    """So many units weigh what the profile says of one."""
    each = slot.item_weight
    if not each:
        return skipped("the profile has no weight of one unit")
    usual = str(min(UNITS, slot.capacity))
    given = place.answers.units.get(slot.name) or place.person.ask(
        f"{slot.name}: how many units of {slot.product or slot.sku} will you put on {settings.name}?", usual)
    try:
        units = int(given)
    except ValueError:
        units = 0
    if units < 1:
        return skipped("no units were put on it")
    place.person.tell(f"{settings.name}: put {units} units of {slot.product or slot.sku} on the pan, and nothing else")
    empty = _zero_of(settings, place)
    seen = _wait(settings, place, empty + units * each, max(each / 4, SHARE * units * each))
    if seen is None:
        return _no_weight(settings)
    measured = ((seen - empty) / units).quantize(Decimal("0.0001"))
    learned = {"slot": slot.name, "sku": slot.sku, "units": units, "item_weight_kg": str(measured)}
    if abs(measured - each) > max(each / 20, ZERO_KG / units):
        return warning(f"{units} units weigh {seen - empty} kg, {measured} kg each; the profile says {each} kg",
                       f'count them again; if they are {units}, write item_weight = "{measured} kg" into the profile',
                       **learned)
    _keep(settings, place, **{slot.name: learned})
    return ok(f"{units} units weigh {measured} kg each; the profile says {each} kg", **learned)


def _slot(settings: AnySettings, place: Place) -> Slot | None:
    return next((slot for slot in place.profile.slots if slot.scale == settings.name), None)


def _wait(settings: AnySettings, place: Place, expected: Decimal, within: Decimal) -> Decimal | None:
    """The last stable weight, kg: about the expected one, or whatever there was when nobody waited any longer."""
    seen: list[Decimal] = []

    def weight(readings: Iterable[Reading]) -> Decimal | None:
        return next((each.value for each in readings
                     if each.quantity == "weight" and each.quality == OK and isinstance(each.value, Decimal)), None)

    def says(readings: Iterable[Reading]) -> str:
        now = weight(readings)
        shown = ", ".join(each.quality for each in readings) if now is None else f"{now} kg"
        return f"  {settings.name} shows {shown}; expected {expected} kg (Enter: take it so, s: skip)"

    def reached(readings: Iterable[Reading]) -> bool:
        now = weight(readings)
        if now is not None:
            seen.append(now)
        return now is not None and abs(now - expected) <= within

    watch(place, settings, says, reached)
    return seen[-1] if seen else None


def _weight(text: str) -> Decimal:
    try:
        return to_kilograms(text)
    except ValueError as error:
        raise ConfigError("commission", (Problem("known weight", str(error)),)) from error


def _zero_of(settings: AnySettings, place: Place) -> Decimal:
    kept = place.documents.kept(TABLE, settings.name) or {}
    slot = _slot(settings, place)
    return Decimal(kept.get("zero_kg", slot.tare if slot else 0))


def _keep(settings: AnySettings, place: Place, **measured: object) -> None:
    known = place.documents.kept(TABLE, settings.name) or {}
    place.documents.keep(TABLE, settings.name, {**known, **measured, "at": place.clock.now(),
                                                "by": place.answers.by})


def _no_weight(settings: AnySettings) -> Outcome:
    return warning(f"{settings.name} showed no stable weight", "let the pan come to rest; nothing may lean on it")
