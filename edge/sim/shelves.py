"""Virtual shelves at random, one for each seed: what a camera is judged on that no training has seen."""

from __future__ import annotations

import random
from dataclasses import dataclass

WORDS = ("Oat", "Cola", "Soup", "Corn", "Spread", "Rice", "Tea", "Mint", "Lemon", "Cocoa", "Bean", "Plum")

MARGIN = 0.06
"""What a fitter leaves around the goods, as a share of the picture: a camera that is pushed still sees them all."""


@dataclass(frozen=True, slots=True)
class ShelfSlot:
    """A slot as the scene draws it and the planogram knows it; the region as shares of the picture."""

    name: str
    sku: str
    product: str
    capacity: int
    depth: int
    region: tuple[float, float, float, float]

    @property
    def facings(self) -> int:
        """Places in the front row."""
        return -(-self.capacity // self.depth)


def shelf_of(seed: int) -> tuple[ShelfSlot, ...]:
    """Two to four boards, one to three products on each, three to eight facings a product."""
    rng = random.Random(f"shelf/{seed}")
    boards = rng.randint(2, 4)
    height = (1 - 2 * MARGIN) / boards
    slots: list[ShelfSlot] = []
    for board in range(boards):
        top = MARGIN + board * height
        across = rng.randint(1, 3)
        width = (1 - 2 * MARGIN) / across
        for place in range(across):
            left = MARGIN + place * width
            facings = rng.randint(3, {1: 12, 2: 7, 3: 5}[across])
            depth = rng.choice((1, 1, 1, 2))
            name = f"{'ABCD'[board]}{place + 1}"
            slots.append(ShelfSlot(name, f"sku-{seed}-{name}", " ".join(rng.sample(WORDS, 2)), facings * depth, depth,
                                   (left + 0.005, top + 0.01, left + width - 0.005, top + height - 0.02)))
    return tuple(slots)
