"""What a slot's readings mean."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Plan:
    """One slot of the planogram, and how its readings are read.

    Attributes:
        slot: the planogram's name of the place.
        sku: what stands there.
        source: name of the reading that is looked at, a weight (kg) where there is an `item_weight`, else facings.
        item_weight: one unit, kg.
        tare: what lies on the pan besides, kg.
        depth: units behind each facing, itself included.
        agree: looks in a row that must agree before a level changes.
        put_back_s: what comes back within this time was not sold.
        gap_s: a silence longer than this is time not observed.
        at_once: more units than this gone between two looks is somebody's work on the shelf; None: no limit.
        camera: name of the facings' reading of a slot that a camera sees beside its scale.
    """

    slot: str
    sku: str
    source: str
    item_weight: Decimal | None = None
    tare: Decimal = Decimal(0)
    depth: int = 1
    agree: int = 3
    put_back_s: float = 180.0
    gap_s: float = 300.0
    at_once: int | None = None
    camera: str = ""

    @property
    def grain(self) -> int:
        """Units by which the level moves: a camera alone sees whole facings."""
        return self.depth if self.item_weight is None else 1
