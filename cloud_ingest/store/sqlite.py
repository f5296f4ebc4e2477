"""The embedded store: SQLite in WAL mode with synchronous=FULL, no server to install."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from cloud_ingest.dedupe import Marks, Range, admit
from cloud_ingest.store.protocol import Arrival, Rejected, Shop
from edge.errors import StoreError
from edge.wire import FLOW_UNITS, Birth, Committed, Fact, State, flow_of, window_of

VERSION = 1
EARLIEST = 1_577_836_800.0  # 2020-01-01: nothing was measured before there was anything to measure with
AHEAD_S = 86_400.0
KEPT_PAYLOAD = 4096
KEPT_QUARANTINE = 10_000
COLUMNS = tuple(FLOW_UNITS)


class SqliteStore:
    """One database file; one writer, any number of readers beside it."""

    def __init__(self, path: Path) -> None:
        """Open or create; StoreError where the file cannot be used or is another version's."""
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._create_or_check()
            self._file = _file_of(path)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(str(path), f"cannot be opened: {error}", "name a file on a writable disk") from error

    def _create_or_check(self) -> None:
        if not self._db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            schema = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
            self._db.executescript(f"BEGIN IMMEDIATE;\n{schema}\nCOMMIT;")
        row = self._db.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()
        if row is None or row[0] != VERSION:
            raise StoreError(str(self.path), f"is version {row and row[0]}, this program reads {VERSION}",
                             "use the program that made it, or name another file")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if _file_of(self.path) != self._file:
                raise StoreError(str(self.path), "was moved or deleted while in use",
                                 "put it back, or restart the ingest to begin a new one")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("UPDATE meta SET value = value + 1 WHERE key = 'revision'")
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise

    def commit(self, arrivals: Sequence[Arrival], rejected: Sequence[Rejected], now: float,
               ) -> list[tuple[str, Committed]]:
        """As `Store.commit`."""
        touched: dict[str, str] = {}
        with self._transaction() as db:
            stores = dict(db.execute("SELECT id, store FROM device").fetchall())
            for each in rejected:
                _quarantine(db, each, now)
            for arrival in arrivals:
                store = stores.get(arrival.device)
                if store is None:
                    _quarantine(db, _turned_away(arrival, "unregistered: cornergrid-cloud store add ... --device "
                                                 + arrival.device), now)
                elif _take(db, arrival, store, now):
                    touched[arrival.batch.stream] = arrival.device
            db.executemany("UPDATE device SET last_seen = ? WHERE id = ?",
                           [(now, device) for device in {arrival.device for arrival in arrivals}])
            return [(device, _watermark(db, stream)) for stream, device in touched.items()]

    def add_shop(self, shop: Shop) -> None:
        """As `Store.add_shop`."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO store VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, "
                "lat = excluded.lat, lon = excluded.lon, tz = excluded.tz, r9 = excluded.r9, r8 = excluded.r8, "
                "r7 = excluded.r7, r6 = excluded.r6, r5 = excluded.r5",
                (shop.id, shop.name, shop.lat, shop.lon, shop.tz, *shop.cells))
            db.executemany("INSERT INTO device (id, store) VALUES (?, ?) "
                           "ON CONFLICT (id) DO UPDATE SET store = excluded.store",
                           [(device, shop.id) for device in shop.devices])

    def note_birth(self, device: str, birth: Birth, now: float) -> None:
        """As `Store.note_birth`."""
        with self._transaction() as db:
            db.execute("UPDATE device SET birth = ?, boot = ?, last_seen = ? WHERE id = ? "
                       "AND (boot <= ? OR json_extract(birth, '$.st') IS NOT ?)",  # a new disk counts its boots anew
                       (msgspec.json.encode(birth).decode(), birth.boot, now, device, birth.boot, birth.st))

    def note_state(self, device: str, state: State, now: float) -> None:
        """As `Store.note_state`."""
        with self._transaction() as db:
            db.execute("UPDATE device SET state = ?, online = ?, boot = ?, last_seen = ? WHERE id = ? AND boot <= ?",
                       (msgspec.json.encode(state).decode(), state.online, state.boot, now, device, state.boot))

    def close(self) -> None:
        """As `Store.close`."""
        with self._lock:
            self._db.close()


def _file_of(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one with its name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _take(db: sqlite3.Connection, arrival: Arrival, store: str, now: float) -> bool:
    """Keep what is new in a batch; False where the stream is another device's."""
    batch = arrival.batch
    row = db.execute("SELECT device, mark, ahead, refused, missing, last_t FROM stream WHERE st = ?",
                     (batch.stream,)).fetchone()
    if row and row[0] != arrival.device:
        _quarantine(db, _turned_away(arrival, f"foreign_stream: {batch.stream} is {row[0]}'s"), now)
        return False
    _, mark, ahead, refused, missing, last_t = row or (arrival.device, 0, "[]", 0, 0, 0.0)
    marks = Marks(mark, tuple((start, end) for start, end in json.loads(ahead)))
    admitted = admit(marks, batch.lo, batch.seq, batch.n)
    facts = [(seq, fact) for seq, fact in batch.facts if _within(admitted.fresh, seq)]
    good = [(seq, fact) for seq, fact in facts if EARLIEST <= fact.t <= now + AHEAD_S]
    bad = [Rejected(arrival.device, arrival.topic, f"record {seq}: {_bad_time(fact)}", msgspec.json.encode(fact))
           for seq, fact in facts if not EARLIEST <= fact.t <= now + AHEAD_S]
    bad += [Rejected(arrival.device, arrival.topic, f"record {each.seq}: {each.reason}", each.raw)
            for each in batch.refused if _within(admitted.fresh, each.seq)]
    for each in bad:
        _quarantine(db, each, now, key=batch.stream)
    _keep(db, arrival, store, good)
    db.execute("INSERT INTO stream VALUES (?,?,?,?,?,?,?) ON CONFLICT (st) DO UPDATE SET mark = excluded.mark, "
               "ahead = excluded.ahead, refused = excluded.refused, missing = excluded.missing, "
               "last_t = excluded.last_t",
               (batch.stream, arrival.device, admitted.marks.mark, json.dumps(admitted.marks.ahead),
                refused + len(bad), missing + admitted.missing, max([last_t, *(fact.t for _, fact in good)])))
    return True


