"""Which cells answer for which box, and the loss: SimOTA (Ge et al. 2021, YOLOX) without its per-box loop."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of every box of a (n, 4) with every box of b (m, 4): (n, m)."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = (a[:, 2:] - a[:, :2]).prod(-1)[:, None] + (b[:, 2:] - b[:, :2]).prod(-1)[None]
    return shared / (areas - shared + 1e-6)


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """GIoU (Rezatofighi et al. 2019) of boxes paired by row, (n,)."""
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(-1)
    union = (a[:, 2:] - a[:, :2]).prod(-1) + (b[:, 2:] - b[:, :2]).prod(-1) - shared + 1e-6
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(-1) + 1e-6
    return shared / union - (hull - union) / hull


@torch.no_grad()
def assign(logits: Tensor, boxes: Tensor, targets: Tensor, centres: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
    """For one picture: the cells that answer (k,) and the row of `targets` each answers for (k,).

    A box gets as many cells as the sum of its ten best overlaps, the cheapest ones by class and overlap
    among those near its middle; a cell that two boxes want goes to the one it fits best.
    """
    nothing = torch.zeros(0, dtype=torch.long)
    if not len(targets):
        return nothing, nothing
    middle = (targets[:, None, :2] + targets[:, None, 2:]) / 2
    reach = ((targets[:, None, 2:] - targets[:, None, :2]) * 0.25).clamp(max=32.0)
    reach = torch.maximum(reach, 0.8 * strides[None, :, None])
    near = ((centres[None] - middle).abs() < reach).all(-1)
    iou = pairwise_iou(targets, boxes)
    cost = functional.softplus(-logits[None, :, 0]) - 3 * torch.log(iou + 1e-6) + 1e5 * ~near
    number = min(10, cost.shape[1])
    wanted = iou.mul(near).topk(number, 1).values.sum(1).int().clamp(min=1)
    cheapest = cost.topk(number, 1, largest=False).indices
    taken = torch.zeros_like(near)
    taken.scatter_(1, cheapest, torch.arange(number)[None] < wanted[:, None])
    taken &= near
    owner = torch.where(taken, cost, torch.inf).argmin(0)
    cells = taken.any(0).nonzero()[:, 0]
    return cells, owner[cells]


def detection_loss(logits: Tensor, boxes: Tensor, targets: list[Tensor], places: Tensor, strides: Tensor) -> Tensor:
    """Quality focal loss (Li et al. 2020) on the class, twice GIoU on the boxes, per assigned cell."""
    centres = places + strides[:, None] / 2
    quality = torch.zeros_like(logits)
    overlap, cells_total = logits.new_zeros(()), 0
    for i, wanted in enumerate(targets):
        cells, rows = assign(logits[i].detach(), boxes[i].detach(), wanted, centres, strides)
        if not len(cells):
            continue
        giou = generalised_iou(boxes[i, cells], wanted[rows])
        overlap = overlap + (1 - giou).sum()
        with torch.no_grad():
            fit = pairwise_iou(boxes[i, cells].detach(), wanted).gather(1, rows[:, None])[:, 0]
            quality[i, cells, 0] = fit.clamp(min=0.05)
        cells_total += len(cells)
    weight = (quality - logits.sigmoid()).abs().pow(2)
    scores = (functional.binary_cross_entropy_with_logits(logits, quality, reduction="none") * weight.detach()).sum()
    return (scores + 2 * overlap) / max(cells_total, 1)
