"""A town of many shops in one region, filled through the store as its devices would."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import h3

from cloud_ingest.grid import cells_of
from cloud_ingest.store.protocol import Arrival, Shop
from cloud_ingest.store.sqlite import SqliteStore
from edge import wire
from edge.wire import FLOW_UNITS, Fact

REGION = cells_of(52.52, 13.405)[4]
MIDNIGHT = 1_772_409_600  # 2026-03-02 00:00 UTC
DAY = 86_400
Given = tuple[str, str, int, Mapping[str, float]]
"""Shop, SKU, start of the window (Unix seconds), flows."""


def quarters(sevens: int, shops: Sequence[int]) -> list[str]:
    """A resolution 9 cell for each shop, `shops[i]` of them in the i-th of `sevens` cells of resolution 7."""
    coarse = sorted(h3.cell_to_children(REGION, 7))[:sevens]
    return [h3.cell_to_center_child(coarse[i], 9) for i, count in enumerate(shops) for _ in range(count)]


class Town:
    """A database whose shops `s0`, `s1`, ... stand in the middle of the given cells."""

    def __init__(self, path: Path, cells: Sequence[str], tz: str = "UTC", hours: str = "") -> None:
        self.path, self.store = path, SqliteStore(path)
        self._next: dict[str, int] = {}
        for i, cell in enumerate(cells):
            self.add(f"s{i}", cell, tz, hours)

    def add(self, name: str, cell: str, tz: str = "UTC", hours: str = "", since: int | None = None) -> None:
        """Register a shop, or move it."""
        lat, lon = h3.cell_to_latlng(cell)
        self.store.add_shop(Shop(name, name, lat, lon, tz, (f"{name}-box",), cells_of(lat, lon), hours, since))

    def send(self, given: Iterable[Given], now: float = MIDNIGHT + 40 * DAY) -> None:
        """One batch per shop with all its facts, in one transaction."""
        facts: dict[str, list[Fact]] = {}
        for shop, sku, start, flows in given:
            facts.setdefault(f"{shop}-box", []).extend(
                Fact(f"slot/s1/{name}", float(start), FLOW_UNITS[name], float(value), "ok", sku)
                for name, value in flows.items())
        arrivals = []
        for device, told in facts.items():
            for begin in range(0, len(told), 1000):
                part = told[begin:begin + 1000]
                first = self._next.get(device, 1)
                self._next[device] = first + len(part)
                payload = wire.encode_batch(device, part, st=device.encode().hex()[:32].ljust(32, "0"), seq=first,
                                            lo=1, boot=1)
                arrivals.append(Arrival(device, wire.up(device, "data"), wire.decode_batch(device, payload)))
        self.store.commit(arrivals, [], now)