def _within(ranges: Iterable[Range], seq: int) -> bool:
    return any(start <= seq <= end for start, end in ranges)


def _bad_time(fact: Fact) -> str:
    try:
        date = datetime.fromtimestamp(fact.t, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        date = f"{fact.t:g} s after 1970"
    return f"bad_time: {date} is before 2020 or more than a day ahead"


def _turned_away(arrival: Arrival, reason: str) -> Rejected:
    """A whole batch that is not taken; the device keeps it, since no watermark covers it."""
    batch = arrival.batch
    return Rejected(arrival.device, arrival.topic, reason,
                    json.dumps({"st": batch.stream, "seq": batch.seq, "n": batch.n}).encode())


def _keep(db: sqlite3.Connection, arrival: Arrival, store: str, facts: Sequence[tuple[int, Fact]]) -> None:
    db.executemany("INSERT INTO reading VALUES (?,?,?,?,?,?,?,?)",
                   [(arrival.batch.stream, seq, arrival.device, fact.name, fact.t, fact.unit, fact.value, fact.quality)
                    for seq, fact in facts])
    db.executemany("INSERT INTO latest VALUES (?,?,?,?,?,?,?) ON CONFLICT (device, name) DO UPDATE SET t = excluded.t, "
                   "unit = excluded.unit, value = excluded.value, quality = excluded.quality, sku = excluded.sku "
                   "WHERE excluded.t >= t",
                   [(arrival.device, fact.name, fact.t, fact.unit, fact.value, fact.quality, fact.sku)
                    for _, fact in facts])
    sums: defaultdict[tuple[str, int, str], float] = defaultdict(float)
    for _, fact in facts:
        flow = flow_of(fact.name)
        if flow and isinstance(fact.value, float) and fact.sku:
            sums[fact.sku, window_of(fact.t), flow[1]] += fact.value
    for (sku, window, column), value in sums.items():
        assert column in COLUMNS  # noqa: S101  # the name goes into the statement
        db.execute(f"INSERT INTO flow (store, sku, window, {column}) VALUES (?,?,?,?) ON CONFLICT "  # noqa: S608
                   f"(store, sku, window) DO UPDATE SET {column} = {column} + excluded.{column}",
                   (store, sku, window, value))


def _quarantine(db: sqlite3.Connection, rejected: Rejected, now: float, key: str = "") -> None:
    """Keep a rejected payload once; its repeats only count. A flood makes room by its oldest."""
    digest = hashlib.sha256(b"\0".join(part.encode() for part in (rejected.topic, rejected.reason, key))
                            + b"\0" + rejected.payload).hexdigest()
    db.execute("INSERT INTO quarantine (hash, device, topic, reason, payload, count, first_t, last_t) "
               "VALUES (?,?,?,?,?,1,?,?) ON CONFLICT (hash) DO UPDATE SET count = count + 1, last_t = excluded.last_t",
               (digest, rejected.device, rejected.topic, rejected.reason, rejected.payload[:KEPT_PAYLOAD], now, now))
    db.execute("DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?", (KEPT_QUARANTINE,))


def _watermark(db: sqlite3.Connection, stream: str) -> Committed:
    mark, refused, last_t = db.execute("SELECT mark, refused, last_t FROM stream WHERE st = ?", (stream,)).fetchone()
    return Committed(st=stream, committed=mark, refused=refused, t=last_t)
