"""The outages that are practised, a function each; the table at the end is the drill."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from edge.drill.ground import DrillError, Ground
from edge.uplink.pages import scan

KILLS = 5
WRONG_BY_S = -3 * 86_400.0


@dataclass(frozen=True, slots=True)
class Case:
    """One outage: what is done, and what is looked at beyond the counts. DrillError where that is not so.

    `may_lose`: so many records may be told as lost, at most; the damaged ones, and their neighbours on the disk.
    """

    name: str
    does: str
    run: Callable[[Ground, random.Random], str]
    may_lose: int = 0


def kill(ground: Ground, rng: random.Random) -> str:
    """The worker is killed again and again, at moments of no choice of its own."""
    for _ in range(KILLS):
        ground.start()
        ground.until_put(5 * rng.randint(2, 40))
        ground.kill()
    ground.start()
    ground.until_put(20)
    ground.finish()
    return f"{KILLS} times kill -9"


def torn_write(ground: Ground, rng: random.Random) -> str:
    """The power fails in the middle of a write: half a frame stands at the end of the log."""
    ground.cloud.broker.blackhole = True
    ground.start()
    ground.until_put(200)
    ground.kill()
    wal = ground.outbox.with_name("outbox.db-wal")
    whole = wal.read_bytes()
    frame = whole[-(4096 + 24):]
    with wal.open("ab") as file:
        file.write(frame[:rng.randint(25, len(frame) - 1)])
    ground.cloud.broker.blackhole = False
    ground.start()
    ground.finish()
    return "half a frame behind the log"


def flipped_byte(ground: Ground, rng: random.Random) -> str:
    """One byte of the disk is wrong: that record is lost and told, every other arrives."""
    ground.cloud.broker.blackhole = True
    ground.start()
    ground.until_put(2000)
    ground.kill()
    body = rng.choice([row.body for row in scan(ground.outbox) if b"drill/number" in row.body])
    place, flipped = rng.randrange(len(body)), 0
    for path in (ground.outbox, ground.outbox.with_name("outbox.db-wal")):
        data = bytearray(path.read_bytes())
        at = data.find(body)
        while at >= 0:
            data[at + place] ^= 0xFF
            flipped += 1
            at = data.find(body, at + 1)
        path.write_bytes(data)
    ground.cloud.broker.blackhole = False
    ground.start()
    ground.finish()
    return f"{flipped} copies of one byte flipped"


def full_disk(ground: Ground, _rng: random.Random) -> str:
    """The disk takes no more: records go on in memory, and back to the disk once it has room."""
    ground.cloud.broker.blackhole = True
    ground.start("--quota", str(96 * 1024))
    ground.until(lambda: any(line.get("memory") for line in ground.said), "the disk is full")
    ground.until_put(200)
    ground.cloud.broker.blackhole = False
    ground.until(lambda: ground.said[-1].get("memory") is False, "records are on the disk again")
    ground.until_put(50)
    ground.finish()
    return "a disk of 96 KiB"


def blackhole(ground: Ground, _rng: random.Random) -> str:
    """The network swallows everything, without a word: the keepalive notices, and nothing counts as sent."""
    ground.start()
    ground.until_delivered(50)
    ground.cloud.broker.blackhole = True
    ground.until(lambda: {"up": False} in ground.said, "the silence is noticed", 10.0)
    ground.until_put(100)
    ground.cloud.broker.blackhole = False
    ground.until_delivered(100)
    ground.finish()
    return "noticed by the keepalive"


def clock_jump(ground: Ground, _rng: random.Random) -> str:
    """The clock is days off, jumps, and is then put right: order stays, times are corrected and marked."""
    ground.cloud.broker.blackhole = True
    ground.start("--wrong-by", str(WRONG_BY_S))
    ground.until_put(100)
    ground.order("jump 100000")
    ground.until_put(100)
    ground.order("jump -900000")
    ground.until_put(100)
    ground.order("sync")
    ground.until_put(200)
    ground.cloud.broker.blackhole = False
    ground.finish()
    true = {line["put"]: line["at"] for line in ground.said if "put" in line}
    ledger = ground.cloud.ledger
    seen = {int(fact.value): (key, fact.t) for key, fact in ledger.facts.items()
            if fact.name == "drill/number" and isinstance(fact.value, float)}
    off = [number for number, at in true.items() if number in seen and abs(seen[number][1] - at) > 2.0]
    if off:
        raise DrillError(f"{len(off)} times are wrong, the first of record {off[0]}")
    if "corrected" not in ledger.clks.values():
        raise DrillError("no record is marked as corrected")
    order = sorted(number for number, (key, _) in seen.items() if key[0] == seen[1][0][0])
    if [seen[number][0][1] for number in order] != sorted(seen[number][0][1] for number in order):
        raise DrillError("records are out of order")
    return "three days off, two jumps, put right and marked"


def broker_restart(ground: Ground, _rng: random.Random) -> str:
    """The broker is restarted and has forgotten everything it said was received."""
    ground.start()
    ground.until_delivered(50)
    for _ in range(3):
        ground.cloud.broker.restart(wiped=True)
        ground.cloud.announce(online=True)
        ground.until_delivered(50)
    ground.finish()
    return "3 restarts, its state wiped"


def ingest_restart(ground: Ground, _rng: random.Random) -> str:
    """The ingest ends in the middle of batches, while the broker goes on receiving."""
    ground.start()
    ground.until_delivered(50)
    for _ in range(3):
        ground.cloud.stop_ingest()
        ground.until_put(50)
        ground.cloud.start_ingest()
        ground.until_delivered(50)
    ground.finish()
    return "3 restarts between receiving and committing"


CASES = (
    Case("kill", "the agent is killed (kill -9)", kill),
    Case("torn-write", "the power fails within a write", torn_write),
    Case("flipped-byte", "a byte of the disk flips", flipped_byte, may_lose=100),
    Case("full-disk", "the disk is full", full_disk),
    Case("blackhole", "the network swallows everything", blackhole),
    Case("clock-jump", "the clock is wrong, jumps, is put right", clock_jump),
    Case("broker-restart", "the broker restarts without memory", broker_restart),
    Case("ingest-restart", "the ingest restarts in a batch", ingest_restart),
)
