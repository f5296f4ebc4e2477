"""Records in memory, while the disk takes none: bounded, and gone with the process. Stands in for the outbox."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import msgspec
import structlog

from edge.clock import Era
from edge.uplink.evict import Gone, told_by
from edge.uplink.kept import Held, Kind, Place, Slice, Stream, glance, kind_of
from edge.uplink.outbox import slice_of
from edge.uplink.streams import end_of, mint, stream_at
from edge.wire import Fact, encode_record, loss_fact

log = structlog.get_logger(__name__)


class MemoryOutbox:
    """A queue of at most `most` records, which begin behind the place `base`."""

    def __init__(self, base: int, boot: int, era: Era | None = None, most: int = 20_000) -> None:
        self._lock = threading.RLock()
        self._boot, self._most = boot, most
        self._streams: tuple[Stream, ...] = (mint(base, boot, era),)
        self._records: dict[int, tuple[int, bytes]] = {}
        self._last = base
        self._floor = 0.0
        self.latest_snapshot: bytes | None = None
        self.lost = 0

    def put(self, facts: Sequence[Fact], snapshot: bytes | None = None) -> int:
        """As `Kept.put`, but only until the process ends."""
        with self._lock:
            if snapshot is not None:
                self.latest_snapshot = snapshot
            for fact in facts:
                self._floor = max(self._floor, fact.t)
                self._add(kind_of(fact.name), encode_record(fact))
            if len(self._records) > self._most:
                self._evict()
            return self._last

    def _add(self, kind: int, body: bytes) -> None:
        self._last += 1
        self._records[self._last] = kind, body

    def _evict(self) -> None:
        """Drop a twentieth, the least important and oldest first, and tell it."""
        keep = self._most - max(1, self._most // 20)
        may = self._records.keys() - {stream.base for stream in self._streams}  # a stream's last tells its end
        ranked = sorted(may, key=lambda place: (self._records[place][0], place))
        gone: dict[int, Gone] = {}
        for place in ranked[:len(self._records) - keep]:
            kind, body = self._records.pop(place)
            self.lost += 1
            gone.setdefault(kind, Gone()).add(1 + told_by(body), (glance(body).t,))
        for kind, each in gone.items():
            loss = each.loss("no_disk", Kind(kind).name.lower())
            log.warning("records_lost", **msgspec.structs.asdict(loss))
            self._add(int(Kind.EVENT), encode_record(loss_fact(loss, self._floor)))

    def turn(self, era: Era, shift: float | None = None) -> None:
        """As `Outbox.turn`."""
        with self._lock:
            if shift is not None:
                self._streams = tuple(
                    msgspec.structs.replace(stream, clk="corrected", shift=stream.shift + shift)
                    if stream.clk == "free" else stream for stream in self._streams)
            kept = [stream for stream in self._streams if stream.base < self._last]
            self._streams = (*kept, mint(self._last, self._boot, era))

    def peek(self, after: int, most: int, upto: int) -> Slice | None:
        """As `Kept.peek`."""
        with self._lock:
            places = [place for place in self._records if after < place <= upto][:most]
            stream = stream_at(self._streams, places[0]) if places else None
            if stream is None:
                return None
            end = end_of(self._streams, stream, self._last)
            rows = [(place, self._records[place][1], 0, 0) for place in places if place <= end]
            # What left the front was committed, or `lo` tells it.
            first = places[0] if self.lowest(stream) == places[0] else max(after, stream.base) + 1
            return slice_of(stream, first, rows)

    def drop(self, st: str, mark: int) -> int:
        """As `Kept.drop`."""
        with self._lock:
            stream = next((stream for stream in self._streams if stream.st == st), None)
            if stream is None:
                return 0
            upto = min(stream.base + mark, end_of(self._streams, stream, self._last))
            gone = [place for place in self._records if stream.base < place <= upto]
            for place in gone:
                del self._records[place]
            return len(gone)

    def streams(self) -> tuple[Stream, ...]:
        """As `Kept.streams`."""
        return self._streams

    def held(self) -> Held:
        """As `Kept.held`."""
        with self._lock:
            lo = next(iter(self._records), self._last + 1)
            return Held(lo, self._last, len(self._records), sum(len(body) for _, body in self._records.values()))

    def lowest(self, stream: Stream) -> int:
        """As `Kept.lowest`."""
        with self._lock:
            end = end_of(self._streams, stream, self._last)
            return next((place for place in self._records if stream.base < place <= end), end + 1)

    def moved_to(self, base: int) -> tuple[list[Stream], list[Place]]:
        """All streams and records, at the places that they have behind `base`."""
        with self._lock:
            by = base - self._streams[0].base
            return ([msgspec.structs.replace(stream, base=stream.base + by) for stream in self._streams],
                    [(place + by, kind, body) for place, (kind, body) in self._records.items()])

    def move(self, base: int) -> None:
        """To the places behind `base`."""
        with self._lock:
            streams, records = self.moved_to(base)
            self._last += base - self._streams[0].base
            self._streams = tuple(streams)
            self._records = {place: (kind, body) for place, kind, body in records}

    def close(self) -> None:
        """Nothing is kept; as `Kept.close`."""
