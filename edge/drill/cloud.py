"""A stand-in for broker and ingest, on loopback: it commits, tells watermarks and gives credit, as the cloud does.

The broker (`edge.sim.broker`) may be restarted or swallow everything; the ingest may end in the middle of a batch.
What was committed is this object's, so it outlives both.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from dataclasses import dataclass, field

import structlog
from msgspec import UNSET

from edge import wire
from edge.errors import WireError
from edge.sim.broker import Arrived, StandInBroker

log = structlog.get_logger(__name__)
CREDIT = 5000
WORKER = "drill"


@dataclass(slots=True)
class Ledger:
    """What the cloud's database would have: facts by stream and sequence, and what will never come."""

    facts: dict[tuple[str, int], wire.Fact] = field(default_factory=dict)
    clks: dict[tuple[str, int], str] = field(default_factory=dict)
    gone: set[tuple[str, int]] = field(default_factory=set)
    mark: Counter[str] = field(default_factory=Counter)
    repeats: int = 0

    def commit(self, batch: wire.Batch) -> None:
        """Keep what is new, and move the mark over what is there or never comes."""
        st = batch.stream
        self.mark[st] = max(self.mark[st], batch.lo - 1)
        for seq, fact in batch.facts:
            self.repeats += (st, seq) in self.facts
            self.facts[st, seq] = fact
            self.clks[st, seq] = batch.clk
        self.gone |= {(st, seq) for first, last in batch.gaps for seq in range(first, last + 1)}
        while (st, self.mark[st] + 1) in self.facts or (st, self.mark[st] + 1) in self.gone:
            self.mark[st] += 1

    def ahead(self, st: str) -> list[tuple[int, int]]:
        """The ranges above the mark."""
        ranges: list[tuple[int, int]] = []
        for seq in sorted(seq for of, seq in self.facts if of == st and seq > self.mark[st]):
            if ranges and ranges[-1][1] == seq - 1:
                ranges[-1] = (ranges[-1][0], seq)
            else:
                ranges.append((seq, seq))
        return ranges[:100]

    def losses(self) -> int:
        """How many records the loss records tell."""
        return sum(loss.n for fact in self.facts.values() if (loss := wire.loss_of(fact)) is not None)


class StandInCloud:
    """Broker and ingest for one device; safe between threads."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.lock = threading.Lock()
        self._arrived: queue.SimpleQueue[Arrived | None] = queue.SimpleQueue()
        self.broker = StandInBroker()
        self.broker.on_publish = self._take
        self._listening = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> StandInCloud:
        self.broker.start()
        self.start_ingest()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_ingest()
        self.broker.stop()

    def start_ingest(self) -> None:
        """Listen again, and say so."""
        self._arrived = queue.SimpleQueue()
        self._listening = True
        self._thread = threading.Thread(target=self._run, args=(self._arrived,), name="drill-ingest", daemon=True)
        self._thread.start()
        self.announce(online=True)

    def stop_ingest(self) -> None:
        """End at once: what was taken and not committed is gone; the broker tells the last will."""
        self._listening = False
        self._arrived.put(None)
        if self._thread is not None:
            self._thread.join()
        self.announce(online=False)

    def announce(self, *, online: bool) -> None:
        """The retained presence of the ingest."""
        self.broker.publish(wire.ingest_topic(WORKER), wire.encode(wire.IngestState(online=online)), retain=True)

    def _take(self, arrived: Arrived) -> int | None:
        """In the broker's thread: a PUBACK, whether or not anybody commits."""
        self._arrived.put(arrived)
        return 0

    def _run(self, arrived: queue.SimpleQueue[Arrived | None]) -> None:
        while (each := arrived.get()) is not None and self._listening:
            try:
                self._commit(each)
            except WireError as error:
                log.error("drill_not_understood", topic=each.topic, error=str(error))

    def _commit(self, arrived: Arrived) -> None:
        device, channel = wire.parse_up(arrived.topic)
        if channel == "state":
            state = wire.decode(arrived.payload, wire.State)
            if state.outbox is not UNSET and state.outbox.backlog:
                self.broker.publish(wire.credit_topic(device), wire.encode(wire.Credit(n=CREDIT)))
        elif channel != "birth":
            batch = wire.decode_batch(device, arrived.payload)
            with self.lock:
                self.ledger.commit(batch)
                told = wire.Committed(st=batch.stream, committed=self.ledger.mark[batch.stream],
                                      ahead=self.ledger.ahead(batch.stream) or UNSET)
            self.broker.publish(wire.committed_topic(device), wire.encode(told), retain=True)
            if batch.left:
                self.broker.publish(wire.credit_topic(device), wire.encode(wire.Credit(n=wire.MAX_RECORDS)))
