"""The outbox: every fact is on the disk before anyone is told that it was kept.

`put` returns after the commit is synced; those who put at the same time share one. Each start, and each turn of the
clock, is a stream of its own, so that neither a wiped disk nor one restored from an image can use a sequence again.
Records leave when the cloud says that its own database has them, or, the least important first, when there is no
more room; then a loss record says so.
"""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec
import structlog

from edge.clock import Era
from edge.errors import CorruptError, StoreError
from edge.uplink.disk import Disk, Limits
from edge.uplink.evict import Sweep
from edge.uplink.kept import Held, Place, Slice, Stream, glance, kind_of
from edge.uplink.pages import checksum
from edge.uplink.rows import Rows
from edge.uplink.streams import Streams, end_of, mint, stream_at
from edge.wire import MAX_PAYLOAD, Fact, Loss, Range, encode_record

log = structlog.get_logger(__name__)
_KEEP_BOOT = "INSERT OR REPLACE INTO meta VALUES ('boot', ?)"
_KEEP_SNAPSHOT = "INSERT OR REPLACE INTO snapshot VALUES ('stock', ?)"
PEEK_BYTES = MAX_PAYLOAD * 3 // 4
MOST_GAPS = 500


@dataclass(slots=True)
class _Waiting:
    """One `put` that waits for a commit."""

    kinds: list[int]
    bodies: list[bytes]
    newest: float
    snapshot: bytes | None
    last: int = 0
    done: bool = False
    error: BaseException | None = None


