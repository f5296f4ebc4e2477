"""What a whole look costs over a bare session.run of the same model: letterbox, decode, suppress, count."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest

from edge.clock import SystemClock
from edge.vision.detector import Image
from edge.vision.observe import Region, count_facings
from edge.vision.onnx import DEFAULT_MODEL, OnnxDetector
from edge.vision.training.evaluate import rendered

pytestmark = pytest.mark.bench
LOOKS = 30
SLOTS = tuple(Region(f"slot{i}", i / 12, 0.0, (i + 1) / 12, 1.0) for i in range(12))


def _frame() -> Image:
    """A rendered shelf, as large as a camera's frame."""
    image, _, _ = rendered(5, 1)[0].load()
    return np.ascontiguousarray(np.tile(image, (2, 2, 1))[:960, :1280])


def _medians(*steps: Callable[[], object]) -> list[float]:
    """Milliseconds of each step, taken in turn, so that a busy moment meets them all."""
    clock = SystemClock()
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(LOOKS + 2):
        for own, step in zip(times, steps, strict=True):
            began = clock.monotonic()
            step()
            own.append(1000 * (clock.monotonic() - began))
    return [statistics.median(own[2:]) for own in times]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_look_with_its_counts_against_bare_onnxruntime(threads: int) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(DEFAULT_MODEL), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    blank = {given.name: np.zeros(given.shape, np.uint8)}
    detector, frame = OnnxDetector.load(threads=threads), _frame()
    bare, ours = _medians(
        lambda: session.run(None, blank),
        lambda: count_facings(detector.detect_all(frame), frame.shape, SLOTS),
    )
    found = len(detector.detect_all(frame))
    print(f"\nframe to counts, {threads} threads: {ours:.1f} ms with {found} boxes; bare session.run {bare:.1f} ms; "
          f"{ours / bare:.2f}x")  # fmt: skip
    assert found > 0
