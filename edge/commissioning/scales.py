"""Scales with the installer's hands: empty, a known weight, and so many units of the product that lies on it.

Nothing is asked that the scale can tell itself: each step ends by itself once the pan shows what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from edge.commissioning.place import Place, extend, ok, skipped, warning, watch
from edge.commissioning.products import named
from edge.commissioning.state import Outcome
from edge.errors import ConfigError, Problem, SensorError
from edge.profile import Slot, to_kilograms
from edge.readings import OK, Reading
from edge.sensors import AnySettings
from edge.wizard import toml

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
        return warning(f"shows {seen} kg when empty, {off:+} kg off",
                       "take everything off it; where it is empty, press its own zero key", zero_kg=str(seen))
    _keep(settings, place, zero_kg=str(seen))
    return ok(f"shows {seen} kg when empty", zero_kg=str(seen))


def known(settings: AnySettings, place: Place) -> Outcome:
    """A weight that the installer brought shows as what it is."""
    weight = _known_weight(settings, place)
    if weight is None:
        return skipped("nobody brought a known weight")
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


def product(settings: AnySettings, place: Place) -> Outcome:
    """What lies on a scale that no slot of the profile is on: its product, how many fit, and the weight of one."""
    if not place.person.there:
        return warning("no slot of the profile is on it", f'say what lies on it in --answers: [[slots]] with scale = '
                       f'"{settings.name}"')
    found = named(f"what lies on {settings.name}", "", place)
    if found is None:
        return skipped("left out by the installer")
    while True:
        name = place.person.ask("its place's name on the planogram", settings.name)
        capacity = place.person.ask("how many units fit there", "24")
        weight = place.person.ask('weight of one unit, like "0.250 kg" (Enter: weigh some here)').replace(",", ".")
        learned: dict[str, object] = {}
        if not weight:
            learned = _weighed(settings, name, found.sku, place)
            weight = f"{learned['item_weight_kg']} kg"
        try:
            extend(place, [f'[[slots]]\nname = {toml(name)}\nsku = {toml(found.sku)}\n'
                           f'product = {toml(found.name)}\ncapacity = {capacity}\nscale = {toml(settings.name)}\n'
                           f'item_weight = {toml(weight)}'])
        except ConfigError as error:
            place.person.tell(str(error))
            continue
        if learned:
            _keep(settings, place, **{name: learned})
        return ok(f"{name}: {found.name or found.sku}, {weight} each", slot=name, sku=found.sku, item_weight=weight)


def _weighed(settings: AnySettings, slot: str, sku: str, place: Place) -> dict[str, object]:
    """The weight of one unit, from some that are put on the pan; SensorError where it never comes to rest."""
    while not (units := _count("how many units will you put on it", str(UNITS), place)):
        place.person.tell("  at least one")
    place.person.tell(f"{settings.name}: put {units} units on the pan, and nothing else, then press Enter")
    empty, seen = _zero_of(settings, place), list[Decimal]()

    def says(readings: Iterable[Reading]) -> str:
        seen.extend(each.value for each in readings if each.quality == OK and isinstance(each.value, Decimal))
        return f"  {settings.name} shows {f'{seen[-1]} kg' if seen else 'nothing stable yet'}"

    watch(place, settings, says, lambda _: False)
    each = ((seen[-1] - empty) / units).quantize(Decimal("0.0001")) if seen else Decimal(0)
    if each <= 0:
        raise SensorError("no_weight", f"{settings.name} shows no weight of goods")
    return {"slot": slot, "sku": sku, "units": units, "item_weight_kg": str(each), "run": place.run}


def item(settings: AnySettings, slot: Slot, place: Place) -> Outcome:
    """So many units weigh what the profile says of one."""
    each = slot.item_weight
    if not each:
        return skipped("the profile has no weight of one unit")
    weighed = (place.documents.kept(TABLE, settings.name) or {}).get(slot.name, {})
    if weighed.get("run") == place.run:
        return ok(f"{weighed['units']} units were weighed here: {each} kg each", **weighed)
    usual = str(min(UNITS, slot.capacity))
    units = place.answers.units.get(slot.name) or _count(
        f"{slot.name}: how many units of {slot.product or slot.sku} will you put on {settings.name}? 0 for none", usual,
        place)
    if not units:
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


def _known_weight(settings: AnySettings, place: Place) -> Decimal | None:
    """The weight that somebody has with them, kg; None for none. One that is no weight is asked for again."""
    text = place.answers.known_weight
    while True:
        text = text or place.person.ask(
            f'{settings.name}: a known weight that you have with you, like "1 kg" (Enter: none)')
        try:
            return to_kilograms(text.replace(",", ".")) if text else None
        except ValueError as error:
            if not place.person.there:
                raise ConfigError("commission", (Problem("known weight", str(error)),)) from error
            place.person.tell(f"  {error}")
            text = ""


def _count(question: str, usual: str, place: Place) -> int:
    """A number of units; what is none is asked for again."""
    while not (said := place.person.ask(question, usual)).isdecimal():
        place.person.tell(f"  {said!r} is no number of units")
    return int(said)


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
