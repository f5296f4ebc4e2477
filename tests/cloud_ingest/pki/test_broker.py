"""The broker's folder and the guard, with a real mosquitto: lists are renewed in time, limits hold, the log is read."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import sqlite3
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_ingest.pki import folder as folders
from cloud_ingest.pki.broker import (
    CRL_LIFE_S,
    TEMPLATE,
    Limits,
    Listeners,
    access_list,
    configure,
    denied,
    pid_of,
    publish,
    read_crl,
)
from cloud_ingest.pki.guard import Guard
from cloud_ingest.pki.ledger import Ledger
from cloud_ingest.pki.service import secured
from cloud_ingest.pki.sightings import FIXES, Reader, Sighting
from cloud_ingest.pki.status import look
from cloud_ingest.pki.x509 import DAY_S, Leaf
from cloud_ingest.subscriber import Secured, Subscriber
from edge.errors import ConfigError
from tests.cloud_ingest.pki.world import HOST, WAIT_S, Client, World, until, world_in


@pytest.fixture(scope="module")
def world(mosquitto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for this module; tests keep apart by device name, and put the clock back."""
    with world_in(tmp_path_factory.mktemp("broker"), mosquitto) as world:
        yield world


@pytest.fixture
def later(world: World) -> Iterator[World]:
    """A world whose authority's clock a test may move."""
    yield world
    world.clock.shift = 0.0
    publish(world.folder, world.ledger, world.clock.now(), force=True)


def crl_of(world: World) -> tuple[float, set[int]]:
    crl = read_crl(world.broker / "crl.pem")
    assert crl is not None
    assert crl.next_update_utc is not None
    return crl.next_update_utc.timestamp(), {each.serial_number for each in crl}


def test_the_revocation_list_is_signed_anew_each_day_long_before_it_ends(later: World) -> None:
    before, _ = crl_of(later)
    later.clock.shift = DAY_S + 1
    later.guard._publish()  # what the guard does each minute
    assert crl_of(later)[0] == pytest.approx(before + DAY_S, abs=5)
    assert crl_of(later)[0] - later.clock.now() > CRL_LIFE_S * 0.9


def test_nothing_is_written_and_nobody_told_where_nothing_changed(world: World) -> None:
    publish(world.folder, world.ledger, world.clock.now())
    assert publish(world.folder, world.ledger, world.clock.now()).changed == ()


def test_a_revoked_serial_leaves_the_list_when_its_certificate_has_run_out_anyway(later: World) -> None:
    later.given("shop-left")
    later.desk.revoke("shop-left", "test")
    publish(later.folder, later.ledger, later.clock.now())
    serials = crl_of(later)[1]
    later.clock.shift = 91 * DAY_S
    publish(later.folder, later.ledger, later.clock.now())
    assert serials
    assert not crl_of(later)[1] & serials


def test_a_device_whose_certificate_ran_out_is_silenced_on_its_live_session(later: World) -> None:
    later.given("shop-out")
    later.clock.shift = 91 * DAY_S
    assert denied(later.ledger, later.clock.now())["shop-out"] == "certificate ran out"


def test_status_counts_down_to_the_day_when_the_list_would_lock_everybody_out(later: World) -> None:
    publish(later.folder, later.ledger, later.clock.now(), force=True)
    assert not any("list" in each.what for each in look(later.folder, later.ledger, later.clock.now()).troubles)
    in_days = {8: "nobody signed the revocation list for 8 days; in 22", 31: "the revocation list ran out"}
    for days, told in in_days.items():
        troubles = look(later.folder, later.ledger, later.clock.now() + days * DAY_S).troubles
        assert any(told in each.what for each in troubles), troubles
        assert all(each.fix for each in troubles)


def test_the_broker_takes_a_new_server_certificate_without_a_restart(later: World) -> None:
    before = served(later)
    later.clock.shift = 61 * DAY_S
    assert "server certificate" in publish(later.folder, later.ledger, later.clock.now()).changed
    until(lambda: served(later) != before, "the broker shows the new certificate")


def served(world: World) -> bytes:
    tls = ssl.create_default_context(cafile=str(world.broker / "devices.pem"))
    tls.load_cert_chain(world.broker / "cg_backend.pem")
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((HOST, world.service_port), WAIT_S) as plain, tls.wrap_socket(plain) as secure:
        return secure.getpeercert(binary_form=True) or b""


