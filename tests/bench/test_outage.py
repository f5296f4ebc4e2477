"""Seven days without a network: what the outbox weighs, how long catching up takes, what live readings wait."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edge import wire
from edge.clock import SystemClock
from edge.uplink.buffer import Buffer
from edge.uplink.disk import Limits
from edge.uplink.publisher import Link, Publisher, Voice
from edge.uplink.refuge import Terms
from edge.uplink.session import Address
from tests.bench.test_uplink import REGISTRY, running
from tests.conftest import Broker

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]
CLOCK = SystemClock()
DAYS, SENSORS = 7, 10
RECORDS = DAYS * 86_400 * SENSORS
AT_ONCE = 10_000


def reading(i: int, begin: float) -> wire.Fact:
    """One of ten scales, once a second each, at its own increment of 5 g, now and then another weight."""
    return wire.Fact(f"scale-{i % SENSORS}/weight", round(begin + i / SENSORS, 3), "kg", 0.25 * (i // 4000 * 7 % 24))


def fill(buffer: Buffer) -> float:
    """Seven days of readings; the seconds it took."""
    begin, at = CLOCK.now() - DAYS * 86_400, CLOCK.monotonic()
    for i in range(0, RECORDS, AT_ONCE):
        buffer.put([reading(n, begin) for n in range(i, min(i + AT_ONCE, RECORDS))])
    return CLOCK.monotonic() - at


def is_committed(publisher: Publisher, buffer: Buffer, place: int) -> bool:
    stream = buffer.streams()[-1]
    seq = place - stream.base
    return any(first <= seq <= last for first, last in publisher.sender.lanes.known.get(stream.st, ()))


def test_catching_up_after_seven_days(broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "registry.toml").write_text(REGISTRY)
    path = tmp_path / "outbox.db"
    buffer = Buffer(path, CLOCK, terms=Terms(Limits(reserve=0)))
    filled_s = fill(buffer)
    held = buffer.held()
    assert held.records == RECORDS

    def birth() -> wire.Birth:
        return wire.Birth(device="bench-1", st=buffer.stream, boot=1, t=1.0, agent="bench", sensors={}, slots={})

    publisher = Publisher(Link(Address("bench-1", broker.host, broker.port)), buffer, CLOCK, Voice(birth))
    waits: list[float] = []
    pause = threading.Event()
    with running("cloud_ingest", "run", "--db", str(tmp_path / "cloud.db"), "--broker", f"127.0.0.1:{broker.port}",
                 "--http", "", "--registry", str(tmp_path / "registry.toml")):
        begin = CLOCK.monotonic()
        publisher.start()
        waiting: list[tuple[int, float]] = []
        put_at = begin
        while publisher.sender.lanes.waiting or buffer.held().lo <= held.hi:
            now = CLOCK.monotonic()
            if now >= put_at:
                put_at += 1.0
                waiting.append((buffer.put([reading(n, CLOCK.now()) for n in range(SENSORS)]), now))
                publisher.wake()
            for place, at in [each for each in waiting if is_committed(publisher, buffer, each[0])]:
                waits.append(now - at)
                waiting.remove((place, at))
            pause.wait(0.02)
        took = CLOCK.monotonic() - begin
        publisher.stop()
    buffer.close()
    waits.sort()
    print(f"\n{DAYS} days, {SENSORS} sensors, one reading a second each: {RECORDS:,} records, file "
          f"{held.used / 1e6:.0f} MB ({held.used / RECORDS:.0f} bytes each; put in {filled_s:.0f} s); caught up in "
          f"{took:.0f} s ({RECORDS / took:,.0f} records/s into the ingest's commit); live readings meanwhile committed "
          f"after {waits[len(waits) // 2]:.2f} s (median), {waits[-1]:.2f} s (longest of {len(waits)})")
