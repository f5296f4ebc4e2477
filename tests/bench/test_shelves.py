"""Twenty virtual shelves that no training has seen: what the agent says stands in each slot, against the truth."""

from __future__ import annotations

import pytest

from edge.vision.onnx import OnnxDetector
from tests.edge.shelves import Score, watch

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]
SEEDS, SCENES = range(200, 220), 12


def test_out_of_stock_and_units() -> None:
    detector, rows = OnnxDetector.load(), dict[str, Score]()
    print(f"\n{len(SEEDS)} shelves x {SCENES} scenes x 9 frames, a frame each minute")
    for what, hard in (("clean", False), ("bumped 5%, half light, customers", True)):
        score = rows[what] = Score()
        for seed in SEEDS:
            watch(seed, detector, hard, SCENES, score)
        print(f"  {what:<34} out of stock: precision {score.precision:.3f}, recall {score.recall:.3f}; units off by "
              f"{score.error:.1%} of capacity; {len(score.off)} slots judged, {score.told} of {score.frames} frames "
              f"told a level, camera moved by up to {score.moved:.1%}")
    clean, hard_row = rows.values()
    for score in rows.values():
        assert score.precision >= 0.97
        assert score.recall >= 0.97
        assert score.error <= 0.05
    assert abs(clean.precision - hard_row.precision) <= 0.02
    assert abs(clean.recall - hard_row.recall) <= 0.02
    assert abs(clean.error - hard_row.error) <= 0.02
