"""Opening hours on the shop's wall clock, the days on which it is put forward or back included."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_ingest import feed
from cloud_ingest.area import parse_area
from cloud_ingest.hours import Schedule, check, local_days, open_seconds
from edge.errors import ConfigError
from tests.cloud_ingest.town import DAY, REGION, Town, quarters

BERLIN = "Europe/Berlin"
SPRING, AUTUMN = (int(datetime(2026, month, day, tzinfo=UTC).timestamp()) for month, day in ((3, 29), (10, 25)))
COLA = "4000417025005"


def opened(hours: str, tz: str, start: int, days: int = 1) -> list[float]:
    windows = np.arange(start - 12 * 3600, start + days * DAY + 12 * 3600, 900)
    seconds = open_seconds(Schedule(hours, tz), windows)
    day = local_days(tz, windows)
    first = start // DAY
    return [float(seconds[day == first + number].sum()) / 3600 for number in range(days)]


def test_a_day_has_its_hours_whatever_the_clock_does() -> None:
    assert opened("08:00-20:00", BERLIN, SPRING) == [12.0]
    assert opened("00:00-24:00", BERLIN, SPRING) == [23.0]
    assert opened("00:00-24:00", BERLIN, AUTUMN) == [25.0]
    assert opened("", BERLIN, AUTUMN) == [25.0]


def test_an_hour_that_repeats_is_open_twice_and_one_that_is_left_out_never() -> None:
    assert opened("02:00-03:00", BERLIN, AUTUMN) == [2.0]
    assert opened("02:00-03:00", BERLIN, SPRING) == [0.0]
    assert opened("01:30-03:30", BERLIN, AUTUMN) == [3.0]


def test_weekdays_and_nights_are_the_shops_own() -> None:
    monday = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp())
    assert opened("Mo-Sa 07:00-22:00; Su 09:00-18:00", "Asia/Kathmandu", monday, 7) == [15.0] * 6 + [9.0]
    assert opened("Fr 20:00-02:30", "UTC", monday, 7) == [0, 0, 0, 0, 4.0, 2.5, 0]
    assert opened("Mo 10:05-10:10", "UTC", monday) == [pytest.approx(5 / 60)]


@given(st.integers(0, 47), st.integers(1, 48), st.sampled_from(["UTC", BERLIN, "Australia/Lord_Howe",
                                                                "America/St_Johns", "Pacific/Chatham"]))
def test_no_window_is_open_for_longer_than_it_is(begin: int, length: int, tz: str) -> None:
    end = min(48, begin + length)
    text = f"{begin // 2:02}:{begin % 2 * 30:02}-{end // 2:02}:{end % 2 * 30:02}"
    windows = np.arange(SPRING - 10 * DAY, SPRING + 10 * DAY, 900)
    seconds = open_seconds(Schedule(text, tz), windows)
    assert ((seconds >= 0) & (seconds <= 900)).all()
    assert abs(seconds.sum() / 3600 - 20 * (end - begin) / 2) <= 24


@pytest.mark.parametrize(("hours", "tz", "told"), [
    ("Mo-Xx 25:00", "UTC", "are no opening hours"), ("", "Mars/Olympus", "is no time zone"),
    ("", "../etc", "is no time zone"),
])
def test_a_mistake_names_the_key_and_the_fix(hours: str, tz: str, told: str) -> None:
    with pytest.raises(ConfigError, match="store x") as caught:
        check(Schedule(hours, tz), "store x")
    assert told in str(caught.value)


def test_a_cell_that_straddles_two_zones_counts_each_shop_by_its_own_clock(tmp_path: Path) -> None:
    (cell,) = quarters(1, [1])
    town = Town(tmp_path / "cloud.db", [])
    town.add("west", cell, "Europe/London", "08:00-20:00")
    town.add("east", cell, "Europe/Paris", "08:00-20:00")
    start = SPRING + DAY + 6 * 3600  # 07:00 in London, 08:00 in Paris: both are an hour ahead since yesterday
    town.send((shop, COLA, start + 3600 * hour, {"sold": 1.0, "in_stock": 900.0, "observed": 900.0})
              for shop in ("west", "east") for hour in range(2))
    town.store.close()
    first, second = sorted(feed.read_feed(feed.Query(town.path, "operator", 9, 3600)), key=lambda row: row.start)
    assert (first.stores_expected, first.observed, first.sold) == (1, 900.0, 2.0)
    assert (second.stores_expected, second.observed) == (2, 1800.0)


def test_the_hour_that_repeats_is_two_hours_of_the_feed(tmp_path: Path) -> None:
    town = Town(tmp_path / "cloud.db", quarters(1, [1]), BERLIN, "02:00-03:00")
    town.send((("s0", COLA, AUTUMN + 900 * quarter, {"sold": 1.0, "observed": 900.0}) for quarter in range(-4, 12)),
              now=AUTUMN + DAY)
    town.store.close()
    rows = feed.read_feed(feed.Query(town.path, "operator", 9, 3600, parse_area(cell=REGION)))
    assert {row.start - AUTUMN: (row.observed, row.stores_expected) for row in rows} == {
        -3600: (0.0, 0), 0: (3600.0, 1), 3600: (3600.0, 1), 7200: (0.0, 0)}
