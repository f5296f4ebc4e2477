"""Units sold over a simulated day, as the shipped detector counts them in rendered frames, against the truth."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import cv2
import pytest

from edge.agent import Shelf, load_detectors, regions_of
from edge.profile import load_profile
from edge.readings import Reading
from edge.sim.day import levels, polls
from edge.sim.packs import Frame
from edge.sim.scene import Scene
from edge.sim.story import day
from edge.sim.truth import totals
from edge.vision.observe import count_facings
from edge.wire import Fact, flow_of
from tests.edge.sim.test_day_stock import truth

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]
DEMO = Path(__file__).parents[2] / "firmware_configs" / "shops" / "demo.toml"
ON = date(2026, 3, 2)
OPENS = datetime(2026, 3, 2, 7, tzinfo=UTC).timestamp()
HOURS, PERIOD_S = 14, 60.0


def sent(frame: Frame) -> Frame:
    """The frame after the camera's JPEG, as the agent gets it."""
    decoded = cv2.imdecode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 88])[1], cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded.astype(frame.dtype)


def test_the_cameras_day() -> None:
    profile = load_profile(DEMO)
    slots = [slot for slot in profile.slots if slot.camera]
    events = day(slots, 7, ON)
    times = list(polls(OPENS, OPENS + HOURS * 3600, PERIOD_S))
    series = [[level for _, level, _ in levels(slot, events, times)] for slot in slots]
    detector, scene, regions = load_detectors(profile)["cam-1"], Scene(slots, 7), regions_of("cam-1", profile)
    shelf, facts, wrong = Shelf(profile, None), list[Fact](), 0
    for i, t in enumerate(times):
        now = {slot.name: series[j][i] for j, slot in enumerate(slots)}
        frame = sent(scene.render(now, t))
        seen = count_facings(detector.detect(frame), frame.shape, regions)
        wrong += sum(abs(seen[name] - level) for name, level in now.items())
        for name, count in seen.items():
            facts += shelf.step(Reading("cam-1", f"facings/{name}", t, Decimal(count), "count"))
    facts += shelf.tick(times[-1] + 86_400)
    print(f"\ncamera, seed 7, {len(times)} frames: {wrong / len(times) / len(slots):.3f} facings wrong "
          "a slot and frame")
    for slot in slots:
        sold = sum(fact.value for fact in facts if isinstance(fact.value, float) and fact.sku == slot.sku
                   and (flow_of(fact.name) or ("", ""))[1] == "sold")
        true = totals(truth(slot, events), OPENS, times[-1])[slot.sku].sold
        assert true > 0
        print(f"  {slot.name} {slot.product}: {sold:.0f} sold, truth {true} ({100 * (sold - true) / true:+.0f}%)")
