"""The guard: keeps the broker's folder up to the ledger, reads the broker's log, and silences who floods.

A step takes milliseconds and is made each half second. It signs the revocation list anew each day, long before it
ends: a list that ran out makes mosquitto refuse every device.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from cloud_ingest.pki.broker import denied, hold_connections, publish, reload
from cloud_ingest.pki.folder import Folder
from cloud_ingest.pki.ledger import Ledger
from cloud_ingest.pki.sightings import FIXES, Reader, Sighting
from edge.clock import Clock, every
from edge.errors import CornergridError

log = structlog.get_logger(__name__)
STEP_S = 0.5
TURN_OVER = 64 * 1024 ** 2
READ_AT_ONCE = 8 * 1024 ** 2
ENDED_AT_ONCE = 3


@dataclass(frozen=True, slots=True)
class Rate:
    """More than `per_s` messages, or bytes, a second through `span_s` seconds is a flood: silence for `pause_s`.

    A device that catches up after an outage sends some ten a second, and 0.1 MB, since it is paced by credit. What
    comes before the silence has to find room in the ingest's queue (`broker.Limits`).
    """

    per_s: float = 200.0
    bytes_per_s: float = 4e6
    span_s: float = 10.0
    pause_s: float = 600.0


class Guard:
    """One authority's broker, watched by one thread."""

    def __init__(self, folder: Folder, ledger: Ledger, clock: Clock, rate: Rate | None = None,
                 end_session: Callable[[str], object] = lambda _device: None) -> None:
        """`end_session(device)` ends a live session of a device that is silent from now on."""
        self._folder, self._ledger, self._clock = folder, ledger, clock
        self._rate, self._end_session = rate or Rate(), end_session
        self._reader, self._counted = Reader(), clock.monotonic()
        self._silent: set[str] = set()
        self._to_end: deque[str] = deque()
        self._at = _Place.load(ledger)
        self._publish_due = every(clock, 60.0)
        self._seen: object = None

    def run(self, stop: threading.Event) -> None:
        """Watch until `stop` is set."""
        while not stop.is_set():
            try:
                self.step()
            except (OSError, CornergridError, sqlite3.Error) as error:
                log.error("guard_failed", error=str(error), fix="see the message; the guard tries again")
            stop.wait(STEP_S)
        self._at.save(self._ledger)

    def step(self) -> None:
        """One look at everything."""
        broker = str(self._ledger.meta("broker") or "")
        if not broker:
            return
        self._hear(Path(broker))
        revision = self._ledger.meta("revision")
        due = self._publish_due()  # certificates run out, and lists grow old, without anybody's doing
        if due:
            hold_connections(Path(broker), self._connections())
        if due or revision != self._seen:
            self._seen = revision
            self._publish()
        for _ in range(min(len(self._to_end), ENDED_AT_ONCE)):  # each takes a connection
            self._end_session(self._to_end.popleft())

    def _publish(self) -> None:
        now = self._clock.now()
        done = publish(self._folder, self._ledger, now)
        if done.changed:
            log.info("broker_folder", changed=done.changed, told=done.told)
        silent = denied(self._ledger, now)
        for device in sorted(silent.keys() - self._silent):
            log.warning("silenced", device=device, why=silent[device])
            self._to_end.append(device)
        self._silent = set(silent)

    def _hear(self, broker: Path) -> None:
        file = broker / "log" / "mosquitto.log"
        sightings = list(self._reader.read(self._at.read(file)))
        if any(each.kind == "access_list_not_read" for each in sightings):
            log.error("access_list_not_read", fix=FIXES["access_list_not_read"])
            self._publish()
            reload(broker, self._connections())
        if sightings:
            self._note(sightings)
        self._judge()
        if self._at.offset > TURN_OVER:
            os.replace(file, file.with_suffix(".log.1"))
            reload(broker, self._connections())

    def _connections(self) -> int:
        return int(str(self._ledger.meta("broker_connections")))

    def _note(self, sightings: list[Sighting]) -> None:
        now = self._clock.now()
        counts = Counter((each.kind, each.subject, each.source) for each in sightings)
        details = {(each.kind, each.subject, each.source): each.detail for each in sightings}
        with self._ledger.change():
            for what, n in counts.items():
                self._ledger.refuse(*what, now, details[what], n)
            self._at.save(self._ledger)
        for what, n in counts.items():
            log.warning("refused", kind=what[0], subject=what[1], source=what[2], n=n, detail=details[what],
                        fix=FIXES.get(what[0], ""))

    def _judge(self) -> None:
        """Silence whoever said more than the rate allows since the counting began."""
        passed = self._clock.monotonic() - self._counted
        for device, n in self._reader.heard.items():
            size = self._reader.heard_bytes[device]
            most = max(n / self._rate.per_s, size / self._rate.bytes_per_s)
            if most > self._rate.span_s and self._ledger.device(device) and device not in self._silent:
                self._pause(device, n, size)
        if passed >= self._rate.span_s:
            self._reader.heard.clear()
            self._reader.heard_bytes.clear()
            self._counted = self._clock.monotonic()

    def _pause(self, device: str, n: int, size: int) -> None:
        now = self._clock.now()
        with self._ledger.change() as db:
            db.execute("UPDATE device SET paused = ? WHERE id = ?", (now + self._rate.pause_s, device))
            self._ledger.refuse("flood", device, "?", now, f"{n} messages, {size / 1e6:.1f} MB in less than "
                                f"{self._rate.span_s:.0f} s")
        log.warning("flood", device=device, messages=n, bytes=size, pause_s=self._rate.pause_s, fix=FIXES["flood"])
        self._silent.discard(device)
        self._publish()


@dataclass(slots=True)
class _Place:
    """How far the log was read: the file's inode and the offset behind the last whole line."""

    inode: int = 0
    offset: int = 0

    @classmethod
    def load(cls, ledger: Ledger) -> _Place:
        inode, _, offset = str(ledger.meta("log") or "0:0").partition(":")
        return cls(int(inode), int(offset))

    def save(self, ledger: Ledger) -> None:
        ledger.keep_meta("log", f"{self.inode}:{self.offset}")

    def read(self, file: Path) -> list[str]:
        """The whole lines since last time; from the start where it is another file."""
        try:
            with file.open("rb") as log_file:
                found = os.fstat(log_file.fileno())
                if found.st_ino != self.inode or found.st_size < self.offset:
                    self.inode, self.offset = found.st_ino, 0
                log_file.seek(self.offset)
                text = log_file.read(READ_AT_ONCE)
        except FileNotFoundError:  # the broker was never started
            return []
        whole = text[:text.rfind(b"\n") + 1]
        self.offset += len(whole)
        return whole.decode("utf-8", "replace").split("\n")[:-1]  # a topic may hold U+2028
