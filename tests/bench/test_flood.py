"""What an honest shop's sale waits for its commit while another device floods: closed broker, guard and ingest."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge import wire
from edge.clock import SystemClock
from tests.cloud_ingest.devices import opened
from tests.cloud_ingest.pki.world import HOST, Client, World, until, world_in

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]
CLOCK = SystemClock()
SALES, EVERY_S = 100, 0.1
AGAIN_S = 10.0  # as the agent does: Pace.resend_s
SMALL = b"noise " * 20
MANY = [wire.Fact(f"scale-{i % 10}/weight", CLOCK.now(), "kg", 1.0) for i in range(1000)]


def full(seq: int) -> bytes:
    return wire.pack(wire.encode_batch("shop-flood", MANY, st="f" * 32, seq=1 + 1000 * seq, lo=1, boot=1))


FLOODS: dict[str, tuple[float, Callable[[int], bytes]]] = {
    "nothing": (0.0, lambda _i: b""),
    "noise as fast as it goes, 120 B": (1e9, lambda i: SMALL + b"%d" % i),
    "noise as fast as it goes, 200 kB": (1e9, lambda i: b"x" * 200_000 + b"%d" % i),
    "150 batches of 1000 records a second": (150.0, full),
    "150 x 87,000 empty records a second": (150.0, lambda i: b'{"v":1,"e":[' + b"{}," * 86_000 + b"%d]}" % i),
}


@contextmanager
def ingesting(world: World, db: Path) -> Iterator[int]:
    command = [sys.executable, "-m", "cloud_ingest", "run", "--db", str(db), "--broker", f"{HOST}:{world.service_port}",
               "--tls", str(world.broker), "--http", ""]
    log = world.path / "ingest.log"
    with log.open("wb") as said, subprocess.Popen(command, stderr=said) as process:
        until(lambda: '"subscribed"' in log.read_text(), "the ingest listens", 30)
        yield process.pid
        process.terminate()


def flood(world: World, stop: threading.Event, per_s: float, make: Callable[[int], bytes]) -> int:
    """Messages sent until `stop`, or the guard ends it."""
    client = Client(world, world.store("shop-flood").current, "shop-flood")
    client.mqtt.max_inflight_messages_set(1000)
    with client:
        begin, sent = CLOCK.monotonic(), 0
        while not stop.is_set() and not client.ended.is_set():
            ahead = sent - (CLOCK.monotonic() - begin) * per_s
            if ahead > 0 or len(client.mqtt._out_messages) > 2000:
                stop.wait(0.005)
                continue
            client.mqtt.publish("cg/v1/shop-flood/up/data", make(sent), 1)
            sent += 1
        return sent


def heard(shop: Client, seq: int) -> bool:
    return any(b'"committed":%d,' % seq in said for _, said in list(shop.messages))


def waits(world: World) -> list[float]:
    """Seconds from each sale to its commit, as the shop hears of it; one that was lost on the way is sent again."""
    found: list[float] = []
    with Client(world, world.store("shop-ok").current, "shop-ok") as shop:
        shop.subscribe("cg/v1/shop-ok/down/committed")
        pause = threading.Event()
        for seq in range(1, SALES + 1):
            fact = wire.Fact("slot/A1/sold", CLOCK.now(), "count", 1.0, "ok", "4006381333931")
            payload, begin = wire.encode_batch("shop-ok", [fact], st="a" * 32, seq=seq, lo=1, boot=1), CLOCK.monotonic()
            shop.messages.clear()
            while not heard(shop, seq):
                shop.mqtt.publish("cg/v1/shop-ok/up/data", payload, 1)
                again = CLOCK.monotonic() + AGAIN_S
                while CLOCK.monotonic() < again and not heard(shop, seq):
                    pause.wait(0.005)
            found.append(CLOCK.monotonic() - begin)
            pause.wait(max(0.0, EVERY_S - found[-1]))
    return sorted(found)


@pytest.mark.parametrize("kind", FLOODS)
def test_an_honest_shop_beside_a_flood(kind: str, mosquitto: str, tmp_path: Path) -> None:
    per_s, make = FLOODS[kind]
    opened(tmp_path / "cloud.db", ["shop-ok", "shop-flood"]).close()
    stop, sent = threading.Event(), [0]
    with world_in(tmp_path, mosquitto) as world:
        for device in ("shop-ok", "shop-flood"):
            world.given(device)
        guarding = threading.Thread(target=world.guard.run, args=(stop,))
        flooding = threading.Thread(target=lambda: sent.append(flood(world, stop, per_s, make)))
        with ingesting(world, tmp_path / "cloud.db") as pid:
            guarding.start()
            if per_s:
                flooding.start()
            found = waits(world)
            memory = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
            assert memory
            stop.set()
            guarding.join()
            if per_s:
                flooding.join()
    print(f"\n{kind}: {sent[-1]:,} messages in {sum(found):.0f} s; a sale waits {found[len(found) // 2] * 1e3:.0f} ms "
          f"(median), {found[int(len(found) * .95)] * 1e3:.0f} ms (95%), {found[-1] * 1e3:.0f} ms (longest); "
          f"ingest {int(memory[1]) / 1024:.0f} MiB at most; ended by the guard: {'shop-flood' in world.ended}")
