"""The registry: which stores there are, where they are, and which devices speak for them."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from cloud_ingest.grid import cells_of
from cloud_ingest.hours import Schedule, check
from cloud_ingest.store.protocol import Shop
from edge.errors import ConfigError, Problem
from edge.wire import Device


class StoreEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[stores]]` entry: degrees north and east (WGS 84), an IANA time zone, opening hours as in OpenStreetMap.

    `since` (a date, or a time with its zone) makes a changed place a move: the past stays where it was.
    """

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]
    devices: list[Device]
    name: str = ""
    tz: str = "UTC"
    hours: str = ""
    since: str | None = None


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    stores: list[StoreEntry]


def to_shop(entry: StoreEntry) -> Shop:
    """The entry with its cells: resolution 9 from the place, every coarser one by parent."""
    check(Schedule(entry.hours, entry.tz), f"store {entry.id}")
    return Shop(entry.id, entry.name or entry.id, entry.lat, entry.lon, entry.tz, tuple(entry.devices),
                cells_of(entry.lat, entry.lon), entry.hours, _since(entry))


def _since(entry: StoreEntry) -> int | None:
    """Unix seconds of the entry's move; UTC where it names no zone."""
    if entry.since is None:
        return None
    try:
        at = datetime.fromisoformat(entry.since)
    except ValueError as error:
        raise ConfigError(f"store {entry.id}", (Problem("since", f"{entry.since!r} is no date or time",
                                                        "2026-03-02, or 2026-03-02T08:00+01:00"),)) from error
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def load_registry(path: Path) -> list[Shop]:
    """The stores in a TOML file; ConfigError naming the key where one cannot be used."""
    try:
        entries = msgspec.convert(_plain(tomllib.loads(path.read_text(encoding="utf-8"))), _File).stores
    except OSError as error:
        raise ConfigError(str(path), (Problem("file", error.strerror or "cannot be read"),)) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), (Problem("file", f"is not TOML: {error}"),)) from error
    except msgspec.ValidationError as error:
        wrong, _, key = str(error).partition(" - at ")
        raise ConfigError(str(path), (Problem(key.strip("`$.") or "stores", wrong),)) from error
    return [to_shop(entry) for entry in entries]


def _plain(value: Any) -> Any:
    """The same with TOML's dates and times as text."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value.isoformat() if isinstance(value, date) else value
