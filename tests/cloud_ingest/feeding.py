"""A database with facts, written through the store itself."""

from __future__ import annotations

from pathlib import Path

from cloud_ingest.grid import cells_of
from cloud_ingest.store.protocol import Arrival, Shop
from cloud_ingest.store.sqlite import SqliteStore
from edge import wire
from edge.wire import FLOW_UNITS, Fact, State

T0 = 1_772_438_400  # 2026-03-02 08:00 UTC, the start of a window, an hour and a day of UTC shops
NOW = T0 + 86_400.0
COLA, MILK = "4000417025005", "4000417025012"
PLACES = {"a": (52.5163, 13.3777), "b": (52.5166, 13.3780), "c": (52.5400, 13.4200)}
CELL = cells_of(*PLACES["a"])[1]
FAR = cells_of(*PLACES["c"])[1]


def shop(name: str, devices: tuple[str, ...] = ()) -> Shop:
    """Store `a` and `b` share every cell down to resolution 8; `c` is another."""
    lat, lon = PLACES[name]
    return Shop(f"store-{name}", name, lat, lon, "UTC", devices or (f"shop-{name}",), cells_of(lat, lon))


class Cloud:
    """A store, and how its devices would fill it."""

    def __init__(self, path: Path, shops: str = "abc") -> None:
        self.path = path
        self.store = SqliteStore(path)
        self._next: dict[str, int] = {}
        for name in shops:
            self.store.add_shop(shop(name))

    def send(self, device: str, sku: str, start: int, **flows: float) -> None:
        """One batch from `device` with these sums in the window at `start`."""
        facts = [Fact(f"slot/s1/{column}", float(start), FLOW_UNITS[column], value, "ok", sku)
                 for column, value in flows.items()]
        first = self._next.get(device, 1)
        self._next[device] = first + len(facts)
        stream = device.encode().hex().ljust(32, "0")
        payload = wire.encode_batch(device, facts, st=stream, seq=first, lo=1, boot=1)
        batch = wire.decode_batch(device, payload)
        assert not batch.refused
        self.store.commit([Arrival(device, wire.up(device, "data"), batch)], [], NOW)

    def tell_state(self, device: str) -> None:
        """The device's retained state."""
        self.store.note_state(device, State(online=True, boot=1, sensors={"scale-1": "ok"}), NOW)
