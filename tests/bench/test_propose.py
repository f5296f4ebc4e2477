"""How many slots `planogram propose` finds, with their facings, on pictures of virtual shelves nobody trained on."""

from __future__ import annotations

import pytest

from edge.sim.scene import Scene
from edge.sim.shelves import ShelfSlot, shelf_of
from edge.vision.onnx import OnnxDetector
from edge.vision.propose import Proposal, propose
from edge.vision.tiles import look
from tests.edge.shelves import sent

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]
SEEDS = range(200, 220)


def is_it(proposal: Proposal, slot: ShelfSlot) -> bool:
    """Whether the proposal stands in the middle of the slot and has its facings."""
    x0, y0, x1, y1 = slot.region
    region = proposal.region
    return (abs(region.x0 + region.x1 - x0 - x1) < 0.1 and y0 < (region.y0 + region.y1) / 2 < y1
            and proposal.facings == slot.facings)


def test_proposals() -> None:
    detector, right, slots, proposed = OnnxDetector.load(), 0, 0, 0
    for seed in SEEDS:
        shelf = shelf_of(seed)
        picture = sent(Scene(shelf, seed + 1000, untidy=True).render({slot.name: slot.capacity for slot in shelf}, 0.0))
        proposals = propose(picture, look(detector, picture))
        right += sum(any(is_it(proposal, slot) for proposal in proposals) for slot in shelf)
        slots, proposed = slots + len(shelf), proposed + len(proposals)
    print(f"\nplanogram propose, {len(SEEDS)} shelves: {right} of {slots} slots with their facings, "
          f"{proposed} slots proposed")
    assert right > slots / 2
