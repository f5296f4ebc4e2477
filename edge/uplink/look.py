"""A look at an outbox from outside, beside the running agent: read only, and also where it is damaged."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.errors import StoreError
from edge.uplink.disk import SQLITE_ERRORS, Tally, pages_of, read_tally, store_error
from edge.uplink.kept import Kind, Place, Stream, glance, loss_in
from edge.uplink.pages import checksum, scan, wal_hides_commits
from edge.uplink.streams import end_of, read_streams, stream_at
from edge.wire import Loss


@dataclass(frozen=True, slots=True)
class StreamLook:
    """One stream: its sequences `lo` .. `hi` that are held, none where `lo > hi`."""

    stream: Stream
    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Look:
    """What an outbox holds. Bytes are those in use; `oldest` is an event time, Unix seconds."""

    tally: Tally
    bytes: int
    boot: int
    streams: tuple[StreamLook, ...]
    oldest: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify` found: `damaged` is why the file must be salvaged, empty where it need not be."""

    records: int
    bad: int
    counted: int
    damaged: str
    hidden: bool

    @property
    def sound(self) -> bool:
        """Whether everything that was put is there and readable."""
        return not (self.bad or self.damaged or self.hidden or self.records != self.counted)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that changes nothing; StoreError where there is no outbox, CorruptError where it is damaged."""
    if not path.exists():
        raise StoreError(str(path), "is not there", "`cornergrid-edge run` makes it at its first start")
    db = None
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        yield db
    except SQLITE_ERRORS as error:
        raise store_error(path, error) from error
    finally:
        if db is not None:
            db.close()


def look(path: Path) -> Look:
    """What the outbox holds; takes the same time however much that is."""
    with reading(path) as db:
        db.execute("BEGIN")
        tally = read_tally(db, path)
        pages, free, size = pages_of(db)
        boot = db.execute("SELECT value FROM meta WHERE key = 'boot'").fetchone()
        streams = read_streams(db)
        last = db.execute("SELECT max(seq) FROM record").fetchone()[0] or 0
        first = db.execute("SELECT seq, body FROM record ORDER BY seq LIMIT 1").fetchone()
        looks = tuple(_look_at(db, stream, end_of(streams, stream, max(last, stream.base))) for stream in streams)
    of = stream_at(streams, first[0]) if first else None
    oldest = glance(first[1]).t + (of.shift if of else 0.0) if first else None
    return Look(tally, (pages - free) * size, int(boot[0]) if boot else 0, looks, oldest)


def _look_at(db: sqlite3.Connection, stream: Stream, end: int) -> StreamLook:
    lo, hi = db.execute("SELECT (SELECT min(seq) FROM record WHERE seq > ?1 AND seq <= ?2), "
                        "(SELECT max(seq) FROM record WHERE seq > ?1 AND seq <= ?2)", (stream.base, end)).fetchone()
    return StreamLook(stream, 1 if lo is None else lo - stream.base, 0 if hi is None else hi - stream.base)


def records(path: Path) -> Iterator[Place]:
    """Every record, oldest first; out of a damaged file those that can still be read, in no order."""
    try:
        with reading(path) as db:
            for place, kind, body, crc in db.execute("SELECT seq, kind, body, crc FROM record ORDER BY seq"):
                if checksum(place, kind, body) == crc:
                    yield place, kind, body
    except StoreError:
        if not path.exists():
            raise
        yield from ((row.seq, row.kind, row.body) for row in scan(path))


def losses(path: Path, most: int = 20) -> list[tuple[float, Loss]]:
    """The newest loss records that still wait to be sent, and when each was noticed."""
    with reading(path) as db:
        rows = db.execute("SELECT body FROM record WHERE kind = ? ORDER BY seq DESC LIMIT ?",
                          (int(Kind.EVENT), most)).fetchall()
    seen = [glance(row[0]) for row in rows]
    return [(each.t, loss) for each in seen if (loss := loss_in(each)) is not None]


def verify(path: Path) -> Verdict:
    """Read everything once, and say whether it is sound; changes nothing."""
    hidden = wal_hides_commits(path)
    good = bad = counted = 0
    damaged = ""
    try:
        with reading(path) as db:
            counted = read_tally(db, path).records
            for place, kind, body, crc in db.execute("SELECT seq, kind, body, crc FROM record"):
                good, bad = (good + 1, bad) if checksum(place, kind, body) == crc else (good, bad + 1)
            found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
            damaged = "" if found == "ok" else str(found)
    except StoreError as error:
        if not path.exists():
            raise
        damaged = str(error)
    return Verdict(good, bad, counted, damaged, hidden)


def named(streams: tuple[Stream, ...], place: int) -> tuple[str, int] | None:
    """Stream and sequence of a record; None where its stream is not known."""
    stream = stream_at(streams, place)
    return (stream.st, place - stream.base) if stream else None
