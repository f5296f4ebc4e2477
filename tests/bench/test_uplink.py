"""Draining the outbox through mosquitto over bare paho publishing the same payloads, and what a reading costs there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties

from edge import wire
from edge.clock import SystemClock
from edge.uplink.buffer import Buffer
from edge.uplink.disk import Limits
from edge.uplink.lanes import Pace
from edge.uplink.publisher import Link, Publisher, Voice
from edge.uplink.refuge import Terms
from edge.uplink.sender import Sender
from edge.uplink.session import Address, properties_of
from tests.conftest import Broker, free_port

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]
CLOCK = SystemClock()
RECORDS = 200_000
BEGIN = CLOCK.now() - 86_400
TERMS = Terms(Limits(cap=1024**4, reserve=0))
REGISTRY = '[[stores]]\nid = "s"\nlat = 52.5\nlon = 13.4\ndevices = ["bench-1"]\n'


def fact(i: int) -> wire.Fact:
    """A reading of one of ten sensors, one a second each, as a shop gives them."""
    return wire.Fact(f"scale-{i % 10}/weight", round(BEGIN + i / 10, 3), "kg", 1.0 + i * 7919 % 997 / 1000)


def filled(path: Path) -> Buffer:
    buffer = Buffer(path, CLOCK, terms=TERMS)
    for at in range(0, RECORDS, 10_000):
        buffer.put([fact(i) for i in range(at, at + 10_000)])
    return buffer


class Capture:
    """A transport that keeps what is sent."""

    connected = True
    most_bytes = wire.MAX_PAYLOAD

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    def publish(self, _topic: str, payload: bytes, _event_id: str, _n: int) -> int | None:
        self.payloads.append(payload)
        return len(self.payloads)


def payloads_of(buffer: Buffer) -> list[bytes]:
    """What the publisher sends of a buffer, captured without a broker."""
    sender, capture = Sender("bench-1", buffer, CLOCK, Pace(window=1_000_000)), Capture()
    sender.connected()
    sender.lanes.credit = 10**9
    while sender.step(capture) == 0.0 or sender.lanes.waiting:
        pass
    return capture.payloads


def bare(broker: Broker, payloads: list[bytes]) -> float:
    """Seconds for bare paho to have all payloads PUBACKed."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.connect(broker.host, broker.port)
    client.loop_start()
    begin = CLOCK.monotonic()
    for info in [client.publish("bench/bare", payload, 1) for payload in payloads]:
        info.wait_for_publish(60)
    took = CLOCK.monotonic() - begin
    client.disconnect()
    client.loop_stop()
    return took


def drained(broker: Broker, buffer: Buffer) -> float:
    """Seconds for the publisher until the outbox is empty."""
    def birth() -> wire.Birth:
        return wire.Birth(device="bench-1", st=buffer.stream, boot=1, t=1.0, agent="bench", sensors={}, slots={})

    publisher = Publisher(Link(Address("bench-1", broker.host, broker.port)), buffer, CLOCK, Voice(birth))
    begin = CLOCK.monotonic()
    publisher.start()
    assert publisher.wait_committed(buffer.held().hi, 300)
    took = CLOCK.monotonic() - begin
    publisher.stop()
    return took


@contextmanager
def running(*command: str) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-m", *command], stderr=subprocess.DEVNULL) as process:
        yield
        process.kill()


def test_drain_against_bare_paho(broker: Broker, tmp_path: Path) -> None:
    buffer = filled(tmp_path / "outbox.db")
    payloads = payloads_of(buffer)
    took_bare = min(bare(broker, payloads) for _ in range(3))
    with running("tests.bench.committer", str(broker.port)):
        took = drained(broker, buffer)
    assert not buffer.held().records
    buffer.close()
    print(f"\ndrain, {len(payloads)} messages of {len(payloads[0])} bytes: {RECORDS / took:,.0f} records/s from disk "
          f"to deleted; bare paho to PUBACK {RECORDS / took_bare:,.0f}: {took_bare / took:.2f} of its rate")


def test_drain_into_the_real_ingest(broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "registry.toml").write_text(REGISTRY)
    buffer = filled(tmp_path / "outbox.db")
    with running("cloud_ingest", "run", "--db", str(tmp_path / "cloud.db"), "--broker", f"127.0.0.1:{broker.port}",
                 "--http", f"127.0.0.1:{free_port()}", "--registry", str(tmp_path / "registry.toml")):
        took = drained(broker, buffer)
    buffer.close()
    print(f"\ndrain into the ingest's commit: {RECORDS / took:,.0f} records/s (device, broker and ingest on 2 cores)")


def on_the_wire(topic: str, payload: bytes, properties: Properties | None) -> int:
    """Bytes of an MQTT 5 PUBLISH packet with QoS 1 (3.3)."""
    body = 2 + len(topic) + 2 + (len(properties.pack()) if properties else 1) + len(payload)  # type: ignore[no-untyped-call]
    return 1 + (1 if body < 128 else 2 if body < 16_384 else 3) + body


@pytest.mark.parametrize("batch", [10, 60, 200])
def test_bytes_for_a_reading(batch: int) -> None:
    facts = [fact(i) for i in range(batch)]
    single = sum(on_the_wire(f"cg/v1/shop-0001/up/{each.name}", json.dumps(
        {"device": "shop-0001", "name": each.name, "t": each.t, "unit": each.unit, "value": each.value}).encode(), None)
        for each in facts)
    payload = wire.pack(wire.encode_batch("shop-0001", facts, st="0" * 32, seq=1, lo=1, boot=1))
    properties = properties_of("shop-0001", payload, f"{'0' * 32}/1", batch)
    ours = on_the_wire(wire.up("shop-0001", "data"), payload, properties)
    print(f"\nbytes of PUBLISH for a reading, {batch} in a message: {ours / batch:.1f}, of payload "
          f"{len(payload) / batch:.1f}; as JSON messages of their own {single / batch:.1f}: 1/{single / ours:.1f}")
    assert ours < single
