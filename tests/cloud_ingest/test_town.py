"""End to end, small: shops with empty shelves and dead lines, through the store into the feed, against the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud_ingest import model
from cloud_ingest.estimate.parameters import read_parameters
from cloud_ingest.feed import Query, read_feed
from cloud_ingest.release import release
from tests.cloud_ingest import shopping
from tests.cloud_ingest.shopping import Plan, Truth
from tests.cloud_ingest.town import DAY, MIDNIGHT, Town

PLAN = Plan(shops=30, days=6, swing=0.1)


@pytest.fixture(scope="module")
def truth() -> Truth:
    return shopping.live(PLAN)


@pytest.fixture(scope="module")
def town(truth: Truth, tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Everything but what comes late, and published."""
    made = shopping.settle(truth, tmp_path_factory.mktemp("town") / "cloud.db")
    shopping.send(made, truth, truth.heard)
    release(made.path, MIDNIGHT + (PLAN.days + 1) * DAY)
    return made


def test_a_fifth_of_the_hours_are_sold_out_and_a_tenth_are_silent(truth: Truth) -> None:
    assert 0.15 < 1 - truth.in_stock.mean() / shopping.WINDOW_S < 0.25
    assert 0.09 < 1 - truth.heard.mean() < 0.13


@pytest.mark.parametrize("resolution", [9, 7, 5])
def test_demand_is_estimated_near_the_truth_in_every_size_of_cell(town: Town, truth: Truth, resolution: int) -> None:
    found = shopping.judge(truth, truth.heard, read_feed(Query(town.path, "operator", resolution, DAY)), resolution)
    assert found.lost > 12, found  # what sales alone would be short of
    assert abs(found.bias) < 4, found
    assert found.wape < found.lost, found
    assert 65 < found.covered <= 100, found
    assert abs(found.silent_bias) < 20, found


def test_what_was_learned_of_the_shops_is_kept_beside_the_database(town: Town, tmp_path: Path) -> None:
    learned = model.parameters_of(town.path)
    known = model.load(town.path.with_name(f"{town.path.name}.model.npz"))
    assert known is not None
    assert known.model.parameters == learned
    assert model.parameters_of(tmp_path / "none.db") == read_parameters()


def test_what_is_published_is_as_near(town: Town, truth: Truth) -> None:
    rows = read_feed(Query(town.path, "public", 5, DAY))
    found = shopping.judge(truth, truth.heard, rows, 5)
    assert found.n > 20
    assert abs(found.bias) < 4, found
    assert all(row.heard for row in rows)  # silence alone is told to the operator only


def test_late_facts_turn_silence_into_sales(town: Town, truth: Truth) -> None:
    before = shopping.judge(truth, truth.heard, read_feed(Query(town.path, "operator", 5, DAY)), 5)
    shopping.send(town, truth, truth.late)
    heard = truth.heard | truth.late
    found = shopping.judge(truth, heard, read_feed(Query(town.path, "operator", 5, DAY)), 5)
    assert abs(found.bias) < 4, found
    assert found.unheard < before.unheard
    assert abs(found.silent_bias) < 25, found
