"""The whole step, from a frame in memory to stock levels, over a bare session.run of the same model."""

from __future__ import annotations

import time  # the processor's, which no clock of the project tells
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import onnxruntime
import pytest

from edge import stock
from edge.clock import SystemClock
from edge.plan import Plan
from edge.sim.scene import Scene
from edge.sim.shelves import shelf_of
from edge.vision.boxes import letterbox
from edge.vision.detector import Image
from edge.vision.eye import ShelfEye
from edge.vision.fullshelf import FullShelf
from edge.vision.onnx import DEFAULT_MODEL, OnnxDetector
from edge.vision.tiles import fitted
from edge.vision.watch import readings_of
from tests.edge.shelves import sent, stands_of

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]
ROUNDS = 60
Took = tuple[float, float]
"""Milliseconds by the clock, and of this thread's processor time, into which nobody else's work counts."""
CLOCK = SystemClock()


def timed(work: Callable[[], object]) -> Took:
    began, used = CLOCK.monotonic(), time.thread_time()
    work()
    return 1000 * (CLOCK.monotonic() - began), 1000 * (time.thread_time() - used)


def test_the_step_against_bare_onnxruntime() -> None:
    """One slot changes in each frame, as when somebody takes something; then the same frame again.

    The bare session has ONNX Runtime's own settings, one thread, and the letterboxed frame.
    """
    cv2.setNumThreads(1)
    slots = shelf_of(31)
    full = {slot.name: slot.capacity for slot in slots}
    detector, stands, scene = OnnxDetector.load(), stands_of(slots), Scene(slots, 31, untidy=True)
    picture = sent(Scene(slots, 1031, untidy=True).render(full, 0.0))
    eye = ShelfEye(stands, detector, FullShelf(picture, stands, detector))
    plans = {f"cam-1/facings/{slot.name}": Plan(slot.name, slot.sku, f"cam-1/facings/{slot.name}", depth=slot.depth)
             for slot in slots}
    states = {plan.slot: stock.SlotState() for plan in plans.values()}
    levels, frames = dict(full), []
    for n in range(ROUNDS):
        slot = slots[n % len(slots)]
        levels[slot.name] = (levels[slot.name] - slot.depth) % (slot.capacity + 1)
        frames.append(sent(scene.render(levels, 0.0)))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(DEFAULT_MODEL), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    shown = {given.name: letterbox(fitted(frames[0]), *detector.card.input)[0][None]}
    bare, whole, still = list[Took](), list[Took](), list[Took]()

    def step(frame: Image, n: int) -> None:
        verdict = eye.judge(frame, float(n))
        for reading in readings_of("cam-1", verdict, tuple(full), 1.8e9 + 60 * n):
            plan = plans.get(reading.name)
            if plan is not None:
                states[plan.slot], _ = stock.step(plan, states[plan.slot], reading)

    for n, frame in enumerate(frames):
        bare.append(timed(lambda: session.run(None, shown)))
        asked = eye.inferences
        # A copy each time: a frame comes from its decoder, and lies where that has just put it.
        took = timed(partial(step, frame.copy(), 2 * n))
        if eye.inferences > asked:
            whole.append(took)
        still.append(timed(partial(step, frame.copy(), 2 * n + 1)))
    ours, theirs, idle = (np.median(each[3:], axis=0) for each in (whole, bare, still))
    for i, what in enumerate(("by the clock", "of the processor")):
        print(f"\nframe to levels, one thread, {len(slots)} slots, ms {what}: {ours[i]:.1f}; bare session.run "
              f"{theirs[i]:.1f}; {ours[i] / theirs[i]:.2f}x; unchanged frame {idle[i]:.1f}", end="")
    print()
    assert len(whole) > ROUNDS // 2
