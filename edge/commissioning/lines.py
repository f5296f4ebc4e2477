"""The profile's lines: what answers behind a port becomes a sensor, with what only a person knows of it.

Lines that are there stay as they are. Each new block is written at once, whole and only where the profile stays valid,
so that a power cut costs the one question that was being answered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edge.commissioning.devices import kept_finds
from edge.commissioning.person import Thing
from edge.commissioning.place import Place, extend, ok, skipped, warning
from edge.commissioning.state import Outcome
from edge.errors import ConfigError
from edge.finds import Choice
from edge.sensors import open_driver
from edge.sensors.modbus import Settings as Modbus
from edge.sensors.modbus_profile import load_device
from edge.trusted import ask_login
from edge.wizard import toml

VIDEO = Path("/dev/v4l/by-id")


def lines(place: Place) -> Outcome:
    """Give the profile what it lacks of what was found and of what the answers say."""
    added, left = list[str](), list[str]()
    for of, choices in _missing(place):
        known = place.answers.found.get(of, Thing())
        choice = _chosen(of, choices, known, place)
        if choice is not None:
            added.append(f"{_sensor(choice, known, place)} ({choice.title})")
        elif len(choices) > 1:
            left.append(f'{of} may be {" or ".join(f"{_make(each)} ({each.says})" for each in choices)}')
        else:
            left.append(f"{of} was left out: {choices[0].title}")
    added += _cameras(place)
    added += _given("slots", place.answers.slots, {each.name for each in place.profile.slots}, place)
    told = f"added {', '.join(added)}" if added else "nothing was added"
    if left and not place.person.there:
        return warning(f"{told}; {'; '.join(left)}", "compare the readings with a thermometer, and say which it is in "
                       '--answers: [found."..."] with make = "..."', left=left)
    if not place.profile.sensors and not place.profile.cameras:
        return warning("the profile has no sensor and no camera", "power, cables; `cornergrid-edge probe`")
    if not added and not left:
        return ok("all that was found is in the profile") if place.finds else skipped("nothing was looked for")
    return ok("; ".join([told, *left]), added=added)


def _missing(place: Place) -> list[tuple[str, list[Choice]]]:
    """What answers, and is behind no port and address of the profile, by its key; look-alikes as one."""
    place.finds = place.finds or kept_finds(place)
    taken = {(str(Path(each.port).resolve()), getattr(each, "address", None)) for each in place.profile.sensors}
    found: dict[str, list[Choice]] = {}
    for choice in (each for find in place.finds for each in find.choices if each.lines):
        port, address = choice.lines["port"], choice.lines.get("address")
        if (str(Path(port).resolve()), address) not in taken:
            found.setdefault(Thing.key_of(port, address), []).append(choice)
    return list(found.items())


def _chosen(of: str, choices: list[Choice], known: Thing, place: Place) -> Choice | None:
    """Which of the look-alikes it is; None where nobody knows, or it is to be left out."""
    by_make = {_make(each): each for each in choices}
    if known.make:
        return by_make.get(known.make)
    if not place.person.there:
        return choices[0] if len(choices) == 1 else None
    if len(choices) == 1:
        place.person.tell(f"{of}: {choices[0].title}, says {choices[0].says}")
        said = place.person.ask("Enter: it goes into the profile; n: leave it out")
        return None if said.lower().startswith("n") else choices[0]
    place.person.tell("\n".join([f"{of}: {len(choices)} makes understand these bytes. Which one is it?", *(
        f"  {number}  {each.title}\n       says {each.says}" for number, each in enumerate(choices, 1))]))
    while said := place.person.ask("its number (Enter: leave it out)"):
        if said.isdigit() and 1 <= int(said) <= len(choices):
            return choices[int(said) - 1]
        place.person.tell(f"  {said!r} is none of them: 1 to {len(choices)}")
    return None


def _make(choice: Choice) -> str:
    return str(choice.lines.get("device", choice.lines["driver"]))


def _sensor(choice: Choice, known: Thing, place: Place) -> str:
    """Write the sensor's block; its name. A wrong answer is told and asked for again."""
    usual = _free("scale" if choice.kind == "scale" else "door" if _has_inputs(choice) else "probe", place)
    while True:
        row: dict[str, Any] = {"name": known.name or place.person.ask("its name", usual)}
        row |= choice.lines
        if "unit" in row:
            row["unit"] = known.unit or place.person.ask("its frames carry no unit: what does its display show?", "kg")
        if contacts := known.doors or _doors(choice, place):
            row["contacts"] = contacts
        try:
            extend(place, [_block("sensors", row, choice.title)])
        except ConfigError as error:
            if not place.person.there or known.name:
                raise
            place.person.tell(str(error))
        else:
            return str(row["name"])


