"""Signals: what is slow, near its date, missing, too warm or new, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cloud_ingest.__main__ import app
from cloud_ingest.feed import Query, read_feed
from cloud_ingest.release import release
from cloud_ingest.signal_reading import Asked, read_signal
from cloud_ingest.signals import DAY_S, Batch, Stock, cold_chain, hot_spots, near_date, slow, uptake
from cloud_ingest.store.protocol import Arrival, Delivery, Item
from edge import wire
from edge.errors import ConfigError
from edge.wire import Fact
from tests.cloud_ingest.town import MIDNIGHT, Town, quarters

NOW = MIDNIGHT + 28.0 * DAY_S
COLA, MILK = "4000417025005", "4000417025012"


def stock(on_hand: float, per_day: float, moved_days_ago: float | None, days: float = 28.0) -> Stock:
    last = None if moved_days_ago is None else NOW - moved_days_ago * DAY_S
    return Stock("s1", COLA, on_hand, per_day, last, days)


def test_slow_is_stock_for_over_a_month_and_unsalable_what_stood_still_for_two_weeks() -> None:
    fast, lasting, dead = stock(10, 2.0, 0.1), stock(90, 1.0, 1.0), stock(6, 0.0, None)
    still, empty, young = stock(4, 0.5, 15.0), stock(0, 0.0, None), stock(50, 0.0, None, 3.0)
    found = slow([fast, lasting, dead, still, empty, young], NOW)
    assert [(row.on_hand, row.cover_days, row.still_days, row.unsalable) for row in found] == [
        (6, None, 28.0, True), (4, 8.0, 15.0, True), (90, 90.0, 1.0, False)]


def test_what_expires_first_is_sold_first_and_the_rest_is_at_risk() -> None:
    week, fortnight = int(NOW + 7 * DAY_S), int(NOW + 14 * DAY_S)
    batches = [Batch(week, 0, 20.0), Batch(fortnight, 1, 10.0)]
    found = near_date(stock(25, 1.0, 0.1), batches, NOW)
    assert [(row.best_before, row.left, row.at_risk) for row in found] == [(week, 15.0, 8.0), (fortnight, 10.0, 3.0)]
    assert near_date(stock(5, 1.0, 0.1), batches, NOW)[0].left == 5.0
    assert near_date(stock(5, 1.0, 0.1), batches, NOW)[0].best_before == fortnight
    past = near_date(stock(30, 1.0, 0.1), [Batch(int(NOW) - DAY_S, 0, 30.0)], NOW)
    assert [(row.days_left, row.at_risk) for row in past] == [(-1.0, 30.0)]


@given(st.floats(0, 200), st.floats(0, 20), st.lists(st.tuples(st.integers(-10, 60), st.floats(0, 50)), max_size=6))
def test_no_more_is_at_risk_than_is_left_and_no_more_left_than_there_is(
        on_hand: float, per_day: float, dates: list[tuple[int, float]]) -> None:
    batches = [Batch(int(NOW + days * DAY_S), 0, units) for days, units in dates]
    found = near_date(stock(on_hand, per_day, 0.1), batches, NOW, within_days=100)
    assert sum(row.left for row in found) <= on_hand + 1e-6
    assert all(0 <= row.at_risk <= row.left + 1e-9 for row in found)


def test_a_fridge_that_was_open_is_told_and_a_warm_room_is_not() -> None:
    minutes = [(NOW + 600.0 * i, 4.0 if not 10 <= i < 22 else 12.0) for i in range(60)]
    room = [(NOW + 600.0 * i, 22.0) for i in range(60)]
    limits = {MILK: (8.0, 20.0), COLA: (30.0, 5.0)}
    (warm,) = cold_chain("s1", {"probe-1": minutes, "room": room, "silent": []}, limits)
    assert (warm.probe, warm.sku, warm.hours, warm.warmest, warm.units_at_risk) == ("probe-1", MILK, 2.0, 12.0, 20.0)
    gap = [(NOW, 4.0), (NOW + 60, 4.0), (NOW + 120, 12.0), (NOW + 9 * 3600, 4.0)]
    assert cold_chain("s1", {"probe-1": gap}, limits)[0].hours == 1.0  # nothing is known of the other eight


def test_a_fridge_that_has_been_off_for_most_of_the_day_is_no_room() -> None:
    failed = [(NOW + 600.0 * i, 4.0 if i < 44 else 20.0) for i in range(144)]
    (warm,) = cold_chain("s1", {"probe-1": failed}, {MILK: (8.0, 20.0)})
    assert (warm.hours, warm.warmest) == (16.5, 20.0)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two areas; in the second, milk is out of stock half of the time; cola is new since the 10th day."""
    town = Town(tmp_path_factory.mktemp("signals") / "cloud.db", quarters(2, [2, 2]))
    town.store.put_items([Item(COLA, "Cola", "drinks", launched=MIDNIGHT + 10 * DAY_S),
                          Item(MILK, "Milk", "dairy", most_celsius=8.0)])
    town.send((f"s{shop}", MILK, MIDNIGHT + day * DAY_S + hour * 3600, {
        "sold": 1.0, "in_stock": 900.0 if shop < 2 or hour % 2 else 0.0, "observed": 900.0})
        for shop in range(4) for day in range(24, 28) for hour in range(8, 12))
    town.send((f"s{shop}", COLA, MIDNIGHT + day * DAY_S + 9 * 3600, {"sold": 2.0, "in_stock": 900.0, "observed": 900.0})
              for shop in range(2) for day in range(20, 27))
    facts = [Fact("slot/A1/level", NOW - 60, "count", 40.0, "ok", MILK)]
    facts += [Fact("probe-1/temperature", NOW - 7200 + 600 * i, "Cel", 4.0 if i % 4 else 11.0, "ok") for i in range(12)]
    payload = wire.encode_batch("s0-box", facts, st="f" * 32, seq=1, lo=1, boot=1)
    town.store.commit([Arrival("s0-box", wire.up("s0-box", "data"), wire.decode_batch("s0-box", payload))], [], NOW)
    town.store.put_deliveries([Delivery("s0", MILK, int(NOW + 3 * DAY_S), MIDNIGHT, 30.0)])
    town.store.close()
    release(town.path, NOW)  # teaches the estimates what a day is like
    return town.path


