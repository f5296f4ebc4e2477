"""From one picture of a full shelf to its slots."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sim.shelves import ShelfSlot, shelf_of
from edge.vision.detector import Detections
from edge.vision.observe import Region
from edge.vision.propose import Proposal, facings_of, propose, rows_of, usual
from tests.edge.vision.goods import Goods, packs, render


def found(boxes: np.ndarray) -> Detections:
    return Goods(boxes).detect(np.zeros((720, 960, 3), np.uint8))


def proposed(slots: tuple[ShelfSlot, ...], without: tuple[int, ...] = ()) -> tuple[Proposal, ...]:
    boxes = np.delete(np.concatenate(list(packs(slots).values())), without, 0)
    return propose(render(slots, {slot.name: slot.capacity for slot in slots}), found(boxes))


@pytest.mark.parametrize("seed", range(8))
def test_every_product_becomes_a_slot_with_its_facings(seed: int) -> None:
    slots = shelf_of(seed)
    proposals = proposed(slots)
    assert [proposal.facings for proposal in proposals] == [slot.facings for slot in slots]
    assert [proposal.region.slot for proposal in proposals] == [slot.name for slot in slots]
    for proposal, slot in zip(proposals, slots, strict=True):
        assert abs((proposal.region.x0 + proposal.region.x1) - (slot.region[0] + slot.region[2])) < 0.06


def test_a_pack_that_was_missed_is_counted_by_the_room_it_leaves() -> None:
    slots = next(shelf for shelf in map(shelf_of, range(99)) if shelf[0].facings >= 5)
    assert proposed(slots, without=(2,))[0].facings == slots[0].facings


def test_a_box_within_another_and_one_of_no_usual_size_are_left_out() -> None:
    good = np.array([[x, 100, x + 40, 180] for x in range(0, 400, 50)], np.float64)
    bad = np.array([[5, 110, 30, 170], [0, 0, 900, 700]], np.float64)
    kept = usual(np.concatenate((good, bad)), np.array([0.9] * 8 + [0.4, 0.3]))
    np.testing.assert_array_equal(kept, good)


def test_a_tilted_shelf_keeps_its_rows() -> None:
    rows = [[[x, y + x * 0.06, x + 40, y + 80 + x * 0.06] for x in range(0, 800, 50)] for y in (100, 260, 420)]
    boxes = np.random.default_rng(1).permutation(np.concatenate([np.array(row) for row in rows]))
    assert [len(row) for row in rows_of(boxes)] == [16, 16, 16]


def shared(a: Region, b: Region) -> float:
    """The part of the smaller region that lies in the other."""
    wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(0.0, wide) * max(0.0, high) / min((each.x1 - each.x0) * (each.y1 - each.y0) for each in (a, b))


def test_of_two_slots_in_one_place_the_fuller_is_proposed() -> None:
    """On a tilted shelf an upright region reaches over two rows: a profile with both slots would be refused."""
    full, short = ([[x, y + x * 0.2, x + 40, y + 80 + x * 0.2] for x in range(0, 800, step)]
                   for y, step in ((100, 50), (210, 100)))
    proposals = propose(np.zeros((720, 960, 3), np.uint8), found(np.array(full + short, np.float32)))
    assert max(len(proposal.boxes) for proposal in proposals) == 15
    assert all(shared(a.region, b.region) <= 0.5 for a, b in combinations(proposals, 2))


def test_nothing_found_proposes_nothing() -> None:
    assert propose(np.zeros((100, 100, 3), np.uint8), found(np.zeros((0, 4), np.float32))) == ()


@given(st.lists(st.tuples(st.floats(0, 900), st.floats(0, 600), st.floats(4, 90), st.floats(4, 90)), max_size=30))
def test_whatever_was_found_regions_lie_in_the_picture(boxes: list[tuple[float, float, float, float]]) -> None:
    array = np.array([(x, y, min(x + w, 960), min(y + h, 720)) for x, y, w, h in boxes], np.float32).reshape(-1, 4)
    for proposal in propose(np.zeros((720, 960, 3), np.uint8), found(array)):
        assert proposal.facings >= len(proposal.boxes) >= 1
        assert 0 <= proposal.region.x0 < proposal.region.x1 <= 1


def test_facings_of_a_regular_row_are_its_packs() -> None:
    row = np.array([[x, 0, x + 40, 80] for x in (0, 50, 100, 200, 250)], np.float64)
    assert facings_of(row) == 6
