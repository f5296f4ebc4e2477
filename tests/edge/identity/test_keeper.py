"""The identity lives on beside the agent: rotation over a real broker, wrong clocks, weeks offline, refusals."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterator

import pytest

from cloud_ingest.pki.broker import publish
from cloud_ingest.pki.x509 import DAY_S, Leaf, der, issue, new_key
from edge import wire
from edge.backoff import Backoff
from edge.clock import Clock, HonestClock, SystemClock
from edge.errors import EnrolError
from edge.identity.enrol import begin, send
from edge.identity.keeper import Keeper
from edge.identity.trust import Moment, check_dates
from edge.uplink.session import Address, Ears, Session
from edge.uplink.session import Credentials as Wanted
from tests.cloud_ingest.pki.world import HOST, Client, ShiftedClock, World, until, world_in

YEAR_S = 365 * DAY_S


@pytest.fixture(scope="module")
def closed(mosquitto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A closed broker and its authority for this module; tests keep apart by device name."""
    with world_in(tmp_path_factory.mktemp("keeper"), mosquitto) as world:
        yield world


@pytest.fixture
def world(closed: World) -> Iterator[World]:
    """The same; the authority's clock is put back."""
    yield closed
    closed.clock.shift = 0.0


class Uplink:
    """A real session with a device's identity."""

    def __init__(self, world: World, device: str, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.ups, self.troubles = threading.Semaphore(0), list[str]()
        self.keeper = Keeper(world.store(device), self.clock, Backoff(base_s=0.02, cap_s=0.1))
        tls: Wanted = self.keeper
        ears = Ears(up=self.ups.release, heard=lambda *_: None, refused=lambda *_: None, trouble=self.troubles.append)
        address = Address(device, HOST, world.device_port, tls=tls)
        self.session = Session(address, self.clock, None, ears, Backoff(base_s=0.02, cap_s=0.1, stable_s=0.0))

    def __enter__(self) -> Uplink:
        self.session.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def is_up(self) -> None:
        assert self.ups.acquire(timeout=20), f"not connected: {self.troubles}"


def years_off(years: float) -> ShiftedClock:
    clock = ShiftedClock()
    clock.shift = years * YEAR_S
    return clock


def serial(world: World, device: str) -> int:
    identity = world.store(device).read(world.store(device).current)
    assert identity is not None
    return identity.certificate.serial_number


def test_an_enrolled_device_speaks_on_its_own_topics(world: World) -> None:
    world.given("shop-1")
    with Uplink(world, "shop-1") as uplink, Client(world, world.broker / "cg_backend.pem", "ingest-1",
                                                   world.service_port) as ingest:
        ingest.subscribe("cg/v1/+/up/data")
        uplink.is_up()
        uplink.session.publish("cg/v1/shop-1/up/data", b"{}", "a/1", 1)
        until(lambda: ("cg/v1/shop-1/up/data", b"{}") in ingest.messages, "the ingest hears it")


def test_a_live_device_rotates_and_drops_the_old_key_only_when_the_broker_took_the_new_one(world: World) -> None:
    world.given("shop-2")
    before = serial(world, "shop-2")
    with Uplink(world, "shop-2") as uplink:
        uplink.is_up()
        # The broker reads the real clock, so the present certificate is made older, not the time later.
        with world.ledger.change() as db:
            db.execute("UPDATE certificate SET begins = begins - ? WHERE device = 'shop-2'", (200 * DAY_S,))
        uplink.keeper.refused()
        uplink.is_up()  # connected anew, by itself
        until(lambda: serial(world, "shop-2") != before, "the new identity is the present one")
        until(lambda: any(each.used for each in world.ledger.certificates("device = 'shop-2' AND parent <> ''")),
              "the authority hears that it is in use")
    assert {file.name for file in world.store("shop-2").folder.iterdir()} == {"claim.json", "current.pem", "floor"}


def test_a_broker_that_refuses_the_new_certificate_costs_nothing(world: World) -> None:
    world.given("shop-3")
    store = world.store("shop-3")
    before = serial(world, "shop-3")
    with world.ledger.change() as db:
        db.execute("UPDATE certificate SET begins = begins - ? WHERE device = 'shop-3'", (200 * DAY_S,))
    keeper = Keeper(store, SystemClock())
    keeper.step()
    following = store.read(store.next)
    assert following is not None
    line = world.ledger.certificates("serial = ?", f"{following.certificate.serial_number:x}")[0]
    world.ledger.revoke(line, "test", world.clock.now())
    publish(world.folder, world.ledger, world.clock.now())
    with Uplink(world, "shop-3") as uplink:
        uplink.is_up()
        assert uplink.session.connected
        assert serial(world, "shop-3") == before


def test_a_certificate_that_ran_out_during_weeks_offline_heals_by_itself(world: World) -> None:
    world.clock.shift = -120 * DAY_S
    world.given("shop-4")
    world.clock.shift = 0.0
    before = serial(world, "shop-4")
    with Uplink(world, "shop-4") as uplink:
        uplink.is_up()
        assert serial(world, "shop-4") != before
        assert any("no trust" in each for each in uplink.troubles), "a person at the box was told meanwhile"


@pytest.mark.parametrize("years", [-56, -3, +20])
def test_a_clock_that_is_years_wrong_stops_nothing(years: int, world: World) -> None:
    device = f"shop-wrong{years + 60}"
    world.given(device)
    before = serial(world, device)
    with Uplink(world, device, HonestClock(years_off(years), lambda: False)) as uplink:
        uplink.is_up()
    assert serial(world, device) == before, "the authority does not rotate by a device's clock"


@pytest.mark.parametrize("years", [-56, +20])
def test_a_device_with_a_wrong_clock_enrols_and_learns_the_time(years: int, world: World) -> None:
    device = f"shop-young{years + 60}"
    store = world.store(device)
    send(store, begin(store, world.invite(device)), Moment(years_off(years).now(), False, 0.0))
    assert store.floor() == pytest.approx(world.clock.now(), abs=5)


def test_a_clock_that_is_wrong_and_synchronised_later_puts_back_a_floor_that_was_too_high(world: World) -> None:
    world.given("shop-5")
    store = world.store("shop-5")
    store.set_floor(world.clock.now() + 20 * YEAR_S)
    clock = HonestClock(SystemClock(), lambda: True)
    clock.begin(0.0)
    Keeper(store, clock).step()
    assert store.floor() == pytest.approx(world.clock.now(), abs=5)


def test_a_revoked_device_hears_why_and_what_to_do(world: World) -> None:
    world.given("shop-6")
    world.desk.revoke("shop-6", "stolen from the shop")
    publish(world.folder, world.ledger, world.clock.now())
    with Uplink(world, "shop-6") as uplink:
        until(lambda: any("stolen from the shop" in each and "device invite shop-6" in each
                          for each in uplink.troubles), "the person at the box is told")


def test_a_device_that_is_not_enrolled_says_so_and_connects_once_it_is(world: World) -> None:
    with Uplink(world, "shop-7") as uplink:
        until(lambda: any("not enrolled" in each and "enroll" in each for each in uplink.troubles), "it is told")
        world.given("shop-7")
        uplink.is_up()


def test_a_disk_from_another_box_is_not_used_and_both_names_are_told(world: World) -> None:
    world.given("shop-9")
    keeper = Keeper(world.store("shop-9"), SystemClock(), device="shop-10")
    with pytest.raises(EnrolError, match=r"shop-9's, but the profile says shop-10"):
        keeper.context()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_enrols_belongs_to_the_owner_of_the_data_folder(world: World) -> None:
    data = world.path / "shop-11"
    data.mkdir()
    os.chown(data, 12345, 12345)
    world.given("shop-11")
    folder = data / "identity"
    assert {file.stat().st_uid for file in (folder, *folder.iterdir())} == {12345}


def test_an_authority_that_is_away_is_told_and_stops_nothing(world: World) -> None:
    identity = world.given("shop-8")
    store = world.store("shop-8")
    store.current.write_bytes(identity.to_bytes().replace(world.address.encode(), b"127.0.0.1:1"))
    keeper = Keeper(store, SystemClock())
    with pytest.raises(EnrolError, match="does not answer") as caught:
        keeper.step()
    assert caught.value.retry_s > 0
    keeper.context()


NOW = 1_800_000_000.0


@pytest.mark.parametrize(("at", "refused"), [
    (Moment(NOW, True, 0.0), False),
    (Moment(NOW + 100 * DAY_S, True, 0.0), True),
    (Moment(NOW - DAY_S, True, 0.0), True),
    (Moment(0.0, False, 0.0), False),
    (Moment(NOW + 20 * YEAR_S, False, 0.0), False),
    (Moment(0.0, False, NOW + 10 * DAY_S), False),
    (Moment(0.0, False, NOW + 100 * DAY_S), True),
    (Moment(NOW + 10 * DAY_S, True, NOW + 20 * YEAR_S), False),
], ids=["sure", "sure, later", "sure, earlier", "unsure, 1970", "unsure, 2047", "floor", "floor, later",
        "floor too high"])
def test_a_servers_dates_are_judged_by_what_is_known_of_the_time(at: Moment, refused: bool, world: World) -> None:
    shown = der(issue(world.folder.issuing, new_key().public_key(), Leaf("broker", "server", 90 * DAY_S, (HOST,)), NOW))

    def judge() -> None:
        check_dates(shown, at)

    if refused:
        with pytest.raises(ssl.SSLCertVerificationError):
            judge()
    else:
        judge()


def test_the_uplinks_topics_are_those_that_the_access_list_gives() -> None:
    assert wire.up("shop-1", "data").startswith("cg/v1/shop-1/up/")
    assert wire.committed_topic("shop-1").startswith("cg/v1/shop-1/down/")

