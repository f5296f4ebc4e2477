"""Where records can be kept now: on the disk, or in memory while that takes none; damage is salvaged."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from edge.clock import Clock, Era
from edge.errors import CorruptError, StoreError
from edge.uplink.disk import Limits, count_file, store_error
from edge.uplink.memory import MemoryOutbox
from edge.uplink.outbox import Outbox
from edge.uplink.salvage import open_outbox, salvage

log = structlog.get_logger(__name__)
T = TypeVar("T")
APART = 1_000_000
"""Places between the disk's newest record and the memory's: the disk may still take a loss record or two."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How to deal with a disk that fails: `memory` records in memory, and another try each `retry_s` seconds."""

    limits: Limits = field(default_factory=Limits)
    memory: int = 20_000
    retry_s: float = 5.0


class Refuge:
    """The disk's outbox and, while the disk fails, the memory that stands in for it. Opening it never fails.

    `moves` counts how often records changed their places: who remembers places then begins anew. `why` says what is
    wrong with the disk now. `boot` is the number of this start, whatever becomes of the file; 0 where no disk has
    counted it.
    """

    def __init__(self, path: Path, clock: Clock, era: Era | None, terms: Terms) -> None:
        self.path, self.era, self._clock, self._terms = path, era, clock, terms
        self.lock = threading.RLock()
        self.disk: Outbox | None = None
        self.memory: MemoryOutbox | None = None
        self.moves, self.why = 0, ""
        self._owed: float | None = None
        self._retry_at = 0.0
        try:
            self.disk = open_outbox(path, era, terms.limits)
        except StoreError as error:
            self.to_memory(error)
        self.boot = self.disk.boot if self.disk else 0

    def on_disk(self, do: Callable[[Outbox], T]) -> T | None:
        """Do something with the disk, and once more with a salvaged file where the first was damaged.

        None where records are in memory alone.
        """
        with self.lock:  # while one salvages, there is no disk: that is no answer
            disk = self.disk
        if disk is None:
            return None
        try:
            return do(disk)
        except CorruptError as error:
            return do(self._salvage(disk, error))

    def _salvage(self, damaged: Outbox, error: CorruptError) -> Outbox:
        with self.lock:
            if self.disk is not damaged and self.disk is not None:  # another thread was here first
                return self.disk
            log.error("outbox_damaged", file=str(self.path), error=str(error))
            damaged.close()
            self.disk = None
            try:
                salvage(self.path, self._terms.limits)
                self.disk = open_outbox(self.path, self.era, self._terms.limits)
            except (OSError, StoreError) as failure:
                failed = StoreError(str(self.path), f"cannot be salvaged: {failure}", "see the disk")
                self.to_memory(failed, damaged)
                raise failed from failure
            self.disk.since = damaged.since
            self.moves += 1
            return self.disk

    def to_memory(self, error: StoreError, disk: Outbox | None = None) -> MemoryOutbox:
        """From now on records are kept in memory, and the disk is tried again in a while."""
        with self.lock:
            disk = self.disk or disk
            if self.memory is None:
                log.error("disk_takes_nothing", error=str(error), kept_in="memory", records=self._terms.memory,
                          retry_s=self._terms.retry_s)
                base = (disk.rows.last if disk else 0) + APART
                self.memory = MemoryOutbox(base, disk.boot if disk else 0, self.era, self._terms.memory)
            self.why = str(error)
            self._retry_at = self._clock.monotonic() + self._terms.retry_s
            return self.memory

    def turn(self, era: Era, shift: float | None) -> None:
        """As `Outbox.turn`; what the disk does not take now is put right when it does."""
        with self.lock:
            self.era = era
            owed = self._owed if self._owed is not None else shift  # all that it holds is older than the first turn
            try:
                self.on_disk(lambda disk: disk.turn(era, owed))
                self._owed = None
            except StoreError as error:
                self._owed = owed
                self.to_memory(error)
            if self.memory is not None:
                self.memory.turn(era, shift)

    def look(self) -> None:
        """Notice a file that vanished while nobody put anything, and make it anew with all it had."""
        with self.lock:
            if self.memory is None and self.disk is not None and not self.disk.disk.present():
                self.to_memory(StoreError(str(self.path), "was moved or deleted while in use", "leave it where it is"))
                self.try_disk(now=True)

    def try_disk(self, *, now: bool = False) -> None:
        """Move what memory has to the disk, once it is time and it takes it; a file that vanished is made anew."""
        with self.lock:
            memory = self.memory
            if memory is None or not (now or self._clock.monotonic() >= self._retry_at):
                return
            try:
                disk = self.disk
                if disk is None or not disk.disk.present():
                    self.disk = disk = self._anew(disk)
                moved = self.on_disk(lambda disk: self._take_back(disk, memory))
            except StoreError as error:
                self.to_memory(error)
                return
            log.warning("disk_takes_records_again", records=moved, lost=memory.lost)
            self.memory, self.why = None, ""
            self.moves += 1

    def _take_back(self, disk: Outbox, memory: MemoryOutbox) -> int:
        """Put on the disk what memory has; returns how many records that were."""
        if self._owed is not None and self.era is not None:
            disk.turn(self.era, self._owed)
            self._owed = None
        with disk.disk.lock:  # the places behind its last one stay free until they are taken
            streams, rows = memory.moved_to(disk.rows.last)
            streams = [msgspec.structs.replace(stream, boot=stream.boot or disk.boot) for stream in streams]
            disk.adopt(streams, rows, self.era, lost_before=memory.lost, snapshot=memory.latest_snapshot)
        return len(rows)

    def _anew(self, old: Outbox | None) -> Outbox:
        """A new file; what was in one that vanished is still readable, as long as it is open."""
        try:
            if old is not None:
                count_file(self.path).unlink(missing_ok=True)  # nothing is missing: it is taken over below
        except OSError as error:
            raise store_error(self.path, error) from error
        disk = open_outbox(self.path, self.era, self._terms.limits)
        with contextlib.ExitStack() as undo:
            undo.callback(disk.close)
            if old is not None:
                disk.adopt(old.streams(), old.export(), self.era, lost_before=old.disk.tally.lost,
                           snapshot=old.snapshot())
                disk.since = old.since
                old.close()
            undo.pop_all()
        if self.memory is not None and self.memory.streams()[0].base < disk.rows.last:
            self.memory.move(disk.rows.last + APART)
        self.moves += 1
        return disk
