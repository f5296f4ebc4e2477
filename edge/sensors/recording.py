"""What went over a serial line, byte by byte with times: a support ticket, and a fixture that plays itself.

    cornergrid recording 1 serial
    {"sensor": "scale-1", "driver": "toledo-8217", ...}
    0.000000 > 57
    0.013120 < 02 30 31 2E 32 33 34 0D

A line for each write (`>`) and each read (`<`), with seconds since the start on the monotonic clock. Each line is
flushed, so that a recording that was cut off is whole up to its last line. `replay:FILE` as a port plays it: what
followed a request follows it again, at its own pace; what was said unasked is said unasked; then the line is silent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from edge.clock import Clock
from edge.errors import ConfigError, Problem

HEADER = "cornergrid recording 1 serial"
Tap = Callable[[str, bytes], None]
"""Told of every write (`>`) and read (`<`) of a port."""


class Recorder:
    """A recording that is being made."""

    def __init__(self, file: IO[str], about: dict[str, Any], clock: Clock) -> None:
        """Begins the file; `about` is kept as it is, so it must hold no secret."""
        self._file, self._clock = file, clock
        self._began = clock.monotonic()
        self.bytes = 0
        self._say(HEADER)
        self._say(json.dumps(about))

    def __call__(self, way: str, data: bytes) -> None:
        """Keep one write or read."""
        self.bytes += len(data)
        self._say(f"{self._clock.monotonic() - self._began:.6f} {way} {data.hex(' ').upper()}")

    def _say(self, line: str) -> None:
        self._file.write(line + "\n")
        self._file.flush()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes that came one way at `t`, seconds since the recording began."""

    t: float
    way: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, empty for what was said before any, and what followed it: seconds after it, bytes."""

    request: bytes
    replies: tuple[tuple[float, bytes], ...]


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that was made."""

    about: dict[str, Any]
    chunks: tuple[Chunk, ...]

    def exchanges(self) -> tuple[Exchange, ...]:
        """Each request with what followed it, in order; writes in a row are one request."""
        found: list[Exchange] = []
        request, asked, replies = b"", 0.0, list[tuple[float, bytes]]()
        for chunk in self.chunks:
            if chunk.way == "<":
                replies.append((chunk.t - asked, chunk.data))
                continue
            if replies or not request:
                found.append(Exchange(request, tuple(replies)))
                request, replies = b"", []
            request, asked = request + chunk.data, chunk.t
        found.append(Exchange(request, tuple(replies)))
        return tuple(each for each in found if each.request or each.replies)


def load(path: Path) -> Recording:
    """The recording in a file, up to where it was cut off; ConfigError where it is none, naming the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), (Problem("file", f"cannot be read: {error}"),)) from error
    lines = text.splitlines(keepends=True)
    if not lines or lines[0].rstrip() != HEADER:
        problem = Problem("line 1", f"is not {HEADER!r}", "make one with `cornergrid-edge record`")
        raise ConfigError(str(path), (problem,))
    return Recording(_about(path, lines), tuple(_chunks(path, lines[2:])))


def _about(path: Path, lines: list[str]) -> dict[str, Any]:
    try:
        about = json.loads(lines[1]) if len(lines) > 1 else {}
    except ValueError as error:
        raise ConfigError(str(path), (Problem("line 2", f"is not JSON: {error}"),)) from error
    if not isinstance(about, dict):
        raise ConfigError(str(path), (Problem("line 2", "is no JSON object"),))
    return about


def _chunks(path: Path, lines: list[str]) -> Iterator[Chunk]:
    for number, line in enumerate(lines, 3):
        if not line.endswith("\n"):
            return  # cut off while it was written
        try:
            t, way, data = line.split(maxsplit=2)
            chunk = Chunk(float(t), way, bytes.fromhex(data))
            if not math.isfinite(chunk.t):
                raise ValueError(f"{t} is no time")
        except ValueError as error:
            raise ConfigError(str(path), (Problem(f"line {number}", f"is no `seconds <|> hex`: {error}"),)) from error
        if way not in ("<", ">"):
            raise ConfigError(str(path), (Problem(f"line {number}", f"{way!r} is neither < nor >"),))
        yield chunk
