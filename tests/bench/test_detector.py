"""What a whole look costs over a bare session.run of the same model."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from edge.clock import SystemClock
from edge.vision.onnx import DEFAULT_MODEL, OnnxDetector

pytestmark = pytest.mark.bench
LOOKS = 20


def test_detect_against_bare_onnxruntime() -> None:
    clock = SystemClock()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(DEFAULT_MODEL), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    blank = {given.name: np.zeros(given.shape, np.uint8 if given.type == "tensor(uint8)" else np.float32)}
    detector = OnnxDetector.load(DEFAULT_MODEL)
    frame = np.random.default_rng(7).integers(0, 255, (720, 960, 3), np.uint8)
    session.run(None, blank)
    detector.detect(frame)
    begin = clock.monotonic()
    for _ in range(LOOKS):
        session.run(None, blank)
    bare = (clock.monotonic() - begin) / LOOKS
    begin = clock.monotonic()
    for _ in range(LOOKS):
        detector.detect(frame)
    ours = (clock.monotonic() - begin) / LOOKS
    print(f"\ndetect, one thread: {1000 * ours:.1f} ms; bare session.run {1000 * bare:.1f} ms; {ours / bare:.2f}x")
    assert ours > 0
