"""The rows of an outbox: put them, evict the least important, tell every loss. Inside the caller's transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from zlib import crc32

import msgspec
import structlog

from edge.errors import CorruptError
from edge.uplink.disk import Disk
from edge.uplink.evict import Room, Sweep
from edge.uplink.kept import Kind
from edge.wire import Loss, Range, encode_record, loss_fact

log = structlog.get_logger(__name__)
LOOK_AGAIN_BYTES = 128 * 1024
_SIGN = 0x80000000


class Rows:
    """Where the next record goes, and what was swept."""

    def __init__(self, disk: Disk, last: int, sweep: Sweep) -> None:
        self._disk = disk
        self.last, self.sweep = last, sweep
        self._unlooked = LOOK_AGAIN_BYTES

    def insert(self, db: sqlite3.Connection, kinds: Sequence[int], bodies: Sequence[bytes], newest: float) -> None:
        """Put encoded records behind the last; `newest` is the newest of their event times."""
        place = self.last
        # As `pages.checksum`, without a call for each record: this loop is most of what a large `put` costs.
        db.executemany("INSERT INTO record VALUES (?,?,?,?)",
                       [(place := place + 1, kind, (crc32(body, place * 4 + kind & 0xFFFFFFFF) ^ _SIGN) - _SIGN, body)
                        for kind, body in zip(kinds, bodies, strict=True)])
        self.last += len(bodies)
        tally = self._disk.tally
        self._disk.tally = msgspec.structs.replace(
            tally, records=tally.records + len(bodies), floor=max(tally.floor, newest), last=self.last)

    def lose(self, db: sqlite3.Connection, losses: Sequence[Loss], *, held: bool = True, again: int = 0) -> None:
        """Put loss records for records that are gone, and keep the sweep that they stand for.

        `held`: they were counted among the records held until now. `again` of them were told before.
        """
        gone, tally = sum(loss.n for loss in losses) - again, self._disk.tally
        self._disk.count(records=max(0, tally.records - (gone if held else 0)), lost=tally.lost + gone)
        for loss in losses:
            log.warning("records_lost", **msgspec.structs.asdict(loss))
        bodies = [encode_record(loss_fact(loss, tally.floor or 2.0**30)) for loss in losses]
        self.insert(db, [int(Kind.EVENT)] * len(bodies), bodies, 0.0)
        self.keep_sweep(db)

    def keep_sweep(self, db: sqlite3.Connection) -> None:
        """So that no restart takes the holes that it stands for as unexplained."""
        db.execute("INSERT OR REPLACE INTO meta VALUES ('sweep', ?)", (msgspec.json.encode(self.sweep).decode(),))

    def make_room(self, db: sqlite3.Connection, coming: int, last_of_streams: frozenset[int]) -> None:
        """Evict where `coming` bytes would not fit; looks only now and then, since a look costs as much as a put."""
        limits = self._disk.limits
        self._unlooked += coming
        if self._unlooked < min(LOOK_AGAIN_BYTES, limits.cap // 16):
            return
        self._unlooked = 0
        spare = LOOK_AGAIN_BYTES if limits.cap > 16 * LOOK_AGAIN_BYTES else limits.cap // 16
        if self._disk.room() >= coming + 2 * spare:
            return
        self.sweep = msgspec.structs.replace(self.sweep, reached=dict(self.sweep.reached))
        enough = coming + 2 * spare + limits.cap // 64
        room = Room(db, self.sweep, self.last - limits.newest, last_of_streams)
        if losses := room.make(lambda: self._disk.room() >= enough):
            self.lose(db, losses, again=sum(loss.n for loss in losses) - room.deleted)

    def write_off(self, db: sqlite3.Connection, places: Sequence[int]) -> None:
        """Delete records whose checksum is wrong, and tell their loss."""
        log.error("records_damaged", places=list(places[:20]), n=len(places), file=str(self._disk.path))
        gone = db.executemany("DELETE FROM record WHERE seq = ?", [(place,) for place in places]).rowcount
        if gone < len(places):  # the damage is in a place itself: what reads find in passing, no search does
            raise CorruptError(str(self._disk.path), "its records are out of order", "it is salvaged")
        self.sweep = msgspec.structs.replace(self.sweep, told=max(self.sweep.told, *places))
        self.lose(db, [Loss(why="damaged", what="unknown", n=len(places))])

    def unexplained(self, gaps: Sequence[Range]) -> list[Range]:
        """The gaps that no eviction and no earlier loss record explains."""
        accounted = self.sweep.accounted
        return [(max(first, accounted + 1), last) for first, last in gaps if last > accounted]

    def vanished(self, db: sqlite3.Connection, gaps: Sequence[Range]) -> None:
        """Tell the loss of records that are gone though nobody deleted them."""
        log.error("records_vanished", gaps=list(gaps[:20]), file=str(self._disk.path))
        self.sweep = msgspec.structs.replace(self.sweep, told=gaps[-1][1])
        self.lose(db, [Loss(why="vanished", what="unknown", n=sum(last - first + 1 for first, last in gaps))])
