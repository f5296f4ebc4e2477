"""From the outbox to the broker and, with the cloud's word, out of the outbox: the synchronous core of the publisher.

    outbox ─▶ batch ─▶ PUBLISH, QoS 1 ─▶ broker ─▶ ingest commits ─▶ `down/committed` ─▶ outbox.drop

A PUBACK says that a broker heard it, which is not durable: only the committed watermark deletes.
"""

from __future__ import annotations

from typing import Protocol

import structlog
from msgspec import UNSET

from edge import wire
from edge.clock import Clock
from edge.errors import StoreError, WireError
from edge.uplink.buffer import Buffer
from edge.uplink.kept import Slice, Stream
from edge.uplink.lanes import Lane, Lanes, Pace
from edge.uplink.streams import end_of, stream_at
from edge.wire.messages import Head

log = structlog.get_logger(__name__)
IDLE_S = 1.0
SOON_S = 0.05
DROP_S = 0.2
RETRY_S = 5.0


class Transport(Protocol):
    """The connection to the broker, as far as records are concerned."""

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted this device's session."""

    @property
    def most_bytes(self) -> int:
        """The longest payload that the broker takes."""

    def publish(self, topic: str, payload: bytes, event_id: str, n: int) -> int | None:
        """Send one batch of `n` sequences, QoS 1; its message id, or None where it could not even be queued."""


