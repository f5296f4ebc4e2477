"""Is a device profile right? Its form, what it says of registers, and its own vectors, all mistakes at once.

    file ─▶ form: keys, types, functions ─┬▶ sense: overlaps, scale, sign, ranges, look-alikes
                                          └▶ vectors: request, reply, what is expected

What has a good form is judged further, even where the rest of the file has not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from edge.errors import ConfigError, Problem, SensorError
from edge.sensors.modbus_frame import Block, crc, find_answer, parse_request
from edge.sensors.modbus_profile import (
    PROFILES,
    WIDE,
    DeviceProfile,
    Point,
    Vector,
    decode_point,
    form_problems,
    read_toml,
)

Outcome = Decimal | bool | str
Part = TypeVar("Part", bound=BaseModel)
LARGEST = {"int16": 0xFFFF, "uint16": 0xFFFF, "int32": 0xFFFFFFFF, "uint32": 0xFFFFFFFF}


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in one file.

    Attributes:
        usable: whether a sensor could use it; where not, its form is to blame.
        mistakes: what must be put right.
        doubts: what may be right, and is seldom.
        vectors: how many there are, of which the profile reads `passed` as they say.
    """

    file: str
    usable: bool
    mistakes: tuple[Problem, ...]
    doubts: tuple[Problem, ...]
    vectors: int
    passed: int


def check_profile(path: Path) -> Report:
    """Try everything that can be tried without the device; ConfigError where the file is not there or no TOML."""
    try:
        data = read_toml(path)
    except FileNotFoundError as error:
        raise ConfigError(str(path), (Problem("file", "is not there", "give the path of a device profile"),)) from error
    mistakes: list[Problem] = []
    profile: DeviceProfile | None = None
    try:
        profile = DeviceProfile.model_validate(data)
        mistakes += _strange_lookalikes(profile, path.parent)
        points, vectors = dict(enumerate(profile.on_wire().points)), dict(enumerate(profile.vectors))
    except ValidationError as error:
        mistakes += form_problems(error)
        points, vectors = _whole(Point, data.get("points")), _whole(Vector, data.get("vectors"))
    mistakes += _overlaps(points)
    mistakes += (problem for at, point in points.items() for problem in _nonsense(f"points.{at}", point))
    failed = {at: tuple(try_vector(f"vectors.{at}", vector, points.values())) for at, vector in vectors.items()}
    mistakes += [problem for problems in failed.values() for problem in problems]
    if not data.get("vectors"):
        mistakes.append(Problem("vectors", "there is none", "add an exchange with the device: request, reply, expect"))
    return Report(str(path), profile is not None, tuple(mistakes), tuple(_doubts(points, vectors)), len(vectors),
                  sum(not problems for problems in failed.values()))


def _whole(kind: type[Part], rows: object) -> dict[int, Part]:
    """The rows of a good form, by their place."""
    found: dict[int, Part] = {}
    for at, row in enumerate(rows if isinstance(rows, list) else []):
        try:
            found[at] = kind.model_validate(row)
        except ValidationError:  # told with the form of the whole file
            continue
    return found


def _strange_lookalikes(profile: DeviceProfile, beside: Path) -> Iterator[Problem]:
    for name in profile.lookalikes:
        if not any((folder / f"{name}.toml").is_file() for folder in (beside, PROFILES)):
            yield Problem("lookalikes", f"no profile is named {name}", "name the .toml beside this file, without .toml")


def _overlaps(points: dict[int, Point]) -> Iterator[Problem]:
    """Points that share bits of a register: one of the two is likely at a wrong place."""
    for (_, one), (at, other) in combinations(points.items(), 2):
        shared = set(_span(one)) & set(_span(other))
        if one.function == other.function and shared and _bits(one) & _bits(other):
            yield Problem(f"points.{at}.register", f"{other.name} overlaps {one.name} in register "
                          f"{', '.join(map(str, sorted(shared)))} of function {one.function}",
                          "give each a register of its own, or a mask or bit where they share one")
    for at, point in points.items():
        if point.status is not None and point.status.at in _span(point):
            yield Problem(f"points.{at}.status.register", f"{point.name} is its own status",
                          "give the register that stands beside it")


def _span(point: Point) -> range:
    return range(point.at, point.at + point.width)


def _bits(point: Point) -> int:
    if point.bit is not None:
        return 1 << point.bit
    return 0xFFFF if point.mask is None else point.mask


