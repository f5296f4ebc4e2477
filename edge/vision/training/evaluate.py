"""Judges an exported model, chooses its thresholds and writes its card; needs no PyTorch."""

from __future__ import annotations

import hashlib
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import structlog

from edge.clock import Clock
from edge.errors import ConfigError, ModelError, Problem
from edge.vision.card import Accuracy, Card, Closer, Source, Speed, card_path, encode_card
from edge.vision.detector import Floats, Image
from edge.vision.onnx import OnnxDetector
from edge.vision.training.bank import Bank
from edge.vision.training.cameras import worse
from edge.vision.training.judge import CLASSES, LOWEST, Photo, Progress, classes_of, judge, quietly
from edge.vision.training.labels import Labelled, labelled
from edge.vision.training.scenes import crop, scene
from edge.vision.training.score import Judged, accuracy, best_threshold

log = structlog.get_logger(__name__)
NMS_IOU, AT_MOST, INPUT = 0.5, 1000, 640
RENDERED = "rendered"
STREAM = 1 << 41
"""Where the judging scenes' seeds begin; training counts from 0, calibration from 1 << 40."""


@dataclass(frozen=True, slots=True)
class Judging:
    """What a card is made on.

    Attributes:
        choose: photos that choose a class' threshold, as they are and as worse cameras show them, per class; rendered
            scenes choose where there are none.
        judge: photos that judge a class, per class.
        sources: the photos' names and licences, for the card.
        scenes: how many rendered scenes are judged too.
        threads: the numbers of threads that are timed.
    """

    choose: dict[str, Path] = field(default_factory=dict)
    judge: dict[str, Path] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    scenes: int = 40
    threads: tuple[int, ...] = (1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A rendered picture with its labels, as `judge` takes them."""

    seed: int
    number: int
    bank: Bank

    def load(self) -> tuple[Image, Floats, tuple[str, ...]]:
        rng = np.random.default_rng((self.seed, STREAM, self.number))
        whole, scale = scene(rng, self.bank, INPUT)
        drawn = crop(rng, whole, scale, INPUT)
        return drawn.image, drawn.boxes, tuple(CLASSES[kind] for kind in drawn.classes)


def rendered(seed: int, number: int) -> list[Drawn]:
    """Scenes and packs that no training run with this seed sees."""
    bank = Bank(seed + STREAM)
    return [Drawn(seed, i, bank) for i in range(number)]


def made_of(data: bytes) -> dict[str, str]:
    """What `export` wrote into a graph: seed, crops, kind, strides, distances, sources.

    Raises:
        ModelError: it was not made by `export`.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    made = dict(session.get_modelmeta().custom_metadata_map)
    missing = {"seed", "crops", "kind", "strides", "distances", "sources"} - made.keys()
    if missing:
        raise ModelError("the graph", f"it does not say its {', '.join(sorted(missing))}", "export it again")
    return made


def draft(data: bytes) -> Card:
    """A card without figures, which lets the model answer down to `LOWEST`."""
    made = made_of(data)
    return msgspec.convert(
        {
            "sha256": hashlib.sha256(data).hexdigest(),
            "kind": made["kind"],
            "licence": "Apache-2.0",
            "data": msgspec.json.decode(made["sources"]),
            "seed": int(made["seed"]),
            "crops": int(made["crops"]),
            "input": (INPUT, INPUT),
            "strides": msgspec.json.decode(made["strides"]),
            "distances": msgspec.json.decode(made["distances"]),
            "classes": CLASSES,
            "thresholds": LOWEST,
            "nms_iou": NMS_IOU,
            "max_detections": AT_MOST,
            "closer": Closer(),
        },
        Card,
    )


def speed(data: bytes, card: Card, clock: Clock, threads: int, runs: int = 40) -> Speed:
    """The median time of one inference, after three to warm up."""
    detector = OnnxDetector(data, card, threads)
    canvas = np.full((INPUT, INPUT, 4), 114, np.uint8)
    times = []
    for _ in range(runs + 3):
        began = clock.monotonic()
        detector.infer(canvas)
        times.append(1000 * (clock.monotonic() - began))
    machine = f"{platform.machine()}, onnxruntime {version('onnxruntime')}"
    return Speed(round(statistics.median(times[3:]), 1), threads, machine)


def name_of(folder: Path) -> str:
    """A folder as the card names it: its last two parts."""
    return "/".join(folder.resolve().parts[-2:])


def _photos(judging: Judging) -> dict[Path, Sequence[Labelled]]:
    """The photos of each place, read before anything is judged."""
    asked = [(name, place) for places in (judging.choose, judging.judge) for name, place in places.items()]
    read: dict[Path, Sequence[Labelled]] = {place: labelled(place) for _, place in asked}
    for name, place in asked:
        if name not in classes_of(read[place]):
            fix = f"name photos on which a {name} is labelled"
            raise ConfigError(str(place), (Problem("labels", f"none of them is of a {name}", fix),))
    return read


def evaluate(model: Path, judging: Judging, clock: Clock, progress: Progress = quietly) -> Card:
    """Choose the thresholds, judge, and write the card beside the model.

    Raises:
        ConfigError: a place has no labelled photos, or none that shows what it is to choose or judge.
        ModelError: the graph was not made by `export`.
    """
    photos = _photos(judging)
    data = model.read_bytes()
    card = draft(data)
    detector = OnnxDetector(data, card)
    seen: dict[str, dict[str, list[Judged]]] = {}
    looks: dict[str, float] = {}

    def look(name: str, pictures: Sequence[Photo]) -> dict[str, list[Judged]]:
        if name not in seen:
            before = detector.inferences
            seen[name] = judge(detector, progress(pictures, len(pictures), name))
            looks[name] = round((detector.inferences - before) / max(1, len(pictures)), 1)
        return seen[name]

    def choosing(name: str, place: Path) -> list[Judged]:
        plain = look(name_of(place), photos[place])
        spoilt = look(f"{name_of(place)} (worse)", tuple(worse(photos[place])))
        return [*plain[name], *spoilt[name]]

    drawn = look(RENDERED, list(rendered(card.seed, judging.scenes)))
    thresholds, chosen_on = {}, {}
    for name in CLASSES:
        place = judging.choose.get(name)
        chosen_on[name] = f"{name_of(place)}, also as worse cameras show it" if place else RENDERED
        thresholds[name] = best_threshold(choosing(name, place) if place else drawn[name])
    figures: dict[str, dict[str, Accuracy]] = {}
    for name in CLASSES:
        for place in filter(None, (judging.choose.get(name), judging.judge.get(name))):
            judged = look(name_of(place), photos[place])[name]
            figures.setdefault(name_of(place), {})[name] = accuracy(judged, thresholds[name])
        figures.setdefault(RENDERED, {})[name] = accuracy(drawn[name], thresholds[name])
    log.info("thresholds_chosen", **thresholds)
    card = msgspec.structs.replace(
        card,
        data=(*card.data, *judging.sources),
        thresholds=thresholds,
        chosen_on=chosen_on,
        looks=looks,
        figures=figures,
        speed=tuple(speed(data, card, clock, threads) for threads in judging.threads),
    )
    card_path(model).write_bytes(encode_card(card))
    return card
