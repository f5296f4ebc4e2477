"""The composition root of the ingest: take, decode, commit; only then acknowledge and tell the watermark.

    Subscriber.take ─▶ sort ─▶ Store.commit (dedupe, readings, flow: one transaction) ─▶ acknowledge ─▶ watermark
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from cloud_ingest.store.protocol import Arrival, Rejected, Store
from cloud_ingest.subscriber import Message, Subscriber
from edge import wire
from edge.clock import Clock
from edge.errors import WireError

log = structlog.get_logger(__name__)
MOST = 200
WAIT_S = 0.5
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
        device = ""
        try:
            device, channel = wire.parse_up(message.topic)
            if channel == "birth":
                found.births.append((device, wire.decode(message.payload, wire.Birth)))
            elif channel == "state":
                found.states.append((device, wire.decode(message.payload, wire.State)))
            else:
                found.arrivals.append(Arrival(device, message.topic, wire.decode_batch(device, message.payload)))
        except WireError as error:
            found.rejected.append(Rejected(device, _plain(message.topic), _plain(str(error)), message.payload))
    return found


def _plain(text: str) -> str:
    """The text without what no database can hold: a lone surrogate becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


class Service:
    """Takes messages until `stop` is set."""

    def __init__(self, subscriber: Subscriber, store: Store, clock: Clock) -> None:
        self._subscriber, self._store, self._clock = subscriber, store, clock

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set, then leave the rest with the broker."""
        self._subscriber.start()
        while not stop.is_set():
            messages = self._subscriber.take(MOST, WAIT_S)
            if messages and self._commit(sort(messages), stop):
                for message in messages:
                    self._subscriber.acknowledge(message)
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
            for device, committed in self._store.commit(found.arrivals, found.rejected, now):
                self._subscriber.tell_committed(device, committed)
        for device, birth in found.births:
            self._store.note_birth(device, birth, now)
        for device, state in found.states:
            self._store.note_state(device, state, now)
