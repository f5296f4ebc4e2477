"""Units sold over a simulated day, as the agent counts them in rendered frames, against the truth."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from edge.agent import load_detectors, regions_of
from edge.profile import load_profile
from edge.shelf import Shelf
from edge.sim.day import levels, polls
from edge.sim.scene import Scene
from edge.sim.story import day
from edge.sim.truth import totals
from edge.vision.eye import ShelfEye
from edge.vision.fullshelf import FullShelf
from edge.vision.watch import readings_of
from edge.wire import Fact, flow_of
from tests.edge.month import truth
from tests.edge.shelves import sent

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]
DEMO = Path(__file__).parents[2] / "firmware_configs" / "shops" / "demo.toml"
ON = date(2026, 3, 2)
OPENS = datetime(2026, 3, 2, 7, tzinfo=UTC).timestamp()
HOURS, PERIOD_S = 14, 60.0


@pytest.mark.parametrize("commissioned", [True, False])
def test_the_cameras_day(commissioned: bool) -> None:
    profile = load_profile(DEMO)
    slots = [slot for slot in profile.slots if slot.camera]
    events = day(slots, 7, ON)
    times = list(polls(OPENS, OPENS + HOURS * 3600, PERIOD_S))
    series = [[level for _, level, _ in levels(slot, events, times)] for slot in slots]
    detector, scene, stands = load_detectors(profile)["cam-1"], Scene(slots, 7), regions_of("cam-1", profile)
    full = sent(Scene(slots, 8).render({slot.name: slot.capacity for slot in slots}, 0.0))
    eye = ShelfEye(stands, detector, FullShelf(full, stands, detector) if commissioned else None)
    shelf, facts, wrong = Shelf(profile, None), list[Fact](), 0
    for i, t in enumerate(times):
        now = {slot.name: series[j][i] for j, slot in enumerate(slots)}
        verdict = eye.judge(sent(scene.render(now, t)))
        wrong += sum(abs(fill.units - now[fill.slot]) for fill in verdict.fills)
        for reading in readings_of("cam-1", verdict, tuple(now), t):
            facts += shelf.step(reading)
    facts += shelf.tick(times[-1] + 86_400)
    how = "by its commissioning picture" if commissioned else "by boxes alone"
    print(f"\ncamera, {how}, seed 7, {len(times)} frames, {eye.inferences} inferences: "
          f"{wrong / len(times) / len(slots):.3f} facings wrong a slot and frame")
    for slot in slots:
        sold = sum(fact.value for fact in facts if isinstance(fact.value, float) and fact.sku == slot.sku
                   and (flow_of(fact.name) or ("", ""))[1] == "sold")
        true = totals(truth(slot, events), OPENS, times[-1])[slot.sku].sold
        assert true > 0
        print(f"  {slot.name} {slot.product}: {sold:.0f} sold, truth {true} ({100 * (sold - true) / true:+.0f}%)")