class Sender:
    """Decides, at each `step`, what is sent; hears what the cloud says. Not safe between threads by itself."""

    def __init__(self, device: str, buffer: Buffer, clock: Clock, pace: Pace) -> None:
        self._device, self._buffer, self._clock = device, buffer, clock
        self.lanes = Lanes(pace)
        self.ingest: dict[str, bool] = {}
        self.refused = 0
        self.why = ""
        self.backlog_sent = 0
        self._refused: dict[str, int] = {}
        self._marks: dict[str, int] = {}
        self._to_drop: dict[str, int] = {}
        self._drop_at = 0.0
        self._drop_failed = False
        self._moves = buffer.refuge.moves
        self.lanes.restart(buffer.held())

    def connected(self) -> None:
        """The session is up: begin anew with what is held."""
        self.ingest.clear()
        self.lanes.restart(self._buffer.held())

    @property
    def committed(self) -> int:
        """The sequence up to which the cloud has the stream that is written now."""
        return self._marks.get(self._buffer.stream, 0)

    @property
    def ingest_online(self) -> bool | None:
        """Whether any of the ingest's workers listens; None where nobody has said."""
        return any(self.ingest.values()) if self.ingest else None

    def step(self, transport: Transport) -> float:
        """Send one message where one is due; returns after how many seconds to look again, 0 for at once."""
        if self._buffer.refuge.moves != self._moves:
            self._moves = self._buffer.refuge.moves
            self.lanes.restart(self._buffer.held())
        now = self._clock.monotonic()
        if self._to_drop and now >= self._drop_at:
            self._drop()
        if not transport.connected:
            return IDLE_S
        if self.ingest_online is not False and (overdue := self.lanes.overdue(now)):
            log.info("resend", lanes=[lane.name for lane in overdue], uncommitted=len(self.lanes.sent))
            self.lanes.rewind(overdue)
        hi = self._buffer.held().hi
        for lane in self.lanes.due(hi, now, backlog_may=self.ingest_online is not False):
            if self._send(transport, lane, hi, now):
                return 0.0
        if self._to_drop and not self._drop_failed:  # there is time now
            self._drop()
        self._tell_oldest()
        return SOON_S if hi > self.lanes.live else IDLE_S

    def _tell_oldest(self) -> None:
        """Where all is sent, nothing is on its way, and yet something is held: the cloud waits for what is below it.

        That was evicted, or is damaged. The oldest record goes again, though the cloud has it: `lo` goes with it.
        """
        held, lanes = self._buffer.held(), self.lanes
        if held.lo > held.hi or self._to_drop or lanes.sent or lanes.waiting or held.hi > lanes.live:
            return
        stream = stream_at(self._buffer.streams(), held.lo)
        if stream is not None:
            lanes.known.pop(stream.st, None)
        lanes.go_on(Lane.LIVE, held.lo - 1)

    def _send(self, transport: Transport, lane: Lane, hi: int, now: float) -> bool:
        upto = hi if lane is Lane.LIVE else self.lanes.split
        after, most = self.lanes.cursor(lane)
        after = self._past_known(after)
        found = self._buffer.peek(after, most, upto)
        if found is None:
            self.lanes.go_on(lane, max(after, upto))
            return False
        payload = self._payload(found, lane)
        while len(payload) > transport.most_bytes and len(found.bodies) > 1:
            found = self._buffer.peek(after, len(found.bodies) // 2, upto) or found
            payload = self._payload(found, lane)
        mid = transport.publish(wire.up(self._device, lane.value), payload, f"{found.stream.st}/{found.seq}",
                                found.last - found.first + 1)
        if mid is None:
            return False
        self.lanes.took(lane, found, mid, now)
        if lane is Lane.BACKLOG:
            self.backlog_sent += len(found.bodies)
        return True

    def _past_known(self, after: int) -> int:
        """The place behind which there is something that the cloud has not."""
        streams = self._buffer.streams()
        stream = stream_at(streams, after + 1)
        if stream is not None:
            for first, last in self.lanes.known.get(stream.st, ()):
                if first <= after + 1 - stream.base <= last:
                    return min(stream.base + last, end_of(streams, stream, stream.base + last))
        return after

    def _payload(self, found: Slice, lane: Lane) -> bytes:
        stream = found.stream
        head = Head(
            v=1, st=stream.st, seq=found.seq, lo=max(1, self._buffer.lowest(stream) - stream.base), boot=stream.boot,
            clk=stream.clk, h=lane is Lane.BACKLOG,
            w=UNSET if stream.w is None else round(stream.w, 3), m=UNSET if stream.m is None else round(stream.m, 3),
            left=max(0, self.lanes.split - found.last) if lane is Lane.BACKLOG else UNSET,
            g=[(first - stream.base, last - stream.base) for first, last in found.gaps] or UNSET)
        return wire.pack(wire.join_batch(self._device, found.bodies, head, round(stream.shift, 3)))

    def hear(self, topic: str, payload: bytes) -> None:
        """Take a message from the cloud; one that is not understood is told in the log, and changes nothing."""
        try:
            if topic == wire.committed_topic(self._device):
                self._hear_committed(wire.decode(payload, wire.Committed))
            elif topic == wire.credit_topic(self._device):
                self.lanes.credit += wire.decode(payload, wire.Credit).n
            elif payload:
                self._hear_presence(topic, wire.decode(payload, wire.IngestState))
            else:
                self.ingest.pop(topic, None)
        except WireError as error:
            log.warning("not_understood", topic=topic, error=str(error))

    def _hear_presence(self, topic: str, state: wire.IngestState) -> None:
        was = self.ingest_online
        self.ingest[topic] = state.online
        if state.online and not was:  # what was sent before, nobody may have heard
            log.info("ingest_online", uncommitted=len(self.lanes.sent))
            self.lanes.rewind()
        elif was is not False and self.ingest_online is False:
            log.warning("ingest_offline", effect="the backlog waits: a broker alone keeps nothing")

    def _hear_committed(self, told: wire.Committed) -> None:
        streams = self._buffer.streams()
        stream = next((stream for stream in streams if stream.st == told.st), None)
        if stream is None:
            log.info("committed_of_another_stream", st=told.st)
            return
        # An older stream may have lost its end with a disk that was put back; what the cloud has is all the same there.
        if stream is streams[-1] and stream.base + told.committed > self._buffer.held().hi:
            log.warning("committed_more_than_there_is", st=told.st, committed=told.committed)
            return
        self._note_refusals(stream, told)
        ahead = [] if told.ahead is UNSET else told.ahead
        self.lanes.committed(told.st, told.committed, ahead)
        if told.committed > self._marks.get(told.st, 0):
            self._marks[told.st] = self._to_drop[told.st] = told.committed

    def _drop(self) -> None:
        """Delete what is committed, for many messages at once: each deletion is a transaction."""
        self._drop_at = self._clock.monotonic() + DROP_S
        marks, self._to_drop, self._drop_failed = self._to_drop, {}, False
        for st, mark in marks.items():
            try:
                self._buffer.drop(st, mark)
            except StoreError as error:
                self._to_drop[st], self._drop_failed = mark, True
                self._drop_at = self._clock.monotonic() + RETRY_S
                log.error("committed_not_deleted", error=str(error), retry_s=RETRY_S, fix="none needed: not sent again")

    def _note_refusals(self, stream: Stream, told: wire.Committed) -> None:
        why = "" if told.why is UNSET else told.why
        before = self._refused.get(stream.st, 0)
        if told.refused > before:
            self.refused += told.refused - before
            self._refused[stream.st] = told.refused
            log.warning("records_refused", refused=told.refused - before, why=why)
        if why and why != self.why:
            log.warning("refused_by_the_cloud", why=why)
        self.why = why
