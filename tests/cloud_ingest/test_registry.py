"""The registry's awkward cases: shops that move, end or vanish, SKUs that change their name, clocks that are ahead."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import h3
import pytest
from typer.testing import CliRunner

from cloud_ingest.__main__ import app
from cloud_ingest.area import parse_area
from cloud_ingest.feed import Query, latest_window, read_feed
from cloud_ingest.registry import load_registry
from cloud_ingest.rows import FeedRow
from cloud_ingest.store.protocol import Item
from edge.errors import ConfigError
from tests.cloud_ingest.town import DAY, MIDNIGHT, Town, quarters

COLA, OLD = "4000417025005", "cola-2025"
HERE, THERE = quarters(2, [1, 1])
NOON = MIDNIGHT + 12 * 3600


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path / "cloud.db", [HERE])
    yield made
    made.store.close()


def feed(town: Town, window_s: int = 900, **more: object) -> list[FeedRow]:
    return read_feed(Query(town.path, "operator", 9, window_s, **more))  # type: ignore[arg-type]


def sold(town: Town, window_s: int = 900) -> dict[tuple[str, int], float]:
    return {(row.cell, row.start): row.sold for row in feed(town, window_s)}


def sale(at: int, units: float = 1.0, sku: str = COLA) -> tuple[str, str, int, dict[str, float]]:
    return "s0", sku, at, {"sold": units, "in_stock": 900.0, "observed": 900.0}


def test_a_shop_that_moved_across_a_border_leaves_its_past_behind(town: Town) -> None:
    town.send([sale(NOON - 900), sale(NOON, 2.0)])
    town.add("s0", THERE, "America/Lima", since=NOON)
    assert sold(town) == {(HERE, NOON - 900): 1.0, (THERE, NOON): 2.0}
    assert sold(town, DAY) == {(HERE, MIDNIGHT): 1.0, (THERE, MIDNIGHT): 2.0}
    assert {(row.cell, row.stores_expected) for row in feed(town)} == {(HERE, 1), (THERE, 1)}
    town.send([sale(NOON - 1800, 4.0)])  # late, from before the move
    assert sold(town)[HERE, NOON - 1800] == 4.0


def test_a_place_that_was_wrong_is_put_right_for_the_past_too(town: Town) -> None:
    town.send([sale(NOON)])
    town.add("s0", THERE)
    assert sold(town) == {(THERE, NOON): 1.0}


def test_a_store_that_ended_keeps_its_past_and_is_expected_no_more(town: Town) -> None:
    town.add("s1", HERE)
    town.send([sale(NOON), ("s1", COLA, NOON, {"sold": 1.0}), ("s1", COLA, NOON + 900, {"sold": 1.0})])
    ended = CliRunner().invoke(app, ["store", "remove", "s0", "--when", str(NOON + 900), "--db", str(town.path)])
    assert ended.exit_code == 0
    later, earlier = feed(town)
    assert (earlier.sold, earlier.stores_expected) == (2.0, 2)
    assert (later.sold, later.stores_expected) == (1.0, 1)
    nobody = CliRunner().invoke(app, ["store", "remove", "s9", "--db", str(town.path)])
    assert "is no store of the registry" in str(nobody.exception)
    town.add("s0", HERE)
    assert feed(town)[0].stores_expected == 2


def test_a_registry_row_that_was_deleted_takes_its_facts_out_of_the_cells_only(town: Town) -> None:
    town.send([sale(NOON)])
    with sqlite3.connect(town.path) as db:
        db.execute("DELETE FROM store WHERE id = 's0'")
    db.close()
    assert feed(town) == []
    town.add("s0", HERE)
    assert sold(town) == {(HERE, NOON): 1.0}


def test_a_renamed_sku_is_one_with_its_past(town: Town) -> None:
    town.send([sale(NOON, sku=OLD), sale(NOON, 2.0), sale(NOON + 900, 4.0, OLD)])
    town.store.put_items([Item(COLA, "Cola", "drinks", replaces=(OLD,))])
    assert [(row.sku, row.sold) for row in feed(town)] == [(COLA, 4.0), (COLA, 3.0)]
    assert [row.sold for row in feed(town, skus=(OLD,))] == [4.0, 3.0]


def test_a_clock_a_day_ahead_does_not_become_the_newest_window(town: Town) -> None:
    town.add("s1", HERE)
    town.add("s2", HERE)
    town.send([sale(NOON), ("s1", COLA, NOON, {"sold": 1.0}), ("s2", COLA, NOON + DAY - 900, {"sold": 1.0})], NOON + 60)
    assert latest_window(town.path, NOON + 60) == NOON
    assert latest_window(town.path, NOON + DAY) == NOON + DAY - 900
    alone = Query(town.path, "operator", 9, since=NOON + 900)
    assert [row.start for row in read_feed(alone)] == [NOON + DAY - 900]  # nothing is lost, and nothing is moved


def test_a_whole_fleet_that_is_ahead_is_a_simulation(town: Town) -> None:
    town.send([sale(NOON + 3600)], NOON)
    assert latest_window(town.path, NOON) == NOON + 3600


def test_a_cell_without_shops_is_an_empty_answer(town: Town) -> None:
    town.send([sale(NOON)])
    assert feed(town, area=parse_area(cell=h3.latlng_to_cell(0, 0, 7))) == []
    assert feed(town, area=parse_area(bbox="0,0,1,1")) == []


def test_shops_at_a_pentagon_and_at_the_date_line_are_shops_like_others(town: Town) -> None:
    pentagon = h3.cell_to_center_child(next(iter(h3.get_pentagons(5))), 9)
    fiji = h3.latlng_to_cell(-17.0, 179.999, 9)
    town.add("s1", pentagon)
    town.add("s2", fiji, "Pacific/Fiji")
    town.send([sale(NOON), ("s1", COLA, NOON, {"sold": 1.0}), ("s2", COLA, NOON, {"sold": 1.0})])
    assert {row.cell for row in feed(town)} == {HERE, pentagon, fiji}
    around = parse_area(polygon="179,-18;-179,-18;-179,-16;179,-16")
    assert [row.cell for row in feed(town, area=around)] == [fiji]


def test_a_registry_file_says_where_when_and_how_long(tmp_path: Path) -> None:
    file = tmp_path / "stores.toml"
    file.write_text('[[stores]]\nid = "s1"\nlat = 52.5\nlon = 13.4\ndevices = ["box-1"]\ntz = "Europe/Berlin"\n'
                    'hours = "Mo-Sa 07:00-22:00"\nsince = 2026-03-02\n')
    (shop,) = load_registry(file)
    assert (shop.hours, shop.since) == ("Mo-Sa 07:00-22:00", MIDNIGHT)
    file.write_text(file.read_text().replace("Mo-Sa", "Montag"))
    with pytest.raises(ConfigError, match="are no opening hours"):
        load_registry(file)
