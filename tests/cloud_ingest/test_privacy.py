"""The rule holds against everything that can be added and subtracted: linear algebra and linear programming attack."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_ingest.privacy import DOMINANT, SHOPS, Area, Bools, Floats, Ints, Level, grow, holds, levels
from tests.cloud_ingest.attack import dominated, isolated

HOURS = 3


def world(seed: int, shops: int, busy: float, silent: float) -> tuple[Floats, Bools, Ints]:
    """Units sold [shop, quarter] of three hours, where there are data, and the cells of each shop, coarse to fine."""
    rng = np.random.default_rng(seed)
    size = rng.choice([0.3, 1.0, 4.0], shops)
    values = rng.poisson(busy * size[:, None], (shops, 4 * HOURS)).astype(float)
    data = rng.random((shops, 4 * HOURS)) >= silent
    for shop in np.flatnonzero(rng.random(shops) < silent):  # an outage, too, not only single gaps
        begin = rng.integers(0, 4 * HOURS)
        data[shop, begin:begin + rng.integers(1, 8)] = False
    paths = np.zeros((shops, 4), dtype=np.int64)
    for level in range(1, 4):
        paths[:, level] = paths[:, level - 1] * 7 + rng.integers(0, 3, shops)
    return values * data, data, paths


def published(found: tuple[Level, ...]) -> list[tuple[Area, Ints]]:
    return [(area, span.windows) for level in found for area in level.root.walk() if area.cell is not None
            for span in level.spans if span.start is not None]


def rows_of(found: tuple[Level, ...], data: Bools) -> Floats:
    """Each published row as its weights of the data, one column for each."""
    vectors = []
    for area, windows in published(found):
        weights = np.zeros(data.shape)
        weights[np.ix_(area.shops, windows)] = 1
        vectors.append(weights[data])
    return np.array(vectors).reshape(len(vectors), int(data.sum()))


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(5, 16), st.sampled_from([0.1, 0.5, 2.0, 8.0]),
       st.sampled_from([0.0, 0.02, 0.1]))
def test_no_sum_or_difference_tells_of_few_shops(seed: int, shops: int, busy: float, silent: float) -> None:
    values, data, paths = world(seed, shops, busy, silent)
    present = np.flatnonzero(data.any(axis=1))
    if not len(present):
        return
    found = levels(values, data, grow(paths, present, 5))
    vectors = rows_of(found, data)
    owner = np.nonzero(data)[0]
    assert isolated(vectors, owner, SHOPS) is None
    assert dominated(vectors, values[data], owner, DOMINANT) is None


def test_the_attack_finds_a_lone_withheld_sibling() -> None:
    """Parent minus the one published child: what a naive rule lets through."""
    owner = np.arange(8)
    parent, child = np.ones(8), (np.arange(8) < 5).astype(float)
    assert isolated(np.array([parent, child]), owner, SHOPS) is not None
    assert isolated(np.array([parent]), owner, SHOPS) is None
    values = np.array([1.0] * 5 + [90.0, 1.0, 1.0, 1.0, 1.0])
    rows = np.array([np.ones(10), (np.arange(10) < 5).astype(float)])
    assert dominated(rows, values, np.arange(10), DOMINANT) is not None
    assert dominated(rows[1:], values, np.arange(10), DOMINANT) is None


def test_the_attack_finds_a_day_less_the_hours_in_which_others_were_silent() -> None:
    """Shops 0-4 all day, 5-9 in the afternoon only: the day of 0-4 less everybody's morning is their afternoon."""
    owner = np.array([*range(5), *range(5), *range(5, 10)])  # morning of 0-4, afternoon of 0-4, afternoon of 5-9
    day, morning = np.repeat([1.0, 1.0, 0.0], 5), np.repeat([1.0, 0.0, 0.0], 5)
    values = np.array([2.0] * 5 + [9.0, 0, 0, 0, 0] + [3.0] * 5)
    assert dominated(np.array([day, morning]), values, owner, DOMINANT) is not None


SOLD = np.array([[10.0], [2.0], [2.0], [2.0], [2.0]])


