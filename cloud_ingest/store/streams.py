"""What a batch changes: its stream's marks, readings, losses and sums, inside the caller's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec import UNSET

from cloud_ingest.dedupe import MAX_AHEAD, Admitted, Marks, admit, too_fragmented
from cloud_ingest.store.gate import COLUMNS, Gate
from cloud_ingest.store.growth import beyond, spend
from cloud_ingest.store.protocol import Arrival, Rejected, Told
from cloud_ingest.store.quarantine import quarantine
from edge.wire import LOSS, Committed, Fact, Identity, flow_of, loss_of, window_of

TOLD_RANGES = 100
WHY = 500  # characters of a reason that are told
MOST = 2**53  # as far as a counter goes, whatever a device says: SQLite's sums must not overflow
KEPT_CHANGES = 100_000
NEAR = 64  # readings up to the mark whose newest time counts: a window's sums carry an earlier one
_CLK = {None: 0, "ok": 1, "free": 2, "corrected": 3}


@dataclass(slots=True)
class Stream:
    """A row of `stream`; see schema.sql."""

    device: str
    mark: int = 0
    ahead: str = "[]"
    refused: int = 0
    missing: int = 0
    last_t: float = 0.0
    boot: int = 0
    clk: str | None = None
    losses: int = 0
    why: str | None = None
    why_seq: int = 0

    @property
    def marks(self) -> Marks:
        """What of the stream is there."""
        return Marks(self.mark, tuple((start, end) for start, end in json.loads(self.ahead)))

    def rise(self, admitted: Admitted) -> None:
        """What was admitted is there from now on."""
        self.mark, self.ahead = admitted.marks.mark, json.dumps(admitted.marks.ahead)
        self.missing = min(MOST, self.missing + admitted.missing)

    def refuse(self, n: int, seq: int, reason: str) -> None:
        """`n` records are refused, the last of them `seq`: the stream's last refused record says why, in any order."""
        self.refused = min(MOST, self.refused + n)
        if seq >= self.why_seq:
            self.why, self.why_seq = reason[:WHY], seq


_FIELDS = "device, mark, ahead, refused, missing, last_t, boot, clk, losses, why, why_seq"


class TurnedAwayError(Exception):
    """A whole batch is not taken; `told` is what its device may know of the reason."""

    def __init__(self, reason: str, told: str = "") -> None:
        super().__init__(reason)
        self.told = told or reason


def unregistered(device: str) -> TurnedAwayError:
    """The device is in no store of the registry."""
    return TurnedAwayError(f"unregistered: cornergrid-cloud store add ... --device {device}")


def take(db: sqlite3.Connection, arrival: Arrival, store: str, now: float) -> None:
    """Keep what is new in a batch; TurnedAwayError where nothing of it may be."""
    batch = arrival.batch
    stream, admitted = _open(db, arrival.device, Identity(batch.stream, batch.seq, batch.n), now, batch.lo,
                             batch.gaps)
    fresh = {seq for start, end in admitted.fresh for seq in range(start, end + 1)}
    good: list[tuple[int, Fact]] = []
    bad = [(each.seq, each.reason, each.raw) for each in batch.refused if each.seq in fresh]
    gate = Gate(db, arrival.device, store, now)
    for seq, fact in batch.facts:
        if seq not in fresh:
            continue
        if why := gate.wrong(fact):
            bad.append((seq, why, msgspec.json.encode(fact)))
        else:
            good.append((seq, fact))
    if good and not spend(db, arrival.device, "records", len(good), now):
        raise TurnedAwayError(beyond("records"))
    stream.rise(admitted)
    for seq, reason, raw in bad:
        why = f"record {seq}: {reason}"
        quarantine(db, Rejected(arrival.device, arrival.topic, why, raw), now, key=batch.stream)
        stream.refuse(1, seq, why)
    _keep(db, arrival, store, good)
    stream.losses = min(MOST, stream.losses + _keep_losses(db, arrival, good))
    stream.last_t = max([stream.last_t, *(fact.t for _, fact in good)])
    stream.boot = max(stream.boot, batch.boot)
    stream.clk = max(stream.clk, batch.clk, key=lambda clk: _CLK.get(clk, 0))
    _save(db, batch.stream, stream)


def refuse(db: sqlite3.Connection, rejected: Rejected, claim: Identity, now: float) -> None:
    """Refuse a payload by its sequences, so that its device waits for it no more; TurnedAwayError as `take`."""
    stream, admitted = _open(db, rejected.device, claim, now)
    n = sum(end - start + 1 for start, end in admitted.fresh)
    if n:
        quarantine(db, rejected, now, key=claim.st)
        stream.rise(admitted)
        stream.refuse(n, admitted.fresh[-1][1], f"records {claim.seq}..{claim.seq + claim.n - 1}: {rejected.reason}")
        _save(db, claim.st, stream)


def watermark(db: sqlite3.Connection, device: str, st: str, turned_away: str | None) -> Told:
    """What the device must hear of a stream, in which something may have changed; 0 where it is not the device's."""
    taken, why = turned_away is None, (turned_away or "")[:WHY] or UNSET
    stream = _load(db, st)
    if stream is None or stream.device != device:
        return Told(device, Committed(st=st, committed=0, why=why), taken)
    (t,) = db.execute("SELECT max(t) FROM (SELECT t FROM reading WHERE st = ? AND seq <= ? ORDER BY seq DESC LIMIT ?)",
                      (st, stream.mark, NEAR)).fetchone()
    db.execute("UPDATE stream SET mark_t = ? WHERE st = ?", (t, st))
    return Told(device, Committed(
        st=st, committed=stream.mark, refused=stream.refused, t=t or 0.0,
        ahead=list(stream.marks.ahead[:TOLD_RANGES]) or UNSET, why=why or stream.why or UNSET), taken)


