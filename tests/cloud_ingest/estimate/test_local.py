"""Local slots: the wall clock's, through summer time and odd offsets."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pytest

from cloud_ingest.estimate.estimator import estimate_day, learn
from cloud_ingest.estimate.local import EPOCH, Flow, local_slots, to_windows
from cloud_ingest.estimate.rows import by_day, join
from edge.errors import ConfigError
from tests.cloud_ingest.estimate.shops import SHIPPED, series

QUARTER = 900


def starts(when: str, size: int) -> np.ndarray:
    """Window starts of 15 minutes from a UTC time on."""
    first = int(datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp())
    return first + np.arange(size) * QUARTER


def test_a_day_has_ninety_six_slots_from_local_midnight() -> None:
    day, weekday, slot = local_slots(starts("2026-03-01T18:15", 96), "Asia/Kathmandu", QUARTER)  # +5:45
    assert set(day) == {date(2026, 3, 2).toordinal() - EPOCH}
    assert set(weekday) == {0}
    assert list(slot) == list(range(96))


def test_the_hour_that_repeats_has_its_slots_twice() -> None:
    day, _, slot = local_slots(starts("2026-10-24T22:00", 100), "Europe/Berlin", QUARTER)
    assert set(day) == {date(2026, 10, 25).toordinal() - EPOCH}
    counts = np.bincount(slot, minlength=96)
    assert list(np.flatnonzero(counts == 2)) == [8, 9, 10, 11]
    assert counts.sum() == 100


def test_the_hour_left_out_has_none() -> None:
    day, _, slot = local_slots(starts("2026-03-28T23:00", 92), "Europe/Berlin", QUARTER)
    assert set(day) == {date(2026, 3, 29).toordinal() - EPOCH}
    assert list(np.flatnonzero(np.bincount(slot, minlength=96) == 0)) == [8, 9, 10, 11]


def test_two_zones_see_one_window_on_two_days() -> None:
    window = starts("2026-06-01T22:30", 1)
    assert local_slots(window, "Europe/Lisbon", QUARTER)[0] + 1 == local_slots(window, "Europe/Madrid", QUARTER)[0]


def test_hours_work_as_slots_too() -> None:
    _, _, slot = local_slots(starts("2026-06-01T00:00", 4), "UTC", 3600)
    assert list(slot) == [0, 0, 0, 0]


def test_no_windows_have_no_places() -> None:
    assert [part.size for part in local_slots(np.array([], dtype=np.intp), "UTC", QUARTER)] == [0, 0, 0]


def test_seconds_become_parts_of_the_window_and_never_more_than_it() -> None:
    seconds = [np.array([450.0, 1000.0, 900.0]), np.array([900.0, 1000.0, 450.0]), np.array([900.0, 900.0, 900.0])]
    flow = Flow(np.array([0, 1, 2]), starts("2026-06-01T00:00", 3), np.ones(3), *seconds)
    found = to_windows(flow, "UTC", QUARTER)
    assert list(found.in_stock) == [0.5, 1.0, 0.5]
    assert list(found.observed) == [1.0, 1.0, 0.5]
    assert list(found.slot) == [0, 1, 2]


def test_windows_of_two_zones_split_into_their_own_local_days() -> None:
    size = 8
    parts = []
    for number, zone in enumerate(("Europe/Lisbon", "Europe/Madrid")):
        each = np.full(size, 900.0)
        flow = Flow(np.full(size, number), starts("2026-06-01T21:30", size), np.ones(size), each, each, each)
        parts.append(to_windows(flow, zone, QUARTER))
    first, second = by_day(join(parts))
    assert first.day[0] + 1 == second.day[0]
    assert np.bincount(first.series).tolist() == [6, 2]
    assert np.bincount(second.series).tolist() == [2, 6]


def test_the_day_with_the_repeated_hour_is_longer_and_estimated_as_that() -> None:
    """25 hours without a sensor are silent for a little more than a usual day."""
    def flow(first: str, size: int, observed: float) -> Flow:
        each = np.full(size, observed)
        return Flow(np.zeros(size, dtype=np.intp), starts(first, size), each / QUARTER, each, each,
                    np.full(size, float(QUARTER)))

    shop = series(1, 1)
    past = to_windows(flow("2026-10-17T22:00", 96 * 7, QUARTER), "Europe/Berlin", QUARTER)
    model = learn(list(by_day(past)), shop, 96, SHIPPED)
    long = to_windows(flow("2026-10-24T22:00", 100, 0.0), "Europe/Berlin", QUARTER)
    assert estimate_day(long, model).estimates.silent.sum() == pytest.approx(100, rel=0.02)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd"])
def test_an_unknown_time_zone_is_told(name: str) -> None:
    with pytest.raises(ConfigError, match="no IANA time zone"):
        local_slots(starts("2026-06-01T00:00", 1), name, QUARTER)
