"""What is published of a day, by releases: exact sums, no way back to a shop, and nothing taken back."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cloud_ingest.__main__ import app
from cloud_ingest.area import parent
from cloud_ingest.facts import reading
from cloud_ingest.feed import Query, read_feed
from cloud_ingest.grid import RESOLUTIONS
from cloud_ingest.privacy import DOMINANT, SHOPS, Floats, Ints
from cloud_ingest.published import tables
from cloud_ingest.release import LENGTHS, Released, State, days_of, folder_of, release, state_of
from cloud_ingest.store.protocol import Item
from tests.cloud_ingest.attack import dominated, isolated
from tests.cloud_ingest.town import DAY, MIDNIGHT, REGION, Given, Town, quarters

NOW = MIDNIGHT + 2 * DAY
COLA, MILK = "4000417025005", "4000417025012"
Row = dict[str, Any]
Key = tuple[int, str, str, int]


def read(path: Path, state: State | None = None, windows: tuple[int, ...] = LENGTHS) -> dict[Key, Row]:
    """Every public row by window length, cell, SKU and start."""
    return {(window, row["cell"], row["sku"], row["start"]): row for window in windows for resolution in RESOLUTIONS
            for table in tables(path, state or state_of(path), resolution, window, None, 0, 2**40)
            for row in table.to_pylist()}


def taken(path: Path, number: int) -> list[Row]:
    """The facts that a release took in."""
    return [row for file in (folder_of(path) / "facts").glob(f"*/{number}.parquet")
            for row in pq.read_table(file).to_pylist()]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path / "cloud.db", quarters(3, [6, 7, 3]))
    yield made
    made.store.close()


def sale(shop: int, sku: str = COLA, start: int = MIDNIGHT + 8 * 3600, sold: float = 2.0, **flows: float) -> Given:
    return f"s{shop}", sku, start, {"sold": sold, "in_stock": 900.0, "observed": 900.0, **flows}


def test_a_day_is_published_after_its_end_and_not_before(town: Town) -> None:
    town.send(sale(shop, start=start) for shop in range(16) for start in range(MIDNIGHT, MIDNIGHT + DAY, 900))
    assert release(town.path, MIDNIGHT + DAY).rows == 0
    assert read(town.path) == {}
    done = release(town.path, MIDNIGHT + DAY + 6 * 3600)
    assert (done.release, done.facts, done.waiting) == (1, 16 * 96, 0)
    rows = read(town.path)
    assert done.rows == len(rows)
    assert rows[DAY, REGION, COLA, MIDNIGHT]["sold"] == 16 * 96 * 2
    sevens = [key[1] for key in rows if key[0] == 900 and h3.get_resolution(key[1]) == 7]
    assert len(sevens) == 96  # the third has 3 shops: its sibling, the smaller one, keeps it company
    assert rows[DAY, REGION, COLA, MIDNIGHT]["withheld_stores"] == 0
    parents = {key[1]: row["withheld_stores"] for key, row in rows.items() if key[0] == DAY and row["withheld_stores"]}
    assert set(parents.values()) == {9}
    assert release(town.path, NOW).rows == 0


def test_the_command_publishes_and_the_feed_then_shows_it(town: Town) -> None:
    town.send(sale(shop) for shop in range(16))
    run = CliRunner().invoke
    assert run(app, ["feed", "--db", str(town.path)]).stdout == "no rows yet\n"
    told = run(app, ["feed", "publish", "--db", str(town.path)])
    assert told.stdout.startswith("release 1: ")
    assert "16 facts; 0 facts wait" in told.stdout
    again = json.loads(run(app, ["feed", "publish", "--db", str(town.path), "--json"]).stdout)
    assert (again["release"], again["rows"]) == (1, 0)
    shown = run(app, ["feed", "--db", str(town.path), "--window", "1d", "--resolution", "5", "--format", "json"])
    assert [row["sold"] for row in json.loads(shown.stdout)] == [32.0]
    assert "withheld" in run(app, ["feed", "schema"]).stdout


def test_too_few_shops_wait_and_are_published_once_they_are_enough(town: Town) -> None:
    town.send(sale(shop) for shop in range(4))
    done = release(town.path, NOW)
    assert (done.rows, done.facts, done.waiting) == (0, 0, 4)
    assert state_of(town.path).release == 0
    town.send([sale(4)])
    assert release(town.path, NOW).facts == 5
    assert {row["sold"] for row in read(town.path).values()} == {10.0}


def test_late_data_of_one_shop_wait_for_others_and_change_the_right_windows(town: Town) -> None:
    at = [MIDNIGHT + hour * 3600 for hour in (8, 9)]
    town.send(sale(shop, start=start) for shop in range(6) for start in at)
    release(town.path, NOW)
    before = read(town.path)
    town.send([sale(6, start=at[0], sold=5.0)])
    done = release(town.path, NOW)
    assert (done.facts, done.waiting) == (0, 1)
    assert read(town.path) == before
    town.send(sale(shop, start=at[0], sold=5.0) for shop in range(7, 12))
    assert release(town.path, NOW).facts == 6
    after = read(town.path)
    assert after[3600, REGION, COLA, at[0]]["sold"] == 6 * 2 + 6 * 5
    assert after[3600, REGION, COLA, at[0]]["revision"] == 2
    assert after[3600, REGION, COLA, at[1]] == before[3600, REGION, COLA, at[1]]
    assert after[DAY, REGION, COLA, MIDNIGHT]["sold"] == 6 * 4 + 6 * 5
    assert set(after) == set(before)
    assert read(town.path, State(release=1)) == before


def test_how_far_the_slowest_shop_is_is_told_in_whole_windows_of_the_day(town: Town) -> None:
    town.send(sale(shop, start=MIDNIGHT + 9 * 3600) for shop in range(16))
    town.send(sale(shop, start=MIDNIGHT + DAY + (9 * 3600 if shop else 8 * 3600 + 317)) for shop in range(16))
    release(town.path, NOW + DAY)
    told = {key[3]: row["complete_to"] for key, row in read(town.path).items() if key[:2] == (DAY, REGION)}
    assert told == {MIDNIGHT: MIDNIGHT + DAY, MIDNIGHT + DAY: MIDNIGHT + DAY + 8 * 3600}


def test_a_column_that_one_shop_holds_is_withheld_alone(town: Town) -> None:
    town.send(sale(shop, put_back=1.0, restocked=24.0 if shop == 3 else 0.0) for shop in range(8))
    release(town.path, NOW)
    row = read(town.path)[DAY, REGION, COLA, MIDNIGHT]
    assert (row["put_back"], row["restocked"]) == (8.0, None)
    assert row["withheld"] == "restocked silent"
    assert row["in_stock_share"] == 1.0


def test_longer_windows_say_how_much_of_them_they_hold(town: Town) -> None:
    start = MIDNIGHT + 8 * 3600
    town.send(sale(shop, start=start + 900 * i) for shop in range(8) for i in range(8))
    release(town.path, NOW)
    rows = read(town.path, windows=(1800, 2 * 3600, 7 * DAY))
    assert {row["covered_s"] for key, row in rows.items() if key[0] == 7200} == {7200}
    assert {row["sold"] for key, row in rows.items() if key[0] == 1800 and key[1] == REGION} == {32.0}
    assert {row["covered_s"] for key, row in rows.items() if key[0] == 7 * DAY} == {DAY}


@pytest.mark.parametrize("hours", [7, 36])
def test_a_window_that_straddles_midnight_is_one_row(town: Town, hours: int) -> None:
    town.send(sale(shop, start=MIDNIGHT + 3600 * hour) for shop in range(8) for hour in range(72))
    release(town.path, NOW + 2 * DAY)
    found = [row for table in tables(town.path, state_of(town.path), 5, hours * 3600, None, 0, 2**40)
             for row in table.to_pylist()]
    starts = [row["start"] for row in found]
    assert starts == sorted(set(starts), reverse=True)
    assert {row["sold"] for row in found if row["covered_s"] == hours * 3600} == {8.0 * 2 * hours}
    assert sum(row["sold"] for row in found) == 8 * 2 * 72


def test_a_day_that_is_only_half_published_is_no_day_yet(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.send(sale(shop, start=MIDNIGHT + day * DAY) for shop in range(8) for day in (0, 1))
    release(town.path, NOW)
    before = days_of(town.path)
    assert before == [MIDNIGHT // DAY]
    with monkeypatch.context() as broken:
        broken.setattr("cloud_ingest.release._write_state", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            release(town.path, NOW + DAY)
    assert days_of(town.path) == before


def test_a_sku_that_got_another_name_later_is_found_under_it(town: Town) -> None:
    town.send(sale(shop) for shop in range(8))
    release(town.path, NOW)
    town.store.put_items([Item(MILK, "Milk", "dairy", replaces=(COLA,))])
    town.send(sale(shop, MILK, MIDNIGHT + 9 * 3600, 1.0) for shop in range(8))
    release(town.path, NOW)
    (row,) = [row for key, row in read(town.path).items() if key[0] == DAY and key[1] == REGION]
    assert (row["sku"], row["sold"], row["revision"]) == (MILK, 24.0, 2)
    (found,) = read_feed(Query(town.path, resolution=5, window_s=DAY, skus=(COLA,)))
    assert (found.sku, found.sold) == (MILK, 24.0)


def test_a_shop_that_moved_within_the_region_stands_for_one(tmp_path: Path) -> None:
    cells = quarters(2, [2, 2])
    town = Town(tmp_path / "cloud.db", cells)
    town.add("s0", cells[2], since=MIDNIGHT + 12 * 3600)
    town.send(sale(shop, start=MIDNIGHT + hour * 3600) for shop in range(4) for hour in (8, 16))
    assert release(town.path, NOW).rows == 0
    town.store.close()


def test_a_release_that_was_stopped_is_done_again_and_shows_nothing_meanwhile(
        town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.send(sale(shop, start=MIDNIGHT + day * DAY) for shop in range(8) for day in (0, 1))
    with monkeypatch.context() as broken:
        broken.setattr("cloud_ingest.release._write_state", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            release(town.path, NOW + DAY)
    assert len(list(folder_of(town.path).glob("rows/*/1.parquet"))) == 2
    assert read(town.path) == {}
    town.send([sale(8)])
    assert release(town.path, NOW + DAY).facts == 17
    assert read(town.path)[DAY, REGION, COLA, MIDNIGHT]["sold"] == 18.0


def test_two_publications_at_once_are_one_after_the_other(town: Town) -> None:
    """Else both would write release 1, one with shop 8 and one without, and a reader could subtract them."""
    town.send(sale(shop) for shop in range(8))
    waits, others = threading.Event(), list[Released]()
    second = threading.Thread(target=lambda: others.append(release(town.path, NOW, tick=lambda _: waits.set())))

    def meanwhile(_: str) -> None:
        if second.ident is None:
            town.send([sale(8)])
            second.start()
            waits.wait()

    assert release(town.path, NOW, tick=meanwhile).facts == 8
    second.join()
    assert [(done.release, done.facts, done.waiting) for done in others] == [(1, 0, 1)]


def test_facts_of_a_store_that_nobody_registered_are_in_no_row(town: Town) -> None:
    town.send(sale(shop) for shop in range(8))
    town.store.remove_shop("s7", MIDNIGHT)
    release(town.path, NOW)
    assert read(town.path)[DAY, REGION, COLA, MIDNIGHT]["sold"] == 14.0


def filled(path: Path, seed: int) -> Town:
    """A small town, a first release, then late facts and a second one; every shop sends what it likes."""
    rng = np.random.default_rng(seed)
    shops = int(rng.integers(6, 13))
    per_cell = rng.multinomial(shops, rng.dirichlet(np.ones(3) * 2))
    town = Town(path, quarters(3, [int(count) for count in per_cell]))
    size = rng.choice([0.5, 2.0, 8.0], shops)
    late = rng.random((shops, 8)) < rng.choice([0.0, 0.1, 0.5])
    for phase in (0, 1):
        town.send(
            (f"s{shop}", sku, MIDNIGHT + 900 * window, {
                "sold": float(rng.poisson(size[shop])), "put_back": float(rng.random() < 0.2),
                "in_stock": 900.0 if rng.random() < 0.8 else 450.0, "observed": 900.0})
            for shop in range(shops) for window in range(8) for sku in (COLA, MILK)
            if late[shop, window] == bool(phase))
        release(path, NOW)
    town.store.close()
    return town


def known(path: Path, revisions: list[dict[Key, Row]], measure: str) -> tuple[Floats, Floats, Ints]:
    """Every public row of every revision as weights of the facts taken in, their values, and whose they are."""
    facts = [(number, fact) for number in (1, 2) for fact in taken(path, number)]
    parts = [{(row["window_s"], row["id"], row["sku"], row["start"]) for file in
              (folder_of(path) / "rows").glob(f"*/{number}.parquet") for row in pq.read_table(file).to_pylist()}
             for number in (1, 2)]
    vectors, sums = [], []
    places = cells_by_store(path)
    for number, rows in enumerate(revisions, 1):
        for (window, cell, sku, start), row in rows.items():
            if row[measure] is None:
                continue
            level, name = h3.get_resolution(cell), h3.str_to_int(cell)
            vectors.append([float(fact["sku"] == sku and start <= fact["win"] < start + window and n <= number
                                  and parent(places[fact["store"]], level) == name
                                  and (window, name, sku, start) in parts[n - 1]) for n, fact in facts])
            sums.append(row[measure])
    values = np.array([fact[measure] for _, fact in facts], dtype=float)
    matrix = np.array(vectors).reshape(len(vectors), len(facts))
    assert matrix @ values == pytest.approx(np.array(sums))
    return matrix, values, np.unique([fact["store"] for _, fact in facts], return_inverse=True)[1]


def cells_by_store(path: Path) -> dict[str, int]:
    with reading(path) as source:
        return {store: int(cell, 16) for store, cell in source.execute("SELECT id, r9 FROM store")}


@settings(max_examples=8)
@given(st.integers(0, 2**32))
def test_no_subtraction_across_cells_windows_skus_and_revisions_tells_of_few_shops(seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = filled(Path(folder) / "cloud.db", seed).path
        revisions = [read(path, State(release=number + 1)) for number in range(state_of(path).release)]
        for measure in ("sold", "put_back", "lost"):
            rows, values, owner = known(path, revisions, measure)
            assert isolated(rows, owner, SHOPS) is None
            if (values >= 0).all():
                assert dominated(rows, values, owner, DOMINANT) is None


def test_the_small_towns_do_publish_something_of_every_kind() -> None:
    seen: set[tuple[int, int, int]] = set()
    for seed in range(3):
        with tempfile.TemporaryDirectory() as folder:
            path = filled(Path(folder) / "cloud.db", seed).path
            seen |= {(key[0], h3.get_resolution(key[1]), int(row["revision"])) for key, row in read(path).items()}
    assert {window for window, _, _ in seen} == set(LENGTHS)
    assert {resolution for _, resolution, _ in seen} >= {5, 7, 9}
    assert {revision for _, _, revision in seen} == {1, 2}


def test_the_schema_says_what_each_column_means(town: Town) -> None:
    town.send(sale(shop) for shop in range(8))
    release(town.path, NOW)
    table = next(tables(town.path, state_of(town.path), 7, DAY, None, 0, 2**40))
    assert isinstance(table, pa.Table)
    assert all(field.metadata[b"meaning"] for field in table.schema)
