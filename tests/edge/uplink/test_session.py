"""A connection is written and read by one thread: TLS breaks where two share it."""

from __future__ import annotations

import threading

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import MQTTErrorCode

from edge import wire
from edge.clock import SystemClock
from edge.uplink.session import Address, Ears, Session
from tests.conftest import Broker


def test_only_the_connections_own_thread_writes(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    wrote: set[str] = set()
    write = mqtt.Client._packet_write

    def seen(client: mqtt.Client) -> MQTTErrorCode:
        wrote.add(threading.current_thread().name)
        return write(client)

    monkeypatch.setattr(mqtt.Client, "_packet_write", seen)
    up, taken = threading.Event(), threading.Event()
    session = Session(Address("shop-1", broker.host, broker.port), SystemClock(), None, Ears(
        up.set, lambda *_: None, lambda *_: None, lambda _: None, lambda _: taken.set()))
    session.open()
    try:
        assert up.wait(10)
        session.publish(wire.up("shop-1", "data"), b"{}", "one", 1)
        assert taken.wait(10)
    finally:
        session.close()
    assert wrote == {"mqtt"}


@pytest.mark.timeout(20)
def test_a_message_wakes_a_connection_that_waits(broker: Broker) -> None:
    """Where it does not, each of these waits for the loop's own second, and the test's time is up."""
    up, taken = threading.Event(), threading.Semaphore(0)
    session = Session(Address("shop-1", broker.host, broker.port), SystemClock(), None, Ears(
        up.set, lambda *_: None, lambda *_: None, lambda _: None, lambda _: taken.release()))
    session.open()
    try:
        assert up.wait(10)
        for number in range(40):
            session.publish(wire.up("shop-1", "data"), b"{}", str(number), 1)
            assert taken.acquire(timeout=10)
    finally:
        session.close()
