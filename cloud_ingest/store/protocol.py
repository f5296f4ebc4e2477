"""What the service asks of a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from edge.wire import Batch, Birth, Committed, Identity, State


@dataclass(frozen=True, slots=True)
class Arrival:
    """One decoded batch, and the device on whose topic it came."""

    device: str
    topic: str
    batch: Batch


@dataclass(frozen=True, slots=True)
class Rejected:
    """A payload, or a record of one, that was not taken, and why; `claim` are its sequences, where they are known."""

    device: str
    topic: str
    reason: str
    payload: bytes
    claim: Identity | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """`n` messages or records of a device that were refused for a `kind` of reason; `detail` is the newest."""

    device: str
    kind: str
    n: int
    detail: str


class Told(NamedTuple):
    """A stream's watermark, for its device; `taken` is false where the batch was turned away as a whole."""

    device: str
    committed: Committed
    taken: bool


@dataclass(frozen=True, slots=True)
class Shop:
    """A store of the registry: its place in degrees (WGS 84), its time zone, and the devices that speak for it.

    `hours` are opening hours as `cloud_ingest.hours` reads them. `since` (Unix seconds) makes it a move: what was
    before stays at the place of then. Without it the newest place is corrected, and its past with it.
    """

    id: str
    name: str
    lat: float
    lon: float
    tz: str
    devices: tuple[str, ...]
    cells: tuple[str, str, str, str, str]
    hours: str = ""
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A SKU of the catalogue: one piece of it holds `amount` of `unit` (g, ml or piece).

    `launched` is when it was new (Unix seconds), `most_celsius` the warmest it may be kept, and facts under the
    SKUs in `replaces` count for it.
    """

    id: str
    name: str
    category: str
    amount: float | None = None
    unit: str = "piece"
    launched: int | None = None
    most_celsius: float | None = None
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """Units with a date: `best_before` and `received` in Unix seconds."""

    store: str
    sku: str
    best_before: int
    received: int
    units: float


class Store(Protocol):
    """A durable place for facts; every method is one transaction."""

    def commit(self, arrivals: Sequence[Arrival], rejected: Sequence[Rejected], now: float) -> list[Told]:
        """Keep all of it or none; returns what the device of every stream that was touched must hear.

        A rejected batch with a claim is refused by name: its sequences count as there. When this returns it is on
        the disk. `now` is Unix seconds.
        """

    def note_refusals(self, refusals: Sequence[Refusal], now: float) -> None:
        """Count what was refused unread. `now` is Unix seconds."""

    def refusals(self, since: float) -> list[Refusal]:
        """Of whom anything was refused at `since` (Unix seconds) or later, by kind, and how often so far."""

    def add_shop(self, shop: Shop) -> None:
        """Put a store and its devices into the registry, or change them."""

    def remove_shop(self, store: str, when: int) -> bool:
        """Let a store end at `when` (Unix seconds): its past stays. False where there is none of this id."""

    def put_items(self, items: Sequence[Item]) -> None:
        """Put SKUs into the catalogue, or change them."""

    def put_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Note deliveries whose date is known; one that is noted again is replaced."""

    def note_birth(self, device: str, birth: Birth, now: float) -> None:
        """Remember what a device says it is; an unregistered device is not remembered."""

    def note_state(self, device: str, state: State, now: float) -> bool:
        """Remember how a device is; False where it is unregistered, or the state an older boot's last will."""

    def close(self) -> None:
        """Close the database."""
