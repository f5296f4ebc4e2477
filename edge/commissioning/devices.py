"""What is plugged in: the ports, which device is behind each, whether it tells sense, and the doors."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from edge.check import FIXES
from edge.commissioning.person import Thing
from edge.commissioning.place import LOOK_S, Place, Skip, ok, skipped, warning, watch
from edge.commissioning.state import Outcome
from edge.finds import Find, look_behind
from edge.finds import Place as Socket
from edge.readings import Reading
from edge.sensors import AnySettings, open_driver
from edge.sensors.ports import found_ports

TABLE = "inventory"
PLAUSIBLE = {"Cel": (Decimal(-40), Decimal(45)), "%RH": (Decimal(1), Decimal(100))}
"""What the air in a shop and its fridges can be."""
BREATH = {"Cel": Decimal("0.5"), "%RH": Decimal(3)}
"""How much warmer and damper a probe gets in somebody's breath, at least."""


def ports(place: Place) -> Outcome:
    """Look behind every port of the profile, and of the box where asked, all at once, and note what is there."""
    sockets = _sockets(place)
    if not sockets:
        return skipped("there is no serial port to look behind")
    place.person.tell(f"looking behind {len(sockets)} port{'s' if len(sockets) > 1 else ''}; a silent one takes a "
                      "minute")
    place.finds = _looked(sockets, place)
    for find in place.finds:
        place.documents.keep(TABLE, find.place.name, {**find.as_dict(), "run": place.run, "at": place.clock.now(),
                                                      "by": place.answers.by})
    missing = [each.name for each in _on_ports(place) if not _choices(each, place.finds)]
    named = {str(Path(port).absolute()) for port in place.answers.ports}
    missing += [find.place.name for find in place.finds if find.place.name in named and not find.choices]
    found = "; ".join(f"{find.place.name}: {_titles(find)}" for find in place.finds)
    if missing:
        return warning(f"{found}; not found: {', '.join(missing)}",
                       "power, cable, and the port, driver and address that are named; `cornergrid-edge probe`",
                       missing=missing)
    return ok(found, ports=[find.place.name for find in place.finds])


def _looked(sockets: list[Socket], place: Place) -> list[Find]:
    """What is behind each, all at once; s skips it. Ctrl-C ends it: threads that look on keep no program alive."""
    lines = {Thing.key_of(each.port, None) for each in place.profile.sensors if each.driver == "modbus"} | {
        key.partition(" address ")[0] for key in place.answers.found if " address " in key}
    told: queue.SimpleQueue[tuple[str, str | Find | Exception]] = queue.SimpleQueue()

    def look(socket: Socket) -> None:
        try:
            told.put((socket.name, look_behind(socket, place.addresses, place.clock,
                                               lambda step: told.put((socket.name, step)),
                                               modbus_first=Thing.key_of(socket.name, None) in lines)))
        except Exception as error:  # noqa: BLE001  # a thread of its own: raised where the step waits for it
            told.put((socket.name, error))

    for each in sockets:
        threading.Thread(target=look, args=(each,), name=f"look {each.name}", daemon=True).start()
    found: dict[str, Find] = {}
    while len(found) < len(sockets):
        try:
            port, what = told.get(timeout=LOOK_S)
        except queue.Empty:
            what, port = "", ""
        if isinstance(what, Exception):
            raise what
        if isinstance(what, Find):
            found[port] = what
        elif what:
            place.person.live(f"  {port.rpartition('/')[2]}: {what} ({len(found)} of {len(sockets)} done)")
        if (place.person.pressed() or "").lower() == "s":
            raise Skip
    return [found[each.name] for each in sockets]


def _sockets(place: Place) -> list[Socket]:
    """The profile's ports by their names there, and the others that are named, or that the box has."""
    named = {each.port: Socket(each.port, each.port) for each in _on_ports(place)}
    real = {Path(port).resolve() for port in named}
    if place.answers.ports:
        others = [Socket(str(Path(port).absolute()), port) for port in place.answers.ports]
    elif place.other_ports:
        others = [Socket(port.name, port.device, port.description, port.note) for port in found_ports()]
    else:
        others = []
    return [*named.values(), *(each for each in others if Path(each.device).resolve() not in real)]


def _on_ports(place: Place) -> list[AnySettings]:
    """The sensors behind serial ports: a 1-wire thermometer is a file, and a recording plays whatever it is."""
    return [each for each in place.profile.sensors if each.driver != "ds18b20" and "://" not in each.port
            and not each.port.startswith("replay:")]


