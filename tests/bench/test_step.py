"""The whole step, from a frame in memory to stock levels, over a bare session.run of the same model."""

from __future__ import annotations

import statistics

import cv2
import numpy as np
import onnxruntime
import pytest

from edge import stock
from edge.clock import SystemClock
from edge.plan import Plan
from edge.sim.scene import Scene
from edge.sim.shelves import shelf_of
from edge.vision.eye import ShelfEye
from edge.vision.fullshelf import FullShelf
from edge.vision.onnx import DEFAULT_MODEL, OnnxDetector
from edge.vision.watch import readings_of
from tests.edge.shelves import sent, stands_of

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]
ROUNDS = 60


def test_the_step_against_bare_onnxruntime() -> None:
    """One slot changes in each frame, as when somebody takes something; then a frame in which nothing does."""
    cv2.setNumThreads(1)
    slots = shelf_of(31)
    full = {slot.name: slot.capacity for slot in slots}
    detector, stands, scene = OnnxDetector.load(), stands_of(slots), Scene(slots, 31, untidy=True)
    picture = sent(Scene(slots, 1031, untidy=True).render(full, 0.0))
    eye = ShelfEye(stands, detector, FullShelf(picture, stands, detector))
    plans = [Plan(slot.name, slot.sku, f"cam-1/facings/{slot.name}", depth=slot.depth) for slot in slots]
    states = {plan.slot: stock.SlotState() for plan in plans}
    frames = [sent(scene.render({**full, slots[n % len(slots)].name: n % 3}, 0.0)) for n in range(6)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(DEFAULT_MODEL), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    blank = {given.name: np.zeros(given.shape, np.uint8)}
    clock, bare, whole, still = SystemClock(), list[float](), list[float](), list[float]()

    def step(frame: np.ndarray, n: int) -> float:
        began = clock.monotonic()
        verdict = eye.judge(frame, float(n))
        for reading in readings_of("cam-1", verdict, tuple(full), 1.8e9 + 60 * n):
            for plan in plans:
                if plan.source == reading.name:
                    states[plan.slot], _ = stock.step(plan, states[plan.slot], reading)
        return clock.monotonic() - began

    for n in range(ROUNDS):
        began = clock.monotonic()
        session.run(None, blank)
        bare.append(clock.monotonic() - began)
        asked = eye.inferences
        took = step(frames[n % 6], 2 * n)
        if eye.inferences > asked:
            whole.append(took)
        still.append(step(frames[n % 6], 2 * n + 1))
    ours, theirs = statistics.median(whole[3:]), statistics.median(bare[3:])
    print(f"\nframe to levels, one thread, {len(slots)} slots: {1000 * ours:.1f} ms; bare session.run "
          f"{1000 * theirs:.1f} ms; {ours / theirs:.2f}x; unchanged frame {1000 * statistics.median(still[3:]):.1f} ms")
    assert len(whole) > ROUNDS // 2
