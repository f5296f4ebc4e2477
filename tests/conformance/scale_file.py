"""What one scale's protocol must do, as data: `scales/<driver>.toml` beside this file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from edge.sensors import DRIVERS
from edge.sensors.scale import Answer, NoWeight, ScaleProtocol, Stable

FOLDER = Path(__file__).with_name("scales")
SCALES: dict[str, ScaleProtocol] = {name: kind.scale for name, kind in DRIVERS.items() if kind.scale is not None}


@dataclass(frozen=True)
class Vector:
    """One frame and its meaning."""

    title: str
    frame: bytes
    answer: Answer


@dataclass(frozen=True)
class ScaleFile:
    """A driver's settings in a profile, one good exchange, and frames with their meaning.

    `exchange` is a table from what the host sends to what comes back; empty keys are said unasked. `blind` are changes
    (XOR) of one byte that the checksum cannot see, `outside` the places of bytes that it does not cover.
    """

    settings: dict[str, Any]
    exchange: dict[bytes, bytes]
    reply: bytes
    vectors: tuple[Vector, ...]
    blind: frozenset[int]
    outside: frozenset[int]


def load(name: str) -> ScaleFile:
    """The file of one driver; FileNotFoundError where it has none."""
    data = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    exchange = data["exchange"]
    reply = bytes.fromhex(exchange["reply"])
    table = {bytes.fromhex(ask): bytes.fromhex(answer) for ask, answer in exchange.get("greeting", [])}
    table[bytes.fromhex(exchange["request"])] = reply
    checksum = data.get("checksum", {})
    return ScaleFile(data["settings"], table, reply, tuple(_vector(each) for each in data["vectors"]),
                     frozenset(checksum.get("blind", ())), frozenset(checksum.get("outside", ())))


def _vector(data: dict[str, Any]) -> Vector:
    answer: Answer = NoWeight(data["quality"]) if "quality" in data else Stable(
        Decimal(data["weight"]), data.get("unit"), data.get("net"))
    return Vector(data["title"], bytes.fromhex(data["frame"]), answer)
