"""Which cells answer for which box, and the loss: SimOTA (Ge et al. 2021, YOLOX) without its per-box loop."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edge.vision.training.data import Batch
from edge.vision.training.network import DISTANCES, flatten, grid, placed


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of every box of a (n, 4) with every box of b (m, 4): (n, m)."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = (a[:, 2:] - a[:, :2]).prod(-1)[:, None] + (b[:, 2:] - b[:, :2]).prod(-1)[None]
    return shared / (areas - shared + 1e-6)


LEAST_CELLS = 32


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes paired by row, (n,)."""
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(-1)
    return shared / ((a[:, 2:] - a[:, :2]).prod(-1) + (b[:, 2:] - b[:, :2]).prod(-1) - shared + 1e-6)


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """GIoU (Rezatofighi et al. 2019) of boxes paired by row, (n,)."""
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(-1)
    union = (a[:, 2:] - a[:, :2]).prod(-1) + (b[:, 2:] - b[:, :2]).prod(-1) - shared + 1e-6
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(-1) + 1e-6
    return shared / union - (hull - union) / hull


@torch.no_grad()
def assign(logits: Tensor, boxes: Tensor, targets: Tensor, centres: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
    """For one picture: the cells that answer (k,) and the row of `targets` each answers for (k,).

    `logits` (n, m) are each cell's for each target's class. A box gets as many cells as the sum of its
    ten best overlaps, the cheapest ones by class and overlap among those near its middle; a cell that
    two boxes want goes to the one it fits best.
    """
    nothing = torch.zeros(0, dtype=torch.long, device=boxes.device)
    if not len(targets):
        return nothing, nothing
    middle = (targets[:, None, :2] + targets[:, None, 2:]) / 2
    reach = ((targets[:, None, 2:] - targets[:, None, :2]) * 0.25).clamp(max=32.0)
    reach = torch.maximum(reach, 0.8 * strides[None, :, None])
    near = ((centres[None] - middle).abs() < reach).all(-1)
    # Most cells are near nothing: leave them out before the costly part.
    some = near.any(0).nonzero()[:, 0]
    near = near[:, some]
    iou = pairwise_iou(targets, boxes[some])
    cost = functional.softplus(-logits[some].T) - 3 * torch.log(iou + 1e-6) + 1e5 * ~near
    number = min(10, cost.shape[1])
    wanted = iou.mul(near).topk(number, 1).values.sum(1).int().clamp(min=1)
    cheapest = cost.topk(number, 1, largest=False).indices
    taken = torch.zeros_like(near)
    taken.scatter_(1, cheapest, torch.arange(number, device=boxes.device)[None] < wanted[:, None])
    taken &= near
    owner = torch.where(taken, cost, torch.inf).argmin(0)
    cells = taken.any(0).nonzero()[:, 0]
    return some[cells], owner[cells]


def distribution_loss(sides: Tensor, boxes: Tensor, centres: Tensor, strides: Tensor) -> Tensor:
    """Distribution focal loss (Li et al. 2020) of sides (k, 4, BINS) against boxes (k, 4), per row (k,)."""
    scale = torch.tensor(DISTANCES, device=sides.device)
    wanted = torch.cat((centres - boxes[:, :2], boxes[:, 2:] - centres), 1) / strides[:, None]
    wanted = wanted.clamp(0, DISTANCES[-1] - 1e-3)
    right = torch.searchsorted(scale, wanted.contiguous(), right=True)
    left = right - 1
    share = (wanted - scale[left]) / (scale[right] - scale[left])
    logs = sides.log_softmax(-1)
    both = logs.gather(2, left[..., None])[..., 0] * (1 - share) + logs.gather(2, right[..., None])[..., 0] * share
    return -both.mean(1)


def detection_loss(maps: tuple[Tensor, ...], classes: int, batch: Batch) -> Tensor:
    """Quality focal loss on the class; twice GIoU and half the distribution loss on the boxes; per assigned cell.

    Where a picture's labels do not speak of a class, its scores there are not judged.
    """
    logits, sides = flatten(maps, classes)
    centres, strides = grid(maps)
    with torch.no_grad():
        boxes = placed(sides, centres, strides)
    quality = torch.zeros_like(logits)
    overlap, cells_total = logits.new_zeros(()), 0
    for i, (wanted, kinds) in enumerate(zip(batch.boxes, batch.classes, strict=True)):
        cells, rows = assign(logits[i].detach()[:, kinds], boxes[i], wanted, centres, strides)
        if not len(cells):
            continue
        own = sides[i, cells]
        giou = generalised_iou(placed(own, centres[cells], strides[cells]), wanted[rows])
        spread = distribution_loss(own, wanted[rows], centres[cells], strides[cells])
        overlap = overlap + (2 * (1 - giou) + 0.5 * spread).sum()
        with torch.no_grad():
            quality[i, cells, kinds[rows]] = paired_iou(boxes[i, cells], wanted[rows]).clamp(min=0.05)
        cells_total += len(cells)
    weight = (quality - logits.sigmoid()).abs().pow(2).detach() * batch.known[:, None, :]
    scores = (functional.binary_cross_entropy_with_logits(logits, quality, reduction="none") * weight).sum()
    # A batch of nearly empty pictures must not weigh a hundred times as much as a full one.
    return (scores + overlap) / max(cells_total, LEAST_CELLS * len(logits))
