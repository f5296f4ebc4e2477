"""The composition root of the ingest: take, decode, commit; only then tell the watermark and acknowledge.

    Subscriber.take ─▶ sort ─▶ Store.commit (dedupe, readings, flow: one transaction) ─▶ watermark ─▶ acknowledge
                                       └─▶ Pacer: who may send how much of its backlog ─▶ credit
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
from msgspec import UNSET

from cloud_ingest.pacing import Pacer
from cloud_ingest.store.protocol import Arrival, Rejected, Store
from cloud_ingest.subscriber import Message, Subscriber
from edge import wire
from edge.clock import Clock
from edge.errors import WireError

log = structlog.get_logger(__name__)
MOST = 200
WAIT_S = 0.5
PER_MESSAGE = 200
"""Records that a message which waits is taken to hold."""
BATCHES = ("data", "backlog")
RETRY_S = (0.5, 1.0, 2.0, 5.0)


@dataclass(slots=True)
class Sorted:
    """Messages by what is to be done with them."""

    arrivals: list[Arrival] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    births: list[tuple[str, wire.Birth]] = field(default_factory=list)
    states: list[tuple[str, wire.State]] = field(default_factory=list)


def sort(messages: Sequence[Message]) -> Sorted:
    """Decode messages; what is not the contract's is rejected with the reason. Pure."""
    found = Sorted()
    for message in messages:
        device = channel = ""
        try:
            device, channel = wire.parse_up(message.topic)
            if channel == "birth":
                found.births.append((device, wire.decode(message.payload, wire.Birth)))
            elif channel == "state":
                found.states.append((device, wire.decode(message.payload, wire.State)))
            else:
                found.arrivals.append(Arrival(device, message.topic, wire.decode_batch(device, message.payload)))
        except WireError as error:
            claim = (wire.identify(message.payload) or message.claim) if channel in BATCHES else None
            found.rejected.append(Rejected(device, _plain(message.topic), _plain(str(error)), message.payload, claim))
    return found


def _plain(text: str) -> str:
    """The text without what no database can hold: a lone surrogate becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


class Service:
    """Takes messages until `stop` is set."""

    def __init__(self, subscriber: Subscriber, store: Store, clock: Clock, pacer: Pacer | None = None) -> None:
        """`pacer` is this worker's own; without one it has the default budget."""
        self._subscriber, self._store, self._clock = subscriber, store, clock
        self._pacer = pacer or Pacer()

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set, then leave the rest to the devices, which keep what is not committed."""
        self._subscriber.start()
        while not stop.is_set():
            messages = self._subscriber.take(MOST, WAIT_S)
            if messages and self._commit(sort(messages), stop):
                for message in messages:
                    self._subscriber.acknowledge(message)
            self._pace()
        self._subscriber.stop()
        self._store.close()

    def _commit(self, found: Sorted, stop: threading.Event) -> bool:
        """Commit, trying again while the database does not answer; False when told to stop first."""
        attempt = 0
        while not stop.is_set():
            try:
                self._commit_once(found)
            except Exception:  # the database is supervised here: nothing is acknowledged until it answers again
                log.exception("commit_failed", retry_s=RETRY_S[min(attempt, len(RETRY_S) - 1)])
                stop.wait(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                attempt += 1
            else:
                return True
        return False

    def _commit_once(self, found: Sorted) -> None:
        now = self._clock.now()
        for each in found.rejected:
            log.warning("quarantined", topic=each.topic, reason=each.reason)
        if found.arrivals or found.rejected:
            away = set()
            for device, committed, taken in self._store.commit(found.arrivals, found.rejected, now):
                self._subscriber.tell_committed(device, committed)
                if not taken:
                    log.warning("turned_away", device=device, stream=committed.st, why=committed.why)
                    away.add((device, committed.st))
            self._hear([each for each in found.arrivals if (each.device, each.batch.stream) not in away])
        for device, birth in found.births:
            self._store.note_birth(device, birth, now)
        for device, state in found.states:
            known = self._store.note_state(device, state, now)
            if known and (state.outbox is not UNSET or not state.online):
                left = state.outbox.backlog if state.online and state.outbox is not UNSET else 0
                self._pacer.ask(device, left, self._clock.monotonic())

    def _hear(self, taken: list[Arrival]) -> None:
        """What of a backlog has come, and what its device says is left."""
        now = self._clock.monotonic()
        for device, batch in ((each.device, each.batch) for each in taken if each.batch.historical):
            self._pacer.heard(device, len(batch.facts) + len(batch.refused), now)
            if batch.left is not None:
                self._pacer.ask(device, batch.left, now)

    def _pace(self) -> None:
        if self._subscriber.connected:  # credit is for one connection: it must not wait for the next
            waiting = self._subscriber.waiting * PER_MESSAGE
            for device, n in self._pacer.grants(self._clock.monotonic(), waiting):
                self._subscriber.tell_credit(device, n)