def test_the_log_is_turned_over_and_read_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud_ingest.pki.guard.TURN_OVER", 1)
    world.guard.step()
    assert (world.broker / "log" / "mosquitto.log.1").exists()
    monkeypatch.undo()
    before = world.count("no_certificate")
    with Client(world, None, "nobody") as client:
        assert client.ended.wait(WAIT_S)

    def seen() -> bool:
        world.guard.step()
        return world.count("no_certificate") > before

    until(seen, "the refusal in the new file is seen")


def test_a_guard_that_starts_again_counts_nothing_twice(world: World) -> None:
    with Client(world, None, "nobody") as client:
        assert client.ended.wait(WAIT_S)
    before = world.count("no_certificate")

    def seen() -> bool:
        world.guard.step()
        return world.count("no_certificate") > before

    until(seen, "the refusal is seen")
    after = world.count("no_certificate")
    Guard(world.folder, world.ledger, world.clock).step()
    assert world.count("no_certificate") == after


def test_a_broker_that_could_not_open_its_access_list_is_closed_again_by_the_guard(world: World) -> None:
    world.given("shop-bad")
    topic, pid = "cg/v1/shop-good/up/data", pid_of(world.broker)
    assert pid is not None
    with Client(world, world.store("shop-bad").current, "shop-bad") as client:
        assert client.publish(topic, b"1") == "Not authorized"
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))  # as if connections had used up all files
        os.kill(pid, signal.SIGHUP)  # by somebody else
        until(lambda: client.publish(topic, b"2") != "Not authorized", "2.0.11 is open")
        before = world.count("access_list_not_read")

        def seen() -> bool:
            world.guard.step()
            return world.count("access_list_not_read") > before

        until(seen, "the guard sees it")
        assert client.publish(topic, b"3") == "Not authorized"


def test_the_access_list_gives_a_device_its_own_topics_and_denies_the_silenced_all() -> None:
    text = access_list({"shop-7": "revoked"})
    assert [line for line in text.splitlines() if "write cg/v1/%u" in line] == [
        f"pattern write cg/v1/%u/up/{what}" for what in ("data", "backlog", "birth", "state")]
    assert text.endswith("# revoked\nuser shop-7\ntopic deny #\n")


def test_what_a_device_sends_is_counted_and_no_topic_says_otherwise() -> None:
    line = "2026-11-30T19:00:00: Received PUBLISH from shop-1 (d0, q1, r0, m7, 'cg/v1/shop-1/up/%s', ... (1234 bytes))"
    reader = Reader()
    assert list(reader.read([line % "data", line % "', ... (1 bytes))", line % "x (9999999 bytes))"])) == []
    assert (reader.heard["shop-1"], reader.heard_bytes["shop-1"]) == (3, 3 * 1234)


def test_configuring_needs_a_name_for_the_certificate(tmp_path: Path) -> None:
    folder = folders.create(tmp_path / "ca", "Test", 1_800_000_000.0)
    ledger = Ledger(folder.ledger)
    with pytest.raises(ConfigError, match="--name"):
        configure(folder, ledger, tmp_path / "broker", Listeners(()), Limits(), 1_800_000_000.0)
    ledger.close()


def test_configuring_again_keeps_keys_and_the_share(world: World) -> None:
    before = {name: (world.broker / name).read_bytes() for name in ("share-group", "server.key", "cg_backend.pem")}
    listeners = Listeners((HOST,), world.device_port, world.service_port, HOST, HOST)
    configure(world.folder, world.ledger, world.broker, listeners, Limits(), world.clock.now(), "root")
    assert {name: (world.broker / name).read_bytes() for name in before} == before
    assert pid_of(world.broker) is not None


def test_no_secret_of_the_folder_is_readable_by_others(world: World) -> None:
    for file in world.broker.iterdir():
        if file.is_file() and (b"PRIVATE KEY" in file.read_bytes() or file.name == "share-group"):
            assert file.stat().st_mode & 0o077 == 0, file.name


def test_every_placeholder_of_the_template_is_filled(world: World) -> None:
    text = (world.broker / "mosquitto.conf").read_text()
    assert not re.search(r"\{\w+\}", text)
    assert "{folder}" in TEMPLATE.read_text()


def test_an_open_connection_of_the_ingest_is_let_be_on_loopback_only(world: World) -> None:
    assert secured(None, "127.0.0.1") is None
    with pytest.raises(ConfigError, match="--tls"):
        secured(None, "mqtt.example.org")
    closed = secured(world.broker, "mqtt.example.org")
    assert closed is not None
    assert closed.group == (world.broker / "share-group").read_text()


