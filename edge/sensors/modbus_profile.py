"""What a Modbus device is: a profile, `firmware_configs/devices/<name>.toml`, and what its registers mean.

A profile says which registers there are, how they are coded, which values mean that there is none, how the line is
set up, how sure all this is, and examples of real exchanges. A new device is a new file, and no code.
"""

from __future__ import annotations

import re
import struct
import tomllib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationError, model_validator

from edge.errors import ConfigError, Problem
from edge.readings import OK, Reading
from edge.sensors.modbus_frame import BIT_FUNCTIONS, Block, most

PROFILES = Path(__file__).parents[2] / "firmware_configs" / "devices"
Registers = Mapping[tuple[int, int], int | str]
"""By (function, register): a raw value, 0 to 65535 or a bit, or the reason why there is none."""
Parity = Literal["N", "E", "O"]
NAME = r"^[a-z0-9][a-z0-9-]*$"


def _exact(value: object) -> object:
    """`0.1` is a tenth, also where TOML was read into floats."""
    return str(value) if isinstance(value, float) else value


def _from_hex(text: object) -> object:
    return bytes.fromhex(text) if isinstance(text, str) else text


Number = Annotated[Decimal, BeforeValidator(_exact)]
Register = Annotated[int, Field(ge=0, le=0xFFFF)]
Frame = Annotated[bytes, BeforeValidator(_from_hex)]
Token = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Type = Literal["int16", "uint16", "int32", "uint32", "float32", "bit"]
WIDE = ("int32", "uint32", "float32")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SerialSettings(_Part):
    """How a device's line is set up; eight data bits are Modbus RTU's."""

    baudrate: int = Field(default=9600, ge=300, le=115200)
    parity: Parity = "N"
    stopbits: Literal[1, 2] = 1

    def __str__(self) -> str:
        return f"{self.baudrate} 8{self.parity}{self.stopbits}"


class Status(_Part):
    """A register beside a value that says whether it counts: `raw & mask` must be one of `ok`."""

    at: Register = Field(alias="register")
    mask: int = Field(0xFFFF, ge=1, le=0xFFFF)
    ok: tuple[int, ...] = Field((0,), min_length=1)
    reason: Token = "probe_error"


class Point(_Part):
    """One quantity: where it stands, how it is coded, and which values mean that there is none.

    Attributes:
        type: of the registers; `bit` is an input or coil, or one `bit` of a register.
        order: of the four bytes of a wide type; `abcd` is most significant first, `cdab` swaps the words.
        mask: only these bits of a uint16 count, moved down to bit 0.
        sentinels: raw values that mean "no probe"; -32768 and 0x8000 are the same one of an int16.
        min, max: of what can be measured, scaled; beyond them is no value, for the reason `below` or `above`.
    """

    name: str = Field(pattern=NAME)
    function: Literal[1, 2, 3, 4]
    at: Register = Field(alias="register")
    type: Type
    order: Literal["abcd", "cdab", "badc", "dcba"] = "abcd"
    mask: int | None = Field(None, ge=1, le=0xFFFF)
    bit: int | None = Field(None, ge=0, le=15)
    scale: Number = Decimal(1)
    unit: Literal["Cel", "%RH", "%", "V", "A", "W", "Hz", "Pa", "s", "h", "count", ""] = ""
    sentinels: tuple[int, ...] = ()
    min: Number | None = None
    max: Number | None = None
    below: Token = "out_of_range"
    above: Token = "out_of_range"
    status: Status | None = None

    @model_validator(mode="after")
    def _coded_in_one_way(self) -> Self:
        bits = self.function in BIT_FUNCTIONS
        if bits and self.type != "bit":
            raise ValueError(f"function {self.function} reads bits, so the type is bit")
        if (self.bit is not None) != (self.type == "bit" and not bits):
            raise ValueError("function 2 reads bits; a bit of a register of function 3 or 4 has type bit and says "
                             "which bit, 0 to 15")
        if self.mask is not None and self.type != "uint16":
            raise ValueError("a mask needs type uint16")
        if bits and self.status is not None:
            raise ValueError("a status register belongs to function 3 or 4")
        return self

    @property
    def width(self) -> int:
        """Registers that the value takes."""
        return 2 if self.type in WIDE else 1

    def places(self) -> tuple[int, ...]:
        """The registers that must be read for it, its status included."""
        own = tuple(range(self.at, self.at + self.width))
        return own if self.status is None else (*own, self.status.at)


