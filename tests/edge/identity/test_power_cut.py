"""A power cut at any step of an enrolment or a rotation: the next start completes it or undoes it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_ingest.pki.x509 import DAY_S
from edge.clock import SystemClock
from edge.errors import EnrolError
from edge.identity.enrol import already, begin, send
from edge.identity.files import Store
from edge.identity.keeper import Keeper
from edge.wire.enrol import Label
from tests.cloud_ingest.pki.world import World, world_in

CUTTER = "tests.edge.identity.cutter"
MOST, LABELS = 40, 24


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An authority without a broker."""
    with world_in(tmp_path, None) as world:
        yield world


def cut_everywhere(what: str, torn: bool, cases: list[tuple[Label, Store]]) -> int:
    """Cut case n at step n, until one comes through; how many were cut."""
    given = {"what": what, "torn": torn, "cases": [
        {"label": str(label), "folder": str(store.folder)} for label, store in cases]}
    ran = subprocess.run([sys.executable, "-m", CUTTER], input=json.dumps(given), capture_output=True, text=True,
                         check=True, timeout=50, cwd=Path(__file__).parents[3])
    lines = ran.stdout.split()
    assert lines[-1] == "done", ran.stdout + ran.stderr
    return len(lines) - 1


def left(store: Store) -> set[str]:
    return {file.name for file in store.folder.iterdir()}


def test_an_enrolment_that_is_cut_anywhere_is_completed_by_the_next_start_or_by_the_same_label(world: World) -> None:
    cases = [(world.invite(f"shop-{i}"), world.store(f"shop-{i}")) for i in range(LABELS)]
    cuts = cut_everywhere("enrol", True, cases)
    assert cuts >= 10
    by_itself = 0
    for label, store in cases[:cuts]:
        store.folder.mkdir(parents=True, exist_ok=True)
        keeper = Keeper(store, SystemClock())
        store.recover()
        keeper.step()
        by_itself += store.current.exists()
        if not store.current.exists():
            send(store, begin(store, label), world.moment())
        identity = store.read(store.current)
        assert identity is not None
        assert identity.device == label.device
        assert left(store) == {"claim.json", "current.pem", "floor"}
        assert already(store, label) is not None
        assert [f"{identity.certificate.serial_number:x}"] == [
            each.serial for each in world.ledger.certificates("device = ?", label.device)]
    assert by_itself >= cuts / 2  # from the moment on when the request was kept


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_a_rotation_that_is_cut_anywhere_leaves_an_identity_that_works_and_goes_through_at_the_next_start(
        torn: bool, world: World) -> None:
    cases = [(Label(f"shop-{i}", "", ""), world.store(f"shop-{i}")) for i in range(MOST)]
    for label, _ in cases:
        world.given(label.device)
    before = [store.current.read_bytes() for _, store in cases]
    world.clock.shift = 61 * DAY_S
    cuts = cut_everywhere("rotate", torn, cases)
    assert cuts >= 12
    for (label, store), old in zip(cases[:cuts], before, strict=False):
        assert store.read(store.current) is not None, "a cut rotation took the present identity away"
        keeper = Keeper(store, SystemClock())
        store.recover()
        keeper.refused()
        keeper.step()
        keeper.context()
        keeper.accepted()
        keeper.step()
        identity = store.read(store.current)
        assert identity is not None
        assert store.current.read_bytes() != old
        assert left(store) == {"claim.json", "current.pem", "floor"}
        living = world.ledger.certificates("device = ? AND revoked IS NULL", label.device)
        assert next(each.serial for each in living) == f"{identity.certificate.serial_number:x}"
        assert len(living) == 2  # the old one, which only ends, and its one successor


@pytest.mark.parametrize("name", ["current.pem", "next.pem", "next.key", "pending.json", "floor"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_that_a_bad_disk_cut_short_is_undone_and_never_stops_the_start(name: str, share: float, world: World,
                                                                              ) -> None:
    store = world.store("shop-1")
    world.given("shop-1")
    world.clock.shift = 61 * DAY_S
    keeper = Keeper(store, SystemClock())
    keeper.refused()
    keeper.step()  # now there is a next identity beside the present one
    begin(store, world.invite("shop-1"))
    file = store.folder / name
    content = file.read_bytes()
    file.write_bytes(content[:int(len(content) * share)])
    store.recover()
    assert store.read(store.current) is not None
    keeper = Keeper(store, SystemClock())
    keeper.context()  # something is left to connect with
    assert not list(store.folder.glob("*.part"))


def test_where_every_file_is_lost_the_device_says_what_to_do_and_goes_on(world: World) -> None:
    store = world.store("shop-1")
    world.given("shop-1")
    store.current.write_bytes(b"\x00" * 100)
    store.recover()
    keeper = Keeper(store, SystemClock())
    keeper.step()
    with pytest.raises(EnrolError, match="device invite"):
        keeper.context()
