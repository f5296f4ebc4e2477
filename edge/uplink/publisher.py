"""The publisher: one thread that sends what the outbox holds over one session, and tells how it is going.

    session (paho's thread) ── up, heard, refused ──▶ inbox ──▶ this thread: Sender.step, Sender.hear
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from edge import wire
from edge.backoff import Backoff
from edge.clock import Clock, every
from edge.uplink.buffer import Buffer
from edge.uplink.disk import Limits
from edge.uplink.kept import glance
from edge.uplink.lanes import Pace
from edge.uplink.sender import Sender
from edge.uplink.session import Address, Ears, Session
from edge.uplink.status import Meter, catch_up_s, free_bytes, runway_s

log = structlog.get_logger(__name__)
STATE_S = 10.0
HOLD_S = 300.0
"""How long records with doubtful times wait for the clock: NTP answers within a minute of the network, or never."""


@dataclass(frozen=True, slots=True)
class Link:
    """Where the broker is, and how records are sent there."""

    address: Address
    pace: Pace = field(default_factory=Pace)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Voice:
    """What the device tells of itself, and whom it tells what a person must know. A visitor has none.

    `doubtful`: times are known to be too early, and are put right once the clock is; nothing is sent for a while.
    """

    birth: Callable[[], wire.Birth]
    sensors: Callable[[], dict[str, str]] = dict
    event: Callable[[str, str], None] = lambda _what, _text: None
    state: Callable[[wire.State], None] = lambda _state: None
    doubtful: Callable[[], bool] = lambda: False


class Publisher:
    """Sends from a thread of its own until it is stopped."""

    def __init__(self, link: Link, buffer: Buffer, clock: Clock, voice: Voice | None = None,
                 backoff: Backoff | None = None) -> None:
        """Without a `voice` it only sends: a visitor beside the running agent leaves no presence."""
        self._link, self._buffer, self._clock, self._voice = link, buffer, clock, voice
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._dropped = threading.Condition()
        self._stopping = False
        self._trouble = ""
        self._put, self._drain = Meter(), Meter(span_s=60.0)
        self._state_due = every(clock, STATE_S)
        self._hold_until = clock.monotonic() + HOLD_S
        self.sender = Sender(link.address.device, buffer, clock, link.pace)
        ears = Ears(up=lambda: self._inbox.put(self._up),
                    heard=lambda topic, payload: self._inbox.put(lambda: self._hear(topic, payload)),
                    refused=lambda mid, reason: self._inbox.put(lambda: self._refused(mid, reason)),
                    trouble=lambda text: self._inbox.put(lambda: self._hear_trouble(text)))
        will = wire.encode(wire.State(online=False, boot=buffer.boot, t=clock.now())) if voice else None
        self._session = Session(link.address, clock, will, ears, backoff)
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin connecting and sending; a broker that is not there yet is tried again until it is."""
        self._session.open()
        self._thread.start()

    def stop(self) -> None:
        """End; what was not committed stays in the outbox."""
        self._stopping = True
        self.wake()
        self._thread.join(timeout=5)
        self._session.close(wire.encode(self.state(online=False)) if self._voice else None)

    def wake(self) -> None:
        """Something was put: look at once."""
        self._inbox.put(lambda: None)

    def wait_committed(self, place: int, timeout_s: float) -> bool:
        """Whether the cloud has committed everything up to a place within `timeout_s` real seconds."""
        with self._dropped:
            return self._dropped.wait_for(lambda: self._buffer.held().lo > place, timeout_s)

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted this device's session."""
        return self._session.connected

    def _run(self) -> None:
        wait = 0.0
        while not self._stopping:
            try:
                self._take_inbox(wait)
                if self._state_due():
                    self._tell_state()
                wait = 1.0 if self._holds() else self.sender.step(self._session)
                if wait:
                    with self._dropped:
                        self._dropped.notify_all()
            except Exception:  # the connection is supervised here: whatever it was, the outbox keeps the records
                log.exception("sending_failed")
                wait = 1.0

    def _holds(self) -> bool:
        return self._voice is not None and self._clock.monotonic() < self._hold_until and self._voice.doubtful()

    def _take_inbox(self, wait: float) -> None:
        try:
            self._inbox.get(timeout=wait)() if wait else self._inbox.get_nowait()()
            while True:
                self._inbox.get_nowait()()
        except queue.Empty:
            return

    def _up(self) -> None:
        self.sender.connected()
        self._trouble = ""
        if self._voice:
            self._session.tell(wire.up(self._link.address.device, "birth"), wire.encode(self._voice.birth()))
        self._tell_state()

    def _hear(self, topic: str, payload: bytes) -> None:
        waiting = self.sender.lanes.waiting
        self.sender.hear(topic, payload)
        if waiting and not self.sender.lanes.waiting:
            self._tell_state()

    def _refused(self, mid: int, reason: str) -> None:
        if self.sender.lanes.refused(mid, self._clock.monotonic()):
            self._hear_trouble(f"the broker refused a message: {reason}; its ACL must let this device write its own "
                               "`up` topics")

    def _hear_trouble(self, text: str) -> None:
        log.error("uplink_trouble", text=text)
        if text != self._trouble and self._voice:
            self._voice.event("uplink", text)
        self._trouble = text

    def _tell_state(self) -> None:
        self._buffer.refuge.look()
        now = self._clock.monotonic()
        self._put.note(now, self._buffer.put_bytes)
        self._drain.note(now, self.sender.backlog_sent)
        if self._voice:
            state = self.state(online=True)
            self._voice.state(state)
            self._session.tell(wire.up(self._link.address.device, "state"), wire.encode(state))

    def state(self, *, online: bool) -> wire.State:
        """How the device and its outbox are now."""
        held, tally, streams = self._buffer.held(), self._buffer.tally, self._buffer.streams()
        oldest = self._buffer.peek(held.lo - 1, 1, held.hi) if held.records else None
        limits = self._link.limits
        waiting = self.sender.lanes.waiting
        outbox = wire.OutboxState(
            where="memory" if self._buffer.refuge.why else "disk",
            bytes=held.used, cap=limits.cap,
            oldest=glance(oldest.bodies[0]).t + oldest.stream.shift if oldest else None,
            committed_to=tally.committed,
            runway_s=runway_s(held, limits, free_bytes(self._buffer.folder), self._put.rate()),
            catch_up_s=catch_up_s(waiting, self._drain.rate()),
            backlog=waiting, lost=tally.lost, refused=self.sender.refused,
            why=(self._buffer.refuge.why or self._trouble or self.sender.why)[:500], clk=streams[-1].clk)
        return wire.State(
            online=online, boot=self._buffer.boot, t=self._clock.now(), buffered=held.records,
            committed=self.sender.committed, sensors=self._voice.sensors() if self._voice and online else {},
            outbox=outbox)
