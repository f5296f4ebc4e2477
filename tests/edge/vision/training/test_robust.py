"""ImageNet's weights as home, and mixed styles: what moves, how far, and what stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

from edge.vision.training.data import Batch  # noqa: E402  # after the check for the extra
from edge.vision.training.evaluate import draft  # noqa: E402
from edge.vision.training.export import export  # noqa: E402
from edge.vision.training.network import ShelfNet  # noqa: E402
from edge.vision.training.robust import home, homeward, mixed_styles, pull  # noqa: E402
from edge.vision.training.train import Plan, Training  # noqa: E402
from edge.vision.training.weights import load_weights  # noqa: E402

WIDENING, NARROWING = "blocks.6.expand.weight", "blocks.6.project.weight"
DEPTHWISE, FIXED = "blocks.6.depthwise.weight", "blocks.2.expand.weight"


def _strayed() -> ShelfNet:
    """A network whose backbone is ImageNet's, each weight moved by 1."""
    net = ShelfNet()
    net.backbone.load_imagenet()
    net.freeze()
    with torch.no_grad():
        for weight in net.backbone.parameters():
            weight.add_(1)
    return net


def test_pointwise_weights_that_are_trained_are_pulled_home_and_no_others() -> None:
    net = _strayed()
    pull(net.backbone, 0.25)
    away = {name: float((weight.detach() - home()[name]).mean()) for name, weight in net.backbone.named_parameters()}
    for name in (WIDENING, NARROWING):
        assert away[name] == pytest.approx(0.75, abs=1e-4)
    for name in (DEPTHWISE, FIXED, "blocks.6.expand.bias"):
        assert away[name] == pytest.approx(1, abs=1e-4)


def test_a_network_that_goes_back_moves_its_widening_weights_alone() -> None:
    state = _strayed().state_dict()
    moved = homeward(state, 0.2)
    changed = {name for name in state if not torch.equal(moved[name], state[name])}
    assert changed == {name for name in state if name.startswith("backbone") and name.endswith("expand.weight")}
    assert float((moved[f"backbone.{WIDENING}"] - home()[WIDENING]).mean()) == pytest.approx(0.8, abs=1e-5)


def test_training_stays_near_home(tmp_path: Path) -> None:
    images = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    batch = Batch(images, [torch.tensor([[5.0, 5, 40, 50]])] * 2, [torch.tensor([0])] * 2, torch.ones(2, 2).bool())
    away = []
    for strength in (0.0, 20000.0):
        training = Training(Plan(crops=400, batch=2, threads=1, pull=strength))
        for _ in range(10):
            training.step(batch)
        away.append(float((training.net.state_dict()[f"backbone.{WIDENING}"] - home()[WIDENING]).norm()))
    assert 0 < away[1] < 0.8 * away[0]
    training.save(tmp_path / "run.pt")
    export(tmp_path / "run.pt", tmp_path / "back.onnx", back=1.0)
    # Kept in half precision.
    assert torch.allclose(load_weights(tmp_path / "back.npz")[f"backbone.{WIDENING}"], home()[WIDENING], atol=2e-3)


def test_going_back_is_told_on_the_card(tmp_path: Path) -> None:
    training = Training(Plan(crops=16, batch=2, threads=1))
    training.save(tmp_path / "run.pt")
    for back, told in ((0.0, 0), (0.2, 1)):
        export(tmp_path / "run.pt", tmp_path / "run.onnx", back=back)
        card = draft((tmp_path / "run.onnx").read_bytes())
        assert sum("0.2 of the way back" in source.name for source in card.data) == told


def test_a_run_keeps_the_pull_that_it_began_with(tmp_path: Path) -> None:
    begun = Training(Plan(crops=16, batch=2, threads=1, pull=3.0))
    begun.save(tmp_path / "new.pt")
    state = torch.load(tmp_path / "new.pt", weights_only=True)
    del state["plan"]["pull"]  # as runs stored it before there was one
    torch.save(state, tmp_path / "old.pt")
    for name, pulled in (("new", 3.0), ("old", 0.0)):
        run = Training(Plan(crops=16, batch=2, threads=1))
        run.resume(tmp_path / f"{name}.pt")
        assert run.plan.pull == pulled


def test_home_leaves_a_runs_random_numbers_alone() -> None:
    home.cache_clear()
    torch.manual_seed(0)
    first = (home(), torch.rand(()))[1]
    torch.manual_seed(0)
    assert torch.equal((home(), torch.rand(()))[1], first)


def test_a_mixed_style_changes_means_and_deviations_and_nothing_else() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    levels = tuple(torch.randn(4, 3, size, size) * 3 + torch.arange(4.0).view(4, 1, 1, 1) for size in (16, 8))
    made = [mixed_styles(levels, rng) for _ in range(60)]
    mixed = [each for each in made if each is not levels]
    assert 15 < len(mixed) < 45
    for each in mixed:
        for ours, own in zip(each, levels, strict=True):
            flat, plain = ours.flatten(2), own.flatten(2)
            normal = [(x - x.mean(2, keepdim=True)) / x.std(2, correction=0, keepdim=True) for x in (flat, plain)]
            assert torch.allclose(*normal, atol=1e-3)
            # Never beyond what the batch holds.
            assert float(flat.mean(2).max()) <= float(plain.mean(2).max()) + 1e-4
            assert float(flat.mean(2).min()) >= float(plain.mean(2).min()) - 1e-4
    assert max(float((ours - own).abs().max()) for each in mixed for ours, own in zip(each, levels, strict=True)) > 0.5
