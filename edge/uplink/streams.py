"""The streams of an outbox: in its file, and noted beside it, since a salvaged record without a stream has no name.

Beside it, one JSON line with its checksum for each stream; the last line about a place wins.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import msgspec
import structlog

from edge.clock import Era
from edge.errors import CorruptError
from edge.uplink.kept import Stream

log = structlog.get_logger(__name__)


def mint(base: int, boot: int, era: Era | None) -> Stream:
    """A stream that nobody else has."""
    return Stream(base=base, st=uuid.uuid4().hex, boot=boot, clk=era.clk if era else "ok",
                  w=era.wall if era else None, m=era.mono if era else None)


def stream_at(streams: Iterable[Stream], place: int) -> Stream | None:
    """The stream that a place belongs to; `streams` by their base."""
    found = None
    for stream in streams:
        if stream.base >= place:
            break
        found = stream
    return found


def end_of(streams: Iterable[Stream], stream: Stream, last: int) -> int:
    """The last place that is a stream's, where `last` is the newest of all."""
    return next((other.base for other in streams if other.base > stream.base), last)


def read_streams(db: sqlite3.Connection) -> tuple[Stream, ...]:
    """The streams that a file has, by their base; ValueError where a row is none."""
    rows = db.execute("SELECT base, st, boot, clk, w, m, shift FROM stream ORDER BY base").fetchall()
    names = Stream.__struct_fields__
    return tuple(msgspec.convert(dict(zip(names, row, strict=True)), Stream) for row in rows)


class Streams:
    """The streams that have records, by their base, and the one that is written now."""

    def __init__(self, path: Path, lost: int = 0) -> None:
        """`path` is the outbox's file; `lost` of its records were told as lost so far."""
        self._path = path
        self.all: tuple[Stream, ...] = ()
        self._lost = lost

    def load(self, db: sqlite3.Connection) -> None:
        """As the file has them."""
        self.all = read_streams(db)

    def forget_empty(self, db: sqlite3.Connection, last: int) -> None:
        """Drop the oldest, as long as they have no record left; behind one that has, they mark where it ends."""
        for stream in self.all:
            within = (stream.base, end_of(self.all, stream, last))
            if db.execute("SELECT 1 FROM record WHERE seq > ? AND seq <= ? LIMIT 1", within).fetchone() is not None:
                break
            db.execute("DELETE FROM stream WHERE base = ?", (stream.base,))
        self.load(db)

    def check(self, db: sqlite3.Connection) -> None:
        """CorruptError where a record has no stream, or another one than the notes say: its name would be false."""
        lowest = db.execute("SELECT min(seq) FROM record").fetchone()[0]
        if lowest is not None and stream_at(self.all, lowest) is None:
            raise CorruptError(str(self._path), f"record {lowest} has no stream", "it is salvaged")
        notes = noted(self._path).streams
        bases = {stream.base for stream in (*self.all, *notes)}
        for stream in notes:
            place = db.execute("SELECT min(seq) FROM record WHERE seq > ?", (stream.base,)).fetchone()[0]
            if place is None or any(stream.base < base < place for base in bases):
                continue  # it is empty, as far as one can tell
            found = stream_at(self.all, place)
            if found is None or (found.base, found.st) != (stream.base, stream.st):
                raise CorruptError(str(self._path), f"its streams are not those of {beside(self._path).name}",
                                   "it is salvaged")

    def add(self, db: sqlite3.Connection, streams: Iterable[Stream]) -> None:
        """Add streams; the last one is written now."""
        db.executemany("INSERT OR REPLACE INTO stream (base, st, boot, clk, w, m, shift) VALUES (?,?,?,?,?,?,?)",
                       [msgspec.structs.astuple(stream) for stream in streams])
        self.load(db)
        note(self._path, self.all, self._lost)

    def note_lost(self, lost: int) -> None:
        """Note how many records were told as lost so far: a salvage must not tell them again."""
        if lost != self._lost:
            self._lost = lost
            try:
                note(self._path, self.all, lost)
            except OSError as error:
                log.warning("notes_not_written", file=str(beside(self._path)), error=str(error))

    def restore(self, before: tuple[Stream, ...]) -> None:
        """Back to what they were, since the transaction that changed them failed; the notes too, where that goes."""
        if self.all != before:
            self.all = before
            try:
                note(self._path, before, self._lost)
            except OSError as error:
                log.warning("notes_not_written", file=str(beside(self._path)), error=str(error))

    def correct(self, db: sqlite3.Connection, since: int, shift: float) -> None:
        """Put right what was kept from the boot `since` on while the clock was free."""
        db.execute("UPDATE stream SET clk = 'corrected', shift = shift + ? WHERE boot >= ? AND clk = 'free'",
                   (shift, since))


def beside(path: Path) -> Path:
    """Where the streams of the outbox `path` are noted."""
    return path.with_name(f"{path.name}.streams")


class _Lost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last line: records told as lost so far."""

    lost: int


def note(path: Path, streams: Iterable[Stream], lost: int = 0) -> None:
    """Write the notes anew, whole or not at all, synced; OSError where the disk does not take them."""
    part = beside(path).with_suffix(".part")
    lines = [msgspec.json.encode(each) for each in (*streams, _Lost(lost))]
    with part.open("wb") as file:
        file.write(b"".join(b"%b %08x\n" % (line, crc32(line)) for line in lines))
        file.flush()
        os.fsync(file.fileno())
    part.replace(beside(path))


@dataclass(frozen=True, slots=True)
class Noted:
    """What stands beside an outbox: its streams by their base, and how many records were told as lost."""

    streams: tuple[Stream, ...] = ()
    lost: int = 0


def noted(path: Path) -> Noted:
    """What was noted beside `path`; a damaged line costs only itself."""
    try:
        lines = beside(path).read_bytes().splitlines()
    except OSError:
        return Noted()
    found: dict[int, Stream] = {}
    lost = 0
    for each in lines:
        try:
            line, _, crc = each.rpartition(b" ")
            if crc != b"%08x" % crc32(line):
                raise ValueError("its checksum is wrong")
            if line.startswith(b'{"lost"'):
                lost = msgspec.json.decode(line, type=_Lost).lost
            else:
                stream = msgspec.json.decode(line, type=Stream)
                found[stream.base] = stream
        except ValueError as error:
            log.warning("stream_line_unreadable", file=str(beside(path)), error=str(error))
    return Noted(tuple(found[base] for base in sorted(found)), lost)