def _free(stem: str, place: Place) -> str:
    taken = {each.name for each in (*place.profile.sensors, *place.profile.cameras)}
    return next(name for n in range(1, len(taken) + 2) if (name := f"{stem}-{n}") not in taken)


def _has_inputs(choice: Choice) -> bool:
    """Whether a device has inputs only: they are there for doors."""
    return choice.kind == "modbus" and all(point.type == "bit" for point in load_device(_make(choice)).points)


def _doors(choice: Choice, place: Place) -> dict[str, str]:
    """Which inputs have a door's contact, and how each is wired: that is seen while the doors are closed."""
    if not place.person.there or not _has_inputs(choice):
        return {}
    inputs = [point.name for point in load_device(_make(choice)).points]
    place.person.tell("its inputs: " + ", ".join(f"{number} {name}" for number, name in enumerate(inputs, 1)))
    said = place.person.ask("which have a door's contact, like 1,3 (Enter: none)")
    chosen = {inputs[int(n) - 1] for n in re.findall(r"\d+", said) if 1 <= int(n) <= len(inputs)}
    if not chosen:
        return {}
    place.person.ask("close these doors, then press Enter")
    driver = open_driver(Modbus.model_validate({"name": "x", **choice.lines}), place.clock)
    try:
        return {each.quantity: "normally-closed" if each.value else "normally-open" for each in driver.read()
                if each.quantity in chosen and each.value is not None}
    finally:
        driver.close()


def _cameras(place: Place) -> list[str]:
    """Cameras that the answers name, or that somebody types where there is none."""
    known = {each.name for each in place.profile.cameras}
    rows = list(place.answers.cameras)
    if place.answers.camera and not known and not rows:
        rows.append({"name": "cam-1", "source": place.answers.camera})
    added = _given("cameras", rows, known, place)
    while place.person.there and not place.answers.camera and not place.answers.cameras and (
            added or not place.profile.cameras):
        address = _address(place)
        if not address:
            break
        try:
            added += _given("cameras", [{"name": _free("cam", place), "source": address}], set(), place)
        except ConfigError as error:
            place.person.tell(str(error))
    return added


def _address(place: Place) -> str:
    """A camera's address as somebody types it, with its login, or one that is plugged in, by its number."""
    plugged = sorted(map(str, VIDEO.glob("*-video-index0"))) if VIDEO.is_dir() else []
    taken = {each.source for each in place.profile.cameras}
    plugged = [each for each in plugged if each not in taken]
    if plugged:
        place.person.tell("\n".join(["cameras that are plugged in:", *(
            f"  {number}  {each}" for number, each in enumerate(plugged, 1))]))
    said = place.person.ask("a camera's address, like rtsp://10.0.0.7/shelf" + (
        ", or a number" if plugged else "") + " (Enter: no more)")
    if said.isdigit() and 1 <= int(said) <= len(plugged):
        return plugged[int(said) - 1]
    return ask_login(said, lambda question, hidden: place.person.ask(question, hidden=hidden)) if said else ""


def _given(table: str, rows: Iterable[Mapping[str, Any]], known: set[str], place: Place) -> list[str]:
    """Write the rows whose names the profile does not have, in one write; their names."""
    new = [row for row in rows if row.get("name") not in known]
    if new:
        extend(place, [_block(table, row) for row in new])
    return [str(row["name"]) for row in new]


def _block(table: str, row: Mapping[str, Any], remark: str = "") -> str:
    head = [f"# {remark}"] if remark else []
    return "\n".join([*head, f"[[{table}]]", *(f"{key} = {toml(value)}" for key, value in row.items())])
