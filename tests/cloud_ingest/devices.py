"""Devices and workers around a real broker."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cloud_ingest.pacing import Pacer
from cloud_ingest.service import Service
from cloud_ingest.store.protocol import Shop
from cloud_ingest.store.sqlite import SqliteStore
from cloud_ingest.subscriber import Subscriber
from edge import wire
from edge.clock import SystemClock
from edge.wire import Committed, Credit, Fact

SKU = "4006381333931"
CLOCK = SystemClock()
AGAIN_S = 1.0


class Listening(Protocol):
    """The broker fixture's value."""

    @property
    def port(self) -> int: ...


def until(happened: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Return once it has happened."""
    pause = threading.Event()
    end = CLOCK.monotonic() + timeout_s
    while not happened():
        assert CLOCK.monotonic() < end, f"not within {timeout_s} s: {what}"
        pause.wait(0.05)


def loopback_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def shop(device: str) -> Shop:
    """A store of its own for a device."""
    return Shop(f"store-of-{device}", "Corner", 52.5, 13.4, "UTC", (device,), ("9", "8", "7", "6", "5"))


def sale() -> Fact:
    """One unit sold, now."""
    return Fact("slot/A1/sold", CLOCK.now(), "count", 1.0, "ok", SKU)


class Device:
    """A device of one stream: it keeps each batch, and sends it again until it hears that it is committed."""

    def __init__(self, name: str, port: int, st: str, protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
                 ) -> None:
        self.name, self.st = name, st
        self.told: list[Committed] = []
        self.credit: list[int] = []
        self.committed = 0
        self.batches: dict[int, tuple[int, bytes]] = {}
        self._news, ready = threading.Event(), threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol)
        self.client.on_message = self._on_message
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.connect("127.0.0.1", port)
        self.client.subscribe([(wire.committed_topic(name), 1), (wire.credit_topic(name), 1)])
        self.client.loop_start()
        assert ready.wait(10)

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        if message.topic == wire.credit_topic(self.name):
            self.credit.append(msgspec.json.decode(message.payload, type=Credit).n)
        else:
            told = msgspec.json.decode(message.payload, type=Committed)
            self.told.append(told)
            self.committed = max(self.committed, told.committed if told.st == self.st else 0)
        self._news.set()

    def put(self, seq: int, n: int = 10) -> None:
        """Keep one batch of `n` single sales."""
        self.batches[seq] = (n, wire.encode_batch(self.name, [sale()] * n, st=self.st, seq=seq, lo=1, boot=1))

    def publish(self, payload: bytes, channel: str = "data", named: tuple[int, int] | None = None) -> None:
        """Send bytes, with their first sequence and count in the user properties where `named`."""
        properties = None
        if named:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's is untyped
            properties.UserProperty = [("id", f"{self.st}/{named[0]}"), ("n", str(named[1]))]
        self.client.publish(f"{wire.ROOT}/{self.name}/up/{channel}", payload, 1,
                            properties=properties).wait_for_publish(10)

    def send(self, seq: int, n: int = 10) -> None:
        """Keep a batch and send it once."""
        self.put(seq, n)
        self.publish(self.batches[seq][1])

    def send_all(self) -> None:
        """Send what is not committed."""
        for seq, (n, payload) in sorted(self.batches.items()):
            if seq + n - 1 > self.committed:
                self.publish(payload)

    def until_committed(self, seq: int, timeout_s: float = 50.0) -> None:
        """Send again whenever nothing is heard for a while, until all up to `seq` is committed."""
        end = CLOCK.monotonic() + timeout_s
        while self.committed < seq:
            assert CLOCK.monotonic() < end, f"{self.committed} of {seq} committed"
            self._news.clear()
            if self.committed < seq and not self._news.wait(AGAIN_S):
                self.send_all()

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()


@contextmanager
def listening(port: int) -> Iterator[dict[str, bool]]:
    """Which workers of the ingest say that they are there, kept up to date."""
    online: dict[str, bool] = {}

    def heard(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        online[message.topic.rpartition("/")[2]] = msgspec.json.decode(message.payload, type=wire.IngestState).online

    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.on_message = heard
    client.connect("127.0.0.1", port)
    client.subscribe(wire.ALL_INGEST, 1)
    client.loop_start()
    yield online
    client.disconnect()
    client.loop_stop()


@contextmanager
def serving(port: int, store: SqliteStore, name: str, pacer: Pacer | None = None) -> Iterator[Subscriber]:
    """A worker in this process, once it has subscribed."""
    subscriber, stop = Subscriber("127.0.0.1", port, f"ingest-{name}"), threading.Event()
    thread = threading.Thread(target=Service(subscriber, store, CLOCK, pacer).run, args=(stop,))
    thread.start()
    try:
        yield subscriber
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def worker(port: int, db: Path, client_id: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as a process of its own, without a page; killed in the end where it still runs."""
    command = [sys.executable, "-m", "cloud_ingest", "run", "--db", str(db), "--broker", f"127.0.0.1:{port}",
               "--http", "", "--client-id", client_id]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONWARNINGS": ""}) as run:
        try:
            yield run
        finally:
            run.kill()


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


def opened(db: Path, devices: Sequence[str]) -> SqliteStore:
    """A database in which each device has a store."""
    store = SqliteStore(db)
    for device in devices:
        store.add_shop(shop(device))
    return store
