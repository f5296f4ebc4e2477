"""The stock of a virtual day against its truth: what the agent counts, had it the perfect driver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime

import pytest

from edge import stock
from edge.plan import Plan
from edge.profile import Slot
from edge.readings import Reading
from edge.sim.day import camera_readings, polls, scale_readings
from edge.sim.story import DAY_S, day
from edge.sim.truth import Total, totals
from edge.wire import Fact
from tests.edge.month import truth

ON = date(2026, 3, 2)
SINCE = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
UNTIL = SINCE + DAY_S
BISCUITS = Slot.model_validate({"name": "A1", "sku": "4006381333931", "capacity": 24, "scale": "scale-1",
                                "item_weight": "0.250 kg", "tare": "1.2 kg"})
COLA = Slot.model_validate({"name": "B1", "sku": "5000112637922", "capacity": 6, "camera": "cam-1",
                            "region": [0, 0, 1, 1]})


def counted(slot: Slot, readings: Iterable[tuple[Reading, ...]]) -> Total:
    """What `edge.stock` makes of a day's readings."""
    plan = Plan(slot.name, slot.sku, slot.source, slot.item_weight_kg, slot.tare_kg, slot.depth)
    state, facts = stock.SlotState(), list[Fact]()
    for (reading,) in readings:
        state, more = stock.step(plan, state, reading)
        facts += more
    facts += stock.tick(plan, state, UNTIL + plan.put_back_s + 1)[1]
    sums: Counter[str] = Counter()
    for fact in facts:
        assert isinstance(fact.value, float)
        sums[fact.name.rpartition("/")[2]] += round(fact.value)
    return Total(sums["sold"], sums["put_back"], sums["restocked"])


@pytest.mark.parametrize("seed", range(5))
def test_a_scale_read_each_second_tells_the_day_to_the_unit(seed: int) -> None:
    events = day([BISCUITS], seed, ON)
    true = totals(truth(BISCUITS, events), SINCE, UNTIL)[BISCUITS.sku]
    assert counted(BISCUITS, scale_readings(BISCUITS, events, polls(SINCE, UNTIL, 1.0), seed)) == true
    assert true.sold > 20
    assert true.put_back > 0
    assert true.restocked == true.sold


@pytest.mark.parametrize("seed", range(5))
def test_a_scale_read_each_15_s_as_at_60_times_the_walls_speed_tells_what_was_sold(seed: int) -> None:
    events = day([BISCUITS], seed, ON)
    true = totals(truth(BISCUITS, events), SINCE, UNTIL)[BISCUITS.sku]
    seen = counted(BISCUITS, scale_readings(BISCUITS, events, polls(SINCE, UNTIL, 15.0), seed))
    assert (seen.sold, seen.restocked) == (true.sold, true.restocked)


@pytest.mark.parametrize("period_s", [15.0, 60.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_camera_that_never_miscounts_tells_what_was_sold(seed: int, period_s: float) -> None:
    events = day([COLA], seed, ON)
    true = totals(truth(COLA, events), SINCE, UNTIL)[COLA.sku]
    seen = counted(COLA, camera_readings(COLA, events, polls(SINCE, UNTIL, period_s), seed))
    assert (seen.sold, seen.restocked) == (true.sold, true.restocked)


@pytest.mark.parametrize("seed", range(3))
def test_a_camera_off_in_2_percent_of_its_frames_is_off_by_little(seed: int) -> None:
    events = day([COLA], seed, ON)
    true = totals(truth(COLA, events), SINCE, UNTIL)[COLA.sku]
    seen = counted(COLA, camera_readings(COLA, events, polls(SINCE, UNTIL, 15.0), seed, 0.02, 0.01))
    assert abs(seen.sold - true.sold) <= 0.1 * true.sold
    assert abs(seen.restocked - true.restocked) <= 0.1 * true.restocked