@pytest.mark.parametrize(("values", "allowed"), [
    (SOLD, True), (SOLD[:4], False), (SOLD * [[9], [1], [1], [1], [1]], False), (np.zeros((5, 1)), True),
    (np.array([[80.0], [5.0], [5.0], [5.0], [5.0]]), True), (np.array([[81.0], [5.0], [5.0], [5.0], [4.0]]), False),
    (np.array([[-81.0], [-5.0], [-5.0], [-5.0], [-4.0]]), False),
])
def test_five_shops_and_no_two_of_them_over_85_percent(values: Floats, allowed: bool) -> None:
    assert holds(values, np.ones(values.shape, dtype=bool)).tolist() == [allowed]


def test_a_shop_without_data_does_not_count() -> None:
    assert not holds(SOLD, np.array([[True]] * 4 + [[False]]))[0]


def flat(children: list[int], per_hour: float = 8.0) -> tuple[Floats, Bools, Area]:
    """A cell whose children have so many shops, each selling the same in each of three hours."""
    shops = sum(children)
    paths = np.stack([np.zeros(shops, dtype=np.int64), np.repeat(np.arange(len(children)) + 10, children)], axis=1)
    values = np.full((shops, 4 * HOURS), per_hour / 4)
    return values, values > 0, grow(paths, np.arange(shops), 5)


def names(found: tuple[Level, ...], level: int = 0) -> list[int]:
    return sorted(area.cell for area in found[level].root.walk() if area.cell is not None)


def test_children_that_fail_leave_together_and_take_the_smallest_with_them() -> None:
    assert names(levels(*flat([5, 6, 7]))) == [0, 10, 11, 12]
    assert names(levels(*flat([4, 6, 7]))) == [0, 12]  # 10 and 11 are one rest
    assert names(levels(*flat([3, 2, 7]))) == [0, 12]  # 10 and 11 are rest enough
    assert names(levels(*flat([1, 6]))) == [0]
    assert levels(*flat([2, 2])) == ()


def test_hours_and_quarters_are_cut_the_same_way() -> None:
    values, data, tree = flat([6, 6])
    assert [[span.start for span in level.spans] for level in levels(values, data, tree)] == [
        [0], [0, 1, 2], list(range(12))]
    values[:, 4:8] = 0
    values[0, 4] = 1  # one sale in the second hour: it must not stand alone, nor follow by subtraction
    hours = levels(values, data, tree)[1].spans
    assert sorted(span.start for span in hours if span.start is not None) in ([0], [2])


def test_few_shops_that_are_silent_for_an_hour_keep_their_area_in_its_parent() -> None:
    values, data, tree = flat([6, 9])
    data[:2, 4:8] = False
    assert names(levels(values * data, data, tree)) == [0]


def test_a_day_less_the_hours_in_which_neighbours_were_silent_stays_hidden() -> None:
    values, data, tree = flat([6, 9])
    values[:6, 4:] = 0
    values[0, 4:] = 3  # of the first cell only one shop sells after the first hour, in which the other cell is silent
    data = np.ones_like(data)
    data[6:, :4] = False
    found = levels(values * data, data, tree)
    assert [len(level.spans) for level in found] == [1, 3, 12]
    assert dominated(rows_of(found, data), values[data], np.nonzero(data)[0], DOMINANT) is None
    assert names(found) == [0]


def test_the_levels_are_nested_and_each_unit_is_in_one_area() -> None:
    values, data, paths = world(7, 60, 4.0, 0.02)
    found = levels(values, data, grow(paths, np.flatnonzero(data.any(axis=1)), 5))
    assert len(found) == 3
    for level in found:
        leaves = [area for area in level.root.walk() if not area.parts]
        assert sorted(np.concatenate([leaf.shops for leaf in leaves])) == list(level.root.shops)
    for fine, coarse in pairwise(found):
        parts = [set(area.shops) for area in fine.root.walk() if not area.parts]
        for area in coarse.root.walk():
            assert all(part <= set(area.shops) or not part & set(area.shops) for part in parts)


def test_every_pair_of_two_leaves_of_a_day_has_enough_shops() -> None:
    values, data, paths = world(11, 40, 6.0, 0.0)
    found = levels(values, data, grow(paths, np.arange(40), 5))
    leaves = [area for area in found[0].root.walk() if not area.parts]
    assert all(len(one.shops) + len(other.shops) >= 2 * SHOPS for one, other in combinations(leaves, 2))
