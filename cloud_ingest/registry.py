"""The registry: which stores there are, where they are, and which devices speak for them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct

from cloud_ingest.grid import cells_of
from cloud_ingest.store.protocol import Shop
from edge.errors import ConfigError, Problem
from edge.wire import Device


class StoreEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[stores]]` entry: degrees north and east (WGS 84), and an IANA time zone."""

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]
    devices: list[Device]
    name: str = ""
    tz: str = "UTC"


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    stores: list[StoreEntry]


def to_shop(entry: StoreEntry) -> Shop:
    """The entry with its cells: resolution 9 from the place, every coarser one by parent."""
    try:
        ZoneInfo(entry.tz)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(f"store {entry.id}", (Problem("tz", f"{entry.tz!r} is no time zone",
                                                        "an IANA name, like Europe/Berlin"),)) from error
    return Shop(entry.id, entry.name or entry.id, entry.lat, entry.lon, entry.tz, tuple(entry.devices),
                cells_of(entry.lat, entry.lon))


def load_registry(path: Path) -> list[Shop]:
    """The stores in a TOML file; ConfigError naming the key where one cannot be used."""
    try:
        entries = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).stores
    except OSError as error:
        raise ConfigError(str(path), (Problem("file", error.strerror or "cannot be read"),)) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(path), (Problem("file", f"is not TOML: {error}"),)) from error
    except msgspec.ValidationError as error:
        wrong, _, key = str(error).partition(" - at ")
        raise ConfigError(str(path), (Problem(key.strip("`$.") or "stores", wrong),)) from error
    return [to_shop(entry) for entry in entries]
