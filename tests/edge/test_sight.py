"""What a scale's or a camera's reading tells of a slot's units, and what is learned of the sensor meanwhile."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal

import pytest

from edge import stock
from edge.filter import Look
from edge.plan import Plan
from edge.readings import Reading
from edge.sight import Odd, Senses, look_of
from edge.stock import SlotState
from edge.wire import Fact

SCALE = Plan("A1", "4006381333931", "scale-1/weight", Decimal("0.250"), at_once=6)
CAMERA = Plan("B1", "5000112637922", "cam-1/facings/B1", depth=3)
BOTH = replace(SCALE, depth=3, camera="cam-1/facings/A1")
T0 = 1_800_000_000.0


def weight(units: float, t: float, net: bool = False) -> Reading:
    return Reading("scale-1", "weight", t, round(Decimal(units) * Decimal("0.250"), 3), "kg", net=net)


def facings(n: int, t: float, slot: str = "A1") -> Reading:
    return Reading("cam-1", f"facings/{slot}", t, Decimal(n), "count")


class Slot:
    """A slot that is read again and again."""

    def __init__(self, plan: Plan, period_s: float = 10.0) -> None:
        self.plan, self.period_s = plan, period_s
        self.state, self.facts, self.t = SlotState(), list[Fact](), T0

    def read(self, *readings: Reading) -> None:
        for reading in readings:
            self.state, more = stock.step(self.plan, self.state, reading)
            self.facts += more

    def weigh(self, units: float, times: int = 6, net: bool = False) -> None:
        for _ in range(times):
            self.t += self.period_s
            self.read(weight(units, self.t, net))

    def sold(self) -> float:
        facts = [*self.facts, *stock.tick(self.plan, self.state, self.t + 1e5)[1]]
        return sum(fact.value for fact in facts if fact.name.endswith("/sold") and isinstance(fact.value, float))

    def events(self) -> list[str]:
        return [fact.name.removeprefix("event/") for fact in self.facts if fact.name.startswith("event/")]


def test_a_third_of_a_unit_a_day_is_followed_and_never_sold() -> None:
    slot = Slot(SCALE, period_s=300.0)
    for n in range(30 * 288):
        slot.weigh(10 - 0.3 * n / 288, times=1)
        assert slot.state.level in (None, 10)
    assert slot.sold() == 0
    assert slot.state.senses.zero == pytest.approx(-9.0, abs=0.1)


def test_a_scale_that_scatters_is_known_to() -> None:
    rng = random.Random(3)
    slot = Slot(SCALE)
    for _ in range(2000):
        slot.weigh(10 + rng.gauss(0, 0.25), times=1)
    assert slot.state.senses.noise == pytest.approx(0.25, abs=0.08)
    assert slot.sold() == 0


def test_a_pan_that_says_it_was_tared_holds_what_it_held() -> None:
    slot = Slot(SCALE)
    slot.weigh(10)
    slot.weigh(0, net=True)
    assert slot.state.level == 10
    slot.weigh(-1, net=True)
    assert slot.state.level == 9
    slot.weigh(9)
    assert (slot.state.level, slot.sold(), slot.events()) == (9, 1, [])


def test_a_pan_tared_unseen_is_noticed_when_it_weighs_less_than_nothing() -> None:
    slot = Slot(SCALE)
    slot.weigh(10)
    slot.weigh(0)
    assert slot.facts[-1].quality == "bad:cleared_or_tared"
    slot.weigh(-1)
    slot.weigh(-2)
    assert (slot.state.level, slot.sold(), slot.events()) == (8, 2, ["cleared", "tared"])


def test_while_a_pan_may_have_been_tared_nobody_says_it_was_out_of_stock() -> None:
    slot = Slot(SCALE)
    slot.weigh(10)
    slot.weigh(0, times=200)
    seconds = {name: sum(fact.value for fact in slot.facts if fact.name.endswith(name) and isinstance(
        fact.value, float)) for name in ("/observed", "/in_stock")}
    assert seconds["/observed"] - seconds["/in_stock"] <= slot.period_s
    assert seconds["/observed"] < 100


def test_another_product_is_told_and_its_units_are_no_sales() -> None:
    slot = Slot(SCALE)
    slot.weigh(10)
    for held in (8.4, 7.45, 6.5):
        slot.weigh(held, times=80)
    assert (slot.state.level, slot.sold(), slot.events()) == (None, 0, ["odd_weight"])
    assert slot.facts[-1].quality == "bad:odd_weight"
    slot.weigh(12)
    assert (slot.state.level, slot.sold()) == (12, 0)


def test_a_weight_between_two_numbers_of_units_is_odd_unless_the_scale_scatters_so_much() -> None:
    assert look_of(SCALE, Senses(), weight(3.5, T0), None) == Odd(3.5)
    assert isinstance(look_of(SCALE, Senses(noise=0.25), weight(3.5, T0), None), Look)


def test_frames_a_second_apart_count_as_one_look_in_ten_seconds() -> None:
    weights = [look.weight for wait in (0.0, 1.0, 5.0, 10.0, 60.0)
               if isinstance(look := look_of(CAMERA, Senses(), facings(2, T0 + wait, "B1"), T0), Look)]
    assert weights == [0.02, 0.1, 0.5, 1.0, 1.0]


def test_a_camera_level_says_what_stands_behind_the_facings_unseen() -> None:
    slot = Slot(CAMERA)
    slot.read(*(facings(4, T0 + 60 * n, "B1") for n in range(5)))
    level = next(fact for fact in slot.facts if fact.name.endswith("/level"))
    assert level.value == 12.0
    assert level.sd == pytest.approx(0.82, abs=0.05)


def test_a_camera_and_a_scale_that_agree_are_no_event() -> None:
    slot = Slot(BOTH)
    for n in range(60):
        slot.read(weight(9, T0 + 60 * n), facings(3, T0 + 60 * n + 1))
    assert (slot.state.level, slot.events()) == (9, [])


def test_a_lasting_disagreement_is_told_once_and_the_exacter_one_is_believed() -> None:
    slot = Slot(BOTH)
    for n in range(60):
        slot.read(weight(9, T0 + 60 * n), facings(1, T0 + 60 * n + 1))
    assert slot.state.level == 9
    (event,) = (fact for fact in slot.facts if fact.name == "event/disagreement")
    assert event.value == "slot A1: scale says 9, camera sees 2: one of them is wrong"
    for n in range(60, 70):
        slot.read(weight(9, T0 + 60 * n), facings(3, T0 + 60 * n + 1))
    for n in range(70, 90):
        slot.read(weight(9, T0 + 60 * n), facings(0, T0 + 60 * n + 1))
    assert slot.events() == ["disagreement", "disagreement"]


def test_a_camera_goes_on_alone_while_the_scale_is_silent() -> None:
    slot = Slot(BOTH)
    for n in range(6):
        slot.read(weight(9, T0 + 60 * n), facings(3, T0 + 60 * n + 1))
    slot.read(*(facings(1, T0 + 600 + 60 * n) for n in range(20)))
    assert slot.state.level in (1, 2, 3)
    assert slot.events() == []


def test_the_scale_decides_within_what_the_camera_cannot_see() -> None:
    slot = Slot(BOTH)
    for n, held in enumerate([9] * 6 + [8] * 6 + [7] * 6):
        slot.read(weight(held, T0 + 400 * n), facings(3, T0 + 400 * n + 1))
    slot.t = T0 + 400 * 18
    assert (slot.state.level, slot.sold(), slot.events()) == (7, 2, [])
