"""The production feed: the days ahead per SKU and region, from published days, with its method and figures told."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cloud_ingest.forecast import BACKTEST_DAYS, FORECASTERS, SIMPLE
from cloud_ingest.forecast_reading import Asked, Expected, Production, read_production
from cloud_ingest.grid import cells_of
from cloud_ingest.http import create_app
from cloud_ingest.keeper import Door, Keeper
from cloud_ingest.release import release
from edge.clock import SystemClock
from edge.errors import ConfigError
from tests.cloud_ingest.estimate.test_evaluate import ask
from tests.cloud_ingest.estimate.test_forecast import needs_library
from tests.cloud_ingest.town import DAY, MIDNIGHT, Given, Town, quarters

COLA, OLD, NEW = "4000417025005", "4000417025012", "4006381333931"
UNITS = (3.0, 4.0, 5.0, 6.0, 7.0, 12.0, 0.0)
"""Units a shop sells of COLA on each weekday; MIDNIGHT is a Monday, and on Sundays all are closed."""
WEEKS, LONG_WEEKS = 2, 12


def day(number: int, shop: str, sku: str = COLA) -> Iterator[Given]:
    """Two windows of an open day, always in stock."""
    for hour in (9, 15) if number % 7 < 6 else ():
        yield shop, sku, MIDNIGHT + number * DAY + hour * 3600, {
            "sold": UNITS[number % 7] / 2, "in_stock": 900.0, "observed": 900.0}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two weeks: six shops in one region, of which one is silent on the last Saturday, and one in another."""
    town = Town(tmp_path_factory.mktemp("published") / "cloud.db", quarters(1, [6]), "UTC", "Mo-Sa 09:00-16:00")
    town.add("far", cells_of(48.137, 11.575)[0], "UTC", "Mo-Sa 09:00-16:00")
    for number in range(WEEKS * 7):
        shops = [f"s{i}" for i in range(6)][: 5 if number == WEEKS * 7 - 2 else 6]
        town.send(given for shop in (*shops, "far") for given in day(number, shop))
    town.store.close()
    release(town.path, MIDNIGHT + (WEEKS * 7 + 1) * DAY)
    return town.path


@pytest.fixture(scope="module")
def long_past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve weeks of one shop, with a SKU that ended two months ago and one that is three days old."""
    town = Town(tmp_path_factory.mktemp("long") / "cloud.db", quarters(1, [1]), "UTC", "Mo-Sa 09:00-16:00")
    last = LONG_WEEKS * 7
    for number in range(last):
        town.send([*day(number, "s0"), *(day(number, "s0", OLD) if number < 21 else ()),
                   *(day(number, "s0", NEW) if number >= last - 4 else ())], MIDNIGHT + (number + 1) * DAY)
    town.store.close()
    return town.path


@pytest.fixture(scope="module")
def long(long_past: Path) -> Production:
    """The same, forecast the simple way."""
    return asked(long_past, LONG_WEEKS, scope="operator", methods=(SIMPLE,))


def asked(path: Path, weeks: int, **more: object) -> Production:
    return read_production(Asked(path, MIDNIGHT + weeks * 7 * DAY + 8 * 3600, **more))  # type: ignore[arg-type]  # a test's keywords


def of(found: Production, sku: str) -> list[Expected]:
    return [row for row in found.rows if row.sku == sku]


def test_the_weekdays_come_back_and_a_closed_day_stays_closed(long: Production) -> None:
    rows = of(long, COLA)
    assert [row.ahead for row in rows] == list(range(1, 29))
    assert [row.date for row in rows[:2]] == ["2026-05-24", "2026-05-25"]
    assert [row.units for row in rows] == pytest.approx((UNITS[-1:] + UNITS[:-1]) * 4)
    assert all(row.low <= row.units <= row.high for row in rows)
    assert rows[0].high == 0


def test_the_method_is_told_with_the_figures_that_chose_it(long: Production) -> None:
    assert (long.method, long.history_days, long.known_to) == (SIMPLE, LONG_WEEKS * 7 - 1, "2026-05-23")
    assert long.backtest[SIMPLE].n > 0
    assert long.backtest[SIMPLE].wape < 10


def test_a_short_past_is_told_and_not_tested(published: Path) -> None:
    found = asked(published, WEEKS)
    assert found.backtest == {}
    assert f"takes {BACKTEST_DAYS}" in found.why


def test_what_is_gone_is_not_forecast_and_what_is_new_is_not_sure(long: Production) -> None:
    assert of(long, OLD) == []
    rows = [row for row in of(long, NEW) if row.units]
    assert rows
    assert all(row.low < row.units < row.high for row in rows)


def test_only_published_regions_are_forecast(published: Path) -> None:
    cells = {row.cell for row in asked(published, WEEKS).rows}
    assert len(cells) == 1
    assert len({row.cell for row in asked(published, WEEKS, scope="operator").rows}) == 2


@pytest.mark.parametrize("scope", ["public", "operator"])
def test_a_silent_shop_does_not_lower_the_forecast(published: Path, scope: str) -> None:
    """In public its part is withheld and stands for what the others sell; the operator's feed estimates it."""
    found = asked(published, WEEKS, scope=scope)
    saturday = max((row for row in found.rows if row.date == "2026-03-21"), key=lambda row: row.units)
    assert saturday.units == pytest.approx(6 * UNITS[5], rel=0.1)
    assert 0.005 < found.silent_share < 0.03


