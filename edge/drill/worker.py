"""The drill's device: a process that keeps numbered records and sends them, and may be killed at any moment.

    python -m edge.drill.worker FOLDER PORT FIRST [OPTIONS]

It says on stdout, a JSON line each: `{"put": n}` once the records up to number n are kept, `{"up": bool}` when the
connection changes, `{"drained": true}` when the cloud has everything. It listens on stdin, a word each line: `pause`,
`go`, `jump SECONDS` (the wall clock), `sync` (the clock is right from now on), `stop`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import structlog

from edge import wire
from edge.backoff import Backoff
from edge.clock import HonestClock, SystemClock, every
from edge.uplink.buffer import Buffer
from edge.uplink.disk import Limits
from edge.uplink.lanes import Pace
from edge.uplink.publisher import Link, Publisher, Voice
from edge.uplink.refuge import Terms
from edge.uplink.session import Address

DEVICE = "drill"
EACH = 5
PERIOD_S = 0.02


@dataclass(slots=True)
class WrongClock:
    """A wall clock that can be moved by hand, beside a monotonic one that cannot."""

    offset_s: float = 0.0
    synced: bool = True

    def now(self) -> float:
        return SystemClock().now() + self.offset_s

    def monotonic(self) -> float:
        return SystemClock().monotonic()


class Worker:
    """Puts `EACH` records a period until it is told to stop, or killed."""

    def __init__(self, folder: Path, port: int, first: int, base: WrongClock, quota: int) -> None:
        self._base, self._next = base, first
        self.clock = HonestClock(base, synced=lambda: base.synced)
        self.buffer = Buffer(folder / "outbox.db", self.clock,
                             terms=Terms(Limits(reserve=0, quota=quota), retry_s=0.5))
        self.clock.begin(max(SystemClock().now() - 30 * 86_400 if not base.synced else 0.0, self.buffer.tally.floor))
        self.buffer.turn(self.clock.era)
        link = Link(Address(DEVICE, "127.0.0.1", port, keepalive_s=1),
                    Pace(age_s=0.1, resend_s=2.0), Limits(reserve=0))
        self.publisher = Publisher(link, self.buffer, self.clock, Voice(self._birth),
                                   Backoff(base_s=0.2, cap_s=1.0))
        self._going, self._stop = threading.Event(), threading.Event()

    def _birth(self) -> wire.Birth:
        return wire.Birth(device=DEVICE, st=self.buffer.stream, boot=self.buffer.boot, t=self.clock.now(),
                          agent="drill", sensors={}, slots={})

    def run(self) -> None:
        """Put, and tell what is kept, until `stop`; then wait until the cloud has everything."""
        self.publisher.start()
        was_up = False
        look = every(self.clock, 0.25)
        while not self._stop.wait(PERIOD_S):
            if self._going.is_set():
                self._put()
            if look() and (turn := self.clock.poll()) is not None:
                self.buffer.turn(turn.after, turn.shift if turn.corrects else None)
            if self.publisher.connected != was_up:
                was_up = self.publisher.connected
                say(up=was_up)
        self.publisher.wait_committed(self.buffer.held().hi, 30.0)
        say(drained=not self.buffer.held().records)
        self.publisher.stop()
        self.buffer.close()

    def _put(self) -> None:
        at = self.clock.now()
        facts = [wire.Fact("drill/number", at, "count", float(self._next + i)) for i in range(EACH)]
        self.buffer.put(facts)
        self._next += EACH
        say(put=self._next - 1, at=SystemClock().now(), memory=bool(self.buffer.refuge.why))
        self.publisher.wake()

    def listen(self) -> None:
        """Take orders until stdin ends."""
        for line in sys.stdin:
            word, *rest = line.split()
            if word == "go":
                self._going.set()
            elif word == "pause":
                self._going.clear()
            elif word == "jump":
                self._base.offset_s += float(rest[0])
            elif word == "sync":
                self._base.offset_s, self._base.synced = 0.0, True
            elif word == "stop":
                break
        self._stop.set()


def say(**told: object) -> None:
    """One line for the drill."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m edge.drill.worker", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("first", type=int, help="number of the first record")
    parser.add_argument("--wrong-by", type=float, default=0.0, help="the clock is wrong by so many seconds, not synced")
    parser.add_argument("--quota", type=int, default=0, help="bytes that the disk takes")
    given = parser.parse_args()
    structlog.configure(processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso"),
                                    structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
                        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
                        logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    base = WrongClock(given.wrong_by, synced=not given.wrong_by)
    worker = Worker(given.folder, given.port, given.first, base, given.quota)
    threading.Thread(target=worker.listen, daemon=True).start()
    worker.run()


if __name__ == "__main__":
    main()
