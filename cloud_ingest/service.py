"""The composition root of the ingest: take, decode, commit; only then tell the watermark and acknowledge.

    Subscriber.take ─▶ Allowance, sort ─▶ Store.commit (dedupe, readings, flow: one transaction) ─▶ watermark
                          │                       └─▶ Pacer: who may send how much of its backlog ─▶ credit     │
                          └─▶ over it: dropped and counted                                      acknowledge ◀─┘
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Sequence

import structlog
from msgspec import UNSET

from cloud_ingest.allowance import BAD_MESSAGE, Allowance, Hush
from cloud_ingest.pacing import Pacer
from cloud_ingest.plain import plain
from cloud_ingest.refusals import TOO_FAST, fix_of
from cloud_ingest.sorting import Sorted, sort, sort_into
from cloud_ingest.store.protocol import Arrival, Refusal, Rejected, Store
from cloud_ingest.subscriber import Message, Subscriber
from edge import wire
from edge.clock import Clock, every
from edge.errors import CornergridError, WireError

log = structlog.get_logger(__name__)
MOST = 200
WAIT_S = 0.5
PER_MESSAGE = 200
"""Records that a message which waits is taken to hold."""
RETRY_S = (0.5, 1.0, 2.0, 5.0)
TELL_S = 1.0
_OF_DATA = (ArithmeticError, AssertionError, LookupError, RecursionError, TypeError, ValueError, sqlite3.DataError,
            sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
"""What a database that works says of something that it cannot hold."""


class Service:
    """Takes messages until `stop` is set."""

    def __init__(self, subscriber: Subscriber, store: Store, clock: Clock, pacer: Pacer | None = None,
                 allowance: Allowance | None = None) -> None:
        """`pacer` and `allowance` are this worker's own; without them it has the default ones."""
        self._subscriber, self._store, self._clock = subscriber, store, clock
        self._pacer, self._allowance = pacer or Pacer(), allowance or Allowance()
        self._hush = Hush()
        self._dropped: Counter[str] = Counter()
        self._tell_due, self._told_at = every(clock, TELL_S), clock.now()

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set, then leave the rest to the devices, which keep what is not committed."""
        self._subscriber.start()
        while not stop.is_set():
            messages, found = self._admitted(self._subscriber.take(MOST, WAIT_S))
            if messages and self._commit(messages, stop, found):
                for message in messages:
                    self._subscriber.acknowledge(message)
            self._tell()
            self._pace()
        self._subscriber.stop()
        self._store.close()

    def _admitted(self, messages: Sequence[Message]) -> tuple[list[Message], Sorted]:
        """Those whose devices are within their allowance, decoded; the others are acknowledged and dropped.

        What each costs is charged before the next is looked at: one device fills no transaction.
        """
        now, kept, found = self._clock.monotonic(), list[Message](), Sorted()
        for message in messages:
            device = device_of(message)
            if self._allowance.may(device, len(message.payload), now):
                kept.append(message)
                self._allowance.charge(device, self._read(found, message, device), now)
            else:
                self._dropped[device] += 1
                self._subscriber.acknowledge(message)
        return kept, found

    def _read(self, found: Sorted, message: Message, device: str) -> dict[str, float]:
        try:
            return sort_into(found, message)
        except Exception as error:  # strangers' bytes are supervised here: they cost only themselves
            log.exception("message_not_read", device=device, size=len(message.payload))
            found.rejected.append(_unkeepable(message, error))
            return {"messages": 10 * BAD_MESSAGE}

    def _tell(self) -> None:
        """Count what was dropped, and let the log say what of whom was refused lately: a line a minute for each."""
        if not self._tell_due():
            return
        since, self._told_at = self._told_at, self._clock.now()
        try:
            if self._dropped:
                self._store.note_refusals(
                    [Refusal(device, TOO_FAST, n, f"{TOO_FAST}: over its allowance, dropped unread")
                     for device, n in self._dropped.items()], self._told_at)
                self._dropped.clear()
            refused = self._store.refusals(since)
        except Exception:  # the database is supervised here: what was dropped is counted when it answers again
            log.exception("refusals_not_told")
            return
        for each in refused:
            if self._hush.due((each.device, each.kind), self._clock.monotonic()):
                log.warning("refused", device=each.device, kind=each.kind, so_far=each.n, newest=plain(each.detail),
                            fix=fix_of(each.kind))

    def _commit(self, messages: Sequence[Message], stop: threading.Event, found: Sorted | None = None) -> bool:
        """Commit what was `found` in messages, again while the database does not answer; False when told to stop."""
        attempt = 0
        while not stop.is_set():
            try:
                self._commit_once(found or sort(messages))
            except Exception as error:  # the database is supervised here: nothing is acknowledged until it answers
                log.exception("commit_failed", retry_s=RETRY_S[min(attempt, len(RETRY_S) - 1)])
                if self._is_of_data(error):
                    return self._commit_apart(messages, error, stop)
                stop.wait(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                attempt += 1
            else:
                return True
        return False

    def _is_of_data(self, error: Exception) -> bool:
        """Whether it is what was to be written that fails, and not the database."""
        if not isinstance(error, _OF_DATA):
            return False
        try:
            self._store.commit([], [], self._clock.now())
        except (CornergridError, OSError, sqlite3.Error):  # it is the database after all
            return False
        return True

    def _commit_apart(self, messages: Sequence[Message], error: Exception, stop: threading.Event) -> bool:
        """Commit each message by itself, so that one which cannot be kept, whatever is in it, costs only itself.

        Its device is not told that it was refused, and keeps it: the fault may be this program's.
        """
        if len(messages) > 1:
            return all(self._commit([message], stop) for message in messages)
        (message,) = messages
        try:
            self._commit_once(Sorted(rejected=[_unkeepable(message, error)]))
        except Exception:  # not even that: it is acknowledged, or it would come again for ever
            log.exception("message_dropped", device=device_of(message), size=len(message.payload))
        return True

    def _commit_once(self, found: Sorted) -> None:
        now = self._clock.now()
        if found.arrivals or found.rejected:
            away = set()
            for device, committed, taken in self._store.commit(found.arrivals, found.rejected, now):
                self._subscriber.tell_committed(device, committed)
                if not taken:
                    away.add((device, committed.st))
            self._hear(found.arrivals, away)
        for device, birth in found.births.items():
            self._store.note_birth(device, birth, now)
        for device, state in found.states.items():
            known = self._store.note_state(device, state, now)
            if known and (state.outbox is not UNSET or not state.online):
                left = state.outbox.backlog if state.online and state.outbox is not UNSET else 0
                self._pacer.ask(device, left, self._clock.monotonic())

    def _hear(self, arrivals: Sequence[Arrival], away: set[tuple[str, str]]) -> None:
        """What of a backlog has come, where it was taken, and what its device says is left."""
        now = self._clock.monotonic()
        for device, batch in ((each.device, each.batch) for each in arrivals if each.batch.historical):
            if (device, batch.stream) not in away:
                self._pacer.heard(device, len(batch.facts) + len(batch.refused), now)
                if batch.left is not None:
                    self._pacer.ask(device, batch.left, now)

    def _pace(self) -> None:
        if self._subscriber.connected:  # credit is for one connection: it must not wait for the next
            waiting, now = self._subscriber.waiting * PER_MESSAGE, self._clock.monotonic()
            for device, n in self._pacer.grants(now, waiting):
                self._allowance.grant(device, n, now)
                self._subscriber.tell_credit(device, n)


def _unkeepable(message: Message, error: Exception) -> Rejected:
    reason = plain(f"unkeepable: {type(error).__name__}: {error}")[:300]
    return Rejected(device_of(message), plain(message.topic), reason, message.payload)


def device_of(message: Message) -> str:
    """The device on whose topic it came, or "" where it is none."""
    try:
        return wire.parse_up(message.topic)[0]
    except WireError:
        return ""