def _nonsense(key: str, point: Point) -> Iterator[Problem]:
    """What a point says that cannot be meant."""
    if point.scale <= 0:
        yield Problem(f"{key}.scale", f"{point.name} is scaled by {point.scale}", "a scale is above 0, like 0.1")
    if point.unit == "Cel" and point.type in ("uint16", "uint32"):
        yield Problem(f"{key}.type", f"{point.name} is a temperature without a sign: frost would read as heat of "
                      f"{LARGEST[point.type] * point.scale}", f"type {point.type.removeprefix('u')}")
    if point.min is not None and point.max is not None and point.min >= point.max:
        yield Problem(f"{key}.min", f"{point.min} is not below max {point.max}", "turn them round")
    for sentinel in point.sentinels:
        largest = LARGEST.get(point.type)
        if largest is not None and not -(largest + 1) // 2 <= sentinel <= largest:
            yield Problem(f"{key}.sentinels", f"{sentinel} does not fit into {point.type}", f"0 to {largest:#x}")
    if point.type not in WIDE and point.order != "abcd":
        yield Problem(f"{key}.order", f"{point.type} is one register, which has no order of words", "remove it")
    if point.type == "bit" and (point.scale != 1 or point.unit or point.sentinels
                                or point.min is not None or point.max is not None):
        yield Problem(key, f"{point.name} is a bit: scale, unit, sentinels, min and max mean nothing", "remove them")


def _doubts(points: dict[int, Point], vectors: dict[int, Vector]) -> Iterator[Problem]:
    for at, point in points.items():
        yield from _unusual(f"points.{at}", point)
    expected = [item for vector in vectors.values() if isinstance(vector.expect, dict)
                for item in vector.expect.items()]
    tried = {name for name, _ in expected}
    if untried := [point.name for point in points.values() if point.name not in tried]:
        yield Problem("vectors", f"none tries {', '.join(untried)}", "add an exchange that reads them")
    below = {name for name, value in expected if isinstance(value, Decimal) and value < 0}
    cold = {point.name for point in points.values() if point.unit == "Cel"}
    if cold and not below & cold:
        yield Problem("vectors", "none has a temperature below zero, so the sign was not tried", "add one")


def _unusual(key: str, point: Point) -> Iterator[Problem]:
    """What a point says that may be meant, and is seldom."""
    if point.scale > 0 and Decimal(1).scaleb(point.scale.adjusted()) != point.scale:
        yield Problem(f"{key}.scale", f"{point.scale} is not a power of ten", "is the device's manual clear about it?")
    if point.unit == "Cel" and point.type != "float32" and point.scale >= 1:
        yield Problem(f"{key}.scale", f"{point.name} counts {point.scale} degrees; most devices send tenths", "0.1?")
    if point.unit in ("%RH", "%") and point.max is None:
        yield Problem(f"{key}.max", f"{point.name} has none", "100")
    guarded = point.sentinels or point.status or point.min is not None or point.max is not None
    if point.unit == "Cel" and not guarded:
        yield Problem(key, f"{point.name} has no sentinels, status, min or max: what a dead probe reads would count",
                      "say what a missing probe reads, or what can be measured")


def try_vector(key: str, vector: Vector, points: Iterable[Point]) -> Iterator[Problem]:
    """What the profile's points, at their places on the wire, read otherwise than the vector says."""
    try:
        address, block = parse_request(vector.request)
    except SensorError as error:
        yield Problem(f"{key}.request", error.detail, "is it typed as the document has it?")
        return
    outcome = answer_outcome(address, block, vector.reply)
    if isinstance(outcome, str) or isinstance(vector.expect, str):
        if outcome != vector.expect:
            yield Problem(f"{key}.reply", f"is {outcome if isinstance(outcome, str) else 'a good answer'}, "
                          f"not {vector.expect if isinstance(vector.expect, str) else 'a good answer'}",
                          _reply_hint(vector.reply))
        return
    values = {(block.function, block.first + at): raw for at, raw in enumerate(outcome)}
    inside = [point for point in points if all((point.function, place) in values for place in point.places())]
    read = {point.name: _outcome(point, values) for point in inside}
    for name, expected in vector.expect.items():
        if name not in read:
            yield Problem(f"{key}.expect", f"{name} is not in this answer", f"it holds {', '.join(read) or 'no point'}")
        elif read[name] != expected or isinstance(read[name], bool) != isinstance(expected, bool):
            yield Problem(f"{key}.expect", f"{name} reads {read[name]}, not {expected}",
                          "register, type, scale or the vector itself")
    if extra := [f"{name} = {value}" for name, value in read.items() if name not in vector.expect]:
        yield Problem(f"{key}.expect", f"the answer also has {', '.join(extra)}", "add that")


def answer_outcome(address: int, block: Block, reply: bytes) -> tuple[int, ...] | str:
    """The values in a reply, or the reason why it has none."""
    try:
        return find_answer(address, block, reply) or "bad_frame"
    except SensorError as error:
        return error.reason


def _outcome(point: Point, values: dict[tuple[int, int], int]) -> Outcome:
    reading = decode_point(point, values, "vector", 0.0)
    return reading.quality.removeprefix("bad:") if reading.value is None else reading.value


def _reply_hint(reply: bytes) -> str:
    right = crc(reply[:-2])
    if len(reply) > 3 and right != reply[-2:]:
        return f"its CRC would be {right.hex(' ').upper()}, if the other bytes are right"
    return "is it the answer to this request?"
