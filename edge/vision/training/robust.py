"""What keeps a network that learns on rendered shelves fit for real ones: ImageNet's weights as its home, mixed styles.

The pointwise weights that widen a block move furthest from ImageNet's, and what they forget there is how real pictures
look. Going a fifth of the way back, a share chosen on 18 photos of shelves, took AP50 on 51 others from .690 to .709
and AP from .363 to .371, rendered shelves being seen as well as before; the depthwise weights must stay.
"""

# PyTorch's classes are Any where the extra is not installed, and partly untyped where it is.
# mypy: disallow-subclassing-any=false, warn-return-any=false, disallow-untyped-calls=false

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edge.vision.training.network import Backbone

MIXED = 0.5
"""The share of batches whose styles are mixed, and by which distribution: Beta(BLEND, BLEND)."""
BLEND = 0.3


@lru_cache(maxsize=1)
def home() -> dict[str, Tensor]:
    """ImageNet's weights of the backbone, by name; not to be written to."""
    with torch.random.fork_rng(devices=()):
        # Its first weights are thrown away, and must not change a run's random numbers.
        backbone = Backbone()
    backbone.load_imagenet()
    return {name: weight.detach() for name, weight in backbone.named_parameters()}


@torch.no_grad()
def pull(backbone: Backbone, share: float) -> None:
    """Move the pointwise weights that are trained by that share of the way to ImageNet's, in place.

    A little with each step: Li et al. 2018, "Explicit Inductive Bias for Transfer Learning" (L2-SP).
    """
    for name, weight in backbone.named_parameters():
        if weight.requires_grad and weight.ndim == 4 and weight.shape[2] == 1:
            weight.lerp_(home()[name].to(weight.device), min(share, 1.0))


def homeward(state: dict[str, Any], share: float) -> dict[str, Any]:
    """A network's state dict, its widening pointwise weights that share of the way back to ImageNet's.

    Once, after training: Wortsman et al. 2022, "Robust Fine-Tuning of Zero-Shot Models".
    """
    moved = dict(state)
    for name, weight in home().items():
        if name.endswith("expand.weight"):
            moved[f"backbone.{name}"] = torch.lerp(state[f"backbone.{name}"], weight, share)
    return moved


def mixed_styles(levels: tuple[Tensor, ...], rng: np.random.Generator) -> tuple[Tensor, ...]:
    """Features (b, c, h, w) with each picture's means and deviations of channels moved towards another's, at times.

    What is learned then leans less on the renderer's own light, contrast and grain (Zhou et al. 2021, "Domain
    Generalization with MixStyle").
    """
    if rng.random() >= MIXED:
        return levels
    count, device = len(levels[0]), levels[0].device
    drawn = rng.beta(BLEND, BLEND, (count, 1, 1, 1)).astype(np.float32)
    share, other = torch.from_numpy(np.maximum(drawn, 1 - drawn)).to(device), rng.permutation(count).tolist()
    return tuple(_restyled(level, share, other) for level in levels)


def _restyled(level: Tensor, share: Tensor, other: list[int]) -> Tensor:
    mean, deviation = level.mean((2, 3), keepdim=True), level.std((2, 3), correction=0, keepdim=True) + 1e-5
    new_mean, new_deviation = (share * own + (1 - share) * own[other] for own in (mean, deviation))
    return (level - mean) / deviation * new_deviation + new_mean