class Vector(_Part):
    """A real or worked-out exchange, which the profile must read as `expect` says: its test.

    `expect` has a number, a bool, or the reason why there is no value, for each point that the answer holds;
    or, where nothing may be read from the answer at all, that reason alone: `"bad_frame"`, `"exception_2"`.
    """

    request: Frame
    reply: Frame
    expect: Annotated[dict[str, StrictBool | Number | str] | str, BeforeValidator(
        lambda given: {name: _exact(value) for name, value in given.items()} if isinstance(given, dict) else given)]
    note: str = ""


class DeviceProfile(_Part):
    """One make of device.

    Attributes:
        evidence: how sure it is: only read in documents, seen to work in someone's program, tried on the device.
        source: where that was.
        offsets: added to the file's register numbers on the wire, where manuals count otherwise than the wire does;
            more than one where it is not known which, the likeliest first.
        address: as it leaves the factory.
        serial: as it leaves the factory; `other_serial` are others that were seen.
        lookalikes: profiles of devices that answer the same questions, with other numbers.
    """

    title: str = Field(min_length=1)
    evidence: Literal["documented", "interop-verified", "hardware-verified"]
    source: str = Field(min_length=1)
    offsets: tuple[Literal[-1, 0, 1], ...] = Field((0,), min_length=1)
    address: int | None = Field(None, ge=1, le=247)
    serial: SerialSettings = SerialSettings()
    other_serial: tuple[SerialSettings, ...] = ()
    lookalikes: tuple[str, ...] = ()
    points: tuple[Point, ...] = Field(min_length=1)
    vectors: tuple[Vector, ...] = ()

    @model_validator(mode="after")
    def _each_name_once(self) -> Self:
        names = [point.name for point in self.points]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two points have the same name: {', '.join(twice)}")
        places = {place + offset for point in self.points for place in point.places() for offset in self.offsets}
        if places and not 0 <= min(places) <= max(places) <= 0xFFFF:
            raise ValueError("with its offset, a register is below 0 or above 65535")
        return self

    def on_wire(self, offset: int | None = None) -> DeviceProfile:
        """With register numbers as they are on the wire; the likeliest offset where none is given."""
        by = self.offsets[0] if offset is None else offset
        return self if by == 0 else self.model_copy(update={
            "points": tuple(_moved(point, by) for point in self.points)})


def _moved(point: Point, by: int) -> Point:
    status = point.status and point.status.model_copy(update={"at": point.status.at + by})
    return point.model_copy(update={"at": point.at + by, "status": status})


def load_device(name: str, folder: Path = PROFILES) -> DeviceProfile:
    """A device profile by its name, or by the path of its .toml; ConfigError with every mistake.

    Only its form is judged here; `cornergrid-edge profile check` also tries whether it makes sense.
    """
    path = Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    try:
        return DeviceProfile.model_validate(read_toml(path))
    except FileNotFoundError as error:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.toml"))) or "none"
        raise ConfigError(str(path), (Problem("device", f"no profile for {name!r}", f"known: {known}"),)) from error
    except ValidationError as error:
        raise ConfigError(str(path), form_problems(error)) from error