def test_nothing_is_known_before_the_first_day(tmp_path: Path) -> None:
    town = Town(tmp_path / "cloud.db", quarters(1, [1]))
    town.store.close()
    for scope in ("public", "operator"):
        found = asked(town.path, 1, scope=scope)
        assert (found.known_to, found.rows) == (None, [])


@pytest.mark.parametrize("days", [0, 29])
def test_other_horizons_are_refused(published: Path, days: int) -> None:
    with pytest.raises(ConfigError, match="1 to 28"):
        asked(published, WEEKS, days=days)


def test_the_command_prints_a_table_csv_or_json(published: Path) -> None:
    told = json.loads(ask("forecast", "--db", published, "--days", 2, "--json").stdout)
    assert told["method"] == SIMPLE
    assert set(told["rows"][0]) == {"cell", "sku", "date", "ahead", "units", "low", "high"}
    assert len(told["rows"]) == 2
    lines = ask("forecast", "--db", published, "--days", 2, "--csv").stdout.splitlines()
    assert lines[0] == "cell,sku,date,ahead,units,low,high"
    assert len(lines) == 3
    plain = ask("forecast", "--db", published, "--days", 2)
    assert "80% interval" in plain.stdout
    assert SIMPLE in plain.stderr
    both = ask("forecast", "--db", published, "--csv", "--json")
    assert isinstance(both.exception, ConfigError)


@needs_library
def test_the_command_compares_with_the_library_and_uses_the_better_way(long_past: Path) -> None:
    """In a process of its own: the library compiles while it loads, and warns."""
    command = [sys.executable, "-m", "cloud_ingest", "demand", "forecast", "--db", str(long_past)]
    done = subprocess.run([*command, "--scope", "operator", "--days", "7", "--json"], capture_output=True, text=True,
                          check=True, timeout=300)
    told = json.loads(done.stdout)
    scores = {method: score["wape"] for method, score in told["backtest"].items()}
    assert set(scores) == set(FORECASTERS)
    assert told["method"] == (SIMPLE if scores[SIMPLE] <= min(scores.values()) else "exponential smoothing")
    assert len(told["rows"]) == 2 * 7
    assert all(0 <= row["low"] <= row["units"] <= row["high"] < 100 for row in told["rows"])
    assert "not compared" not in done.stderr


def test_it_is_served_and_no_public_server_gives_the_operators(published: Path) -> None:
    app = create_app(published, asyncio.Event(), Keeper(published, "public", Door(), SystemClock()))

    async def get(**params: object) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/v1/forecast", params={key: str(value) for key, value in params.items()})

    found = asyncio.run(get(days=3, sku=COLA)).json()
    assert [row["ahead"] for row in found["rows"]] == [1, 2, 3]
    assert asyncio.run(get(scope="operator")).status_code == 403
    assert asyncio.run(get(days=29)).status_code == 422
