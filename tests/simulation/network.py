"""A broker and everything on its way to and from it, by a seeded hand: what is lost, comes twice, late or in any order.

A broken connection takes with it what was still on its way over it. Birth and state come in order and are lost only
so; batches, watermarks and credit fare worse than any TCP would let them.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edge import wire
from edge.clock import ManualClock

LATE_S = (0.0, 0.0, 0.1, 0.5, 2.0, 9.0)


class Endpoint(Protocol):
    """Who is connected: a device, or a worker of the ingest."""

    name: str
    is_worker: bool

    def receive(self, topic: str, payload: bytes) -> None:
        """A message has come."""

    def will(self) -> tuple[str, bytes]:
        """What the broker tells when the connection breaks."""


@dataclass(slots=True, eq=False)
class Session:
    """One connection; `fifo` is when the last of its ordered messages comes."""

    owner: Endpoint
    alive: bool = True
    fifo: float = 0.0


class Broker:
    """Takes and hands out messages when the clock says that they have arrived."""

    def __init__(self, rng: random.Random, clock: ManualClock, harm: float) -> None:
        self._rng, self._clock, self.harm = rng, clock, harm
        self._air: list[tuple[float, int, Session, Callable[[], None]]] = []
        self._n = 0
        self.sessions: dict[str, Session] = {}
        self.retained: dict[str, bytes] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._air

    def connect(self, owner: Endpoint) -> Session:
        """A new session, to which all that is retained for it is sent."""
        self.disconnect(owner.name)
        session = self.sessions[owner.name] = Session(owner)
        for topic, payload in list(self.retained.items()):
            kind = topic.rpartition("/")[2]
            if kind in ("birth", "state") if owner.is_worker else self._is_for(owner.name, topic):
                self._down(session, topic, payload)
        return session

    def disconnect(self, name: str) -> None:
        """The connection breaks, and the last will is told."""
        session = self.sessions.pop(name, None)
        if session is not None:
            session.alive = False
            self._route(*session.owner.will(), retain=True)

    def restart(self) -> None:
        """Nothing survives: neither connections nor what was retained or on its way."""
        for session in self.sessions.values():
            session.alive = False
        self.sessions.clear()
        self.retained.clear()
        self._air.clear()

    def send(self, session: Session, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """A message from a device or a worker."""
        batch = topic.endswith(("/data", "/backlog"))
        self._fly(session, lambda: self._route(topic, payload, retain=retain), ordered=not batch)

    def deliver(self) -> None:
        """Everything that has arrived by now."""
        while self._air and self._air[0][0] <= self._clock.at:
            _, _, session, action = heapq.heappop(self._air)
            if session.alive:
                action()

    def _fly(self, session: Session, action: Callable[[], None], *, ordered: bool) -> None:
        copies, rng = 1, self._rng
        if not ordered and rng.random() < self.harm:
            copies = rng.choice((0, 0, 2, 3))
        for _ in range(copies):
            at = self._clock.at + (rng.choice(LATE_S) if self.harm else 0.0)
            if ordered:
                at = session.fifo = max(at, session.fifo)
            self._n += 1
            heapq.heappush(self._air, (at, self._n, session, action))

    def _down(self, session: Session, topic: str, payload: bytes) -> None:
        ordered = not topic.endswith(("/data", "/backlog", "/committed", "/credit"))
        self._fly(session, lambda: session.owner.receive(topic, payload), ordered=ordered)

    def _route(self, topic: str, payload: bytes, *, retain: bool) -> None:
        if retain:
            self.retained[topic] = payload
        workers = [each for each in self.sessions.values() if each.owner.is_worker]
        if topic.endswith(("/data", "/backlog")):  # one of those who share the subscription
            for session in self._rng.sample(workers, min(1, len(workers))):
                self._down(session, topic, payload)
        elif topic.endswith(("/birth", "/state")):
            for session in workers:
                self._down(session, topic, payload)
        else:
            for name, session in list(self.sessions.items()):
                if not session.owner.is_worker and self._is_for(name, topic):
                    self._down(session, topic, payload)

    @staticmethod
    def _is_for(device: str, topic: str) -> bool:
        return topic in (wire.committed_topic(device), wire.credit_topic(device)) or topic.startswith("cg/v1/ingest/")
