"""The fridge's air: near its set point, warmer the longer the door is open, and cold again after."""

from __future__ import annotations

from edge.sim.fridge import CYCLE_S, SET_POINT_C, SWING_C, Fridge


def test_a_closed_fridge_stays_near_its_set_point() -> None:
    values = [Fridge().temperature(t) for t in range(0, int(CYCLE_S), 10)]
    assert min(values) < SET_POINT_C < max(values)
    assert all(abs(value - SET_POINT_C) <= SWING_C for value in values)


def test_an_open_door_warms_it_and_a_closed_one_lets_it_cool() -> None:
    opened = Fridge().door(CYCLE_S, True)
    assert opened.temperature(2 * CYCLE_S) > opened.temperature(CYCLE_S) + 4
    closed = opened.door(2 * CYCLE_S, False)
    assert closed.temperature(2 * CYCLE_S) == opened.temperature(2 * CYCLE_S)
    assert closed.temperature(6 * CYCLE_S) < SET_POINT_C + 0.1
    assert closed.humidity(2 * CYCLE_S) > closed.humidity(6 * CYCLE_S)
