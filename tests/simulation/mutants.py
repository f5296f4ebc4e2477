"""Faults planted into the real parts; the simulation must find each."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest.mock import patch

import msgspec
from msgspec import UNSET

from cloud_ingest.dedupe import Admitted, Marks, _without, admit
from cloud_ingest.sorting import sort
from cloud_ingest.store import sqlite, streams
from cloud_ingest.store.protocol import Arrival, Told
from cloud_ingest.subscriber import Message
from edge import wire
from edge.uplink.rows import Rows
from edge.uplink.streams import Streams
from tests.simulation.cloud import Worker
from tests.simulation.device import Device

_keep, _watermark = streams._keep, streams.watermark
_commit, _publish = Worker.commit, Device.publish


def _admit_all(marks: Marks, lo: int, seq: int, n: int, gaps: Sequence[wire.Range] = ()) -> Admitted:
    admitted = admit(marks, lo, seq, n, gaps)
    return Admitted(tuple(_without([(seq, seq + n - 1)], gaps)), admitted.marks, admitted.missing)


def _keep_over(db: sqlite3.Connection, arrival: Arrival, store: str, facts: Sequence[tuple[int, wire.Fact]]) -> None:
    db.executemany("DELETE FROM reading WHERE st = ? AND seq = ?", [(arrival.batch.stream, seq) for seq, _ in facts])
    _keep(db, arrival, store, facts)


def _tell_highest(*args: Any) -> Told:
    told = _watermark(*args)
    ahead = told.committed.ahead
    if ahead is UNSET:
        return told
    return told._replace(committed=msgspec.structs.replace(told.committed, committed=ahead[-1][1], ahead=UNSET))


def _tell_first(self: Worker, messages: list[Message]) -> None:
    for device, batch in ((each.device, each.batch) for each in sort(messages).arrivals):
        self.tell_committed(device, wire.Committed(st=batch.stream, committed=batch.seq + batch.n - 1))
    if self._rng.random() > 0.1:
        _commit(self, messages)


def _delete_on_puback(self: Device, topic: str, payload: bytes, event_id: str, n: int) -> int | None:
    mid = _publish(self, topic, payload, event_id, n)
    st, _, seq = event_id.partition("/")
    if mid is not None:
        self.buffer.drop(st, int(seq) + n - 1)
    return mid


def _lose_quietly(self: Rows, _db: object, losses: Sequence[wire.Loss], *, held: bool = True, again: int = 0) -> None:
    gone, tally = sum(loss.n for loss in losses) - again, self._disk.tally
    self._disk.count(records=tally.records - gone * held, lost=tally.lost + gone)


def _planted(*places: tuple[object, str, Callable[..., Any]]) -> Callable[[], AbstractContextManager[object]]:
    def plant() -> AbstractContextManager[object]:
        stack = ExitStack()
        for place, name, fault in places:
            stack.enter_context(patch.object(place, name, fault))
        return stack
    return plant


MUTANTS = {
    "the cloud counts repeats": _planted((streams, "admit", _admit_all), (streams, "_keep", _keep_over)),
    "the watermark skips holes": _planted((sqlite, "watermark", _tell_highest)),
    "the ingest tells before it commits": _planted((Worker, "commit", _tell_first)),
    "the device deletes on PUBACK": _planted((Device, "publish", _delete_on_puback)),
    "the device tells no losses": _planted((Rows, "lose", _lose_quietly)),
    "the device corrects no times": _planted((Streams, "correct", lambda *_args: None)),
}
