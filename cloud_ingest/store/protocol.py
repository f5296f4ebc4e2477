"""What the service asks of a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from edge.wire import Batch, Birth, Committed, State


@dataclass(frozen=True, slots=True)
class Arrival:
    """One decoded batch, and the device on whose topic it came."""

    device: str
    topic: str
    batch: Batch


@dataclass(frozen=True, slots=True)
class Rejected:
    """A payload, or a record of one, that was not taken, and why."""

    device: str
    topic: str
    reason: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Shop:
    """A store of the registry: its place in degrees (WGS 84), its time zone, and the devices that speak for it."""

    id: str
    name: str
    lat: float
    lon: float
    tz: str
    devices: tuple[str, ...]
    cells: tuple[str, str, str, str, str]


class Store(Protocol):
    """A durable place for facts; every method is one transaction."""

    def commit(self, arrivals: Sequence[Arrival], rejected: Sequence[Rejected], now: float,
               ) -> list[tuple[str, Committed]]:
        """Keep all of it or none; returns the (device, watermark) of every stream that was touched.

        When this returns it is on the disk. `now` is Unix seconds.
        """

    def add_shop(self, shop: Shop) -> None:
        """Put a store and its devices into the registry, or change them."""

    def note_birth(self, device: str, birth: Birth, now: float) -> None:
        """Remember what a device says it is; an unregistered device is not remembered."""

    def note_state(self, device: str, state: State, now: float) -> None:
        """Remember whether a device is online; a last will of an older boot changes nothing."""

    def close(self) -> None:
        """Close the database."""
