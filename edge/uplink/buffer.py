"""The outbox as the agent has it: on the disk whenever that takes records, in memory while it does not.

    put ─▶ disk ─▶ synced                       damaged: salvaged, and on with the fresh file
             └─ full, read-only, gone ─▶ memory (bounded, said loudly) ─ every `retry_s` ─▶ back to the disk
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from edge.clock import Clock, Era
from edge.errors import StoreError
from edge.uplink.disk import Tally
from edge.uplink.kept import Held, Slice, Stream
from edge.uplink.outbox import Outbox
from edge.uplink.refuge import Refuge, Terms
from edge.wire import Fact

log = structlog.get_logger(__name__)
T = TypeVar("T")
_USUAL = Terms()


class Buffer:
    """Records on the disk and, while it fails, in memory; safe between threads. Opening it never fails.

    `refuge.why` says why records are in memory only, for now; `refuge.moves` that they have new places.
    """

    def __init__(self, path: Path, clock: Clock, era: Era | None = None, terms: Terms = _USUAL) -> None:
        self.folder = path.parent
        self.refuge = Refuge(path, clock, era, terms)

    @property
    def boot(self) -> int:
        """The number of this start; 0 where no disk has counted it."""
        return self.refuge.boot

    @property
    def stream(self) -> str:
        """The id of the stream that is written now."""
        return self.streams()[-1].st

    @property
    def tally(self) -> Tally:
        """What the outbox counted along, with what memory had to drop."""
        disk, memory = self.refuge.disk, self.refuge.memory
        tally = disk.disk.tally if disk else Tally()
        if memory is None:
            return tally
        return msgspec.structs.replace(tally, records=self.held().records, lost=tally.lost + memory.lost)

    @property
    def put_bytes(self) -> int:
        """Bytes of records put on the disk since the start."""
        return self.refuge.disk.put_bytes if self.refuge.disk else 0

    def put(self, facts: Sequence[Fact], snapshot: bytes | None = None) -> int:
        """As `Kept.put`; never raises StoreError: what the disk does not take, memory does."""
        refuge = self.refuge
        refuge.try_disk()
        if refuge.memory is None:
            try:
                last = refuge.on_disk(lambda disk: disk.put(facts, snapshot))
                if last is not None:
                    return last
            except StoreError as error:
                refuge.to_memory(error)
        with refuge.lock:
            memory = refuge.memory
            if memory is not None:
                return memory.put(facts, snapshot)
        return self.put(facts, snapshot)  # the disk came back in this very moment

    def turn(self, era: Era, shift: float | None = None) -> None:
        """As `Outbox.turn`."""
        self.refuge.turn(era, shift)

    def snapshot(self) -> bytes | None:
        """As `Outbox.snapshot`; None where no disk can tell."""
        try:
            return self.refuge.disk.snapshot() if self.refuge.disk else None
        except StoreError as error:
            log.error("snapshot_unreadable", error=str(error))
            return None

    def peek(self, after: int, most: int, upto: int) -> Slice | None:
        """As `Kept.peek`."""
        found = self._read(lambda disk: disk.peek(after, most, upto))
        memory = self.refuge.memory
        return found or (memory.peek(after, most, upto) if memory else None)

    def _read(self, do: Callable[[Outbox], T]) -> T | None:
        """What the disk says; nothing while it cannot be read and memory stands in for it."""
        try:
            return self.refuge.on_disk(do)
        except StoreError as error:
            if self.refuge.memory is None:
                raise
            log.error("disk_unreadable", error=str(error))
            return None

    def drop(self, st: str, mark: int) -> int:
        """As `Kept.drop`."""
        gone = self.refuge.on_disk(lambda disk: disk.drop(st, mark)) or 0
        memory = self.refuge.memory
        return gone + (memory.drop(st, mark) if memory else 0)

    def streams(self) -> tuple[Stream, ...]:
        """As `Kept.streams`."""
        with self.refuge.lock:
            disk, memory = self.refuge.disk, self.refuge.memory
            return (disk.streams() if disk else ()) + (memory.streams() if memory else ())

    def held(self) -> Held:
        """As `Kept.held`."""
        with self.refuge.lock:
            disk = self._read(lambda disk: disk.held())
            memory = self.refuge.memory.held() if self.refuge.memory else None
        held = [each for each in (disk, memory) if each is not None]
        lo = next((each.lo for each in held if each.records), held[-1].lo)
        return Held(lo, held[-1].hi, sum(each.records for each in held), held[0].used)

    def lowest(self, stream: Stream) -> int:
        """As `Kept.lowest`."""
        with self.refuge.lock:
            memory = self.refuge.memory
            if memory is not None and stream.st in {each.st for each in memory.streams()}:
                return memory.lowest(stream)
            return self._read(lambda disk: disk.lowest(stream)) or stream.base + 1

    def close(self) -> None:
        """Let go; what is only in memory is tried once more on the disk, and else told as lost in the log."""
        refuge = self.refuge
        refuge.look()
        refuge.try_disk(now=True)
        if refuge.memory is not None:
            log.error("records_lost_with_memory", records=refuge.memory.held().records, error=refuge.why)
        if refuge.disk is not None:
            refuge.disk.close()