class Outbox:
    """A durable queue of facts, written by the agent and read by the publisher; safe between threads."""

    def __init__(self, path: Path, era: Era | None = None, limits: Limits = Limits()) -> None:
        """Open or create the file, count this start and mint its stream.

        CorruptError where it is damaged (`salvage.open_outbox` mends that), StoreError where the folder cannot be
        written.
        """
        self.path = path
        self.put_bytes = 0
        self._waiting: deque[_Waiting] = deque()
        self._untold: set[int] = set()
        self.disk = Disk(path, limits)
        self._streams = Streams(path, self.disk.tally.lost)
        try:
            with self.disk.transaction() as db:
                meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
                self.boot = self.since = int(meta.get("boot", 0)) + 1
                db.execute(_KEEP_BOOT, (str(self.boot),))
                self._streams.load(db)
                self._streams.check(db)
                newest = db.execute("SELECT max(seq) FROM record").fetchone()[0] or 0
                if (newest > 0) != (self.disk.tally.records > 0):
                    raise CorruptError(str(path), f"holds other than {self.disk.tally.records} records",
                                       "it is salvaged")
                last = max([newest, self.disk.tally.last, *(stream.base for stream in self._streams.all)])
                self.rows = Rows(self.disk, last, msgspec.json.decode(meta.get("sweep", "{}"), type=Sweep))
                self._streams.forget_empty(db, last)
                self._streams.add(db, [mint(last, self.boot, era)])
                if missing := self.disk.missing():
                    self.rows.lose(db, [Loss(why="vanished", what="unknown", n=missing)], held=False)
        except (ValueError, StoreError) as error:
            self.disk.close()
            if isinstance(error, StoreError):
                raise
            raise CorruptError(str(path), f"its own notes are unreadable: {error}", "it is salvaged") from error

    @property
    def stream(self) -> str:
        """The id of the stream that is written now."""
        return self._streams.all[-1].st

    def put(self, facts: Sequence[Fact], snapshot: bytes | None = None) -> int:
        """Keep facts, and the state that they follow from, in one transaction; returns the last place.

        When this returns, both are synced to the disk; where it raises
        (StoreError where the disk does not take them), neither is there.
        """
        waiting = _Waiting([kind_of(fact.name) for fact in facts], [encode_record(fact) for fact in facts],
                           max([fact.t for fact in facts], default=0.0), snapshot)
        self._waiting.append(waiting)
        with self.disk.lock:  # the first one in commits for all who came meanwhile
            if not waiting.done:
                self._commit_waiting()
        if waiting.error is not None:
            raise waiting.error
        return waiting.last

    def _commit_waiting(self) -> None:
        group = [self._waiting.popleft() for _ in range(len(self._waiting))]
        coming = sum(sum(map(len, each.bodies)) for each in group)
        try:
            with all_or_nothing(self.disk, self.rows, self._streams) as db:
                self.rows.make_room(db, coming, frozenset(stream.base for stream in self._streams.all))
                for each in group:
                    self.rows.insert(db, each.kinds, each.bodies, each.newest)
                    each.last = self.rows.last
                if snapshots := [each.snapshot for each in group if each.snapshot is not None]:
                    db.execute(_KEEP_SNAPSHOT, (seal(snapshots[-1]),))
            self.put_bytes += coming
        except BaseException as error:  # noqa: BLE001  # whatever it was: no one who waits may believe it was kept
            for each in group:
                each.error = error
        for each in group:
            each.done = True

    def turn(self, era: Era, shift: float | None = None) -> None:
        """Begin a stream, since the clock turned; `shift` (s) puts right what was kept with a free clock.

        That is what was kept since the boot `since`: this start, unless a salvage has opened a second file in it.
        """
        with all_or_nothing(self.disk, self.rows, self._streams) as db:
            if shift is not None:
                self._streams.correct(db, self.since, shift)
            self._streams.add(db, [mint(self.rows.last, self.boot, era)])

    def snapshot(self) -> bytes | None:
        """The state that was last committed with facts, or None on a fresh disk."""
        with self.disk.reading() as db:
            row = db.execute("SELECT body FROM snapshot WHERE key = 'stock'").fetchone()
        return None if row is None else unseal(bytes(row[0]))

    def peek(self, after: int, most: int, upto: int) -> Slice | None:
        """As `Kept.peek`; a record whose checksum is wrong is written off, and becomes a gap."""
        with self.disk.reading() as db:
            rows = db.execute("SELECT seq, body, crc, kind FROM record WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
                              (after, upto, most)).fetchall()
            bad = [row[0] for row in rows if checksum(row[0], row[3], row[1]) != row[2]]
            if bad and any(one[0] >= other[0] for one, other in pairwise(rows)):  # a place is damaged, not a record
                raise CorruptError(str(self.path), "its records are out of order", "it is salvaged")
            stream = stream_at(self._streams.all, rows[0][0]) if rows else None
            if stream is None:
                return None
            end = end_of(self._streams.all, stream, self.rows.last)
            good = [row for row in rows if row[0] <= end and row[0] not in bad] if bad or rows[-1][0] > end else rows
            first = max(after, stream.base) + 1
            if good and good[0][0] > first and not db.execute(  # what left the front was committed, or `lo` tells it
                    "SELECT 1 FROM record WHERE seq > ? AND seq < ? LIMIT 1", (stream.base, first)).fetchone():
                first = good[0][0]
            found = slice_of(stream, first, good)
            told = self._tell_losses(bad, found.gaps if found else ())
            # All were damaged: what follows them tells the gap, once they are gone.
            return found or self.peek(after if told else min(rows[-1][0], end), most, upto)

    def _tell_losses(self, bad: Sequence[int], gaps: Sequence[Range]) -> bool:
        gaps = self.rows.unexplained([gap for gap in gaps if not any(gap[0] <= place <= gap[1] for place in bad)])
        if not bad and not gaps:
            return False
        try:
            with all_or_nothing(self.disk, self.rows, self._streams) as db:
                if gaps:
                    self.rows.vanished(db, gaps)
                if bad:
                    self.rows.write_off(db, bad)
        except StoreError as error:
            if isinstance(error, CorruptError):
                raise
            self._untold.update(bad)
            log.error("loss_not_told", error=str(error), fix="none needed: it is told when the disk takes it")
            return False
        self._untold.difference_update(bad)
        return True

    def drop(self, st: str, mark: int) -> int:
        """As `Kept.drop`."""
        stream = next((stream for stream in self._streams.all if stream.st == st), None)
        if stream is None:
            return 0
        if self._untold:
            self._tell_losses(sorted(self._untold), ())
        within = (stream.base, min(stream.base + mark, end_of(self._streams.all, stream, self.rows.last)))
        with self.disk.transaction(synced=False) as db:  # what comes back after a power cut, the cloud knows
            newest = db.execute("SELECT seq, body FROM record WHERE seq > ? AND seq <= ? ORDER BY seq DESC LIMIT 1",
                                within).fetchone()
            if newest is None:
                return 0
            # Damaged ones are gaps to the cloud: they stay until the disk has taken the record of their loss.
            stay = sorted(place for place in self._untold if within[0] < place <= within[1])
            gone = sum(db.execute("DELETE FROM record WHERE seq > ? AND seq < ?", between).rowcount
                       for between in pairwise((within[0], *stay, within[1] + 1)))
            tally = self.disk.tally
            self.disk.count(records=max(0, tally.records - gone))
            if db.execute("SELECT 1 FROM record WHERE seq < ? LIMIT 1", (newest[0],)).fetchone() is None:
                self.disk.count(committed=max(tally.committed or 0.0, glance(newest[1]).t + stream.shift))
        return gone

    def streams(self) -> tuple[Stream, ...]:
        """As `Kept.streams`."""
        return self._streams.all

    def held(self) -> Held:
        """As `Kept.held`."""
        with self.disk.reading() as db:
            lo = db.execute("SELECT min(seq) FROM record").fetchone()[0]
            return Held(self.rows.last + 1 if lo is None else lo, self.rows.last, self.disk.tally.records,
                        self.disk.used())

    def lowest(self, stream: Stream) -> int:
        """As `Kept.lowest`."""
        end = end_of(self._streams.all, stream, self.rows.last)
        with self.disk.reading() as db:
            lo = db.execute("SELECT min(seq) FROM record WHERE seq > ? AND seq <= ?", (stream.base, end)).fetchone()[0]
        return end + 1 if lo is None else int(lo)

    def export(self) -> Iterator[Place]:
        """Every record whose checksum is right: place, kind, bytes."""
        at = 0
        while True:
            with self.disk.reading() as db:
                rows = db.execute("SELECT seq, kind, body, crc FROM record WHERE seq > ? ORDER BY seq LIMIT 1000",
                                  (at,)).fetchall()
            if not rows:
                return
            yield from ((place, kind, body) for place, kind, body, crc in rows if checksum(place, kind, body) == crc)
            at = rows[-1][0]

    def adopt(self, streams: Sequence[Stream], rows: Iterable[Place], era: Era | None = None,
              lost: int = 0, lost_before: int = 0, snapshot: bytes | None = None) -> None:
        """Take in records that were kept elsewhere, at their places, and begin a stream behind them.

        `lost` of them could not be saved, `lost_before` were told as lost long ago. All or nothing, as `put`.
        """
        found, newest, floor = 0, 0, 0.0
        with all_or_nothing(self.disk, self.rows, self._streams) as db:
            for row in rows:
                db.execute("INSERT OR REPLACE INTO record VALUES (?,?,?,?)", (row[0], row[1], checksum(*row), row[2]))
                newest, floor = max(newest, row[0]), max(floor, glance(row[2]).t)
                found += 1
            self.rows.last = max([self.rows.last, newest, *(stream.base for stream in streams)])
            self.rows.sweep = msgspec.structs.replace(
                self.rows.sweep, told=max(self.rows.sweep.told, self.rows.last))
            self.rows.keep_sweep(db)
            tally = self.disk.tally
            self.disk.count(records=tally.records + found, floor=max(tally.floor, floor), last=self.rows.last,
                            lost=tally.lost + lost_before)
            self.boot = max([self.boot, *(stream.boot for stream in streams)])
            db.execute(_KEEP_BOOT, (str(self.boot),))
            self._streams.add(db, [*streams, mint(self.rows.last, self.boot, era)])
            if lost:
                self.rows.lose(db, [Loss(why="damaged", what="unknown", n=lost)], held=False)
            if snapshot is not None:
                db.execute(_KEEP_SNAPSHOT, (seal(snapshot),))

    def close(self) -> None:
        """Close the file; everything that was put stays."""
        self.disk.close()


