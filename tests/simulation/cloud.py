"""A worker of the ingest: the real `Service` over a simulated connection, killed where it hurts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import cast

from cloud_ingest.pacing import Pacer
from cloud_ingest.service import Service
from cloud_ingest.sorting import sort
from cloud_ingest.store.sqlite import SqliteStore
from cloud_ingest.subscriber import Message, Subscriber
from edge import wire
from edge.clock import ManualClock
from tests.simulation.network import Broker, Session


class KilledError(Exception):
    """The worker dies here: committed, and nobody was told."""


class Worker:
    """One of those that share the subscription and write to one database."""

    is_worker = True

    def __init__(self, name: str, path: Path, broker: Broker, clock: ManualClock, rng: random.Random) -> None:
        self.name, self._path, self._broker, self._clock, self._rng = name, path, broker, clock, rng
        self._budget = rng.choice((20, 200, 20_000))
        self.session: Session | None = None
        self.start()

    def start(self) -> None:
        """A new process: what the last one had in memory is gone."""
        self.queue: list[Message] = []
        self._doomed = False
        self.store = SqliteStore(self._path)
        self.service = Service(cast(Subscriber, self), self.store, self._clock, Pacer(self._budget))

    def connect(self) -> None:
        """Subscribe, and say so."""
        self.session = self._broker.connect(self)
        self._send(wire.ingest_topic(self.name), wire.encode(wire.IngestState(online=True)), retain=True)

    def crash(self) -> None:
        """Killed, and started again; not yet connected."""
        self._broker.disconnect(self.name)
        self.store.close()
        self.start()

    def serve(self, fate: str = "") -> None:
        """Commit what has come; `fate`: killed `before` the commit, or `after` it and before anyone is told."""
        most = self._rng.choice((1, 5, 200))
        messages, self.queue = self.queue[:most], self.queue[most:]
        if fate == "before":
            self.crash()
            return
        self._doomed = fate == "after"
        try:
            self.commit(messages)
        except KilledError:
            self.crash()
            return
        self._doomed = False
        self.service._pace()

    def commit(self, messages: list[Message]) -> None:
        """What the service does with messages."""
        if messages:
            self.service._commit_once(sort(messages))

    def receive(self, topic: str, payload: bytes) -> None:
        """As `Endpoint.receive`."""
        self.queue.append(Message(topic, payload, 1, 0, 0))

    def will(self) -> tuple[str, bytes]:
        """As `Endpoint.will`."""
        return wire.ingest_topic(self.name), wire.encode(wire.IngestState(online=False))

    @property
    def connected(self) -> bool:
        """As `Subscriber.connected`."""
        return self.session is not None and self.session.alive

    @property
    def waiting(self) -> int:
        """As `Subscriber.waiting`."""
        return len(self.queue)

    def tell_committed(self, device: str, committed: wire.Committed) -> None:
        """As `Subscriber.tell_committed`."""
        if self._doomed:
            raise KilledError
        self._send(wire.committed_topic(device), wire.encode(committed), retain=True)

    def tell_credit(self, device: str, n: int) -> None:
        """As `Subscriber.tell_credit`."""
        self._send(wire.credit_topic(device), wire.encode(wire.Credit(n=n)))

    def _send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if self.session is not None and self.session.alive:
            self._broker.send(self.session, topic, payload, retain=retain)
