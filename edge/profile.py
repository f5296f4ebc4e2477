"""A device profile: one TOML file that says which sensors, cameras, slots and SKUs a shop has.

`load_profile` reports every mistake at once, each with its key and a fix. `firmware_configs/profile.schema.json`
is generated from the same types, so that an editor completes a profile while it is written.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from edge.errors import ConfigError, Problem
from edge.sensors import AnySettings, modbus, weighs
from edge.sensors.driver import KILOGRAMS as KILOGRAMS  # noqa: PLC0414  # also the virtual shop's table
from edge.sensors.replay import SCHEME


def to_kilograms(text: object) -> Decimal:
    """`"0.250 kg"` or `"250 g"` as kg; ValueError naming the units where it is neither."""
    number, _, unit = str(text).strip().partition(" ")
    if unit not in KILOGRAMS:
        raise ValueError(f'{text!r} is not a weight: write a number, a space and one of '
                         f'{", ".join(KILOGRAMS)}, like "0.250 kg"')
    try:
        return Decimal(number) * KILOGRAMS[unit]
    except InvalidOperation:
        raise ValueError(f"{number!r} is not a number") from None


def check_sku(text: str) -> str:
    """A GTIN with its right check digit (GS1 General Specifications 7.9), or a shop's own code with a letter."""
    if not text.isdigit():
        return text
    if len(text) not in (8, 12, 13, 14):
        raise ValueError(f"a GTIN has 8, 12, 13 or 14 digits, not {len(text)}")
    digits = [int(digit) for digit in reversed(text)]
    check = -sum(digit * (3 if i % 2 else 1) for i, digit in enumerate(digits) if i) % 10
    if check != digits[0]:
        raise ValueError(f"the GTIN's last digit should be {check}: one digit was mistyped")
    return text


Weight = Annotated[Decimal, BeforeValidator(to_kilograms), Field(ge=0, json_schema_extra={"type": "string"})]
NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
Name = Annotated[str, Field(pattern=NAME)]
Share = Annotated[float, Field(ge=0, le=1)]
Region = tuple[Share, Share, Share, Share]
MOST_SHARED = 0.5
"""Regions of two slots overlap a little where a camera looks from the side; above this they are one place."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Device(_Part):
    """Who this device is, and the folder on which it keeps the outbox and its documents."""

    id: Name
    data: Path

    @property
    def outbox(self) -> Path:
        """The outbox's file."""
        return self.data / "outbox.db"

    @property
    def identity(self) -> Path:
        """The folder of the device's key and certificate."""
        return self.data / "identity"

    @property
    def state(self) -> Path:
        """What the agent told last of itself, for `cornergrid-edge status`."""
        return self.data / "state.json"


def lock_file(data: Path) -> Path:
    """What the running agent holds locked."""
    return data / "agent.lock"


class Uplink(_Part):
    """The broker, and how patient to be with it."""

    host: str = "127.0.0.1"
    port: int = Field(1883, ge=1, le=65535, description="where absent: 8883 with TLS, else 1883")
    tls: bool | None = Field(None, description="with this device's certificate, which `cornergrid-edge enroll` gets; "
                             "where absent: everywhere but on loopback")
    batch: int = Field(500, ge=1, le=1000, description="records in one message at most")
    window: int = Field(32, ge=1, le=100, description="messages sent and not yet committed, at most")
    age_s: float = Field(0.5, gt=0, le=60, description="a live record waits at most so long for others")
    resend_s: float = Field(10.0, gt=0, description="uncommitted for longer is sent again")
    keepalive_s: int = Field(20, ge=1, le=600, description="a network that swallows everything is noticed after twice")

    @property
    def secure(self) -> bool:
        """Whether the connection is closed to strangers: always, but on loopback and where `tls` says otherwise."""
        loopback = self.host in {"localhost", "::1"} or self.host.startswith("127.")
        return not loopback if self.tls is None else self.tls

    @model_validator(mode="after")
    def _port_of_tls(self) -> Self:
        if self.secure and "port" not in self.model_fields_set:
            object.__setattr__(self, "port", 8883)
        return self


class OutboxSettings(_Part):
    """How much is kept while nobody takes it."""

    cap_mb: int = Field(1024, ge=1, description="size of the file from which on the least important is evicted, MiB")
    reserve_mb: int = Field(256, ge=0, description="of the disk that stay free for others, MiB")
    memory: int = Field(20_000, ge=100, description="records kept in memory while the disk takes none")


