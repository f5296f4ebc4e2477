"""Frames one after another: a level for each slot or a reason, and inference only where something changed."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import cv2
import numpy as np
import pytest

from edge.readings import Reading
from edge.sim.scene import Bump, Scene, bumped
from edge.sim.shelves import shelf_of
from edge.vision.eye import ShelfEye, Verdict
from edge.vision.fullshelf import FullShelf
from edge.vision.slots import Fill
from edge.vision.watch import readings_of
from tests.edge.shelves import Score, stands_of, watch
from tests.edge.vision.goods import Blind, Goods, packs, render

SHELF = shelf_of(31)
FULL = {slot.name: slot.capacity for slot in SHELF}
STANDS = stands_of(SHELF)


def eye() -> tuple[ShelfEye, Goods]:
    """An eye that was commissioned by a detector which finds nothing from then on."""
    detector = Goods(np.concatenate(list(packs(SHELF).values())))
    full = FullShelf(render(SHELF, FULL, seed=99), STANDS, detector)
    detector.goods, detector.asked = np.zeros((0, 4), np.float32), 0
    return ShelfEye(STANDS, detector, full), detector


def test_a_still_shelf_costs_one_inference() -> None:
    (watching, detector), scene = eye(), Scene(SHELF, 1, untidy=True)
    verdicts = [watching.judge(scene.render(FULL, 60.0 * n)) for n in range(6)]
    assert [verdict.reason for verdict in verdicts] == [""] * 6
    assert {fill.slot: fill.units for fill in verdicts[-1].fills} == {
        slot.name: slot.facings * slot.depth for slot in SHELF}
    assert (detector.asked, watching.inferences) == (1, 1)
    sold = {**FULL, "A1": 0}
    assert watching.judge(scene.render(sold, 400.0)).fills[0].out_of_stock
    assert detector.asked == 2


@pytest.mark.parametrize(("body", "arm"), [(0.4, None), (None, "A1")])
def test_somebody_in_front_gives_no_level(body: float | None, arm: str | None) -> None:
    (watching, _), scene = eye(), Scene(SHELF, 1, untidy=True)
    for n in range(3):
        watching.judge(scene.render(FULL, float(n)))
    verdict = watching.judge(scene.render(FULL, 3.0, arm=arm, body=body))
    assert (verdict.reason, verdict.fills) == ("blocked", ())
    assert not watching.judge(scene.render(FULL, 4.0)).reason


def test_somebody_who_stands_there_from_the_first_frame_on_gives_no_level() -> None:
    (watching, _), scene = eye(), Scene(SHELF, 1, untidy=True)
    verdicts = [watching.judge(scene.render(FULL, float(n), body=0.4, light=0.5)) for n in range(8)]
    assert [verdict.reason for verdict in verdicts] == ["blocked"] * 8
    assert not watching.judge(scene.render(FULL, 9.0, light=0.5)).reason


def test_a_pushed_camera_goes_on_and_says_how_far() -> None:
    (watching, _), scene = eye(), Scene(SHELF, 1, untidy=True)
    for n in range(3):
        watching.judge(scene.render(FULL, float(n)))
    sold = {**FULL, "A1": 0}
    last = [watching.judge(bumped(scene.render(sold, 10.0 + n), Bump(0.04, 0.01))) for n in range(8)][-1]
    assert last.moved == pytest.approx(0.041, abs=0.01)
    assert {fill.slot: fill.units for fill in last.fills}["A1"] == 0
    assert sum(fill.units for fill in last.fills) == sum(
        slot.facings * slot.depth for slot in SHELF if slot.name != "A1")


def test_somebody_in_front_of_a_pushed_camera_gives_no_level_either() -> None:
    (watching, _), scene, bump = eye(), Scene(SHELF, 1, untidy=True), Bump(-0.04, -0.04, 0.5)
    for n in range(3):
        watching.judge(bumped(scene.render(FULL, float(n), light=0.5), bump))
    for n, arm in enumerate(FULL):
        verdict = watching.judge(bumped(scene.render(FULL, 3.0 + n, arm=arm, light=0.5), bump))
        assert verdict.reason == "blocked", arm
    assert not watching.judge(bumped(scene.render(FULL, 20.0, light=0.5), bump)).reason


def test_a_camera_turned_away_is_misaligned_and_a_dark_one_dark() -> None:
    (watching, _), scene = eye(), Scene(SHELF, 1, untidy=True)
    for n in range(3):
        watching.judge(scene.render(FULL, float(n)))
    assert watching.judge(bumped(scene.render(FULL, 3.0), Bump(right=0.5))).reason == "misaligned"
    assert watching.judge(np.zeros((720, 960, 3), np.uint8)).reason == "dark"
    assert watching.judge(np.full((720, 960, 3), 90, np.uint8)).reason == "covered"
    assert not watching.judge(scene.render(FULL, 4.0)).reason


def test_a_lens_that_is_out_of_focus_or_half_covered_gives_no_level() -> None:
    (watching, _), scene = eye(), Scene(SHELF, 1, untidy=True)
    for n in range(3):
        watching.judge(scene.render(FULL, float(n)))
    blurred = np.asarray(cv2.GaussianBlur(scene.render(FULL, 3.0), (0, 0), 4), np.uint8)
    assert watching.judge(blurred).reason == "defocused"
    half = scene.render(FULL, 4.0)
    half[:, :480] = 80
    assert watching.judge(half).reason in {"covered", "blocked", "misaligned"}
    assert not watching.judge(scene.render(FULL, 5.0)).reason


def test_a_board_that_is_sold_out_in_half_the_light_is_not_a_covered_lens() -> None:
    shelf = shelf_of(301)
    full = {slot.name: slot.capacity for slot in shelf}
    stands = stands_of(shelf)
    watching = ShelfEye(stands, Blind(), FullShelf(render(shelf, full, seed=99), stands, Blind()))
    scene = Scene(shelf, 1, untidy=True)
    verdicts = [watching.judge(scene.render({**full, "A1": 0}, float(n), light=0.5)) for n in range(3)]
    assert [verdict.reason for verdict in verdicts] == [""] * 3
    assert verdicts[-1].fills[0].out_of_stock


def test_a_picture_that_does_not_change_any_more_is_frozen() -> None:
    (watching, _), frame = eye(), Scene(SHELF, 1, untidy=True).render(FULL, 0.0)
    reasons = [watching.judge(frame, 10.0 * n).reason for n in range(8)]
    assert reasons == [""] * 6 + ["frozen"] * 2


def test_a_verdict_becomes_readings_each_with_its_deviation_or_its_reason() -> None:
    fills = (Fill("A1", 3, 6, 0.5, 0.1, 0.99), Fill("A2", 0, 0, 0.0, 0.0, 0.5, "other_goods"))
    assert readings_of("cam-1", Verdict(fills, moved=0.01234), ("A1", "A2"), 5.0) == (
        Reading("cam-1", "moved", 5.0, Decimal("0.012"), "/"),
        Reading("cam-1", "facings/A1", 5.0, Decimal(3), "count", sd=0.1),
        Reading("cam-1", "facings/A2", 5.0, None, "count", "bad:other_goods"))
    assert readings_of("cam-1", Verdict(reason="misaligned"), ("A1",), 5.0) == (
        Reading("cam-1", "facings/A1", 5.0, None, "count", "bad:misaligned"),)


@pytest.mark.parametrize("hard", [False, True])
def test_levels_of_a_shelf_that_nobody_trained_on_are_right(hard: bool) -> None:
    """Two of the twenty shelves of `tests/bench/test_shelves.py`, by the shelf's own picture alone."""
    score = Score()
    for seed in (301, 302):
        watch(seed, Blind(), hard, 4, score)
    assert score.hits >= 7
    assert score.precision >= 0.97
    assert score.recall >= 0.97
    assert score.error <= 0.05


