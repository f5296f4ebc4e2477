"""Credit: within the budget, in turn, to everyone."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from cloud_ingest.pacing import BUDGET, EXPIRE_S, QUOTA, Pacer


def test_ten_thousand_devices_at_once_are_all_served_in_turn_within_the_budget() -> None:
    pacer, now, rng = Pacer(), 0.0, Random(1)
    left = {f"shop-{i:05}": rng.randint(1, 3 * QUOTA) for i in range(10_000)}
    for device, n in left.items():
        pacer.ask(device, n, now)
    under_way: dict[str, int] = {}
    times: Counter[str] = Counter()
    while any(left.values()):
        now += 0.01
        for device, n in pacer.grants(now):
            times[device] += 1
            under_way[device] = under_way.get(device, 0) + n
            assert times[device] == 1 or len(times) == len(left), "twice before everyone once"
        assert pacer.outstanding == sum(under_way.values()) <= BUDGET
        assert under_way, "somebody waits, and nobody is sending"
        device = rng.choice(list(under_way))
        n = min(under_way[device], left[device], 500)
        left[device] -= n
        under_way[device] -= n
        if not under_way[device]:
            del under_way[device]
        pacer.heard(device, n, now)
        pacer.ask(device, left[device], now)
    assert len(times) == 10_000
    assert pacer.outstanding == 0


def test_a_lone_device_is_granted_again_before_it_has_used_up_its_credit() -> None:
    pacer, left, credit = Pacer(), 100_000, 0
    pacer.ask("shop-1", left, 0.0)
    for tick in range(500):
        credit += sum(n for _, n in pacer.grants(tick / 10))
        assert credit >= 200
        credit, left = credit - 200, left - 200
        pacer.heard("shop-1", 200, tick / 10)
        pacer.ask("shop-1", left, tick / 10)
        assert pacer.outstanding == credit < QUOTA * 3 / 2
    assert left == 0
    assert pacer.grants(60.0) == []


def test_the_first_to_ask_is_served_first_and_one_that_gives_up_not_at_all() -> None:
    pacer = Pacer(budget=2 * QUOTA)
    for device in ("c", "a", "b", "d"):
        pacer.ask(device, 3 * QUOTA, 0.0)
    pacer.ask("a", 0, 0.0)
    assert pacer.grants(0.0) == [("c", QUOTA), ("b", QUOTA)]
    assert pacer.grants(0.0) == []
    pacer.heard("c", QUOTA, 1.0)
    pacer.ask("c", 2 * QUOTA, 1.0)
    assert pacer.grants(1.0) == [("d", QUOTA)]
    pacer.heard("b", QUOTA, 2.0)
    assert pacer.grants(2.0) == [("c", QUOTA)]


def test_what_waits_here_is_taken_from_the_budget() -> None:
    pacer = Pacer(budget=3 * QUOTA)
    for device in ("a", "b", "c"):
        pacer.ask(device, QUOTA, 0.0)
    assert pacer.grants(0.0, waiting=3 * QUOTA) == []
    assert len(pacer.grants(0.0, waiting=QUOTA)) == 2
    assert len(pacer.grants(0.0)) == 1


def test_a_grant_that_comes_to_nothing_expires_and_a_silent_device_loses_its_turn() -> None:
    pacer = Pacer(budget=2 * QUOTA)
    for device in ("gone", "slow", "next"):
        pacer.ask(device, 9000, 0.0)
    assert [device for device, _ in pacer.grants(0.0)] == ["gone", "slow"]
    pacer.ask("slow", 9000, 10.0)
    assert pacer.grants(EXPIRE_S - 0.1) == []
    assert [device for device, _ in pacer.grants(EXPIRE_S)] == ["next", "slow"]
    assert pacer.outstanding == 2 * QUOTA
    pacer.ask("gone", 9000, EXPIRE_S)
    assert [device for device, _ in pacer.grants(2 * EXPIRE_S)] == ["gone"]


def test_a_small_budget_still_serves() -> None:
    pacer = Pacer(budget=10)
    pacer.ask("a", 25, 0.0)
    for left in (15, 5, 0):
        (_, n), = pacer.grants(0.0)
        assert n == min(10, left + n)
        pacer.heard("a", n, 0.0)
        pacer.ask("a", left, 0.0)


STEPS = st.lists(st.tuples(st.sampled_from(["ask", "heard", "grants"]), st.sampled_from("abcdef"),
                           st.integers(0, 6000), st.floats(0, 20)), max_size=80)


@given(STEPS, st.integers(1, 30_000))
def test_nothing_that_is_said_takes_it_over_its_budget(steps: list[tuple[str, str, int, float]], budget: int) -> None:
    pacer, now = Pacer(budget), 0.0
    for what, device, n, passed in steps:
        now += passed
        if what == "ask":
            pacer.ask(device, n, now)
        elif what == "heard":
            pacer.heard(device, n, now)
        else:
            granted = pacer.grants(now, n)
            assert len({who for who, _ in granted}) == len(granted)
            assert all(1 <= size <= QUOTA for _, size in granted)
        assert 0 <= pacer.outstanding <= budget
