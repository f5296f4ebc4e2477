"""The feed: sums per cell, SKU and window; every format says the same; every mistake says its fix."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import h3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cloud_ingest import feed
from cloud_ingest.__main__ import app
from cloud_ingest.area import Area
from cloud_ingest.feed import Query, latest_window, parse_time, parse_window
from cloud_ingest.formats import encode
from cloud_ingest.grid import cells_of
from cloud_ingest.rows import COLUMNS, SCHEMA, FeedRow
from edge.errors import ConfigError, StoreError
from tests.cloud_ingest.feeding import CELL, COLA, FAR, MILK, NOW, PLACES, T0, Cloud


def read_feed(path: Path, resolution: int = 8, window_s: int = 900, sku: str | None = None, cell: str | None = None,
              since: float | None = None, until: float | None = None) -> list[FeedRow]:
    """The operator's feed."""
    return feed.read_feed(Query(path, "operator", resolution, window_s, Area(cell), None if sku is None else (sku,),
                                since=since, until=until))


def render(rows: list[FeedRow], form: str) -> bytes:
    columns = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
    return b"".join(encode(iter([pa.table(columns, schema=SCHEMA)] if rows else []), form))


def test_a_cell_adds_up_its_stores(cloud: Cloud) -> None:
    cloud.send("shop-a", COLA, T0, sold=3.0, put_back=1.0, in_stock=450.0, observed=900.0)
    cloud.send("shop-b", COLA, T0, sold=1.0, restocked=6.0, in_stock=900.0, observed=900.0)
    (row,) = read_feed(cloud.path)
    assert (row.cell, row.sku, row.start, row.window_s) == (CELL, COLA, T0, 900)
    assert (row.sold, row.put_back, row.restocked) == (4.0, 1.0, 6.0)
    assert row.in_stock_share == pytest.approx(0.75)
    assert row.demand == pytest.approx(3 * 2 + 1)
    assert row.lost == pytest.approx(3)
    assert (row.stores_expected, row.stores_reporting, row.complete_to) == (2, 2, T0)


def test_an_empty_shelf_has_no_known_demand(cloud: Cloud) -> None:
    cloud.send("shop-c", MILK, T0, sold=0.0, in_stock=0.0, observed=900.0)
    (row,) = read_feed(cloud.path)
    assert row.in_stock_share == 0.0
    assert row.demand is None
    assert row.lost is None


def test_a_silent_store_is_expected_and_leaves_the_cell_incomplete(cloud: Cloud) -> None:
    cloud.send("shop-a", COLA, T0, sold=1.0, in_stock=900.0, observed=900.0)
    (row,) = read_feed(cloud.path)
    assert (row.stores_expected, row.stores_reporting, row.complete_to) == (2, 1, None)


def test_a_store_without_the_sku_reports_all_the_same(cloud: Cloud) -> None:
    cloud.send("shop-a", COLA, T0, sold=1.0)
    cloud.send("shop-b", MILK, T0, sold=1.0)
    cloud.send("shop-b", MILK, T0 + 900, sold=1.0)
    assert [(row.start, row.sku, row.stores_reporting) for row in read_feed(cloud.path)] == [
        (T0 + 900, MILK, 1), (T0, COLA, 2), (T0, MILK, 2)]
    assert [row.stores_reporting for row in read_feed(cloud.path, sku=COLA)] == [2]


def test_a_cell_is_complete_to_its_slowest_device(cloud: Cloud) -> None:
    cloud.send("shop-a", COLA, T0 + 1800, sold=1.0)
    cloud.send("shop-b", COLA, T0, sold=1.0)
    assert {row.complete_to for row in read_feed(cloud.path)} == {T0}


def test_longer_windows_hold_the_same_sums(cloud: Cloud) -> None:
    for quarter in range(5):
        cloud.send("shop-a", COLA, T0 + 900 * quarter, sold=1.0, in_stock=900.0, observed=900.0)
    assert [(row.start, row.sold) for row in read_feed(cloud.path, window_s=3600)] == [(T0 + 3600, 1.0), (T0, 4.0)]
    assert [row.start for row in read_feed(cloud.path)] == [T0 + 900 * i for i in range(4, -1, -1)]
    assert latest_window(cloud.path, NOW, 3600) == T0 + 3600


