"""A whole day through the agent's own arithmetic, against the truth."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from edge.profile import Slot
from edge.sim.day import Wear, camera_readings, polls, scale_readings
from edge.sim.story import Arm, PutBack, Restocked, Taken, day
from edge.sim.truth import totals, truth_of

ON = date(2026, 3, 2)
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
SLOT = Slot.model_validate({"name": "A1", "sku": "4006381333931", "capacity": 24, "scale": "scale-1",
                            "item_weight": "0.250 kg", "tare": "0.100 kg"})
SEEN = Slot.model_validate({"name": "B1", "sku": "5449000000996", "capacity": 6, "camera": "cam-1",
                            "region": [0, 0, 1, 1]})


@pytest.mark.parametrize("seed", range(3))
def test_a_scales_day_shows_every_unit(seed: int) -> None:
    events = day((SLOT,), seed, ON)
    truth = [truth_of(event, SLOT.sku, 0) for event in events if isinstance(event, Taken | PutBack | Restocked)]
    total = totals(truth, MIDNIGHT, MIDNIGHT + 86_400)[SLOT.sku]
    down, up, level = 0, 0, 24
    for (reading,) in scale_readings(SLOT, events, polls(MIDNIGHT, MIDNIGHT + 86_400, 5), seed):
        if reading.value is None:
            assert reading.quality == "unstable"
            continue
        units = round((Decimal(reading.value) - SLOT.tare_kg) / Decimal("0.250"))
        down, up, level = down + max(0, level - units), up + max(0, units - level), units
    assert total.sold == down - total.put_back
    assert total.put_back + total.restocked == up


def test_a_scale_is_in_motion_while_it_is_handled() -> None:
    events = (Taken(10.0, "A1", 1),)
    quality = [reading.quality for (reading,) in scale_readings(SLOT, events, (9.0, 10.5, 13.0))]
    assert quality == ["ok", "unstable", "ok"]


def test_a_camera_counts_facings_and_not_behind_an_arm() -> None:
    events = (Arm(5.0, 15.0, "B1"), Taken(10.0, "B1", 2))
    values = [reading.value for (reading,) in camera_readings(SEEN, events, (0.0, 6.0, 20.0))]
    assert values == [Decimal(6), None, Decimal(4)]


def test_a_camera_miscounts_and_is_covered_at_the_rates_asked_for() -> None:
    found = [reading for (reading,) in camera_readings(SEEN, (), polls(0, 2000, 1), 1, miscounted=0.2, occluded=0.1)]
    covered = sum(reading.value is None for reading in found)
    wrong = sum(reading.value in (Decimal(5), Decimal(7)) for reading in found)
    assert 0.07 < covered / 2000 < 0.13
    assert 0.15 < wrong / (2000 - covered) < 0.25


def test_a_slot_without_the_sensor_is_refused() -> None:
    with pytest.raises(ValueError, match="B1 has no scale"):
        next(scale_readings(SEEN, (), (0.0,)))
    with pytest.raises(ValueError, match="A1 has no camera"):
        next(camera_readings(SLOT, (), (0.0,)))


def test_a_worn_scale_drifts_and_scatters_as_asked_for() -> None:
    day_s = 86_400.0
    found = [reading for (reading,) in scale_readings(SLOT, (), polls(0.0, 2 * day_s, 60), 1, Wear(0.2, 0.3))]
    units = [float((Decimal(reading.value) - SLOT.tare_kg) / Decimal("0.250")) - 24 for reading in found
             if reading.value is not None]
    assert abs(sum(units[:200]) / 200 - 0.02) < 0.1
    assert abs(sum(units[-200:]) / 200 - 0.58) < 0.1
    rest = [value - 0.3 * n / 1440 for n, value in enumerate(units)]
    assert 0.18 < (sum(value ** 2 for value in rest) / len(rest)) ** 0.5 < 0.22
