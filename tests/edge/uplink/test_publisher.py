"""The publisher against a real mosquitto: only the cloud's commit deletes."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge import wire
from edge.clock import SystemClock
from edge.uplink.buffer import Buffer
from edge.uplink.lanes import Pace
from edge.uplink.publisher import Link, Publisher, Voice
from edge.uplink.session import Address


class Cloud:
    """A subscriber that commits only when it is told to."""

    def __init__(self, host: str, port: int, device: str) -> None:
        self.heard: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        self._device = device
        subscribed: queue.Queue[bool] = queue.Queue()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = lambda _client, _data, message: self.heard.put(message)
        self._client.on_subscribe = lambda *_: subscribed.put(True)
        self._client.connect(host, port)
        self._client.subscribe(f"{wire.ROOT}/{device}/up/+", qos=1)
        self._client.loop_start()
        assert subscribed.get(timeout=5)
        here = wire.encode(wire.IngestState(online=True))  # the broker may remember workers of other tests as gone
        self._client.publish(wire.ingest_topic(device), here, 1, True).wait_for_publish(5)

    def batch(self) -> tuple[mqtt.MQTTMessage, wire.Batch]:
        while True:
            message = self.heard.get(timeout=10)
            if message.topic.endswith(("/data", "/backlog")):
                return message, wire.decode_batch(self._device, bytes(message.payload))

    def state(self, *, online: bool) -> wire.State:
        while True:
            message = self.heard.get(timeout=10)
            if message.topic.endswith("/state"):
                state = wire.decode(bytes(message.payload), wire.State)
                if state.online == online:
                    return state

    def commit(self, stream: str, seq: int) -> None:
        payload = wire.encode(wire.Committed(st=stream, committed=seq))
        self._client.publish(wire.committed_topic(self._device), payload, 1, True).wait_for_publish(5)

    def close(self) -> None:
        self._client.publish(wire.ingest_topic(self._device), b"", 1, True).wait_for_publish(5)
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Buffer]:
    box = Buffer(tmp_path / "outbox.db", SystemClock())
    yield box
    box.close()


def fact(value: float) -> wire.Fact:
    return wire.Fact("scale-1/weight", SystemClock().now(), "kg", value)


def publisher(broker: Any, outbox: Buffer, device: str, **pace: Any) -> Publisher:
    def birth() -> wire.Birth:
        return wire.Birth(device=device, st=outbox.stream, boot=outbox.boot, t=1.0, agent="test", sensors={}, slots={})

    link = Link(Address(device, broker.host, broker.port), Pace(**{"age_s": 0.01, **pace}))
    return Publisher(link, outbox, SystemClock(), Voice(birth))


def test_only_the_clouds_commit_deletes(broker: Any, outbox: Buffer) -> None:
    cloud = Cloud(broker.host, broker.port, "pub-commit")
    sender = publisher(broker, outbox, "pub-commit")
    outbox.put([fact(1.0), fact(2.0)])
    sender.start()
    message, batch = cloud.batch()
    assert message.qos == 1
    assert ("id", f"{outbox.stream}/1") in message.properties.UserProperty  # type: ignore[union-attr]
    assert [value.value for _, value in batch.facts] == [1.0, 2.0]
    assert outbox.held().records == 2
    cloud.commit(outbox.stream, 1)
    assert sender.wait_committed(1, 5)
    assert (outbox.held().lo, outbox.held().records) == (2, 1)
    sender.stop()
    cloud.close()


def test_what_is_not_committed_is_sent_again(broker: Any, outbox: Buffer) -> None:
    cloud = Cloud(broker.host, broker.port, "pub-again")
    sender = publisher(broker, outbox, "pub-again", resend_s=0.2)
    outbox.put([fact(1.0)])
    sender.start()
    assert cloud.batch()[1].seq == cloud.batch()[1].seq == 1
    cloud.commit(outbox.stream, 1)
    assert sender.wait_committed(1, 5)
    sender.stop()
    cloud.close()


def test_a_watermark_of_another_stream_deletes_nothing(broker: Any, outbox: Buffer) -> None:
    cloud = Cloud(broker.host, broker.port, "pub-foreign")
    sender = publisher(broker, outbox, "pub-foreign")
    outbox.put([fact(1.0)])
    sender.start()
    cloud.batch()
    cloud.commit("f" * 32, 1)
    cloud.commit(outbox.stream, 99)
    assert not sender.wait_committed(1, 0.5)
    assert outbox.held().records == 1
    sender.stop()
    cloud.close()


def test_birth_state_and_goodbye_are_told(broker: Any, outbox: Buffer) -> None:
    cloud = Cloud(broker.host, broker.port, "pub-presence")
    sender = publisher(broker, outbox, "pub-presence")
    sender.start()
    assert cloud.state(online=True).boot == outbox.boot
    sender.stop()
    assert cloud.state(online=False).boot == outbox.boot
    cloud.close()


def test_a_visitor_leaves_no_presence(broker: Any, outbox: Buffer) -> None:
    cloud = Cloud(broker.host, broker.port, "pub-visitor")
    visitor = Publisher(Link(Address("pub-visitor", broker.host, broker.port, visitor=True)), outbox, SystemClock())
    outbox.put([fact(1.0)])
    visitor.start()
    message, _ = cloud.batch()
    assert message.topic == wire.up("pub-visitor", "data")
    visitor.stop()
    assert cloud.heard.empty()
    cloud.close()


def test_no_broker_keeps_everything_and_stops_at_once(outbox: Buffer) -> None:
    sender = Publisher(Link(Address("pub-alone", "127.0.0.1", 1)), outbox, SystemClock())
    outbox.put([fact(1.0)])
    sender.start()
    assert not sender.wait_committed(1, 0.3)
    assert not sender.connected
    sender.stop()
    assert outbox.held().records == 1
