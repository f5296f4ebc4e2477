"""Scenes are a pure function of their seed, and their boxes lie on what they name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.vision.training import fixtures
from edge.vision.training.bank import Bank, recoloured, sized
from edge.vision.training.canvas import GAP, PRODUCT, Canvas
from edge.vision.training.facings import Row, choose_style
from edge.vision.training.fixtures import fill_row
from edge.vision.training.fronts import fence, raised
from edge.vision.training.lens import photograph
from edge.vision.training.packs import SHAPES, draw_pack, tag
from edge.vision.training.render import Scene, clip, render_empty, render_shelf
from edge.vision.training.scenes import crop, scene

BANK = Bank(1)


def _scene(seed: int, side: int = 400, pitch: float = 80) -> Scene:
    return render_shelf(np.random.default_rng(seed), BANK, side, pitch)


@pytest.mark.parametrize("seed", range(8))
def test_boxes_lie_inside_the_picture(seed: int) -> None:
    made = _scene(seed)
    assert made.image.shape == (400, 400, 3)
    assert made.image.dtype == np.uint8
    assert (made.boxes >= 0).all()
    assert (made.boxes <= 400).all()
    assert (made.boxes[:, 2:] - made.boxes[:, :2] > 3).all()
    assert len(made.classes) == len(made.boxes)
    assert set(made.classes.tolist()) <= {PRODUCT, GAP}


def test_most_shelves_hold_goods_and_many_have_gaps() -> None:
    made = [_scene(seed, 300).classes for seed in range(40)]
    assert sum((classes == PRODUCT).sum() > 3 for classes in made) > 30
    assert 10 < sum((classes == GAP).any() for classes in made) < 40


def test_the_same_seed_renders_the_same_scene() -> None:
    first, second = _scene(5), render_shelf(np.random.default_rng(5), Bank(1), 400, 80)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    assert (_scene(6).image != first.image).any()
    assert (render_shelf(np.random.default_rng(5), Bank(2), 400, 80).image != first.image).any()


def test_goods_have_print_and_gaps_are_barer() -> None:
    goods: list[float] = []
    gaps: list[float] = []
    for seed in range(12):
        made = _scene(seed, 500, 120)
        for (x0, y0, x1, y1), kind in zip(made.boxes.astype(int).tolist(), made.classes, strict=True):
            edges = cv2.Laplacian(made.image[y0:y1, x0:x1], cv2.CV_32F)
            (goods if kind == PRODUCT else gaps).append(float(np.abs(edges).mean()))
    assert np.median(goods) > 2 * np.median(gaps)


def test_a_place_without_goods_has_no_boxes() -> None:
    assert render_empty(np.random.default_rng(0), BANK, 300, 80).boxes.shape == (0, 4)


def test_clip_cuts_and_drops() -> None:
    boxes = np.array(((-10, 10, 30, 50), (90, 10, 190, 50), (50, 50, 52, 90)), np.float32)
    inside, kept = clip(boxes, 100, 100, keep=0.4)
    assert kept.tolist() == [True, False, False]
    assert inside[0].tolist() == [0, 10, 30, 50]


def test_what_is_covered_is_forgotten() -> None:
    canvas = Canvas(np.zeros((100, 100, 3), np.uint8), boxes=[(0, 0, 10, 10), (50, 50, 60, 60)], gaps=[(0, 0, 20, 9)])
    canvas.hide(0, 0, 15, 15)
    assert canvas.boxes == [(50, 50, 60, 60)]
    assert canvas.gaps == []


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_fills_its_box(name: str) -> None:
    pack = draw_pack(np.random.default_rng(1), name, 80, 40)
    assert pack.shape == (80, 40, 4)
    rows, columns = np.nonzero(pack[..., 3] > 100)
    assert rows.min() <= 1
    assert rows.max() >= 78
    assert columns.min() <= 1
    assert columns.max() >= 38


def test_packs_are_cut_from_photos_where_a_folder_has_them(tmp_path: Path) -> None:
    for folder, name in (("cutouts", "a.webp"), ("packages", "b.jpg")):
        (tmp_path / folder).mkdir()
        picture = np.full((60, 40, 4 if folder == "cutouts" else 3), 77, np.uint8)
        cv2.imwrite(str(tmp_path / folder / name), picture, [cv2.IMWRITE_WEBP_QUALITY, 101])
    bank, rng = Bank(3, tmp_path), np.random.default_rng(0)
    packs = [bank.pick(rng, "can") for _ in range(60)]
    flat = sum(bool((pack[..., :3] == 77).all()) for pack in packs)
    assert 8 < flat < 35
    assert all(pack.shape[2] == 4 for pack in packs)


def test_varieties_keep_the_outline() -> None:
    pack = draw_pack(np.random.default_rng(1), "soda", 90, 30)
    other = recoloured(np.random.default_rng(0), pack)
    assert (other[..., :3] != pack[..., :3]).any()
    np.testing.assert_array_equal(other[..., 3], pack[..., 3])
    assert sized(pack, 45, 15).bgr.shape == (45, 15, 3)


def test_a_crop_moves_its_boxes_along() -> None:
    image = np.zeros((600, 600, 3), np.uint8)
    image[200:400, 250:350] = 255
    whole = Scene(image, np.array(((250, 200, 350, 400),), np.float32), np.array((GAP,)))
    for seed in range(6):
        part = crop(np.random.default_rng(seed), whole, 1.0, 416)
        assert part.image.shape == (416, 416, 3)
        for x0, y0, x1, y1 in part.boxes.round().astype(int).tolist():
            inside = part.image[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4].mean()
            assert inside > part.image.mean() + 20
            assert part.classes.tolist() == [GAP]


def test_scenes_come_at_the_scale_of_photos() -> None:
    heights = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        whole, scale = scene(rng, BANK)
        part = crop(rng, whole, scale)
        goods = part.boxes[part.classes == PRODUCT]
        heights += (goods[:, 3] - goods[:, 1]).tolist()
    assert 15 < np.median(heights) < 80


def test_the_camera_keeps_size_and_type() -> None:
    for seed in range(8):
        shot = photograph(np.random.default_rng(seed), np.full((40, 60, 3), 128, np.uint8))
        assert shot.shape == (40, 60, 3)
        assert shot.dtype == np.uint8


def test_a_tray_hides_the_feet_of_what_stands_in_it() -> None:
    canvas = Canvas(
        np.zeros((100, 100, 3), np.uint8), boxes=[(0, 10, 20, 61), (30, 10, 50, 30), (80, 10, 99, 60), (25, 40, 45, 53)]
    )
    canvas.trim(0, 50, 60, 60)
    assert canvas.boxes == [(0, 10, 20, 50), (30, 10, 50, 30), (80, 10, 99, 60), (25, 40, 45, 50)]


def test_a_rail_that_stands_up_hides_feet_and_what_is_lower() -> None:
    canvas = Canvas(np.zeros((100, 100, 3), np.uint8))
    canvas.boxes = [(10, 20, 30, 60), (40, 48, 50, 60), (60, 0, 80, 30)]
    raised(canvas, (0, 100), 50, 60)
    assert canvas.boxes == [(10, 20, 30, 50), (60, 0, 80, 30)]
    raised(canvas, (0, 100), 60, 60)
    assert len(canvas.boxes) == 2


@pytest.mark.parametrize("seed", range(6))
def test_a_fence_crosses_the_goods_and_leaves_them_whole(seed: int) -> None:
    canvas = Canvas(np.full((100, 100, 3), 40, np.uint8))
    canvas.boxes = [(10, 20, 30, 80)]
    fence(np.random.default_rng(seed), canvas, (-20, 130), 80, 70)
    assert canvas.boxes == [(10, 20, 30, 80)]
    changed = np.flatnonzero((canvas.image != 40).any((1, 2)))
    assert len(changed)
    assert 80 - 0.4 * 70 - 2 <= changed.min() <= changed.max() <= 82


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("size", [(60, 30), (30, 30), (8, 6)])
def test_a_price_label_is_paper_with_something_on_it(size: tuple[int, int], seed: int) -> None:
    image, (w, h) = np.zeros((120, 200, 3), np.uint8), size
    tag(np.random.default_rng(seed), image, (80, 50), size, (240, 250, 245))
    label = image[50 : 51 + h, 80 : 81 + w]
    assert 0.3 < (label == (240, 250, 245)).all(-1).mean() < 1
    # A bold figure's outline may stand out a little.
    image[48 : 53 + h, 78 : 83 + w] = 0
    assert not image.any()


def _row_of_boxes(seed: int, sides: float, towards: float) -> Canvas:
    plain = replace(
        choose_style(np.random.default_rng(0)), kind="shelf", shapes=("box",), missing=0.0, empty=0.0, deep=0.0
    )
    canvas = Canvas(np.zeros((100, 400, 3), np.uint8))
    fill_row(np.random.default_rng(seed), canvas, Row(0, 400, 90, 80, 0.3, towards), replace(plain, sides=sides), BANK)
    return canvas


def _beside(sides: float, towards: float) -> tuple[int, int]:
    """Columns where something is drawn and no facing is: left of a row's first, right of the last."""
    before = after = 0
    for seed in range(16):
        canvas = _row_of_boxes(seed, sides, towards)
        drawn = canvas.image[60:85].max((0, 2)) > 0
        before += int(drawn[: int(min(box[0] for box in canvas.boxes))].sum())
        after += int(drawn[int(max(box[2] for box in canvas.boxes)) + 1 :].sum())
    return before, after


def test_rows_of_boxes_may_end_in_the_side_that_depth_runs_to() -> None:
    assert max(_beside(0.0, 600.0)) < 60
    left, right = _beside(1.0, 600.0)
    assert right > 60 > left
    left, right = _beside(1.0, -200.0)
    assert left > 60 > right


@pytest.mark.parametrize("hidden", [0.0, 0.25])
def test_no_label_reaches_into_the_rail_below_it(hidden: float, monkeypatch: pytest.MonkeyPatch) -> None:
    build = fixtures._build
    monkeypatch.setattr(fixtures, "_build", lambda rng, kind: replace(build(rng, kind), hidden=hidden, fenced=True))
    rails = []
    for seed in range(20):
        canvas = Canvas(np.zeros((400, 400, 3), np.uint8))
        fixtures.unit(np.random.default_rng(seed), canvas, 0, 400, 90, BANK)
        rails += canvas.rails
        for x0, y0, x1, y1 in canvas.boxes:
            for left, right, top, thick in canvas.rails:
                if left <= (x0 + x1) / 2 <= right and y0 < top < y1 <= top + thick:
                    assert y1 - top <= 2
    assert len(rails) > 40
