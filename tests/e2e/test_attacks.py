"""Every attack of the table is refused by the generated configuration, and the operator sees it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cloud_ingest.pki.broker import Limits
from tests.cloud_ingest.pki.world import until, world_in
from tests.e2e import attacks_enrol
from tests.e2e.attacks import ATTACKS, CONNECTIONS, Attack, Scene, scene_in
from tests.e2e.tables import table_of

assert attacks_enrol.ATTACKS is ATTACKS, "its rows belong to the same table"


@pytest.fixture(scope="module")
def scene(mosquitto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One authority and one broker for the whole table."""
    with world_in(tmp_path_factory.mktemp("attacks"), mosquitto, Limits(CONNECTIONS - 5, 5)) as world, \
            scene_in(world) as scene:
        yield scene


@pytest.mark.parametrize("row", ATTACKS, ids=lambda row: row.name)
def test_the_attack_is_refused_and_the_operator_sees_it(row: Attack, scene: Scene) -> None:
    scene.world.guard.step()
    before = scene.world.count(row.seen)
    row.run(scene)
    scene.settle()

    def seen() -> bool:
        scene.world.guard.step()
        return scene.world.count(row.seen) > before

    if row.seen:
        until(seen, f"the operator sees {row.seen}")


def test_the_table_has_at_least_thirty_attacks_and_no_name_twice() -> None:
    assert len(ATTACKS) >= 30
    assert len({row.name for row in ATTACKS}) == len(ATTACKS)


def test_the_table_in_the_brokers_readme_is_this_one() -> None:
    assert table_of("The attacks on the broker") == [(row.name, row.seen or "the person at the box") for row in ATTACKS]
