"""Whole paths, simulated: devices on real SQLite files, a broker that loses, and the real ingest, all by one seed.

    python -m tests.simulation.world SEED [MUTANT]      tells the story of one seed, line by line

One thread, one clock that stands still until it is moved, one random generator: the same seed is the same story.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import structlog

from cloud_ingest.store.protocol import Shop
from cloud_ingest.store.sqlite import SqliteStore
from edge.clock import ManualClock
from edge.wire import Fact
from tests.simulation.audit import audit
from tests.simulation.cloud import Worker
from tests.simulation.device import Device, trouble
from tests.simulation.faults import FAULTS
from tests.simulation.ledger import Image, Made
from tests.simulation.mutants import MUTANTS
from tests.simulation.network import Broker
from tests.simulation.power import Power, copy

BEGIN = 1_790_000_000.0
STEPS_S = (0.05, 0.2, 0.6, 2.0, 7.0)
SKUS = ("4006381333931", "5000112546415")
PATIENCE = 200
"""Steps of calm in which nothing leaves any device: it never will."""
MOST_STEPS = 5000
"""The same where records go round for ever."""
PADDING = "x" * 300


class World:
    """One seed's devices, broker and workers, and the hand that breaks them."""

    def __init__(self, seed: int, root: Path, tell: Callable[[str], None]) -> None:
        self.rng, self.tell = random.Random(seed), tell
        self.clock, self.power = ManualClock(BEGIN), Power()
        rng = self.rng
        self.broker = Broker(rng, self.clock, rng.choice((0.0, 0.1, 0.4)))
        names = [f"box-{n}" for n in range(1, rng.choice((1, 1, 1, 2, 2, 3, 4)) + 1)]
        self.db = copy(registry(tuple(names)), root / "cloud") / "cloud.db"
        self.devices = [Device(name, root, self.broker, self.clock, rng, self.power) for name in names]
        self.workers = [Worker(f"worker-{n}", self.db, self.broker, self.clock, rng)
                        for n in range(rng.choice((1, 1, 2, 3)))]
        self.images: dict[str, Image] = {}
        self.number = 0
        self.faults = [fault for fault in FAULTS if rng.random() < 0.4]
        self.mood = rng.choice((0.0, 0.2, 0.5))
        self.cuts = rng.choice((0.0, 0.03))
        self.dark = BEGIN + rng.choice((0.0, 0.0, 60.0))  # until then nobody is connected

    def run(self) -> None:
        """Trouble, then calm, then the audit."""
        for _ in range(self.rng.choice((20, 40, 70))):
            self.step()
            if self.faults and self.rng.random() < self.mood:
                fault = self.rng.choice(self.faults)
                device = self.rng.choice(self.devices)
                self.tell(f"{device.name:6} {fault.__name__}")
                fault(self, device)
        self.tell("calm")
        self.calm()
        for device in self.devices:
            known = device.ledger
            self.tell(f"{device.name:6} {len(known.made)} made, {len(known.excused)} excused, {known.forgiven} "
                      f"forgiven, {known.lost} lost{', exact' if known.exact else ''}")
        audit(self.db, self.devices)

    def step(self) -> None:
        """A moment in which everybody may do something."""
        rng = self.rng
        self.clock.advance(rng.choice(STEPS_S))
        for device in self.devices:
            cut = rng.random() < self.cuts
            if rng.random() < 0.5:
                facts = self.facts(device, rng.choice((1, 2, 5, 40)))
                self.tell(f"{device.name:6} puts {facts[0].number}..{facts[-1].number}{' cut' if cut else ''}")
                device.put(facts, cut=cut)
            if rng.random() < 0.3:
                device.poll(cut=cut)
            if not device.connected and self.clock.at > self.dark and rng.random() < 0.3:
                self.tell(f"{device.name:6} connects")
                device.connect()
            device.step(cut=cut)
        self.broker.deliver()
        for worker in self.workers:
            if not worker.connected and rng.random() < 0.3:
                self.tell(f"{worker.name} connects")
                worker.connect()
            if rng.random() < 0.7:
                worker.serve()

    def facts(self, device: Device, n: int) -> list[Made]:
        """New facts of all kinds, each with a number that no other has."""
        made = []
        t, era = device.clock.now(), device.clock.era
        for _ in range(n):
            self.number += 1
            number, kind = self.number, self.rng.randrange(6)
            sku = self.rng.choice(SKUS) if kind == 0 else None
            fact = (Fact("slot/A/sold", t, "count", number, "ok", sku), Fact("slot/A/level", t, "count", number),
                    Fact("scale/weight", t, "kg", number), Fact("door/open", t, f"n{number}", value=True),
                    Fact("event/note", t, "", f"{number}"), Fact("note/text", t, "", f"{number}:{PADDING}"))[kind]
            made.append(Made(number, fact, self.clock.at, device.starts, era.clk == "free"))
        return made

    def calm(self) -> None:
        """Heal everything, and run until nothing is left to do."""
        self.broker.harm = 0.0
        for device in self.devices:
            trouble(device, "")
            device.box.offset, device.box.synced = 0.0, True
        n = moved = left = 0
        while not self.drained():
            busy = not self.broker.idle or any(worker.queue for worker in self.workers)
            self.clock.advance(0.05 if busy else 0.6 if n % 6 else 4.0)
            self.calm_step()
            before, n = left, n + 1
            left = sum(device.buffer.held().records - device.sender.lanes.live for device in self.devices)
            moved = moved if left == before else n
            assert n < min(moved + PATIENCE, MOST_STEPS), "not drained: " + "; ".join(
                f"{device.name} holds {device.buffer.held()}, lanes {device.sender.lanes.__dict__}, "
                f"streams {device.buffer.streams()}" for device in self.devices if device.buffer.held().records)

    def calm_step(self) -> None:
        """A moment in which everybody does all there is to do."""
        for each in list[Device | Worker]([*self.devices, *self.workers]):
            if not each.connected:
                each.connect()
        for device in self.devices:
            device.poll(cut=False)
            if device.buffer.refuge.memory is not None:
                device.buffer.put(())
            device.step(cut=False)
        self.broker.deliver()
        for worker in self.workers:
            worker.serve()

    def drained(self) -> bool:
        """Whether nobody holds anything any more."""
        return self.broker.idle and not any(worker.queue for worker in self.workers) and all(
            device.buffer.refuge.memory is None and device.buffer.held().records == 0 and not device.sender.lanes.sent
            for device in self.devices)

    def close(self) -> None:
        """Let go of all files."""
        for device in self.devices:
            device.let_go()
        for worker in self.workers:
            worker.store.close()