def test_an_ingest_whose_certificate_ran_out_connects_with_the_one_that_the_guard_renewed(world: World) -> None:
    old = world.issued("cg_backend", -100, 90, world.folder.services, Leaf("cg_backend", "service", 90 * DAY_S))
    tls = ssl.create_default_context(cafile=str(world.broker / "devices.pem"))
    shown = world.path / "shown.pem"
    shown.write_bytes(old.read_bytes())
    subscriber = Subscriber(HOST, world.service_port, "ingest-9", secured=Secured(tls, shown))
    before = world.count("bad_certificate")
    subscriber.start()

    def refused() -> bool:
        world.guard.step()
        return world.count("bad_certificate") > before

    try:
        until(refused, "it is refused")
        shown.write_bytes((world.broker / "cg_backend.pem").read_bytes())
        until(lambda: subscriber.connected, "it connects")
    finally:
        subscriber.stop()


LINES = [
    ("Client connection from 10.0.0.9 failed: error:0A000102:SSL routines::unsupported protocol.",
     Sighting("bad_tls", "?", "10.0.0.9", "unsupported protocol")),
    ("Denied PUBLISH from shop-1 (d0, q1, r0, m2, 'cg/v1/shop-2/up/data', ... (2 bytes))",
     Sighting("foreign_publish", "shop-1", "?", "cg/v1/shop-2/up/data")),
    ("Dropped too large PUBLISH from shop-1 (d0, q1, r0, m8, 'cg/v1/shop-1/up/data', ... (1500 bytes))",
     Sighting("oversized", "shop-1", "?", "cg/v1/shop-1/up/data")),
    ("shop-1 1 $share/ingest/cg/v1/+/up/data",
     Sighting("foreign_subscribe", "shop-1", "?", "$share/ingest/cg/v1/+/up/data")),
    ("shop-1 1 cg/v1/shop-1/down/committed", None),
    ("ingest-2 1 cg/v1/+/up/birth", None),
    ("OpenSSL Error[0]: error:0A000126:SSL routines::unexpected eof while reading", None),
    ("Client <unknown> disconnected: Protocol error.", None),
    ("Client shop-1 closed its connection.", None),
]


@pytest.mark.parametrize(("line", "sighting"), LINES, ids=[line[:40] for line, _ in LINES])
def test_a_line_of_the_log_says_what_was_refused(line: str, sighting: Sighting | None) -> None:
    assert list(Reader().read([f"2026-11-25T09:35:54: {line}"])) == ([sighting] if sighting else [])


def test_a_failed_handshake_is_told_with_the_address_that_came_before() -> None:
    lines = ["t: New connection from 10.0.0.9:51485 on port 8883.",
             "t: OpenSSL Error[0]: error:0A0000C7:SSL routines::peer did not return a certificate"]
    assert list(Reader().read(lines)) == [
        Sighting("no_certificate", "?", "10.0.0.9", "peer did not return a certificate")]


def test_every_kind_of_refusal_says_what_to_do(world: World) -> None:
    world.guard.step()
    assert {each.kind for each in world.ledger.refusals()} <= FIXES.keys()
    assert all(FIXES.values())


def test_the_guards_own_visit_to_end_a_session_is_no_takeover(world: World) -> None:
    world.given("shop-end")
    with Client(world, world.store("shop-end").current, "shop-end") as client:
        client.publish("cg/v1/shop-end/up/state", b'{"v":1,"online":true,"boot":3}', retain=True)
        world.desk.revoke("shop-end", "test")

        def ended() -> bool:
            world.guard.step()
            return client.ended.is_set()

        until(ended, "the session is ended")
    world.guard.step()
    assert world.count("taken_over", "shop-end") == 0
    assert world.count("foreign_subscribe", "shop-end") == 0
    backend = Client(world, world.broker / "cg_backend.pem", "ingest-3", world.service_port)
    with backend:
        backend.subscribe("cg/v1/+/up/state")
        until(lambda: any(topic == "cg/v1/shop-end/up/state" for topic, _ in backend.messages), "its retained state")
    told = next(said for topic, said in backend.messages if topic == "cg/v1/shop-end/up/state")
    assert b'"online":false' in told
    assert b'"boot":3' in told



def test_a_ledger_that_fails_for_a_while_does_not_end_the_guard(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, steps = threading.Event(), list[int]()
    guard = Guard(world.folder, world.ledger, world.clock)

    def step() -> None:
        steps.append(1)
        if len(steps) == 1:
            raise sqlite3.OperationalError("database or disk is full")
        stop.set()

    monkeypatch.setattr(guard, "step", step)
    guard.run(stop)
    assert len(steps) == 2
