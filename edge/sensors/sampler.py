"""One supervised thread for each sensor or camera: whatever it does, it delays no other and ends no process."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Protocol

import structlog

from edge.clock import Clock
from edge.errors import SensorError
from edge.readings import Reading

log = structlog.get_logger(__name__)
Readings = tuple[Reading, ...]
BACKOFF_S = 0.5
BACKOFF_MAX_S = 15.0
JOIN_S = 3.0


class Readable(Protocol):
    """What a sampler supervises: a sensor's driver or a camera's watch."""

    def read(self) -> Readings:
        """The readings of one look; SensorError with a reason where there are none."""

    def close(self) -> None:
        """Let the device go; never raises."""


class Sampler:
    """Reads one device each period, and reopens it with backoff after it failed."""

    def __init__(self, name: str, open: Callable[[], Readable], failed: Callable[[str], Readings],  # noqa: A002
                 sink: Callable[[Readings], None], period_s: float, clock: Clock) -> None:
        """`failed(reason)` gives the "no value" readings of the device; `sink` takes all readings, from one thread."""
        self.name = name
        self.last_good: float | None = None
        self._open, self._failed, self._sink = open, failed, sink
        self._period_s, self._clock = period_s, clock
        self._driver: Readable | None = None
        self._status = "starting"
        self._backoff_s = BACKOFF_S
        self._busy_since: float | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sampler-{name}", daemon=True)

    def start(self) -> None:
        """Begin to read, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End after the read that is under way; a device that hangs is left behind after `JOIN_S`."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(JOIN_S)

    def status(self) -> str:
        """`ok`, `starting`, or the reason why there is no value."""
        return self._status

    @property
    def beat(self) -> float:
        """Monotonic time since when the device has kept this thread busy; now, where it does not."""
        busy_since = self._busy_since
        return self._clock.monotonic() if busy_since is None else busy_since

    def _run(self) -> None:
        while not self._stopping.is_set():
            began = self._busy_since = self._clock.monotonic()
            good = self._step()
            self._busy_since = None
            if good:
                self._backoff_s = BACKOFF_S
                wait_s = self._period_s - (self._clock.monotonic() - began)
            else:
                wait_s = self._backoff_s * random.uniform(0.5, 1.0)  # sensors of one hub do not all retry at once
                self._backoff_s = min(self._backoff_s * 2, BACKOFF_MAX_S)
            self._stopping.wait(max(wait_s, 0.0))
        self._close()

    def _step(self) -> bool:
        """One look, opening the device first where it is closed; False where there was no value."""
        try:
            if self._driver is None:
                self._driver = self._open()
            readings = self._driver.read()
        except SensorError as error:
            self._fail(error.reason, error.detail)
            return False
        except Exception as error:  # a driver's mistake must not silence the other sensors
            log.exception("sensor_crashed", sensor=self.name)
            self._fail("crashed", repr(error))
            return False
        if self._status != "ok":
            log.info("sensor_ok", sensor=self.name, was=self._status)
        self._status, self.last_good = "ok", self._clock.monotonic()
        self._sink(readings)
        return True

    def _fail(self, reason: str, detail: str) -> None:
        if self._status != reason:
            log.warning("sensor_lost", sensor=self.name, reason=reason, detail=detail)
        self._status = reason
        self._sink(self._failed(reason))
        self._close()

    def _close(self) -> None:
        if self._driver is not None:
            self._driver.close()
            self._driver = None