@pytest.mark.parametrize(("change", "reason"), [
    (lambda image: image[..., 0], "undecodable"), (lambda image: np.dstack((image, image[..., 0])), "undecodable"),
    (lambda image: np.full(image.shape, np.nan), "undecodable"), (lambda image: image[:0], "undecodable"),
    (lambda image: image[:1, :1], "undecodable"), (lambda image: image[:, :30], "undecodable"),
    (np.rot90, "misaligned"), (lambda image: cv2.resize(image, (1280, 720)), "misaligned"),
    (lambda image: image[::-1, ::-1], "misaligned"), (lambda image: cv2.resize(image, (480, 360)), ""),
    (lambda image: cv2.resize(image, (1920, 1440)), ""),
], ids=["grey", "four channels", "NaN", "nothing", "1x1", "strip", "portrait", "16:9", "turned over", "half", "double"])
def test_a_frame_of_another_kind_gives_no_level_and_its_reason_and_the_next_is_judged_again(
    change: Callable[[np.ndarray], np.ndarray], reason: str
) -> None:
    (watching, _), scene = eye(), Scene(SHELF, 1, untidy=True)
    for n in range(3):
        watching.judge(scene.render(FULL, float(n)))
    assert watching.judge(change(scene.render(FULL, 3.0))).reason == reason
    assert not watching.judge(scene.render(FULL, 4.0)).reason


def test_without_a_picture_of_the_full_shelf_what_is_no_picture_is_told_too() -> None:
    watching = ShelfEye(STANDS, Blind())
    assert watching.judge(np.zeros((0, 0, 3), np.uint8)).reason == "undecodable"
