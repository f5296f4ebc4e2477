"""How near the feed comes to the truth: 200 shops, 14 days, a fifth of the hours sold out, a tenth silent.

    python -m pytest -q -s -m bench tests/bench/test_town.py

Each day is sent and published as in service, so the public rows are those of the model of that day. `plain` is Poisson
demand; in `swinging` each series' rate of a day has a gamma factor of variance 0.1 besides.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud_ingest.feed import Query, read_feed
from cloud_ingest.release import release
from cloud_ingest.rows import Scope
from tests.cloud_ingest import shopping
from tests.cloud_ingest.shopping import Bools, Judged, Plan, Truth
from tests.cloud_ingest.town import DAY, MIDNIGHT

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1200)]
PLANS = {"plain": Plan(200, 14), "swinging": Plan(200, 14, swing=0.1)}
PUBLISHED_FROM = 6
"""The finest resolution at which so few shops may be published."""


@pytest.mark.parametrize("name", PLANS)
def test_estimated_demand_against_the_truth(name: str, tmp_path: Path) -> None:
    plan = PLANS[name]
    truth = shopping.live(plan)
    town = shopping.settle(truth, tmp_path / "cloud.db")
    print(f"\n{name}: {100 * (1 - truth.in_stock.mean() / shopping.WINDOW_S):.1f}% of the hours sold out, "
          f"{100 * (1 - truth.heard.mean()):.1f}% silent, of which {100 * truth.late.mean():.1f}% come late")
    for day in range(plan.days):
        shopping.send(town, truth, truth.heard, day)
        release(town.path, MIDNIGHT + (day + 1) * DAY + 7 * 3600)
    found = [*(_judged(town.path, truth, truth.heard, "operator", level) for level in (9, 8, 7, 6, 5)),
             *(_judged(town.path, truth, truth.heard, "public", level) for level in range(5, PUBLISHED_FROM + 1))]
    shopping.send(town, truth, truth.late)
    release(town.path, MIDNIGHT + plan.days * DAY + 9 * 3600)
    print("and once the late facts are there")
    found += [_judged(town.path, truth, truth.heard | truth.late, "operator", level) for level in (9, 8, 7, 6, 5)]
    assert all(abs(each.bias) <= 3 for each in found)


def _judged(db: Path, truth: Truth, heard: Bools, scope: Scope, resolution: int) -> Judged:
    found = shopping.judge(truth, heard, read_feed(Query(db, scope, resolution, DAY)), resolution)
    print(f"{scope} {resolution}: {found}")
    return found
