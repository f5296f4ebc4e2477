"""How good the demand estimate is on the whole of ../shared/demand, and what it costs beside bare sums."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cloud_ingest.estimate import evaluate as judge
from cloud_ingest.estimate.baselines import GAMMA_POISSON
from cloud_ingest.estimate.estimator import estimate_day
from cloud_ingest.estimate.freshretail import Panel, read_panel, windows
from cloud_ingest.estimate.parameters import read_parameters
from edge.clock import SystemClock

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]
SHARED = Path(__file__).parents[3] / "shared" / "demand" / "freshretailnet_half.parquet"
CLOCK = SystemClock()


def quiet(_: str) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def panel() -> Panel:
    if not SHARED.exists():
        pytest.skip("../shared/demand/freshretailnet_half.parquet is not here")
    return read_panel(SHARED)


def test_what_the_estimate_reaches(panel: Panel) -> None:
    found, simple = judge.evaluate(panel, read_parameters(), quiet), judge.baselines(panel)
    for row, score in found.items():
        plain = simple[GAMMA_POISSON][row]
        print(f"\n{row}: bias {score.bias:+.1f}%, WAPE {score.wape:.1f}%, {score.coverage80:.1f}% in the 80% interval; "
              f"WAPE {score.wape / plain.wape:.2f} of the plain Gamma-Poisson's, whose bias is {plain.bias:+.1f}%")
        assert score.wape < plain.wape


def test_what_a_day_costs(panel: Panel) -> None:
    """One day of 24,875 series and 18 windows each, against adding up its columns by series."""
    model = judge.learn_history(panel, read_parameters(), quiet)
    part = windows(panel, 60)

    def bare() -> None:
        for column in (part.sold, part.in_stock, part.observed):
            np.bincount(part.series, column)

    estimate, plain = (min(_took(do) for _ in range(5)) for do in (lambda: estimate_day(part, model), bare))
    print(f"\n{part.sold.size:,} windows: {part.sold.size / estimate / 1e6:.1f} M windows/s, "
          f"{estimate / plain:.0f} times three bare sums")


def _took(do: object) -> float:
    assert callable(do)
    start = CLOCK.monotonic()
    do()
    return CLOCK.monotonic() - start