def test_signals_are_read_from_what_the_ingest_has(path: Path) -> None:
    asked = Asked(path, "operator", 7, NOW)
    (spot,) = read_signal("hot-spots", asked)
    assert (spot.sku, spot.days, spot.in_stock_share) == (MILK, 4, 0.5)
    (warm,) = read_signal("cold-chain", asked)
    assert (warm.store, warm.sku, warm.units_at_risk, warm.hours) == ("s0", MILK, 40.0, 0.5)
    (near,) = read_signal("near-date", asked)
    assert (near.left, near.days_left) == (30.0, 3.0)
    assert read_signal("slow", asked) == []  # watched for four days only
    weeks = read_signal("uptake", asked)
    assert [(row.sku, row.week, row.sold, row.sold_per_shop_day) for row in weeks] == [
        (COLA, 1, 16.0, 2.0), (COLA, 2, 12.0, 2.0)]


def test_what_tells_of_single_shops_is_not_public(path: Path) -> None:
    for name in ("slow", "near-date", "cold-chain"):
        with pytest.raises(ConfigError, match="tells of single shops"):
            read_signal(name, Asked(path, "public", 7, NOW))
    assert read_signal("hot-spots", Asked(path, "public", 7, NOW)) == []


def test_signals_are_made_of_rows_only() -> None:
    assert hot_spots([]) == []
    assert uptake([], {COLA: 0}) == []


def test_the_command_writes_what_it_found(path: Path) -> None:
    run = CliRunner().invoke
    shown = run(app, ["feed", "signals", "hot-spots", "--db", str(path), "--scope", "operator", "--json"])
    days = [row.start for row in read_feed(Query(path, "operator", 7, DAY_S))]
    assert days
    assert json.loads(shown.stdout) == []  # by the wall clock that week is long past
    refused = run(app, ["feed", "signals", "slow", "--db", str(path)])
    assert "--scope operator" in str(refused.exception) or "scope operator" in str(refused.exception)
