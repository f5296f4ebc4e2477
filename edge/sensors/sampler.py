"""One supervised thread for each sensor or camera: whatever it does, it delays no other and ends no process."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

import structlog

from edge.backoff import Backoff
from edge.clock import Clock
from edge.errors import ConfigError, SensorError
from edge.readings import Reading
from edge.sensors.health import Health, Rule, step, touched, why_of

log = structlog.get_logger(__name__)
Readings = tuple[Reading, ...]
BACKOFF_S = 0.5
BACKOFF_MAX_S = 15.0
STABLE_S = 10.0
TRIES = 3
"""Reads that may fail in a row before the device is closed and opened anew: noise is no reason to."""
HUNG_S = 15.0
LOOK_S = 0.1
STUCK_S = 900.0
"""Busy with one call for so long, a device will not answer any more: only a new process is rid of it."""
JOIN_S = 3.0
GONE = frozenset({"unplugged", "no_port"})
AWAY = GONE | {"closed", "no_permission", "port_busy", "port_settings"}


class Readable(Protocol):
    """What a sampler supervises: a sensor's driver or a camera's watch."""

    def read(self) -> Readings:
        """The readings of one look; SensorError with a reason where there are none."""

    def close(self) -> None:
        """Let the device go; never raises."""


@dataclass(frozen=True, slots=True)
class Watched:
    """One device, as its sampler sees it.

    Attributes:
        name: the profile's.
        open: the open device; SensorError where it cannot be opened, ConfigError where a file of it cannot be used.
        failed: the "no value" readings of a device that failed for a reason.
        period_s: seconds between two reads.
        identity: what stands behind its port now, None where nothing does: one that came back is not left waiting.
        heals: the device reopens itself with a backoff of its own, as cameras do.
    """

    name: str
    open: Callable[[], Readable]
    failed: Callable[[str], Readings]
    period_s: float
    identity: Callable[[], Hashable | None] = lambda: None
    heals: bool = False


class Sampler:
    """Reads one device each period, and reopens it with backoff after it failed."""

    def __init__(self, watched: Watched, sink: Callable[[Readings], None], clock: Clock) -> None:
        """`sink` takes all readings and changes of health, from this device's thread."""
        self.name = watched.name
        self.last_good: float | None = None
        self.health = Health()
        self._watched, self._sink, self._clock = watched, sink, clock
        self._rule = Rule(lost_s=max(10.0, 3 * watched.period_s), stable_s=STABLE_S)
        self._backoff = Backoff(BACKOFF_S, BACKOFF_MAX_S, STABLE_S)
        self._rng = random.Random()
        self._driver: Readable | None = None
        self._opened = 0.0
        self._behind: Hashable | None = None
        self._failures = 0
        self._status = "starting"
        self._busy_since: float | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sampler-{self.name}", daemon=True)

    def start(self) -> None:
        """Begin to read, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End after the read that is under way; a device that hangs is left behind after `JOIN_S`."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(JOIN_S)

    def status(self) -> str:
        """`ok`, `starting`, `hung`, or the reason why there is no value."""
        hung = self._clock.monotonic() - self.beat > HUNG_S
        if hung and self.health.why != "hung":
            self._feel("hung")
        return "hung" if hung else self._status

    @property
    def alive(self) -> bool:
        """Whether this thread goes on: not one that has ended by itself, and not one that a device holds for good."""
        ended = self._thread.ident is not None and not self._thread.is_alive() and not self._stopping.is_set()
        return not ended and self._clock.monotonic() - self.beat <= STUCK_S

    @property
    def beat(self) -> float:
        """Monotonic time since when the device has kept this thread busy; now, where it does not."""
        busy_since = self._busy_since
        return self._clock.monotonic() if busy_since is None else busy_since

    def _run(self) -> None:
        while not self._stopping.is_set():
            began = self._busy_since = self._clock.monotonic()
            self._step()
            self._busy_since = None
            if self._driver is not None:
                self._stopping.wait(max(0.0, self._watched.period_s - (self._clock.monotonic() - began)))
            else:
                self._rest()
        self._close()

    def _step(self) -> None:
        """One look, opening the device first where it is closed."""
        try:
            if self._driver is None:
                self._behind = self._watched.identity()
                self._driver = self._watched.open()
                self._opened = self._clock.monotonic()
            readings = self._driver.read()
        except SensorError as error:
            self._fail(error.reason, error.detail)
            return
        except ConfigError as error:  # a device's profile or a recording, which may have been changed since the start
            self._fail("bad_file", str(error))
            return
        except Exception as error:  # a driver's mistake must not silence the other sensors
            if self._status != "crashed":
                log.exception("sensor_crashed", sensor=self.name)
            self._fail("crashed", repr(error))
            return
        if self._status != "ok":
            log.info("sensor_ok", sensor=self.name, was=self._status)
        self._status, self.last_good, self._failures = "ok", self._clock.monotonic(), 0
        self._sink(readings)
        self.health = touched(self.health, self._clock.monotonic())
        self._feel(why_of(readings))

    def _fail(self, reason: str, detail: str) -> None:
        if self._status != reason:
            log.warning("sensor_lost", sensor=self.name, reason=reason, detail=detail)
        self._status = reason
        self._failures += 1
        self._sink(self._watched.failed(reason))
        self._feel(reason)
        if (not self._watched.heals and (self._failures >= TRIES or reason in AWAY)) or reason == "crashed":
            self._close()

    def _feel(self, why: str) -> None:
        """Tell the device's health where it changed."""
        before = self.health
        self.health = step(before, why, self._clock.now(), self._clock.monotonic(), self._rule)
        if (self.health.state, self.health.why) != (before.state, before.why):
            self._sink((self.health.reading(self.name),))

    def _rest(self) -> None:
        """Wait before the device is opened again; not where another stands behind its port than the one that failed."""
        lasted = 0.0 if self.last_good is None else max(0.0, self.last_good - self._opened)
        pause_s = self._backoff.after(lasted, self._rng)
        if self._status not in GONE:
            self._stopping.wait(pause_s)
            return
        until = self._clock.monotonic() + pause_s
        while not self._stopping.is_set() and (left := until - self._clock.monotonic()) > 0:
            self._stopping.wait(min(left, LOOK_S))
            behind = self._watched.identity()
            if behind is not None and behind != self._behind:
                self._backoff.tries = 0
                return

    def _close(self) -> None:
        if self._driver is not None:
            self._driver.close()
            self._driver = None
