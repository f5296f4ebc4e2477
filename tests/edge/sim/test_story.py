"""The story: the same from the same seed, possible in any shop, and about as busy as a corner shop."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice, pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge.sim.story import HABITS, Arm, DoorClosed, DoorOpened, PutBack, Restocked, Taken, change, day, story

ON = date(2026, 3, 2)
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC).timestamp()


@dataclass(frozen=True)
class Place:
    name: str
    capacity: int
    camera: str | None = None


SLOTS = (Place("A1", 24), Place("B1", 6, "cam-1"), Place("C1", 5, "cam-1"))


def moves(slot: str, seed: int) -> list[Taken | PutBack | Restocked]:
    return [event for event in day(SLOTS, seed, ON)
            if isinstance(event, Taken | PutBack | Restocked) and event.slot == slot]


def test_one_seed_tells_one_story() -> None:
    assert day(SLOTS, 7, ON) == day(SLOTS, 7, ON)
    assert day(SLOTS, 7, ON) != day(SLOTS, 8, ON)
    assert day(SLOTS, 7, ON) != day(SLOTS, 7, date(2026, 3, 3))


def test_a_slot_has_its_own_story_whatever_stands_beside_it() -> None:
    alone = [event for event in day(SLOTS[:1], 7, ON) if isinstance(event, Taken)]
    assert alone == [event for event in moves("A1", 7) if isinstance(event, Taken)]


def test_a_story_goes_on_day_after_day() -> None:
    days = (*day(SLOTS, 7, ON), *day(SLOTS, 7, date(2026, 3, 3)))
    assert tuple(islice(story(SLOTS, 7, MIDNIGHT + 40_000), len(days))) == days


@given(seed=st.integers(), capacity=st.integers(1, 40))
def test_levels_stay_possible_and_every_day_ends_full(seed: int, capacity: int) -> None:
    level, last = capacity, 0.0
    for event in day((Place("A1", capacity),), seed, ON):
        assert event.t >= last
        last = event.t
        if isinstance(event, Taken | PutBack | Restocked):
            assert event.n > 0
            level += change(event)
            assert 0 <= level <= capacity
    assert level == capacity


@given(seed=st.integers())
def test_movements_of_one_slot_leave_time_to_be_seen(seed: int) -> None:
    found = moves("B1", seed)
    for before, after in pairwise(found):
        if isinstance(after, PutBack):
            assert isinstance(before, Taken)
            assert before.n == after.n
            assert 30 <= after.t - before.t <= 120
        else:
            assert after.t - before.t >= HABITS.apart_s - 0.01


def test_a_slot_sells_as_in_a_corner_shop_and_some_comes_back() -> None:
    days = [moves(slot.name, seed) for seed in range(10) for slot in SLOTS]
    sold = [sum(-change(move) for move in found if not isinstance(move, Restocked)) for found in days]
    assert 30 <= sum(sold) / len(sold) <= 60
    takes = sum(isinstance(move, Taken) for found in days for move in found)
    backs = sum(isinstance(move, PutBack) for found in days for move in found)
    assert 0.05 < backs / takes < 0.15


def test_nobody_comes_at_night() -> None:
    hours = {datetime.fromtimestamp(event.t, UTC).hour for event in day(SLOTS, 7, ON) if isinstance(event, Taken)}
    assert hours == set(range(7, 21))


def test_an_arm_comes_with_every_movement_before_the_camera_and_only_there() -> None:
    events = day(SLOTS, 7, ON)
    arms = [event for event in events if isinstance(event, Arm)]
    assert {arm.slot for arm in arms} == {"B1", "C1"}
    for move in moves("B1", 7):
        assert any(arm.slot == "B1" and arm.t < move.t < arm.until for arm in arms)


def test_the_door_opens_and_closes_in_turn() -> None:
    doors = [event for event in day(SLOTS, 7, ON) if isinstance(event, DoorOpened | DoorClosed)]
    assert len(doors) > 20
    assert all(isinstance(event, (DoorOpened, DoorClosed)[i % 2]) for i, event in enumerate(doors))