def read_toml(path: Path) -> dict[str, Any]:
    """The file's table, with exact numbers; FileNotFoundError, or ConfigError where it is no readable TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=_decimal)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(str(path), (Problem("file", error.strerror or "cannot be read"),)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), (Problem("file", f"is not TOML: {error}"),)) from error


def _decimal(text: str) -> Decimal | float:
    try:
        return Decimal(text)
    except InvalidOperation:
        return float(text)


def form_problems(error: ValidationError, within: str = "") -> tuple[Problem, ...]:
    """What pydantic found, each with its key in the file and a fix."""
    return tuple(
        Problem(within + ".".join(map(str, detail["loc"])) or "profile", re.sub("^Value error, ", "", detail["msg"]),
                "remove it" if detail["type"] == "extra_forbidden" else
                "add it" if detail["type"] == "missing" else f"given {detail['input']!r:.60}")
        for detail in error.errors())


def blocks(profile: DeviceProfile) -> tuple[Block, ...]:
    """The requests that read a device, one for each run of adjacent registers; a wide value is never cut in two."""
    found: list[Block] = []
    for function, first, last in sorted(_spans(profile)):
        previous = found[-1] if found else Block(0, 0, 0)
        end = previous.first + previous.length
        length = max(end, last + 1) - previous.first
        if previous.function == function and first <= end and length <= most(function):
            found[-1] = previous._replace(length=length)
        else:
            found.append(Block(function, first, last + 1 - first))
    return tuple(found)


def _spans(profile: DeviceProfile) -> set[tuple[int, int, int]]:
    spans = {(point.function, point.at, point.at + point.width - 1) for point in profile.points}
    return spans | {(point.function, point.status.at, point.status.at) for point in profile.points if point.status}


def decode_points(profile: DeviceProfile, registers: Registers, sensor: str, t: float) -> tuple[Reading, ...]:
    """Readings of every point; a point at a sentinel, out of range or not there is "no value", for that point only."""
    return tuple(decode_point(point, registers, sensor, t) for point in profile.points)


def decode_point(point: Point, registers: Registers, sensor: str, t: float) -> Reading:
    """One point's reading, as `decode_points`."""
    value = _value(point, [registers.get((point.function, at), "missing") for at in point.places()])
    if isinstance(value, str):
        return Reading(sensor, point.name, t, None, point.unit, f"bad:{value}")
    return Reading(sensor, point.name, t, value, point.unit, OK)


def _value(point: Point, raws: list[int | str]) -> Decimal | bool | str:
    """The value of a point's `places`, or the reason why there is none."""
    known = [raw for raw in raws if isinstance(raw, int)]
    if len(known) < len(raws):
        return next(raw for raw in raws if isinstance(raw, str))
    if point.status is not None and known.pop() & point.status.mask not in point.status.ok:
        return point.status.reason
    if point.type == "bit":
        return bool(known[0] if point.bit is None else known[0] >> point.bit & 1)
    number = _number(point, known)
    return "no_number" if number is None else _judged(point, number)


def _judged(point: Point, number: Decimal) -> Decimal | str:
    if any(number == _signed(point, sentinel) for sentinel in point.sentinels):
        return "no_probe"
    value = number * point.scale
    if point.min is not None and value < point.min:
        return point.below
    return point.above if point.max is not None and value > point.max else value


_CODES = {"int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "float32": ">f"}
_ORDERS = {"abcd": (0, 1, 2, 3), "cdab": (2, 3, 0, 1), "badc": (1, 0, 3, 2), "dcba": (3, 2, 1, 0)}


def _number(point: Point, raws: list[int]) -> Decimal | None:
    """The registers as a number before scaling; None for a float that is none."""
    data = b"".join(raw.to_bytes(2) for raw in raws)
    if point.width == 2:
        data = bytes(data[i] for i in _ORDERS[point.order])
    (number,) = struct.unpack(_CODES[point.type], data)
    if point.mask is not None:
        return Decimal((number & point.mask) // (point.mask & -point.mask))
    if isinstance(number, float):
        # Seven digits are what a float32 holds; more would be noise of its binary form.
        exact = Decimal(f"{number:.7g}")
        return exact if exact.is_finite() else None
    return Decimal(number)


def _signed(point: Point, sentinel: int) -> int:
    bits = 16 * point.width
    return sentinel - (1 << bits) if point.type in ("int16", "int32") and sentinel >= 1 << bits - 1 else sentinel
