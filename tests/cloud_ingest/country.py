"""A database of thousands of shops, written in bulk, with demand that follows the hour and falls from the middle."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import h3

from cloud_ingest.grid import cells_of
from cloud_ingest.store.protocol import Item, Shop
from cloud_ingest.store.registry import put_items, put_shop
from cloud_ingest.store.versions import connect

CATALOGUE = (
    Item("4000417025005", "Cola 0.5 l", "drinks"), Item("4000417025012", "Whole milk 1 l", "dairy"),
    Item("4008400402222", "Chocolate bar 100 g", "sweets"), Item("4311501489703", "Toast bread 500 g", "bread"),
    Item("4001686301265", "Gum bears 200 g", "sweets"), Item("5449000131805", "Water 1.5 l", "drinks"),
)
RESOLUTION = 8


def around(lat: float, lon: float, cells: int) -> list[str]:
    """The `cells` nearest cells of resolution 8."""
    k = math.ceil((math.sqrt(12 * cells - 3) - 3) / 6)
    return [str(cell) for cell in h3.grid_disk(h3.latlng_to_cell(lat, lon, RESOLUTION), k)][:cells]


def country(path: Path, cells: Iterable[str], starts: Iterable[int], skus: int = 1, *, shops: int = 1,
            silent: float = 0.0, seed: int = 7) -> None:
    """Put `shops` shops in the middle of each cell, and facts on the 15-minute windows at `starts` (Unix seconds)."""
    rng = random.Random(seed)
    places = [(f"{cell}-{number}", *h3.cell_to_latlng(cell)) for cell in cells for number in range(shops)]
    with closing(connect(path)) as db, db:
        db.execute("BEGIN")  # one transaction: the file syncs at the end of each
        for name, lat, lon in places:
            put_shop(db, Shop(name, name, lat, lon, "UTC", (f"d-{name}",), cells_of(lat, lon)))
        put_items(db, CATALOGUE[:skus])
        db.executemany("INSERT INTO flow (store, sku, window, sold, in_stock, observed, rev) VALUES (?,?,?,?,?,?,1)",
                       _facts(rng, places, list(starts), skus, silent))
        db.execute("UPDATE meta SET value = value + 1 WHERE key = 'revision'")


def _facts(rng: random.Random, places: list[tuple[str, float, float]], starts: list[int], skus: int,
           silent: float) -> Iterator[tuple[str, str, int, float, float, float]]:
    middle = places[len(places) // 2]
    for name, lat, lon in places:
        busy = 12 * math.exp(-math.hypot(lat - middle[1], (lon - middle[2]) * 0.6) * 3) + 1
        quiet = rng.random() < silent
        for start in [] if quiet else starts:
            rate = busy * (0.4 + 0.6 * math.sin(math.pi * (start % 86_400) / 86_400))
            for item in CATALOGUE[:skus]:
                shelf = rng.choice((0.0, 450.0, 810.0, *[900.0] * 12))
                yield name, item.id, start, float(max(0, round(rng.gauss(rate, rate / 4) * shelf / 900))), shelf, 900.0
