"""A device: the real buffer and sender on real files, and a clock that may be wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge import wire
from edge.agent import BUILT
from edge.clock import HonestClock, ManualClock
from edge.uplink.buffer import Buffer
from edge.uplink.disk import Limits
from edge.uplink.lanes import Pace
from edge.uplink.refuge import Terms
from edge.uplink.sender import Sender
from tests.simulation.ledger import Ledger, Made, owed_by_memory
from tests.simulation.network import Broker, Session
from tests.simulation.power import Power

STATE_S = 10.0
CUT_WITHIN = 9
Trouble = Literal["", "full", "broken"]


@dataclass(slots=True)
class BoxClock:
    """The box's own clocks: the wall is off by `offset` seconds, the other one counts from `origin`."""

    true: ManualClock
    offset: float = 0.0
    origin: float = 0.0
    synced: bool = True

    def now(self) -> float:
        return self.true.at + self.offset

    def monotonic(self) -> float:
        return self.true.at - self.origin


class Device:
    """One box; an operation in which the power goes ends in its next start. Is its own `Transport` and `Endpoint`."""

    is_worker = False

    def __init__(self, name: str, root: Path, broker: Broker, true: ManualClock, rng: random.Random,
                 power: Power) -> None:
        self.name, self._root, self._broker, self.rng, self._power = name, root, broker, rng, power
        self.box, self.ledger = BoxClock(true), Ledger()
        limits = Limits(rng.choice((1 << 30, 1 << 30, 56 * 1024)), reserve=0, newest=5)
        self._terms = Terms(limits, memory=rng.choice((25, 20_000)))
        self._pace = Pace(rng.choice((3, 10, 50)), rng.choice((1, 2, 8)), resend_s=3.0)
        self.most_bytes = rng.choice((900, wire.MAX_PAYLOAD))
        self.starts = self._folders = 0
        self.trouble: Trouble = ""
        self.session: Session | None = None
        self._state_at = 0.0
        self.folder = self.new_folder()
        self.start(self.folder)

    def new_folder(self) -> Path:
        """A name that was not used yet."""
        self._folders += 1
        return self._root / f"{self.name}.{self._folders}"

    def start(self, folder: Path) -> None:
        """Begin on a folder, as `edge.agent.Agent` does."""
        self.folder, self.starts = folder, self.starts + 1
        self.clock = HonestClock(self.box, lambda: self.box.synced)
        self.buffer = Buffer(folder / "outbox.db", self.clock, terms=self._terms)
        self.clock.begin(max(BUILT, self.buffer.tally.floor))
        self.buffer.turn(self.clock.era)
        self.sender = Sender(self.name, self.buffer, self.clock, self._pace)
        self.ledger.look(self.buffer.tally.lost)
        found = self.buffer.snapshot()
        assert found in self.ledger.snapshots, f"{self.name}: {found!r} is none of {self.ledger.snapshots}"
        self.ledger.snapshots = {found}
        trouble(self, self.trouble)

    def end(self, folder: Path) -> None:
        """Dead, without closing anything; the next start is on `folder`."""
        self._broker.disconnect(self.name)
        self.ledger.dead(self.ledger.volatile, owed_by_memory(self.buffer),
                         in_memory=self.buffer.refuge.memory is not None or self.trouble != "")
        self.let_go()
        self.start(folder)

    def let_go(self) -> None:
        """Close the file as it is: nothing is saved from memory."""
        if self.buffer.refuge.disk is not None:
            self.buffer.refuge.disk.disk.close()

    def operate(self, do: Callable[[], object], *, cut: bool) -> bool:
        """One operation; False where the power went in it, and the device has started again since."""
        if not cut:
            do()
            return True
        disk, to = self.buffer.refuge.disk, self.new_folder()
        before = self.ledger.volatile.copy(), owed_by_memory(self.buffer)
        in_memory = self.buffer.refuge.memory is not None or self.trouble != ""
        self._power.plan(self.folder, to, self.rng.randint(1, CUT_WITHIN))
        self._power.watch(disk)
        do()
        image = self._power.done()
        self._power.watch(self.buffer.refuge.disk)
        if image is None:
            return True
        self.ledger.dead(*before, in_memory=in_memory)
        self.end(image)
        return False

    def put(self, facts: Sequence[Made], *, cut: bool) -> None:
        """Keep facts: they are kept once this returns, and may be where the power went."""
        self.ledger.made.update((each.number, each) for each in facts)
        snapshot = b"%d" % facts[-1].number
        self.ledger.snapshots.add(snapshot)
        if self.operate(lambda: self.buffer.put([each.fact for each in facts], snapshot), cut=cut):
            self.ledger.kept(facts, snapshot, in_memory=self.buffer.refuge.memory is not None)
            self.ledger.look(self.buffer.tally.lost)

    def poll(self, *, cut: bool) -> None:
        """Look at the clock, as `Agent._poll_clock` does."""
        turn, start = self.clock.poll(), self.starts
        if turn is None:
            return
        shift = turn.shift if turn.corrects else None
        whole = self.operate(lambda: self.buffer.turn(turn.after, shift), cut=cut)
        if shift is not None:
            self.ledger.corrected(start, self.box.offset, whole=whole,
                                  in_memory=self.buffer.refuge.memory is not None)

    def step(self, *, cut: bool) -> None:
        """Send what is due, a few messages at most."""
        if self.connected and self._state_at <= self.box.true.at:
            self.tell()
        if self.operate(lambda: any(self.sender.step(self) for _ in range(4)), cut=cut):
            self.ledger.look(self.buffer.tally.lost)

    def connect(self) -> None:
        """Connected and subscribed: say who this is, and go on."""
        self.session = self._broker.connect(self)
        self.sender.connected()
        self._broker.send(self.session, wire.up(self.name, "birth"), wire.encode(wire.Birth(
            device=self.name, st=self.buffer.stream, boot=self.buffer.boot, t=self.clock.now(), agent="0", sensors={},
            slots={})), retain=True)
        self.tell()

    def tell(self) -> None:
        """The state, as far as the pacing needs it."""
        self._state_at = self.box.true.at + STATE_S
        if self.session is not None:
            self._broker.send(self.session, wire.up(self.name, "state"), wire.encode(wire.State(
                online=True, boot=self.buffer.boot, t=self.clock.now(), buffered=self.buffer.held().records,
                committed=self.sender.committed, outbox=wire.OutboxState(backlog=self.sender.lanes.waiting))),
                retain=True)

    @property
    def connected(self) -> bool:
        """As `Transport.connected`."""
        return self.session is not None and self.session.alive

    def publish(self, topic: str, payload: bytes, event_id: str, n: int) -> int | None:
        """As `Transport.publish`; a PUBACK means nothing, and nothing leaves a device whose power has gone."""
        if self._power.image is not None or self.session is None or self.rng.random() < self._broker.harm / 20:
            return None
        st, _, seq = event_id.partition("/")
        self.ledger.sent(st, int(seq), n)
        self._broker.send(self.session, topic, payload)
        return self.ledger.publishes

    def receive(self, topic: str, payload: bytes) -> None:
        """As `Endpoint.receive`."""
        cut = self._broker.harm > 0 and self.rng.random() < 0.02
        self.operate(lambda: self.sender.hear(topic, payload), cut=cut)
        self.ledger.exposed &= self.buffer.held().records > 0

    def will(self) -> tuple[str, bytes]:
        """As `Endpoint.will`."""
        return wire.up(self.name, "state"), wire.encode(wire.State(online=False, boot=self.buffer.boot))


def trouble(device: Device, what: Trouble) -> None:
    """The device's disk takes nothing more (`full`), nothing at all (`broken`), or everything again."""
    device.trouble, disk = what, device.buffer.refuge.disk
    if disk is not None:
        pages = disk.disk.db.execute("PRAGMA page_count").fetchone()[0]
        disk.disk.db.execute(f"PRAGMA max_page_count={pages if what == 'full' else 1 << 30}")
        disk.disk.db.execute(f"PRAGMA query_only={what == 'broken'}")
