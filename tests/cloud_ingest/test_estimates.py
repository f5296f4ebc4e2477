"""Estimates in the feed: learned from the past, added up over cells and windows, silence apart from demand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_ingest import estimates, frames, model
from cloud_ingest.facts import engine, fill_flow, load_hours, load_registry, reading
from cloud_ingest.feed import Query, read_feed
from cloud_ingest.frames import read_frames
from cloud_ingest.http import cells_geojson
from cloud_ingest.rows import FeedRow
from edge.errors import StoreError
from tests.cloud_ingest.town import DAY, MIDNIGHT, Given, Town, quarters

COLA, NEW = "4000417025005", "4006381333931"
HOURS = range(8, 20)


def day(number: int, shop: str, out_from: int = 24, sku: str = COLA) -> Iterator[Given]:
    """Two units an hour from 8 to 20 h, none once the shelf is empty."""
    for hour in HOURS:
        for quarter in range(4):
            there = hour < out_from
            yield shop, sku, MIDNIGHT + number * DAY + hour * 3600 + quarter * 900, {
                "sold": 0.5 if there else 0.0, "in_stock": 900.0 if there else 0.0, "observed": 900.0}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two weeks of three shops; on the last day one is out of stock from noon on, and one sends nothing."""
    town = Town(tmp_path_factory.mktemp("estimates") / "cloud.db", quarters(2, [2, 1]), "UTC", "08:00-20:00")
    for number in range(14):
        town.send(given for shop in ("s0", "s1", "s2") for given in day(number, shop))
    town.send([*day(14, "s0"), *day(14, "s1", 12)])
    town.store.close()
    with reading(town.path) as source, engine() as duck:
        load_registry(duck, source)
        fill_flow(duck, source, MIDNIGHT, MIDNIGHT + 14 * DAY)
        load_hours(duck, MIDNIGHT, MIDNIGHT + 14 * DAY)
        assert estimates.learn(duck, source, model.model_file(source)) == 3
    return town.path


def rows(path: Path, resolution: int, window_s: int, since: int = MIDNIGHT + 14 * DAY) -> list[FeedRow]:
    return read_feed(Query(path, "operator", resolution, window_s, since=since))


def test_an_empty_shelf_is_estimated_and_a_silent_shop_is_not_part_of_demand(path: Path) -> None:
    (row,) = rows(path, 5, DAY)
    assert row.sold == 24 + 8
    assert row.lost == pytest.approx(16, rel=0.2)
    assert row.demand == row.sold + (row.lost or 0)
    assert row.demand_low is not None
    assert row.demand_high is not None
    assert row.sold < row.demand_low < row.demand < row.demand_high
    assert row.silent == pytest.approx(24, rel=0.2)
    assert (row.stores_expected, row.stores_reporting) == (3, 2)


def test_windows_and_cells_add_up(path: Path) -> None:
    (whole,) = rows(path, 5, DAY)
    for resolution, window_s in ((5, 900), (5, 3600), (9, DAY), (9, 3600)):
        parts = rows(path, resolution, window_s)
        for name in ("sold", "lost"):
            assert sum(getattr(row, name) or 0 for row in parts) == pytest.approx(getattr(whole, name))
    hours = rows(path, 5, 3600)
    assert all(row.demand_low is not None and row.demand_low <= (row.demand or 0) for row in hours)


def test_a_part_of_a_day_is_estimated_like_the_whole_day(path: Path) -> None:
    whole = {(row.cell, row.start): row for row in rows(path, 9, 900)}
    for row in rows(path, 9, 900, MIDNIGHT + 14 * DAY + 13 * 3600):
        assert row.lost == pytest.approx(whole[row.cell, row.start].lost)
        assert row.silent == whole[row.cell, row.start].silent


def test_a_series_without_a_past_leans_on_the_others(path: Path, tmp_path: Path) -> None:
    town = Town(tmp_path / "cloud.db", quarters(1, [2]), "UTC", "08:00-20:00")
    town.send([*day(0, "s0"), *day(0, "s1", 12), *day(0, "s0", 12, NEW)])
    town.store.close()
    (tmp_path / "cloud.db.model.npz").write_bytes((path.parent / "cloud.db.model.npz").read_bytes())
    found = {row.sku: row for row in rows(town.path, 5, DAY, MIDNIGHT)}
    assert found[COLA].lost == pytest.approx(16, rel=0.25)
    assert 0 < (found[NEW].lost or 0) < 24


def test_a_damaged_model_is_named_with_its_fix(tmp_path: Path) -> None:
    town = Town(tmp_path / "cloud.db", quarters(1, [1]))
    town.send(day(0, "s0"))
    town.store.close()
    (tmp_path / "cloud.db.model.npz").write_bytes(b"PK damaged")
    with pytest.raises(StoreError, match=r"is no model.*delete it"):
        rows(town.path, 9, DAY, MIDNIGHT)


def test_a_cell_whose_shops_are_all_silent_has_a_row_that_says_so(path: Path) -> None:
    """s2, which sends nothing on the last day, is alone in its cell of resolution 7."""
    found = {row.stores_reporting: row for row in rows(path, 7, DAY)}
    row = found[0]
    assert (row.stores_expected, row.observed, row.sold, row.revision) == (1, 0, 0, 0)
    assert (row.demand, row.demand_low, row.lost, row.in_stock_share) == (None, None, None, None)
    assert row.silent == pytest.approx(24, rel=0.2)
    assert not row.heard
    assert found[2].heard
    for window_s in (900, 3600):
        assert sum(part.silent or 0 for part in rows(path, 7, window_s) if not part.heard) == pytest.approx(row.silent)


def test_silence_is_no_sale_on_the_map(path: Path) -> None:
    now = MIDNIGHT + 14 * DAY + 19.75 * 3600
    frame = read_frames(path, "operator", frames.Asked(7, DAY), now)
    told = dict(zip(frame["cells"], zip(*(frame["frames"][0]["columns"][name] for name in (
        "sold", "stores", "reporting")), strict=True), strict=True))
    assert sorted(told.values(), key=str) == [(32.0, 2, 2), (None, 1, 0)]
    shown = [feature["properties"] for feature in cells_geojson(path, 7, DAY, now)["features"]]
    assert {each["sold"] for each in shown if each["stores"]} == {32.0, None}


@pytest.mark.parametrize(("ahead", "silent"), [(1, 0), (2, 2)])
def test_a_clock_that_is_ahead_makes_nobody_else_silent(path: Path, tmp_path: Path, ahead: int, silent: int) -> None:
    """Where most of the shops are ahead it is the ingest that is behind, as in a simulation."""
    shops = ("s0", "s1", "s2")
    town = Town(tmp_path / "cloud.db", quarters(2, [2, 1]), "UTC", "08:00-20:00")
    (tmp_path / "cloud.db.model.npz").write_bytes((path.parent / "cloud.db.model.npz").read_bytes())
    now = MIDNIGHT + 10 * 3600
    town.send((given for shop in shops for given in day(0, shop) if given[2] < now), now)
    town.send(((shop, COLA, now + DAY, {"sold": 1.0, "observed": 900.0}) for shop in shops[:ahead]), now)
    town.store.close()
    found = rows(town.path, 9, DAY, MIDNIGHT + DAY)
    assert sum(row.stores_reporting for row in found if row.heard) == ahead
    assert sum((row.silent or 0) > 0 for row in found) == silent
