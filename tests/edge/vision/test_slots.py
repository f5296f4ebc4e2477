"""Facings, units and doubt of each slot from the shelf's own picture, the goods and the gaps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge.sim.shelves import shelf_of
from edge.vision.align import STILL
from edge.vision.detector import Image
from edge.vision.fullshelf import FullShelf
from edge.vision.observe import Stand
from edge.vision.slots import Fill, Laid, estimate
from tests.edge.shelves import stands_of
from tests.edge.vision.goods import Blind, Goods, packs, render

SHELF = shelf_of(31)
FULL = {slot.name: slot.capacity for slot in SHELF}
STANDS = stands_of(SHELF)
ALL = np.concatenate(list(packs(SHELF).values()))
NONE = np.zeros((0, 4), np.float32)
SEES = Goods(ALL)
SHOWN = FullShelf(render(SHELF, FULL, seed=99), STANDS, SEES)


def judged(frame: Image, goods: np.ndarray = NONE, gaps: np.ndarray = NONE) -> dict[str, Fill]:
    """How full the slots are where the detector finds these goods and gaps in the frame."""
    SEES.goods, SEES.gaps = goods, gaps
    return {fill.slot: fill for fill in SHOWN.fills(frame, STILL, SHOWN.shrunk(frame))}


@pytest.mark.parametrize("light", [1.0, 0.5])
def test_the_shelfs_own_picture_tells_the_facings_where_the_detector_is_blind(light: float) -> None:
    for share in (0.0, 0.4, 1.0):
        levels = {name: round(n * share) for name, n in FULL.items()}
        for slot, fill in zip(SHELF, judged(render(SHELF, levels, light=light)).values(), strict=True):
            assert fill.facings == -(-levels[slot.name] // slot.depth), (share, fill)
            assert fill.units == fill.facings * slot.depth
            assert fill.out_of_stock == (levels[slot.name] == 0)


def test_boxes_alone_do_not_fill_an_empty_slot_but_another_product_there_is_told() -> None:
    found = judged(render(SHELF, dict.fromkeys(FULL, 0)), ALL)
    assert {fill.reason for fill in found.values()} == {"other_goods"}
    assert not any(fill.out_of_stock for fill in found.values())


def test_other_goods_in_a_slot_are_no_level() -> None:
    other = tuple(dataclasses.replace(slot, sku=f"{slot.sku}-new", product="Quite Else") for slot in SHELF)
    strange = [fill.reason for fill in judged(render(other, FULL), ALL).values()]
    assert strange.count("other_goods") >= len(SHELF) - 1


def test_a_gap_lowers_the_chance_of_a_pack_and_goods_raise_it() -> None:
    name = SHELF[0].name
    levels = {**FULL, name: SHELF[0].capacity // 2}
    box, frame = packs(SHELF)[name], render(SHELF, levels)
    gap, none, goods = (judged(frame, *found)[name] for found in ((NONE, box), (), (box,)))
    assert gap.confidence <= none.confidence <= 1
    assert goods.facings == none.facings == gap.facings


def test_without_boxes_at_commissioning_places_are_spread_evenly() -> None:
    bare = FullShelf(render(SHELF, FULL, seed=99), STANDS, Blind())
    for slot in SHELF:
        assert sum(row.facings for look in bare.looks if look.stand.slot == slot.name for row in look.rows) \
            == slot.facings
    frame = render(SHELF, FULL)
    found = {fill.slot: fill for fill in bare.fills(frame, STILL, bare.shrunk(frame))}
    assert sum(abs(found[slot.name].facings - slot.facings) for slot in SHELF) <= 2


def test_what_lies_outside_of_the_frame_is_not_judged() -> None:
    canvas = SHOWN.shrunk(render(SHELF, FULL))
    none = np.zeros((0, 4))
    outside = Laid(canvas, np.zeros(canvas.shape[:2], np.uint8), none, np.zeros(0), none)
    assert {fill.reason for fill in estimate(outside, SHOWN.looks)} == {"out_of_view"}


def test_a_slot_in_two_rows_is_counted_in_both() -> None:
    upper, lower = SHELF[0], next(slot for slot in SHELF if slot.name.startswith("B"))
    same = dataclasses.replace(lower, sku=upper.sku, product=upper.product)
    two = (upper, same)
    whole = stands_of((dataclasses.replace(
        upper, capacity=upper.facings + same.facings, depth=1,
        region=(0.05, upper.region[1], 0.95, same.region[3])),))
    boxes = np.concatenate(list(packs(two).values()))
    stock = {slot.name: slot.capacity for slot in two}
    detector = Goods(boxes)
    full = FullShelf(render(two, stock, seed=99), whole, detector)
    assert len(full.looks[0].rows) == 2
    frame = render(two, {**stock, upper.name: 0})
    detector.goods = NONE
    (fill,) = full.fills(frame, STILL, full.shrunk(frame))
    assert fill.facings == same.facings


@pytest.mark.parametrize("stand", [
    Stand("T", 0.5, 0.5, 0.5005, 0.5005), Stand("T", 0.1, 0.5, 0.9, 0.501, 5), Stand("T", 0.5, 0.1, 0.501, 0.9),
    Stand("T", 0.999, 0.999, 1, 1), Stand("T", 0.1, 0.1, 0.4, 0.4, 1000),
], ids=["dot", "flat", "thin", "corner", "too many"])
def test_a_slot_too_small_to_be_told_has_no_level_and_leaves_the_others_theirs(stand: Stand) -> None:
    shelf = render(SHELF, FULL, seed=99)
    full = FullShelf(shelf, (stand, *STANDS), Goods(ALL))
    frame = render(SHELF, FULL)
    small, *others = full.fills(frame, STILL, full.shrunk(frame))
    assert (small.reason, small.out_of_stock) == ("too_small", False)
    assert [fill.facings for fill in others] == [stand.facings for stand in STANDS]
