"""A damaged outbox is saved row by row into a fresh one, and set aside: never deleted, never a refusal to start.

The fresh file is built beside the damaged one and takes its place when it is whole, so that a power cut in the middle
loses nothing either:  build `.salvaging` ─▶ rename `.salvaged` ─▶ damaged file aside ─▶ `.salvaged` in its place.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from edge.clock import Era
from edge.errors import CorruptError, StoreError
from edge.uplink.disk import Counted, Limits, count_file, counted, read_tally
from edge.uplink.kept import Place, Stream
from edge.uplink.outbox import Outbox, unseal
from edge.uplink.pages import scan, wal_hides_commits
from edge.uplink.streams import beside, noted, stream_at

log = structlog.get_logger(__name__)
_WITH = ("", "-wal", "-shm")


def open_outbox(path: Path, era: Era | None = None, limits: Limits = Limits()) -> Outbox:
    """The outbox in `path`; a damaged one is salvaged first. StoreError where the folder cannot be written."""
    try:
        _finish(path)
        if not (path.exists() and (wal_hides_commits(path) or _locked_for_ever(path))):
            try:
                return Outbox(path, era, limits)
            except CorruptError as error:
                log.error("outbox_damaged", file=str(path), error=str(error))
        salvage(path, limits)
    except OSError as error:
        raise StoreError(str(path), f"cannot be opened: {error.strerror or error}",
                         "the data folder of the profile must be a writable disk") from error
    return Outbox(path, era, limits)


def _locked_for_ever(path: Path) -> bool:
    """Whether the header asks for a newer SQLite to write it (file format 1.3.2): only damage has made it so."""
    with path.open("rb") as file:
        header = file.read(20)
    return len(header) == 20 and header[18] > 2


@dataclass(slots=True)
class Salvaged:
    """What was found in a damaged outbox, while it is read."""

    streams: tuple[Stream, ...]
    lo: int = 0
    found: int = 0
    revived: int = 0
    nameless: int = 0
    lowest: dict[int, int] = field(default_factory=dict)
    highest: dict[int, int] = field(default_factory=dict)

    def rows(self, path: Path) -> Iterator[Place]:
        """The records that have a name: those of a stream that was noted."""
        for row in scan(path):
            stream = stream_at(self.streams, row.seq)
            if stream is None:
                self.nameless += 1
                continue
            if row.seq < self.lo:
                self.revived += 1  # it was deleted, and makes good for none that is lost
            else:
                self.found += 1
                self.lowest[stream.base] = min(row.seq, self.lowest.get(stream.base, row.seq))
                self.highest[stream.base] = max(row.seq, self.highest.get(stream.base, row.seq))
            yield row.seq, row.kind, row.body

    @property
    def holes(self) -> int:
        """Sequences between the lowest and the highest of each stream that were not found."""
        return sum(self.highest[base] - low + 1 for base, low in self.lowest.items()) - self.found


def salvage(path: Path, limits: Limits = Limits()) -> Path:
    """Put a fresh outbox with all readable records in the place of a damaged one; returns where that one now is."""
    fresh = path.with_name(f"{path.name}.salvaging")
    for left in (*(fresh.with_name(fresh.name + suffix) for suffix in _WITH), beside(fresh), count_file(fresh)):
        left.unlink(missing_ok=True)
    notes, noted_count = noted(path), counted(path)
    records, snapshot = _told(path, noted_count)
    save = Salvaged(notes.streams, noted_count.lo if noted_count else 0)
    outbox = Outbox(fresh, None, limits)
    try:
        outbox.adopt(save.streams, save.rows(path), lost_before=notes.lost, snapshot=snapshot)
        lost = max(0, save.holes - notes.lost if records is None else records - save.found)
        if lost:
            outbox.adopt((), (), lost=lost)
        streams = outbox.streams()
    finally:
        outbox.close()
    if fresh.with_name(f"{fresh.name}-wal").exists():
        raise StoreError(str(fresh), "could not be written whole", "a full or failing disk: see what fills it")
    beside(fresh).unlink()
    count_file(fresh).unlink()
    fresh.replace(path.with_name(f"{path.name}.salvaged"))
    aside = _finish(path)
    assert aside is not None  # noqa: S101  # there was a damaged file
    log.error("outbox_salvaged", records=save.found + save.revived, lost=lost, streams=len(streams), aside=str(aside),
              fix="the records go on from the fresh file; keep the damaged one and send it in")
    return aside


def _finish(path: Path) -> Path | None:
    """Where a fresh file stands ready: set the damaged one aside, and put the fresh one in its place."""
    ready = path.with_name(f"{path.name}.salvaged")
    if not ready.exists():
        return None
    aside = _free_name(path)
    for suffix in _WITH:
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(f"{aside}{suffix}")
    for noted_before in (count_file(path), beside(path)):  # what they say is of the damaged file, and was heard
        noted_before.unlink(missing_ok=True)
    ready.rename(path)
    return aside


def _free_name(path: Path) -> Path:
    n = 1
    while any(path.with_name(f"{path.name}.unreadable-{n}{suffix}").exists() for suffix in _WITH):
        n += 1
    return path.with_name(f"{path.name}.unreadable-{n}")


def _told(path: Path, noted_count: Counted | None) -> tuple[int | None, bytes | None]:
    """How many records a damaged file holds, by its own word or the note beside it, and the stock's state."""
    records = noted_count.records if noted_count else None
    snapshot: bytes | None = None
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    except sqlite3.Error:
        return records, None
    try:
        records = max(records or 0, read_tally(db, path).records)  # its log may hide some
        row = db.execute("SELECT body FROM snapshot WHERE key = 'stock'").fetchone()
        if row is not None and not wal_hides_commits(path):  # else it is older than the facts that are found
            snapshot = unseal(bytes(row[0]))
    except (sqlite3.Error, CorruptError, TypeError, ValueError) as error:
        log.warning("damaged_notes", file=str(path), error=str(error))
    finally:
        db.close()
    return records, snapshot
