"""The fast convolution answers and learns as PyTorch's own does."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

from edge.vision.training import fast  # noqa: E402  # after the check for the extra
from edge.vision.training.network import Block  # noqa: E402

LAYERS: dict[str, dict[str, Any]] = {
    "depthwise": {"in_channels": 24, "out_channels": 24, "kernel_size": 5, "padding": 2, "groups": 24},
    "strided": {"in_channels": 24, "out_channels": 24, "kernel_size": 3, "stride": 2, "padding": 1, "groups": 24},
    "pointwise": {"in_channels": 24, "out_channels": 40, "kernel_size": 1},
    "without a bias": {"in_channels": 24, "out_channels": 40, "kernel_size": 1, "bias": False},
    "whole": {"in_channels": 24, "out_channels": 16, "kernel_size": 3, "stride": 2, "padding": 1},
}


def _learnt(layer: Any, x: Any, target: Any) -> list[Any]:
    x = x.clone().requires_grad_(True)
    y = layer(x)
    ((y - target) ** 2).sum().backward()
    return [y.detach(), x.grad, *(p.grad for p in layer.parameters())]


def _pair(name: str) -> tuple[Any, Any]:
    torch.manual_seed(4)
    ours, theirs = fast.Conv(**LAYERS[name]), torch.nn.Conv2d(**LAYERS[name])
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("native", "within"), [(False, 1e-5), (True, 0.02)])
@pytest.mark.parametrize("name", LAYERS)
def test_it_learns_what_pytorchs_own_learns(
    name: str, native: bool, within: float, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "BFLOAT16", native)
    ours, theirs = _pair(name)
    x = torch.randn(2, 24, 20, 20)
    x = x.to(memory_format=torch.channels_last) if last else x
    target = torch.randn_like(theirs(x))
    apart = []
    for mine, wanted in zip(_learnt(ours, x, target), _learnt(theirs, x, target), strict=True):
        assert mine.dtype == torch.float32
        apart.append(float((mine - wanted).norm() / wanted.norm()))
    assert max(apart) < within
    # bfloat16 has three digits: what agrees better did not multiply in it.
    assert (apart[0] > 1e-4) == (native and LAYERS[name]["kernel_size"] == 1)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_whole_block_learns_alike(stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "BFLOAT16", False)
    torch.manual_seed(4)
    ours: Any = Block(24, 24, 5, stride, 6)
    ours = ours.to(memory_format=torch.channels_last)
    theirs = copy.deepcopy(ours)
    for layer in (theirs.expand, theirs.depthwise, theirs.project):
        layer.__class__ = torch.nn.Conv2d
    x = torch.randn(2, 24, 20, 20).to(memory_format=torch.channels_last)
    target = torch.randn_like(theirs(x))
    for mine, wanted in zip(_learnt(ours, x, target), _learnt(theirs, x, target), strict=True):
        assert float((mine - wanted).norm() / wanted.norm()) < 1e-5


def test_a_frozen_kernel_costs_no_gradient_and_its_bias_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = _pair("depthwise")
    for layer in (ours, theirs):
        layer.weight.requires_grad_(False)
    x = torch.randn(2, 24, 20, 20)
    target = torch.randn_like(theirs(x))
    asked, backward = [], fast._backward

    def spied(*args: Any) -> Any:
        asked.append(args[-1])
        return backward(*args)

    monkeypatch.setattr(fast, "_backward", spied)
    _, into, weight, bias = _learnt(ours, x, target)
    assert weight is None
    assert asked == [[True, False, False]]
    _, wanted_into, _, wanted_bias = _learnt(theirs, x, target)
    assert torch.allclose(into, wanted_into, atol=1e-4)
    assert torch.allclose(bias, wanted_bias, atol=1e-3)


@pytest.mark.parametrize("how", [{"dilation": 2}, {"padding_mode": "reflect", "padding": 1}])
def test_what_it_does_not_know_is_left_to_pytorch(how: dict[str, Any]) -> None:
    layer = fast.Conv(8, 8, 3, **how)
    x = torch.randn(1, 8, 20, 20)
    assert torch.equal(layer.train()(x), layer.eval()(x))


def test_what_is_exported_is_pytorchs_own_layer() -> None:
    ours, theirs = _pair("pointwise")
    x = torch.randn(2, 24, 20, 20)
    assert torch.equal(ours.eval()(x), theirs(x))
