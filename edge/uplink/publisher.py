"""Drains the outbox to the broker and deletes what the cloud has committed.

    outbox ─▶ batch ─▶ PUBLISH, QoS 1 ─▶ broker ─▶ ingest commits ─▶ `down/committed` ─▶ outbox.drop

A PUBACK says that a broker heard it, which is not durable: only the committed watermark deletes. What stays
uncommitted for `resend_s` is sent again; the cloud counts every sequence once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog

from edge import wire
from edge.clock import Clock, every
from edge.errors import WireError
from edge.uplink.outbox import Outbox
from edge.uplink.session import Presence, Session

log = structlog.get_logger(__name__)

HISTORICAL_S = 60.0
STATE_S = 10.0
MOST_PATIENT_S = 60.0


@dataclass(frozen=True, slots=True)
class Link:
    """Where the broker is, and how many messages may be on their way at once."""

    device: str
    host: str
    port: int
    batch: int = 200
    window: int = 8
    resend_s: float = 10.0


@dataclass(frozen=True, slots=True)
class _Sent:
    last: int
    at: float


class Publisher:
    """One thread that sends what the outbox holds, over one session."""

    def __init__(self, link: Link, outbox: Outbox, clock: Clock, birth: wire.Birth | None = None,
                 sensors: Callable[[], dict[str, str]] = dict) -> None:
        """`sensors` tells each sensor's status for the retained state message.

        Without a `birth` it only sends: a visitor beside the running agent leaves no presence and takes no session.
        """
        self._link, self._outbox, self._clock, self._sensors = link, outbox, clock, sensors
        self._changed = threading.Condition()
        self._stopping = False
        self._sent: deque[_Sent] = deque()
        self._cursor = 0
        self._resend_after = link.resend_s
        self.committed = outbox.held().lo - 1
        self.refused = 0
        presence = Presence(wire.encode(birth), self._state) if birth else None
        self._session = Session(link.device, link.host, link.port, presence, self._rewind, self._take_committed)
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin connecting and sending; a broker that is not there yet is tried again until it is."""
        self._session.open()
        self._thread.start()

    def stop(self) -> None:
        """End; what was not committed stays in the outbox."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout=5)
        self._session.close()

    def wake(self) -> None:
        """Something was put: send it now."""
        with self._changed:
            self._changed.notify_all()

    def wait_committed(self, seq: int, timeout_s: float) -> bool:
        """Whether the cloud has committed everything up to `seq` within `timeout_s` real seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self.committed >= seq, timeout_s)

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted this device's session."""
        return self._session.connected

    def _run(self) -> None:
        due = every(self._clock, STATE_S)
        while not self._stopping:
            try:
                if self.connected and due():
                    self._session.tell_state()
                self._rewind_if_silent()
                sent = self._send_next()
            except Exception:  # the connection is supervised here: whatever it was, the outbox keeps the records
                log.exception("sending_failed")
                sent = False
            with self._changed:
                if not sent and not self._stopping:
                    self._changed.wait(timeout=1.0)

    def _send_next(self) -> bool:
        if not self.connected or len(self._sent) >= self._link.window:
            return False
        records = self._outbox.peek(self._cursor, self._link.batch)
        if not records:
            return False
        seq, facts = records[0][0], [fact for _, fact in records]
        historical = self._clock.now() - facts[0].t > HISTORICAL_S
        payload = wire.encode_batch(
            self._link.device, facts, st=self._outbox.stream, seq=seq, lo=self._outbox.held().lo,
            boot=self._outbox.boot, historical=historical)
        topic = wire.up(self._link.device, "backlog" if historical else "data")
        if not self._session.publish(topic, payload, f"{self._outbox.stream}/{seq}"):
            return False
        with self._changed:
            self._cursor = records[-1][0]
            self._sent.append(_Sent(self._cursor, self._clock.monotonic()))
        return True

    def _rewind_if_silent(self) -> None:
        """Send again from the watermark when the oldest message has not been committed in time.

        The patience doubles each time, up to a minute, so that a slow cloud is not buried under repeats.
        """
        if self._sent and self._clock.monotonic() - self._sent[0].at > self._resend_after:
            log.info("resend", after=self.committed, waited_s=self._resend_after)
            self._resend_after = min(self._resend_after * 2, max(MOST_PATIENT_S, self._link.resend_s))
            self._rewind()

    def _rewind(self) -> None:
        with self._changed:
            self._sent.clear()
            self._cursor = self._outbox.held().lo - 1
            self._changed.notify_all()

    def _state(self, online: bool) -> bytes:
        held = self._outbox.held()
        return wire.encode(wire.State(
            online=online, boot=self._outbox.boot, t=self._clock.now(), buffered=held.records,
            committed=self.committed, sensors=self._sensors() if online else {}))

    def _take_committed(self, payload: bytes) -> None:
        try:
            committed = wire.decode(payload, wire.Committed)
        except WireError as error:
            log.warning("committed_not_understood", error=str(error))
            return
        held = self._outbox.held()
        if committed.st != self._outbox.stream or committed.committed > held.hi:
            log.warning("committed_of_another_stream", **msgspec.structs.asdict(committed))
            return
        if committed.refused > self.refused:
            log.warning("records_in_quarantine", refused=committed.refused, see="cornergrid-cloud watch")
        self.refused = max(self.refused, committed.refused)
        if committed.committed >= held.lo:
            self._outbox.drop(committed.committed)
        with self._changed:
            self.committed = max(self.committed, committed.committed)
            self._resend_after = self._link.resend_s
            while self._sent and self._sent[0].last <= self.committed:
                self._sent.popleft()
            self._cursor = max(self._cursor, self.committed)
            self._changed.notify_all()
