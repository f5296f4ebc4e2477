"""Training: rendered crops in, a checkpoint out, resumable at any time."""

# PyTorch's classes are Any where the extra is not installed, and partly untyped where it is.
# mypy: disallow-subclassing-any=false, warn-return-any=false, disallow-untyped-calls=false

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import structlog
import torch
from torch.utils.data import DataLoader

from edge.clock import Clock, every
from edge.errors import ModelError
from edge.vision.card import Source
from edge.vision.training.assign import detection_loss
from edge.vision.training.data import CROPS_PER_SCENE, Batch, Crops, collate
from edge.vision.training.frozen import Frozen
from edge.vision.training.labels import Labelled
from edge.vision.training.network import ShelfNet
from edge.vision.training.robust import mixed_styles, pull
from edge.vision.training.weights import load_checkpoint, load_weights, widened

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one training run is, stored in its checkpoint; seed and pull stay when it resumes.

    Attributes:
        backbone_rate: the backbone's learning rate, as a share of `rate`.
        pull: how strongly the backbone is held near ImageNet's weights: by so much of its learning rate each step.
    """

    crops: int
    seed: int = 0
    batch: int = 8
    rate: float = 1.5e-3
    backbone_rate: float = 0.3
    decay: float = 0.02
    pull: float = 1.0
    threads: int = 2
    checkpoint_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Material:
    """What a run learns from besides its renderer.

    Attributes:
        pictures: a folder with cutouts/ and packages/ to put on rendered shelves.
        photos: labelled photos; half of the crops are cut from them.
        start: weights to go on from instead of ImageNet's (`NAME.npz` beside a model).
        sources: where all this comes from, for the card.
    """

    pictures: Path | None = None
    photos: Sequence[Labelled] = ()
    start: Path | None = None
    sources: tuple[Source, ...] = ()


class Training:
    """A network, its moving average and its optimiser, somewhere along a plan."""

    def __init__(self, plan: Plan, start: Path | None = None, sources: tuple[Source, ...] = ()) -> None:
        torch.manual_seed(plan.seed)
        torch.set_num_threads(plan.threads)
        self.plan = plan
        self.sources = sources
        self.seen = 0
        self.net = ShelfNet()
        # fp32 in channels_last: the fast way for depthwise convolutions on a CPU.
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if start is None:
            self.net.backbone.load_imagenet()
        else:
            self._begin_with(start)
        self.net.freeze()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net.to(self.device)
        self.first = self._first()
        self.average = copy.deepcopy(self.net).eval().requires_grad_(False)
        slow = [p for p in self.net.backbone.parameters() if p.requires_grad]
        fast = [p for name, p in self.net.named_parameters() if not name.startswith("backbone")]
        self.optimiser = torch.optim.AdamW(
            [{"params": fast, "scale": 1.0}, {"params": slow, "scale": plan.backbone_rate}],
            lr=plan.rate,
            weight_decay=plan.decay,
        )

    def _begin_with(self, start: Path) -> None:
        state = load_weights(start)
        try:
            self.net.load_state_dict(widened(state, self.net.state_dict()))
        except (RuntimeError, IndexError) as error:
            wrong, fix = "no weights to start from: they are another network's", "name the NAME.npz beside a model"
            raise ModelError(str(start), wrong, fix) from error

    def _first(self) -> Callable[[Any], Any]:
        """What makes the features that are not trained."""
        if self.device.type == "cpu":
            return Frozen(self.net.backbone, self.plan.threads)
        return torch.no_grad()(self.net.backbone.first)

    def rate(self) -> float:
        """Warm-up over 640 crops, then a cosine down to a fiftieth."""
        if self.seen < 640:
            return self.plan.rate * (self.seen + self.plan.batch) / 640
        along = min(1.0, (self.seen - 640) / max(1, self.plan.crops - 640))
        return self.plan.rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * along)))

    def step(self, batch: Batch) -> float:
        """Learn from one batch; the loss."""
        batch = batch.to(self.device)
        self.net.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate() * group["scale"]
        # A pure function of seed and place along the plan, so that a run that goes on mixes as one that never stopped.
        mixing = np.random.default_rng((self.plan.seed, self.seen))
        maps = self.net.answer(*mixed_styles(self.first(batch.images), mixing))
        loss = detection_loss(maps, self.net.classes, batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 10.0)
        self.optimiser.step()
        pull(self.net.backbone, self.rate() * self.plan.backbone_rate * self.plan.pull)
        self.seen += len(batch.images)
        self._follow()
        return float(loss.detach())

    @torch.no_grad()
    def _follow(self) -> None:
        steps = self.seen / self.plan.batch
        keep = min(0.996, (1 + steps) / (10 + steps))
        for ours, theirs in zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True):
            if ours.dtype.is_floating_point:
                ours.mul_(keep).add_(theirs, alpha=1 - keep)

    def save(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        part = path.with_suffix(".part")
        state: dict[str, Any] = {
            "plan": asdict(self.plan),
            "seen": self.seen,
            "sources": msgspec.json.encode(self.sources).decode(),
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        torch.save(state, part)
        os.replace(part, path)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint; what it learned from before stays among the sources.

        Raises:
            ModelError: the file is no checkpoint of this network, or one that was begun with another seed.
        """
        state = load_checkpoint(path, self.device)
        seed = state["plan"]["seed"]
        if seed != self.plan.seed:
            wrong, fix = f"begun with seed {seed}, not {self.plan.seed}", f"--seed {seed}, or another --checkpoint"
            raise ModelError(str(path), wrong, fix)
        try:
            self.net.load_state_dict(state["net"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.seen = state["seen"]
            # Runs of before there was a pull go on without.
            self.plan = replace(self.plan, pull=state["plan"].get("pull", 0.0))
            before = msgspec.json.decode(state["sources"], type=tuple[Source, ...])
        except (RuntimeError, KeyError, ValueError) as error:
            wrong = f"no checkpoint of this network: {str(error).splitlines()[0]}"
            raise ModelError(str(path), wrong, "name another --checkpoint, or remove it to begin again") from error
        self.sources = (*before, *(source for source in self.sources if source not in before))


Report = Callable[[int, float, float], None]
"""Told crops seen, loss and crops a second after each step."""


def train(plan: Plan, checkpoint: Path, clock: Clock, material: Material, report: Report) -> Training:
    """Train until `plan.crops` crops were seen, from the checkpoint where there is one.

    Raises:
        KeyboardInterrupt: it was stopped; the checkpoint holds all steps that were done.
    """
    training = Training(plan, material.start, material.sources)
    if checkpoint.exists():
        training.resume(checkpoint)
        log.info("training_resumed", checkpoint=str(checkpoint), crops=training.seen)
    if training.seen >= plan.crops:
        return training
    # A CPU trains no faster than one worker renders; a GPU does.
    workers = 1 if training.device.type == "cpu" else max(1, min(12, (os.cpu_count() or 2) - 1))
    crops = Crops(plan.seed, training.seen // CROPS_PER_SCENE, material.pictures, material.photos)
    batches = DataLoader(crops, plan.batch, collate_fn=collate, num_workers=workers, prefetch_factor=3)
    started, before = clock.monotonic(), training.seen
    due, recent = every(clock, plan.checkpoint_s), 0.0
    try:
        for batch in batches:
            recent = 0.95 * recent + 0.05 * training.step(batch) if recent else training.step(batch)
            done = training.seen >= plan.crops
            pace = (training.seen - before) / max(clock.monotonic() - started, 1e-6)
            report(training.seen, recent, pace)
            if due() or done:
                training.save(checkpoint)
                log.info(
                    "trained", crops=training.seen, of=plan.crops, loss=round(recent, 3), crops_per_s=round(pace, 2)
                )
            if done:
                break
    except KeyboardInterrupt:
        if training.seen > before:
            training.save(checkpoint)
        raise
    return training
