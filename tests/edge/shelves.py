"""Virtual shelves that no training has seen, watched from full to empty, clean or with all that goes wrong."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import cv2

from edge import stock
from edge.plan import Plan
from edge.sim.packs import Frame
from edge.sim.scene import Bump, Scene, bumped
from edge.sim.shelves import ShelfSlot, shelf_of
from edge.vision.detector import Detector
from edge.vision.eye import ShelfEye
from edge.vision.fullshelf import FullShelf
from edge.vision.observe import Stand
from edge.vision.watch import readings_of

PERIOD_S, FRAMES = 60.0, 9
T0 = 1_800_000_000.0


@dataclass(slots=True)
class Score:
    """Slots judged: out of stock found and not, units off as shares of the capacity; frames, and those with a level."""

    hits: int = 0
    false: int = 0
    missed: int = 0
    unknown: int = 0
    off: list[float] = field(default_factory=list)
    frames: int = 0
    told: int = 0
    moved: float = 0.0

    @property
    def precision(self) -> float:
        return self.hits / max(1, self.hits + self.false)

    @property
    def recall(self) -> float:
        return self.hits / max(1, self.hits + self.missed)

    @property
    def error(self) -> float:
        return sum(self.off) / max(1, len(self.off))

    def judge(self, level: int | None, truth: int, capacity: int) -> None:
        """One slot's level against what truly stands there; an unknown level finds nothing and is off by all."""
        self.hits += truth == 0 and level == 0
        self.false += truth > 0 and level == 0
        self.missed += truth == 0 and level != 0
        self.unknown += level is None
        self.off.append(1.0 if level is None else abs(level - truth) / capacity)


def stands_of(slots: Iterable[ShelfSlot]) -> tuple[Stand, ...]:
    return tuple(Stand(slot.name, *slot.region, slot.facings, slot.depth) for slot in slots)


def sent(frame: Frame) -> Frame:
    """The frame after the camera's JPEG, as the agent gets it."""
    decoded = cv2.imdecode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 88])[1], cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded.astype(frame.dtype)


def story(slots: tuple[ShelfSlot, ...], seed: int, scenes: int) -> Iterator[dict[str, int]]:
    """Levels of scene after scene: in each, one or two slots have changed, a third of them to nothing."""
    rng = random.Random(f"story/{seed}")
    levels = {slot.name: slot.capacity for slot in slots}
    for _ in range(scenes):
        for slot in rng.sample(slots, min(len(slots), rng.randint(1, 2))):
            levels[slot.name] = rng.choice((0, rng.randint(0, slot.capacity), slot.capacity - rng.randint(0, 2)))
        yield dict(levels)


def pushed(rng: random.Random) -> Bump:
    """A camera bumped by up to 5% of the width, and turned a little with it."""
    return Bump(rng.uniform(-0.05, 0.05), rng.uniform(-0.05, 0.05), rng.uniform(-1, 1), rng.uniform(0.98, 1.02))


def frame_of(scene: Scene, levels: dict[str, int], t: float, hard: tuple[random.Random, Bump] | None) -> Frame:
    """What the camera sends; in the hard case at half the light, pushed, and a third of the time with a customer."""
    if hard is None:
        return sent(scene.render(levels, t))
    rng, bump = hard
    body = rng.uniform(0.05, 0.95) if rng.random() < 1 / 6 else None
    arm = rng.choice(sorted(levels)) if body is None and rng.random() < 1 / 5 else None
    return sent(bumped(scene.render(levels, t, arm, light=0.5, body=body), bump))


def watch(seed: int, detector: Detector, hard: bool, scenes: int, score: Score) -> None:
    """One shelf from its commissioning on; judged at the end of each scene, nine minutes after its change.

    A level needs three frames that agree; with a customer in every third one, six minutes may not bring them.
    """
    slots = shelf_of(seed)
    full = {slot.name: slot.capacity for slot in slots}
    stands = stands_of(slots)
    picture = sent(Scene(slots, seed + 1000, untidy=True).render(full, 0.0))
    eye = ShelfEye(stands, detector, FullShelf(picture, stands, detector))
    scene, rng = Scene(slots, seed, untidy=True), random.Random(f"hard/{seed}")
    plans = {slot.name: Plan(slot.name, slot.sku, f"cam-1/facings/{slot.name}", depth=slot.depth) for slot in slots}
    states = {name: stock.SlotState() for name in plans}
    t, bump = T0, Bump()
    for n, levels in enumerate(story(slots, seed, scenes)):
        bump = pushed(rng) if n % 4 == 1 else bump
        for _ in range(FRAMES):
            t += PERIOD_S
            verdict = eye.judge(frame_of(scene, levels, t, (rng, bump) if hard else None))
            score.frames, score.told = score.frames + 1, score.told + (not verdict.reason)
            score.moved = max(score.moved, verdict.moved or 0.0)
            for reading in readings_of("cam-1", verdict, tuple(full), t):
                name = reading.quantity.removeprefix("facings/")
                if name in plans:
                    states[name], _ = stock.step(plans[name], states[name], reading)
        for slot in slots:
            score.judge(states[slot.name].level, levels[slot.name], slot.capacity)
