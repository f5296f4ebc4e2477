from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from edge.readings import Reading, no_value
from edge.sensors.health import Health, Rule, step, touched, why_of

RULE = Rule(lost_s=10, stable_s=5)


def after(*reads: tuple[float, str]) -> Health:
    """The health after reads at these seconds, each with what was wrong."""
    health = Health()
    for at, why in reads:
        health = step(health, why, 1000.0 + at, at, RULE)
    return health


def test_the_first_good_read_is_ok_since_then() -> None:
    health = after((0, ""), (1, ""), (2, ""))

    assert (health.state, health.since, health.why) == ("ok", 1000.0, "")


def test_it_is_degraded_first_and_lost_after_ten_seconds_without_a_value() -> None:
    assert after((0, ""), (1, "no_answer")).reading("s").value == "degraded no_answer"
    assert after((0, ""), (1, "no_answer"), (9, "no_answer")).since == 1001.0
    lost = after((0, ""), (1, "no_answer"), (10, "unplugged"))

    assert (lost.state, lost.why, lost.since) == ("lost", "unplugged", 1010.0)


def test_it_is_ok_again_only_after_a_stable_time() -> None:
    lost = ((0.0, ""), (20.0, "no_port"))

    assert after(*lost, (21, "")).reading("s").value == "degraded recovering"
    assert after(*lost, (21, ""), (25, "")).state == "degraded"
    assert after(*lost, (21, ""), (25, "noise"), (27, "")).state == "degraded"
    assert after(*lost, (21, ""), (26, "")).state == "ok"


def test_a_device_that_answers_without_a_value_is_degraded_and_never_lost() -> None:
    health = Health()
    for at in range(0, 100, 5):
        health = step(touched(health, float(at)), "weight overload", 1000.0 + at, float(at), RULE)

    assert (health.state, health.since) == ("degraded", 1000.0)


def test_the_reading_says_since_when() -> None:
    assert after((3, "no_port")).reading("scale-1") == Reading("scale-1", "health", 1003.0, "lost no_port")


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from(["", "noise", "no_port"])), max_size=40))
def test_it_is_ok_only_where_the_last_read_was(gaps: list[tuple[float, str]]) -> None:
    at, health = 0.0, Health()
    for gap, why in gaps:
        at += gap
        health = step(health, why, at, at, RULE)
        assert (health.state == "ok") <= (why == "")
        assert health.since <= at
        assert (health.state == "ok") == (health.why == "")


def test_what_is_wrong_with_values() -> None:
    good = Reading("f", "probe-1", 0.0, Decimal(4), "Cel")
    moving = Reading("s", "weight", 0.0, None, "kg", "unstable")

    assert why_of((good, moving)) == ""
    assert why_of((good, no_value("f", "probe-2", 0.0, "no_probe", "Cel"))) == "probe-2 no_probe"