def _choices(settings: AnySettings, finds: Iterable[Find]) -> tuple[str, ...]:
    """The titles of what may be behind a sensor's port and address, where its own kind is among them."""
    wanted = {key: getattr(settings, key) for key in ("driver", "device", "address") if hasattr(settings, key)}
    for find in (each for each in finds if each.place.name == settings.port):
        mine = [each for each in find.choices if all(each.lines.get(key) == value for key, value in wanted.items())]
        if mine:
            return tuple(each.title for each in find.choices if each.of == mine[0].of)
    return ()


def _titles(find: Find) -> str:
    """What is behind a port, look-alikes as one."""
    by: dict[str, list[str]] = {}
    for choice in find.choices:
        by.setdefault(choice.of, []).append(choice.title)
    return ", ".join(titles[0] + (f" (one of {len(titles)} look-alikes)" if len(titles) > 1 else "")
                     for titles in by.values()) or find.nothing


def plausible(settings: AnySettings, place: Place) -> Outcome:
    """A sensor's values are such as a shop can have."""
    driver = open_driver(settings, place.clock)
    try:
        readings = driver.read()
    finally:
        driver.close()
    shown = ", ".join(_words(each) for each in readings)
    silent = [each for each in readings if each.value is None and each.quality != "unstable"]
    if silent:
        reason = silent[0].quality.removeprefix("bad:")
        return warning(shown, FIXES.get(reason, "power, cable, settings"))
    odd = [each for each in readings if not _likely(each)]
    if odd:
        return warning(f"{shown}: {', '.join(each.quantity for each in odd)} cannot be so",
                       "another kind of device, or a probe that is not connected: `cornergrid-edge probe`")
    return ok(shown)


def _likely(reading: Reading) -> bool:
    if not isinstance(reading.value, Decimal) or reading.unit not in PLAUSIBLE:
        return True
    low, high = PLAUSIBLE[reading.unit]
    return low <= reading.value <= high


def breath(settings: AnySettings, place: Place) -> Outcome:
    """Where several makes understand a probe's bytes, it must answer to breath as the profile reads it."""
    alike = _choices(settings, place.finds or kept_finds(place))
    if len(alike) < 2:
        return skipped("no other make is mistaken for it")
    if settings.name in place.answers.confirmed:
        return ok(f"one of {len(alike)} look-alikes; compared with the device itself"
                  + (f" by {place.answers.by}" if place.answers.by else ""), alike=list(alike))
    place.person.tell(f"{settings.name}: {len(alike)} makes look alike here. Breathe on the probe")
    first: dict[str, Decimal] = {}

    def risen(readings: Iterable[Reading]) -> bool:
        for each in readings:
            if isinstance(each.value, Decimal) and each.unit in BREATH:
                if each.value - first.setdefault(each.quantity, each.value) >= BREATH[each.unit]:
                    return True
                first[each.quantity] = min(first[each.quantity], each.value)
        return False

    if watch(place, settings, lambda seen: f"  {', '.join(map(_words, seen))} (Enter: go on, s: skip)", risen):
        return ok(f"answers to breath; one of {len(alike)} look-alikes", alike=list(alike))
    return warning(f"one of {len(alike)} look-alikes, and did not answer to breath: {', '.join(alike)}",
                   "compare its values with a thermometer, or name it with --confirm where the make is certain",
                   alike=list(alike))


def kept_finds(place: Place) -> list[Find]:
    """What an earlier start of this commissioning found."""
    return [Find.of(each) for each in place.documents.all_kept(TABLE) if each.get("run") == place.run]


def door(settings: AnySettings, quantity: str, place: Place) -> Outcome:
    """A door's contact tells open and closed."""
    which = quantity.partition("/")[2]
    place.person.tell(f"{settings.name}: open the door{f' of {which}' if which else ''}, and close it again")
    seen: list[bool] = []

    def toggled(readings: Iterable[Reading]) -> bool:
        for each in readings:
            if each.quantity == quantity and isinstance(each.value, bool) and each.value not in seen[-1:]:
                seen.append(each.value)
        return len(seen) >= 3

    if watch(place, settings, lambda now: f"  {', '.join(map(_words, now))} (Enter: go on, s: skip)", toggled):
        return ok(f"{which or 'it'} opened and closed", before=seen[0])
    states = ["open" if each else "closed" for each in seen]
    told = f"stayed {states[0]}" if len(seen) == 1 else f"was {', then '.join(states)}" if seen else "told nothing"
    return warning(f"{which or 'it'} {told}", "magnet and contact within a centimetre; is it wired to this input?")


def _words(reading: Reading) -> str:
    value = reading.quality if reading.value is None else str(reading.value)
    return " ".join(part for part in (reading.quantity, value, reading.unit) if part)
