"""All slots of a profile: each reading reaches its slot, and the state outlives a restart."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from edge.profile import Profile, load_profile
from edge.readings import Reading
from edge.shelf import Shelf, plans_of
from edge.wire import Fact, flow_of

DEMO = Path(__file__).parents[2] / "firmware_configs" / "shops" / "demo.toml"
T0 = 1_800_000_000.0


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    """The demo's, its first slot seen by the camera too."""
    path = tmp_path / "shop.toml"
    path.write_text(DEMO.read_text().replace(
        'scale = "scale-1"\n', 'scale = "scale-1"\ncamera = "cam-1"\nregion = [0.1, 0.98, 0.2, 1.0]\ndepth = 4\n', 1))
    return load_profile(path)


def weighed(units: int, t: float) -> Reading:
    return Reading("scale-1", "weight", t, Decimal(units) * Decimal("0.250"), "kg")


def seen(slot: str, facings: int, t: float) -> Reading:
    return Reading("cam-1", f"facings/{slot}", t, Decimal(facings), "count")


def play(shelf: Shelf, units: list[int], t: float = T0) -> list[Fact]:
    facts: list[Fact] = []
    for n, held in enumerate(units):
        facts += shelf.step(weighed(held, t + 30 * n))
        facts += shelf.step(seen("A1", -(-held // 4), t + 30 * n + 1))
        facts += shelf.step(seen("B1", 5, t + 30 * n + 1))
    return facts


def test_both_sensors_of_a_slot_tell_one_level(profile: Profile) -> None:
    shelf = Shelf(profile, None)
    facts = play(shelf, [24] * 6)
    assert {slot: level for slot, level in shelf.levels().items() if level is not None} == {"A1": 24, "B1": 5}
    assert [fact.name for fact in facts if fact.name.startswith("event/")] == []
    assert len([fact for fact in facts if fact.name == "slot/A1/level"]) == 1


def test_a_reading_of_no_slot_tells_nothing(profile: Profile) -> None:
    assert Shelf(profile, None).step(Reading("fridge-1", "temperature", T0, Decimal(4), "Cel")) == ()


def test_a_restart_between_two_looks_counts_a_sale_once(profile: Profile) -> None:
    whole, first = Shelf(profile, None), Shelf(profile, None)
    levels = [24] * 6 + [22] * 6
    expected = [*play(whole, levels), *whole.tick(T0 + 1e5)]
    facts = play(first, levels[:7])
    second = Shelf(profile, first.snapshot())
    facts += play(second, levels[7:], T0 + 30 * 7)
    facts += second.tick(T0 + 1e5)
    assert facts == expected
    assert [(fact.value, fact.t) for fact in facts if (flow_of(fact.name) or ("", ""))[1] == "sold"] == [
        (2.0, T0 + 180)]


def test_every_movement_states_its_deviation(profile: Profile) -> None:
    shelf = Shelf(profile, None)
    facts = [*play(shelf, [24] * 6 + [22] * 6), *shelf.tick(T0 + 1e5)]
    flows = [fact for fact in facts if flow_of(fact.name)]
    assert flows
    assert all(fact.sd is not None and fact.sd >= 0 for fact in flows)


def test_the_plan_of_a_slot_says_what_its_profile_says(profile: Profile) -> None:
    plans = {plan.slot: plan for plan in plans_of(profile)}
    assert (plans["A1"].source, plans["A1"].camera, plans["A1"].grain) == ("scale-1/weight", "cam-1/facings/A1", 1)
    assert (plans["B1"].source, plans["B1"].camera, plans["B1"].at_once) == ("cam-1/facings/B1", "", 6)
