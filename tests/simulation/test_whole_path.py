"""A thousand stories of whole paths, each by its seed; and planted faults, which some of them must find."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.world import first_found, play

SEEDS = int(os.environ.get("CORNERGRID_SEEDS", "1000"))
AMONG = 200
REPLAY = "python -m tests.simulation.world"


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    """A process for each core: a seed is one thread's work."""
    with ProcessPoolExecutor(max(2, os.cpu_count() or 2), mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.mark.timeout(max(600, SEEDS // 2))
def test_thousand_seeds(pool: Executor) -> None:
    told = zip(range(SEEDS), pool.map(play, range(SEEDS), chunksize=10), strict=True)
    found = [f"{REPLAY} {seed}: {fault}" for seed, fault in told if fault]
    assert not found, f"{len(found)} of {SEEDS} seeds; replay with\n" + "\n".join(found[:10])


@pytest.mark.timeout(600)
def test_planted_faults_are_found(pool: Executor) -> None:
    found = dict(zip(MUTANTS, pool.map(first_found, MUTANTS, [AMONG] * len(MUTANTS)), strict=True))
    print("\n".join(f"{REPLAY} {each} '{mutant}'" for mutant, each in found.items()))
    assert None not in found.values(), found


def test_a_seed_is_one_story() -> None:
    """Line by line, twice the same: else no failure could be replayed."""
    for seed in range(3):
        first, second = list[str](), list[str]()
        assert play(seed, tell=first.append) == play(seed, tell=second.append) == ""
        assert first == second