def _open(db: sqlite3.Connection, device: str, claim: Identity, now: float, lo: int = 1,
          gaps: Sequence[tuple[int, int]] = ()) -> tuple[Stream, Admitted]:
    stream = _load(db, claim.st)
    if stream is None:
        if not spend(db, device, "streams", 1, now):
            raise TurnedAwayError(beyond("streams"))
        stream = Stream(device)
    if stream.device != device:
        raise TurnedAwayError(f"foreign_stream: {claim.st} is {stream.device}'s",
                              "foreign_stream: another device began it; restart the agent for one of its own")
    admitted = admit(stream.marks, lo, claim.seq, claim.n, gaps)
    if too_fragmented(stream.marks, admitted.marks):
        raise TurnedAwayError(f"too_fragmented: more than {MAX_AHEAD} holes; send what is below first")
    return stream, admitted


def _load(db: sqlite3.Connection, st: str) -> Stream | None:
    row = db.execute(f"SELECT {_FIELDS} FROM stream WHERE st = ?", (st,)).fetchone()  # noqa: S608
    return Stream(*row) if row else None


def _save(db: sqlite3.Connection, st: str, stream: Stream) -> None:
    db.execute(
        f"INSERT INTO stream (st, {_FIELDS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (st) DO UPDATE SET "  # noqa: S608
        "mark = excluded.mark, ahead = excluded.ahead, refused = excluded.refused, missing = excluded.missing, "
        "last_t = excluded.last_t, boot = excluded.boot, clk = excluded.clk, losses = excluded.losses, "
        "why = excluded.why, why_seq = excluded.why_seq",
        (st, stream.device, stream.mark, stream.ahead, stream.refused, stream.missing, stream.last_t, stream.boot,
         stream.clk, stream.losses, stream.why, stream.why_seq))


def _keep(db: sqlite3.Connection, arrival: Arrival, store: str, facts: Sequence[tuple[int, Fact]]) -> None:
    st, device = arrival.batch.stream, arrival.device
    db.executemany("INSERT INTO reading VALUES (?,?,?,?,?,?,?,?)",
                   [(st, seq, device, fact.name, fact.t, fact.unit, fact.value, fact.quality) for seq, fact in facts])
    newest: dict[str, tuple[int, Fact]] = {}
    for seq, fact in facts:
        if fact.name not in newest or (fact.t, seq) > (newest[fact.name][1].t, newest[fact.name][0]):
            newest[fact.name] = seq, fact
    db.executemany("INSERT INTO latest VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT (device, name) DO UPDATE SET "
                   "t = excluded.t, unit = excluded.unit, value = excluded.value, quality = excluded.quality, "
                   "sku = excluded.sku, st = excluded.st, seq = excluded.seq "
                   "WHERE (excluded.t, excluded.st, excluded.seq) > (latest.t, latest.st, latest.seq)",
                   [(device, fact.name, fact.t, fact.unit, fact.value, fact.quality, fact.sku, st, seq)
                    for seq, fact in newest.values()])
    sums: defaultdict[tuple[str, int, str], float] = defaultdict(float)
    for _, fact in facts:
        flow = flow_of(fact.name)
        if flow and isinstance(fact.value, float) and fact.sku:
            sums[fact.sku, window_of(fact.t), flow[1]] += fact.value
    _add(db, store, sums)


def _add(db: sqlite3.Connection, store: str, sums: dict[tuple[str, int, str], float]) -> None:
    """Add to the sums of a store, and note under this transaction's revision which windows changed."""
    if not sums:
        return
    (rev,) = db.execute("SELECT value + 1 FROM meta WHERE key = 'revision'").fetchone()
    for (sku, window, column), value in sums.items():
        assert column in COLUMNS  # noqa: S101  # the name goes into the statement
        db.execute(f"INSERT INTO flow (store, sku, window, {column}, rev) VALUES (?,?,?,?,?) ON CONFLICT "  # noqa: S608
                   f"(store, sku, window) DO UPDATE SET {column} = {column} + excluded.{column}, rev = excluded.rev",
                   (store, sku, window, value, rev))
    windows = [window for _, window, _ in sums]
    db.execute("INSERT INTO change (rev, store, first, last) VALUES (?,?,?,?) ON CONFLICT (rev, store) DO UPDATE SET "
               "first = min(first, excluded.first), last = max(last, excluded.last)",
               (rev, store, min(windows), max(windows)))
    db.execute("DELETE FROM change WHERE rev < ?", (rev - KEPT_CHANGES,))


def _keep_losses(db: sqlite3.Connection, arrival: Arrival, facts: Sequence[tuple[int, Fact]]) -> int:
    """How many records the facts tell as lost."""
    told = [(seq, fact, loss) for seq, fact in facts if fact.name == LOSS and (loss := loss_of(fact))]
    db.executemany("INSERT INTO loss (st, seq, device, t, why, what, n, t0, t1) VALUES (?,?,?,?,?,?,?,?,?)",
                   [(arrival.batch.stream, seq, arrival.device, fact.t, loss.why, loss.what, loss.n, loss.t0, loss.t1)
                    for seq, fact, loss in told])
    return sum(loss.n for _, _, loss in told)