@contextlib.contextmanager
def all_or_nothing(disk: Disk, rows: Rows, streams: Streams) -> Iterator[sqlite3.Connection]:
    """A transaction; where it fails, what is remembered of rows and streams goes back with what is in the file."""
    with disk.lock:
        last, sweep, before, whole = rows.last, rows.sweep, streams.all, False
        try:
            with disk.transaction() as db:
                yield db
            whole = True
        finally:
            if not whole:
                rows.last, rows.sweep = last, sweep
                streams.restore(before)
        streams.note_lost(disk.tally.lost)


def slice_of(stream: Stream, first: int, rows: Sequence[tuple[int, bytes, int, int]]) -> Slice | None:
    """Consecutive rows (place, bytes, ...) as a slice from `first` on, as far as one message holds them. Pure."""
    if not rows:
        return None
    total = 0
    gaps: list[Range] = []
    bodies: list[bytes] = []
    at = first
    for place, body, *_ in rows:
        total += len(body) + 1
        if bodies and (total > PEEK_BYTES or len(gaps) >= MOST_GAPS):
            break
        if place != at:
            gaps.append((at, place - 1))
        bodies.append(body)
        at = place + 1
    return Slice(stream, first, at - 1, tuple(bodies), tuple(gaps))


def seal(snapshot: bytes) -> bytes:
    """A snapshot with its checksum before it: a flipped bit in it would be a sale that never was."""
    return zlib.crc32(snapshot).to_bytes(4, "big") + snapshot


def unseal(sealed: bytes) -> bytes | None:
    """The snapshot, or None where its checksum is wrong: levels are then learned again."""
    if zlib.crc32(sealed[4:]).to_bytes(4, "big") != sealed[:4]:
        log.error("snapshot_damaged", fix="none needed: levels are learned again")
        return None
    return sealed[4:]