@pytest.mark.parametrize("resolution", [5, 6, 7, 8, 9])
def test_every_resolution_holds_every_unit(cloud: Cloud, resolution: int) -> None:
    for device, sold in (("shop-a", 1.0), ("shop-b", 2.0), ("shop-c", 4.0)):
        cloud.send(device, COLA, T0, sold=sold)
    assert sum(row.sold for row in read_feed(cloud.path, resolution)) == 7.0


def plain(row: FeedRow) -> FeedRow:
    """Without the revision, which tells when; and without what adding up in another order changes."""
    short: dict[str, Any] = {name: None if getattr(row, name) is None else round(getattr(row, name), 6)
                             for name in ("demand", "lost", "in_stock_share")}
    return replace(row, revision=0, **short)


SENT = st.lists(st.tuples(st.sampled_from(["shop-a", "shop-b", "shop-c"]), st.sampled_from([COLA, MILK]),
                          st.integers(0, 9), st.integers(0, 50), st.integers(0, 900)), min_size=1, max_size=12)


@settings(max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # a smaller case takes minutes
@given(SENT, st.randoms(use_true_random=False), st.sampled_from([900, 3600, 86_400]))
def test_neither_order_nor_resolution_changes_the_sums(
        sent: list[tuple[str, str, int, int, int]], shuffle: Random, window_s: int) -> None:
    feeds = []
    for order in (sent, shuffle.sample(sent, len(sent))):
        with tempfile.TemporaryDirectory() as folder:
            cloud = Cloud(Path(folder) / "cloud.db")
            for device, sku, quarter, sold, seconds in order:
                cloud.send(device, sku, T0 + 900 * quarter, sold=float(sold), in_stock=float(seconds), observed=900.0)
            feeds.append([[plain(row) for row in read_feed(cloud.path, resolution, window_s)]
                          for resolution in (9, 8, 7, 6, 5)])
            cloud.store.close()
    assert feeds[0] == feeds[1]
    for fine, coarse in zip(feeds[0], feeds[0][1:], strict=False):
        children: Counter[tuple[str, str, int]] = Counter()
        for row in fine:
            parent = h3.cell_to_parent(row.cell, h3.get_resolution(row.cell) - 1)
            children[parent, row.sku, row.start] += int(row.sold)
        assert {(row.cell, row.sku, row.start): row.sold for row in coarse} == dict(children)


def test_filters_narrow_and_whole_windows_stay_whole(cloud: Cloud) -> None:
    for quarter in range(8):
        cloud.send("shop-a", COLA, T0 + 900 * quarter, sold=1.0)
    cloud.send("shop-c", MILK, T0, sold=9.0)
    assert {row.sku for row in read_feed(cloud.path, sku=MILK)} == {MILK}
    assert {row.cell for row in read_feed(cloud.path, cell=FAR)} == {FAR}
    assert {row.cell for row in read_feed(cloud.path, resolution=9, cell=FAR)} == {cells_of(*PLACES["c"])[0]}
    assert read_feed(cloud.path, cell=cells_of(0.0, 0.0)[1]) == []
    late = read_feed(cloud.path, window_s=3600, since=T0 + 3600 + 1700)
    assert [(row.start, row.sold) for row in late] == [(T0 + 3600, 4.0)]
    early = read_feed(cloud.path, window_s=3600, sku=COLA, until=T0 + 100)
    assert [(row.start, row.sold) for row in early] == [(T0, 4.0)]


def test_every_format_says_the_same(cloud: Cloud) -> None:
    cloud.send("shop-a", COLA, T0, sold=3.0, in_stock=450.0, observed=900.0)
    cloud.send("shop-c", MILK, T0, sold=0.0, in_stock=0.0, observed=900.0)
    rows = read_feed(cloud.path)
    as_json = json.loads(render(rows, "json"))
    as_parquet = pq.read_table(io.BytesIO(render(rows, "parquet"))).to_pylist()
    as_csv = list(csv.DictReader(io.StringIO(render(rows, "csv").decode())))
    assert as_json == as_parquet
    assert tuple(as_csv[0]) == COLUMNS
    as_arrow = pa.ipc.open_stream(render(rows, "arrow")).read_all()
    assert as_arrow.to_pylist() == as_json
    assert as_arrow.schema.field("sold").metadata[b"meaning"].startswith(b"Units that left")
    as_map = json.loads(render(rows, "geojson"))["features"]
    assert [each["properties"] for each in as_map] == as_json
    assert as_map[0]["geometry"]["type"] == "Polygon"
    for one, other in zip(as_csv, as_json, strict=True):
        assert {name: float(value) if isinstance(other[name], float) else value for name, value in one.items()} == {
            name: value if isinstance(value, float) else "" if value is None else str(value)
            for name, value in other.items()}
    assert pq.read_table(io.BytesIO(render([], "parquet"))).num_rows == 0
    table = render(rows, "table").decode()
    assert "not known" in table
    assert CELL in table
    assert "no rows yet" in render([], "table").decode()


@given(st.integers(1, 999), st.sampled_from("mhd"))
def test_a_duration_is_its_number_of_units(n: int, unit: str) -> None:
    assert parse_window(f"{n}{unit}") == n * {"m": 60, "h": 3600, "d": 86_400}[unit]


def test_times_are_utc_where_they_name_no_zone() -> None:
    assert parse_time("2026-03-02T08:00") == T0
    assert parse_time("2026-03-02T09:00+01:00") == T0
    assert parse_time(str(T0)) == T0
    assert parse_time(None) is None


@pytest.mark.parametrize(("options", "told"), [
    (["--window", "10m"], "15m"), (["--window", "0m"], "15m"), (["--window", "soon"], "15m"),
    (["--resolution", "4"], "use 5"), (["--since", "yesterday"], "2026-03-02T08:00"),
])
def test_a_mistake_is_told_with_its_fix(cloud: Cloud, options: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["feed", "--db", str(cloud.path), *options])
    assert isinstance(result.exception, ConfigError)
    assert told in str(result.exception)


@pytest.mark.parametrize(("words", "key"), [
    (["publish", "--grace", "soon"], "grace"),
    (["export", "--out", "never-made", "--every", "soon"], "every"),
    (["export", "--out", "never-made", "--window", "soon"], "window"),
    (["--until", "soon"], "until"),
    (["--since", "soon"], "since"),
])
def test_a_mistake_is_told_under_its_options_name(cloud: Cloud, words: list[str], key: str) -> None:
    error = CliRunner().invoke(app, ["feed", *words, "--db", str(cloud.path)]).exception
    assert isinstance(error, ConfigError)
    assert [problem.key for problem in error.problems] == [key]


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such database"):
        read_feed(tmp_path / "missing.db")
    (tmp_path / "text.db").write_text("this is no database, and long enough to be looked at " * 4)
    with pytest.raises(StoreError, match="cannot be read"):
        read_feed(tmp_path / "text.db")
    assert not (tmp_path / "missing.db").exists()


def test_reading_changes_nothing(cloud: Cloud) -> None:
    cloud.send("shop-a", COLA, T0, sold=1.0)
    with sqlite3.connect(cloud.path) as db:
        before = db.execute("PRAGMA data_version").fetchone()
        read_feed(cloud.path)
        assert db.execute("PRAGMA data_version").fetchone() == before
    db.close()


def test_the_command_writes_to_a_pipe_and_to_a_file(cloud: Cloud, tmp_path: Path) -> None:
    cloud.send("shop-a", COLA, T0, sold=1.0)
    run = CliRunner().invoke
    shown = run(app, ["feed", "--db", str(cloud.path), "--scope", "operator", "--format", "json"])
    assert [row["sold"] for row in json.loads(shown.stdout)] == [1.0]
    piped = run(app, ["feed", "--db", str(cloud.path), "--scope", "operator", "--format", "parquet"])
    assert piped.stdout_bytes.startswith(b"PAR1")
    out = tmp_path / "feed.parquet"
    assert run(app, ["feed", "--db", str(cloud.path), "--scope", "operator", "--format", "parquet", "--out", str(out)]
               ).exit_code == 0
    assert pq.read_table(out).num_rows == 1
    failed = run(app, ["feed", "--db", str(cloud.path), "--out", str(tmp_path / "no" / "where")])
    assert isinstance(failed.exception, ConfigError)


def test_the_help_has_an_example() -> None:
    shown = CliRunner().invoke(app, ["feed", "--help"], env={"COLUMNS": "200"})
    assert "cornergrid-cloud feed" in shown.stdout
