"""Records through outbox, publisher, mosquitto and ingest to the commit, over bare paho publishing the same bytes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from cloud_ingest.service import Service
from cloud_ingest.store.protocol import Shop
from cloud_ingest.store.sqlite import SqliteStore
from cloud_ingest.subscriber import Subscriber
from edge import wire
from edge.clock import SystemClock
from edge.uplink.outbox import Outbox
from edge.uplink.publisher import Link, Publisher

pytestmark = pytest.mark.bench
RECORDS, BATCH = 20_000, 200


def test_to_the_commit_against_bare_paho(broker: Any, tmp_path: Path) -> None:
    clock = SystemClock()
    facts = [wire.Fact("scale-1/weight", clock.now(), "kg", 1.234)] * BATCH
    payload = wire.encode_batch("bench-1", facts, st="b" * 32, seq=1, lo=1, boot=1)
    bare = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    bare.connect(broker.host, broker.port)
    bare.loop_start()
    begin = clock.monotonic()
    for info in [bare.publish("bench/bare", payload, 1) for _ in range(RECORDS // BATCH)]:
        info.wait_for_publish(10)
    took_bare = clock.monotonic() - begin
    bare.disconnect()
    bare.loop_stop()

    store = SqliteStore(tmp_path / "cloud.db")
    store.add_shop(Shop("bench", "", 1, 1, "UTC", ("bench-1",), ("9", "8", "7", "6", "5")))
    stop = threading.Event()
    service = threading.Thread(target=Service(Subscriber(broker.host, broker.port, "bench"), store, clock).run,
                               args=(stop,))
    service.start()
    outbox = Outbox(tmp_path / "outbox.db")
    for _ in range(RECORDS // BATCH):
        last = outbox.put(facts)
    publisher = Publisher(Link("bench-1", broker.host, broker.port, batch=BATCH), outbox, clock)
    begin = clock.monotonic()
    publisher.start()
    assert publisher.wait_committed(last, 60)
    took = clock.monotonic() - begin
    print(f"\noutbox to commit: {RECORDS / took:,.0f} records/s; bare paho to PUBACK {RECORDS / took_bare:,.0f}; "
          f"{took / took_bare:.1f}x its time")
    publisher.stop()
    stop.set()
    service.join()
    outbox.close()