class CameraSettings(_Part):
    """One camera: an rtsp:// or http:// address, /dev/v4l/by-id/..., a folder of pictures, a video, or replay:FILE."""

    name: Name
    source: str = Field(min_length=1)
    period_s: float = Field(1.0, ge=0.05)
    report_s: float = Field(60.0, gt=0)
    model: Path | None = Field(None, description="ONNX model beside its card; the shipped one where absent")
    threshold: float | None = Field(None, gt=0, lt=1, description="score from which a find counts; the card's where "
                                    "absent, which was chosen on supermarket photos")


class Slot(_Part):
    """One SKU's place on the planogram, watched by a scale of its own, a region of a camera's picture, or both."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,30}$")
    sku: Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{1,32}$"), BeforeValidator(check_sku)]
    product: str = ""
    capacity: int = Field(ge=1, le=1000)
    scale: Name | None = None
    item_weight: Weight | None = None
    tare: Weight = Decimal(0)
    camera: Name | None = None
    region: Region | None = Field(
        None, description="x0, y0, x1, y1 as shares of the picture's width and height")
    depth: int = Field(1, ge=1, le=50, description="units behind each facing, itself included")

    @property
    def item_weight_kg(self) -> Decimal | None:
        """Weight of one unit, kg."""
        return self.item_weight

    @property
    def tare_kg(self) -> Decimal:
        """What the empty pan's tray weighs, kg."""
        return self.tare

    @property
    def source(self) -> str:
        """The reading that tells this slot's stock: `scale-1/weight` or `cam-1/facings/B1`."""
        return f"{self.scale}/weight" if self.scale else self.view

    @property
    def view(self) -> str:
        """The reading of the slot's camera, `cam-1/facings/B1`; empty where it has none."""
        return f"{self.camera}/facings/{self.name}" if self.camera else ""

    @property
    def facings(self) -> int:
        """Places in the front row."""
        return -(-self.capacity // self.depth)


class Stock(_Part):
    """When a change of level is believed, and when it is a movement."""

    agree: int = Field(3, ge=1, le=20, description="equal readings in a row before a level changes")
    put_back_s: float = Field(180.0, ge=0, description="returned within this time was not sold")
    gap_s: float = Field(300.0, gt=0, description="silent for longer is time not observed")
    at_once: int = Field(6, ge=1, description="more units gone between two looks is work on the shelf, no sale")


class Profile(_Part):
    """One shop's device, whole."""

    device: Device
    uplink: Uplink = Uplink()
    outbox: OutboxSettings = OutboxSettings()
    stock: Stock = Stock()
    sensors: tuple[AnySettings, ...] = ()
    cameras: tuple[CameraSettings, ...] = ()
    slots: tuple[Slot, ...] = ()

    @model_validator(mode="after")
    def _ports_under_data(self) -> Self:
        """Relative serial ports lie under the data folder, where a virtual shop puts its own."""
        moved = tuple(
            sensor if Path(sensor.port).is_absolute() or "://" in sensor.port or sensor.port.startswith(SCHEME)
            else sensor.model_copy(update={"port": str(self.device.data.absolute() / sensor.port)})
            for sensor in self.sensors
        )
        object.__setattr__(self, "sensors", moved)
        return self


def load_profile(path: Path) -> Profile:
    """The profile in `path`; ConfigError with every problem where it cannot be used."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        fix = "make one with `cornergrid-edge init`, or `cornergrid-edge commission` does"
        if isinstance(error, PermissionError):
            fix = "it may hold a camera's password, so only the agent and root read it: put sudo before the command"
        raise ConfigError(str(path), (Problem("file", error.strerror or "cannot be read", fix),)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), (Problem("file", f"is not TOML: {error}"),)) from error
    return parse_profile(str(path), data)


def parse_profile(file: str, data: dict[str, Any]) -> Profile:
    """A profile from parsed TOML; `file` names it in the errors."""
    try:
        profile = Profile.model_validate(data)
    except ValidationError as error:
        raise ConfigError(file, tuple(_problem(detail) for detail in error.errors())) from error
    problems = tuple(_contradictions(profile))
    if problems:
        raise ConfigError(file, problems)
    return profile


def schema() -> str:
    """JSON schema of a profile, as kept in `firmware_configs/profile.schema.json`."""
    return json.dumps(Profile.model_json_schema(), indent=2) + "\n"


_KNOWN: dict[str, type[BaseModel]] = {
    "device": Device, "uplink": Uplink, "outbox": OutboxSettings, "stock": Stock,
    "cameras": CameraSettings, "slots": Slot,
}


def _problem(detail: ErrorDetails) -> Problem:
    places = [place for place in detail["loc"] if not _is_driver_tag(place, detail)]
    key = "".join(f"[{place}]" if isinstance(place, int) else f".{place}" for place in places).lstrip(".")
    if detail["type"] == "extra_forbidden":
        part = _KNOWN.get(str(places[0]), Profile)
        known: Iterable[str] = part.model_fields
        near = difflib.get_close_matches(str(places[-1]), list(known), 1)
        return Problem(key, "is not a known key", f"did you mean {near[0]}?" if near else "remove it")
    if detail["type"] == "missing":
        return Problem(key, "is missing", "add it")
    given = detail["input"]
    if detail["type"] == "string_pattern_mismatch" and detail["ctx"]["pattern"] == NAME:
        return Problem(key, f"is small letters, digits and -, not {given!r}", "like shop-0042 or scale-1")
    shown = f", not {given!r}" if isinstance(given, str | int | float) else ""
    return Problem(key, re.sub(r"^Value error, ", "", detail["msg"]) + (
        shown if not detail["msg"].startswith("Value error") else ""))


def _is_driver_tag(place: int | str, detail: ErrorDetails) -> bool:
    """Pydantic puts the union's tag after `sensors[n]`; a person's file has no such key."""
    loc = detail["loc"]
    return len(loc) > 2 and loc[0] == "sensors" and place == loc[2] and isinstance(loc[1], int) and len(loc) > 3


def _contradictions(profile: Profile) -> Iterator[Problem]:
    yield from _repeated("sensors", [sensor.name for sensor in profile.sensors]
                         + [camera.name for camera in profile.cameras])
    yield from modbus.line_problems(each for each in profile.sensors if isinstance(each, modbus.Settings))
    yield from _repeated("slots", [slot.name for slot in profile.slots])
    scales = {sensor.name for sensor in profile.sensors if weighs(sensor)}
    cameras = {camera.name for camera in profile.cameras}
    on_pan: dict[str, str] = {}
    for i, slot in enumerate(profile.slots):
        key = f"slots[{i}]"
        if slot.scale is None and slot.camera is None:
            yield Problem(key, f"slot {slot.name} has nothing that watches it", "give it a scale, a camera or both")
        if slot.scale:
            yield from _on_scale(key, slot, scales)
            if slot.scale in on_pan:
                yield Problem(f"{key}.scale", f"slots {on_pan[slot.scale]} and {slot.name} share one pan, so their "
                              "weights cannot be told apart", "give each slot a scale of its own")
            on_pan[slot.scale] = slot.name
        if slot.camera:
            yield from _in_picture(key, slot, cameras)
    yield from _in_one_place(profile.slots)


def _repeated(key: str, names: list[str]) -> Iterator[Problem]:
    for name, count in Counter(names).items():
        if count > 1:
            yield Problem(key, f"{count} are named {name}", "names are unique")


def _on_scale(key: str, slot: Slot, scales: set[str]) -> Iterator[Problem]:
    if slot.scale not in scales:
        yield Problem(f"{key}.scale", f"no scale is named {slot.scale}",
                      f"known: {', '.join(sorted(scales)) or 'none'}")
    if not slot.item_weight:
        yield Problem(f"{key}.item_weight", "a slot on a scale needs the weight of one unit", 'like "0.250 kg"')


def _in_picture(key: str, slot: Slot, cameras: set[str]) -> Iterator[Problem]:
    if slot.camera not in cameras:
        yield Problem(f"{key}.camera", f"no camera is named {slot.camera}",
                      f"known: {', '.join(sorted(cameras)) or 'none'}")
    if slot.region is None:
        yield Problem(f"{key}.region", "a slot seen by a camera needs its region",
                      "[x0, y0, x1, y1], each from 0 to 1")
    elif slot.region[0] >= slot.region[2] or slot.region[1] >= slot.region[3]:
        yield Problem(f"{key}.region", "is empty or turned over", "[x0, y0, x1, y1] with x0 < x1 and y0 < y1")


def _in_one_place(slots: Sequence[Slot]) -> Iterator[Problem]:
    seen = [(i, slot, slot.region) for i, slot in enumerate(slots) if slot.camera and slot.region]
    for (_, first, there), (i, second, here) in combinations(seen, 2):
        if first.camera == second.camera and _shared(there, here) > MOST_SHARED:
            yield Problem(f"slots[{i}].region", f"slots {first.name} and {second.name} have more than half of the "
                          "smaller region in common, so both would count the same goods",
                          f"draw them side by side, as {first.camera} sees them")


def _shared(a: Region, b: Region) -> float:
    """Which part of the smaller region lies in the other, 0..1; 0 where one is empty or turned over."""
    smaller = min((x1 - x0) * (y1 - y0) if x0 < x1 and y0 < y1 else 0.0 for x0, y0, x1, y1 in (a, b))
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return wide * high / smaller if smaller > 0 and wide > 0 and high > 0 else 0.0
