"""The last bytes of each serial line, in memory, and in `<data>/raw/<sensor>.rec` after a fault or on request.

The files are recordings (`edge/sensors/recording.py`), so that `port = "replay:FILE"` plays what went wrong. A line's
file is replaced, and after a fault not more often than each `REST_S`: a loose plug must not wear out the disk. A
request is the file `<data>/raw/wanted`; it is gone once all lines are written.
"""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from edge.clock import Clock
from edge.profile import Profile
from edge.sensors.driver import tapped
from edge.sensors.recording import Recorder

log = structlog.get_logger(__name__)
WANTED = "wanted"
KEPT = 64 * 1024
"""Bytes of memory for each line; a poll of 20 bytes a second fills that in about half an hour."""
OVERHEAD = 16
"""Bytes that one chunk counts beside its content."""
JOIN_S = 0.02
"""What comes the same way within this time is one chunk: drivers read byte by byte."""
MOST = 1024
"""Bytes in one chunk at most, so that the oldest are given up in small pieces."""
REST_S = 600.0
FINE = frozenset({"ok", "starting"})


@dataclass(slots=True)
class _Chunk:
    began: float
    t: float
    way: str
    data: bytearray


@dataclass(slots=True)
class _Then:
    """The clock of what was kept: it shows when each chunk came."""

    t: float

    def now(self) -> float:
        return self.t

    def monotonic(self) -> float:
        return self.t


class Ring:
    """The newest bytes of one line; told from the line's own thread."""

    def __init__(self, about: dict[str, Any], clock: Clock, kept: int = KEPT) -> None:
        """`about` is written as it is, so it must hold no secret."""
        self._about, self._clock, self._most = about, clock, kept
        self._chunks: deque[_Chunk] = deque()
        self._bytes = 0
        self._lock = threading.Lock()

    def __call__(self, way: str, data: bytes) -> None:
        """Keep one write (`>`) or read (`<`)."""
        t = self._clock.monotonic()
        with self._lock:
            last = self._chunks[-1] if self._chunks else None
            if last and last.way == way and t - last.t < JOIN_S and len(last.data) + len(data) <= MOST:
                last.data += data
                last.t = t
                self._bytes += len(data)
            else:
                self._chunks.append(_Chunk(t, t, way, bytearray(data)))
                self._bytes += len(data) + OVERHEAD
            while self._bytes > self._most and len(self._chunks) > 1:
                self._bytes -= len(self._chunks.popleft().data) + OVERHEAD

    def recording(self) -> str:
        """The recording's text; empty where nothing came yet."""
        with self._lock:
            chunks = [(chunk.began, chunk.way, bytes(chunk.data)) for chunk in self._chunks]
        if not chunks:
            return ""
        text, then = io.StringIO(), _Then(chunks[0][0])
        began = self._clock.now() - (self._clock.monotonic() - then.t)
        recorder = Recorder(text, {**self._about, "began": round(began, 3)}, then)
        for t, way, data in chunks:
            then.t = t
            recorder(way, data)
        return text.getvalue()


class RawLines:
    """All serial lines of one agent; a line that several sensors share is named after the first."""

    def __init__(self, profile: Profile, clock: Clock) -> None:
        self._folder, self._clock = folder_of(profile.device.data), clock
        self._line: dict[str, str] = {}
        self._rings: dict[str, Ring] = {}
        self._faulty: set[str] = set()
        self._written: dict[str, float] = {}
        self._stack = ExitStack()
        first: dict[str, str] = {}
        for sensor in profile.sensors:
            line = self._line[sensor.name] = first.setdefault(sensor.port, sensor.name)
            if line == sensor.name:
                ring = self._rings[line] = Ring(sensor.model_dump(mode="json", exclude_none=True), clock)
                self._stack.enter_context(tapped(sensor.port, ring))
        self._supervised(lambda: None)  # the folder: another process asks by a file in it, and must not be its owner

    def tick(self, statuses: Mapping[str, str]) -> None:
        """Once a second: write the lines of what has just failed, and all of them where they are wanted."""
        faulty = {name for name, status in statuses.items() if status not in FINE}
        for line in sorted({self._line[name] for name in faulty - self._faulty if name in self._line}):
            written = self._written.get(line)
            if written is None or self._clock.monotonic() - written >= REST_S:
                self._written[line] = self._clock.monotonic()
                self._write(line)
        self._faulty = faulty
        if (self._folder / WANTED).exists():
            for line in self._rings:
                self._write(line)
            self._supervised(lambda: (self._folder / WANTED).unlink(missing_ok=True))

    def close(self) -> None:
        """Listen no more."""
        self._stack.close()

    def _write(self, line: str) -> None:
        text = self._rings[line].recording()
        if not text:
            return
        def write() -> None:
            part = self._folder / f"{line}.part"
            part.write_text(text, encoding="utf-8")
            part.replace(self._folder / f"{line}.rec")

        self._supervised(write)

    def _supervised(self, do: Callable[[], None]) -> None:
        """A disk that takes nothing must not end the readings."""
        try:
            self._folder.mkdir(exist_ok=True)
            do()
        except OSError as error:
            log.warning("raw_not_kept", folder=str(self._folder), error=str(error))


def folder_of(data: Path) -> Path:
    """Where the recordings lie."""
    return data / "raw"