@cache
def shelf() -> Path:
    """Where files are made: in memory where the machine has that, since nothing here is about the disk's speed."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else Path(tempfile.gettempdir())


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="cornergrid-", dir=shelf())


@cache
def registry(devices: tuple[str, ...]) -> Path:
    """A folder with an ingest's database in which these devices are registered; made once for each process."""
    folder = Path(_folder().name) / f"registry-{len(devices)}"
    store = SqliteStore(folder / "cloud.db")
    store.add_shop(Shop("store-1", "Corner", 52.5, 13.4, "UTC", devices, ("9", "8", "7", "6", "5")))
    store.close()
    return folder


@contextmanager
def seeded_streams(seed: int) -> Iterator[None]:
    """Stream ids by the seed."""
    rng = random.Random(f"streams {seed}")
    with patch("edge.uplink.streams.uuid", SimpleNamespace(
            uuid4=lambda: uuid.UUID(int=rng.getrandbits(128), version=4))):
        yield


def play(seed: int, mutant: str = "", tell: Callable[[str], None] = lambda _line: None) -> str:
    """What went wrong in a seed's story; empty where nothing did."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    root = Path(tempfile.mkdtemp(prefix=f"{seed}-", dir=_folder().name))
    world: World | None = None
    try:
        with seeded_streams(seed), MUTANTS[mutant]() if mutant else nullcontext():
            world = World(seed, root, tell)
            with world.power.wired():
                world.run()
    except Exception as error:  # whatever it is, the seed has found it
        if tell is not print:
            return f"{type(error).__name__}: {error}"
        raise
    finally:
        if world is not None:
            world.close()
        shutil.rmtree(root)
    return ""


def first_found(mutant: str, seeds: int) -> int | None:
    """The first seed in whose story a planted fault shows; None where it never does."""
    return next((seed for seed in range(seeds) if play(seed, mutant)), None)


if __name__ == "__main__":
    play(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "", tell=print)
    print("all is accounted for")
