"""What is plugged in, for a person to choose from: scales, Modbus devices, 1-wire thermometers, and a profile's lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge.clock import Clock
from edge.errors import SensorError
from edge.sensors import DRIVERS, ds18b20
from edge.sensors.modbus_line import Line
from edge.sensors.modbus_probe import Finding, load_all, probe_line, serials
from edge.sensors.modbus_profile import DeviceProfile
from edge.sensors.probe import Heard, probe_scales

SCALES = {name: kind.scale for name, kind in DRIVERS.items() if kind.scale is not None}


@dataclass(frozen=True, slots=True)
class Place:
    """A port to look behind."""

    name: str
    device: str
    description: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that may be there. Choices with the same `of` are look-alikes of each other.

    `lines` are the sensor's in a profile, without its name; `remark` is what the installer must still look at.
    """

    of: str
    kind: str
    title: str
    says: str
    sure: str
    raw: str
    lines: dict[str, Any]
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Find:
    """What was found behind one port; `nothing` says why there are no choices."""

    place: Place
    choices: tuple[Choice, ...]
    nothing: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Find:
        """The find that `as_dict` gave; other keys are left alone."""
        return cls(Place(**document["place"]), tuple(Choice(**each) for each in document["choices"]),
                   document["nothing"])


LINE_S = 30.0
"""How long one Modbus line is searched at one setting."""
NOTHING = "nothing answers: is it switched on, and is its protocol one of these? It may also need another cable"
REASONS = {
    "port_busy": "in use by another program: stop the agent first (systemctl stop cornergrid)",
    "no_permission": "no permission: add this user to the group dialout",
    "no_port": "is not there",
    "not_serial": "is no serial port",
    "unplugged": "went away meanwhile",
}


def look_behind(place: Place, addresses: tuple[int, ...], clock: Clock, step: Callable[[str], None], *,
                modbus_first: bool = False) -> Find:
    """What answers behind a port, in bounded time: a scale, or the devices of a Modbus line; or why nothing does.

    A 1-wire thermometer's folder is read once.
    `modbus_first` saves half a minute where a profile says that the port is such a line.
    """
    if ds18b20.is_thermometer(place.name):
        return Find(place, (_thermometer(place.name, clock),))

    def scales() -> tuple[Choice, ...]:
        return tuple(_scale(each) for each in probe_scales(place.name, SCALES, clock, step))

    def modbus() -> tuple[Choice, ...]:
        return tuple(_modbus_line(place.name, addresses, clock, step)) if addresses else ()

    try:
        choices = (modbus() or scales()) if modbus_first else (scales() or modbus())
    except SensorError as error:
        return Find(place, (), REASONS.get(error.reason, str(error)))
    return Find(place, choices, "" if choices else NOTHING)


def thermometers(folder: Path) -> list[Place]:
    """The 1-wire thermometers that the kernel lists in a folder; it keeps each for a while after it is gone."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [Place(str(each), str(each)) for each in found if ds18b20.is_thermometer(str(each))]


def _thermometer(port: str, clock: Clock) -> Choice:
    settings = ds18b20.Settings(name="probe", driver="ds18b20", port=port)
    sure = "right checksum"
    try:
        (reading,) = ds18b20.open_driver(settings, clock).read()
        says = f"{reading.value} Cel"
    except SensorError as error:
        says, sure = str(error), "the kernel's word"
    return Choice(port, "thermometer", "DS18B20 thermometer, 1-wire", says, sure, "",
                  {"driver": settings.driver, "port": port})


def _modbus_line(port: str, addresses: tuple[int, ...], clock: Clock, step: Callable[[str], None]) -> Iterator[Choice]:
    """The devices of a Modbus line, at the first setting at which any is understood, or else at which any answers."""
    profiles, told = load_all(), list[Finding]()
    for way in serials(profiles.values()):
        step(f"asking Modbus addresses {addresses[0]} to {addresses[-1]} at {way.baudrate} 8{way.parity}{way.stopbits}")
        line, heard = Line(port, way, clock), list[Finding]()
        try:
            line.connect()
            for finding in probe_line(line, addresses, profiles, clock, limit_s=LINE_S):
                step(f"address {finding.address} answers")
                heard.append(finding)
        except SensorError as error:
            if error.reason not in ("time_up", "port_settings"):
                raise
        finally:
            line.close()
        if not all(finding.garbled for finding in heard):
            told = heard
            break
        told = told or heard
    for finding in told:
        yield from _modbus(finding, profiles)


def _modbus(finding: Finding, profiles: Mapping[str, DeviceProfile]) -> Iterator[Choice]:
    of, where = f"{finding.port} address {finding.address}", f"address {finding.address}"
    if not finding.candidates:
        what = "something that is not understood" if finding.garbled else "an unknown Modbus device"
        yield Choice(of, "modbus", f"{what}, {where}", finding.why, "unknown", "", {})
    for candidate in finding.candidates:
        profile = profiles[candidate.device]
        says = ", ".join(f"{each.quantity} {each.quality}" if each.value is None
                         else f"{each.quantity} {each.value} {each.unit}".rstrip() for each in candidate.readings)
        lines: dict[str, Any] = {"driver": "modbus", "port": finding.port, "device": candidate.device,
                                 "address": finding.address}
        usual = profile.serial
        lines |= {key: value for key, value in finding.serial.model_dump().items() if value != getattr(usual, key)}
        if candidate.offset != profile.offsets[0]:
            lines["offset"] = candidate.offset
        sure = "right checksum" if finding.sure else f"right checksum, one of {len(finding.candidates)} look-alikes"
        yield Choice(of, "modbus", f"{profile.title}, {where}", says, sure, "", lines)


def _scale(heard: Heard) -> Choice:
    protocol = SCALES[heard.driver]
    lines: dict[str, Any] = {"driver": heard.driver, "port": heard.port}
    usual = asdict(protocol.lines[0])
    lines |= {key: value for key, value in asdict(heard.line).items() if value != usual[key]}
    remark = ""
    if "unit" in DRIVERS[heard.driver].settings.model_fields:
        lines["unit"] = "kg"
        remark = "its frames carry no unit: write what its display shows"
    asked = "right checksum" if heard.sure else "shape of its answers" if heard.asked else "shape of what it says"
    return Choice(heard.port, "scale", f"{heard.title}, {heard.line}", heard.shown, asked,
                  heard.raw.hex(" ").upper(), lines, remark)


def toml_of(finds: list[Find]) -> str:
    """The profile's lines for everything that was found; the look-alikes of a choice are commented out."""
    count: dict[str, int] = {}
    parts: list[str] = []
    for find in finds:
        seen: set[str] = set()
        for choice in (each for each in find.choices if each.lines):
            if choice.of not in seen:
                count[choice.kind] = count.get(choice.kind, 0) + 1
            lines = [f"# {choice.title}: {choice.says}", "[[sensors]]", f'name = "{choice.kind}-{count[choice.kind]}"']
            lines += [f"{key} = {json.dumps(value)}" for key, value in choice.lines.items()]
            if choice.remark:
                lines[-1] += f"  # {choice.remark}"
            parts.append("\n".join(f"# {line}" for line in lines) if choice.of in seen else "\n".join(lines))
            seen.add(choice.of)
    return "\n\n".join(parts)
