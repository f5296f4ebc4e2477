"""What a person sees of the outbox: how much, how old, how long it lasts, and what was lost."""

from __future__ import annotations

import shutil
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from edge.uplink.disk import Limits
from edge.uplink.kept import Held

OVERHEAD = 1.25
"""Bytes of the file for a byte of records: keys, checksums, page headers (measured: 1.17 to 1.25)."""


@dataclass(slots=True)
class Meter:
    """A rate per second, over the last `span_s` seconds of the monotonic clock."""

    span_s: float = 600.0
    _samples: deque[tuple[float, float]] = field(default_factory=deque)

    def note(self, now: float, total: float) -> None:
        """The total so far."""
        self._samples.append((now, total))
        while len(self._samples) > 2 and now - self._samples[0][0] > self.span_s:
            self._samples.popleft()

    def rate(self) -> float | None:
        """Per second; None where there is not enough to tell."""
        if len(self._samples) < 2:
            return None
        (t0, n0), (t1, n1) = self._samples[0], self._samples[-1]
        return (n1 - n0) / (t1 - t0) if t1 > t0 else None


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk that `folder` is on; 0 where there is none."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def runway_s(held: Held, limits: Limits, free_bytes: int, put_rate: float | None) -> float | None:
    """Seconds until the outbox is full, were nothing sent from now on; None where nothing is put.

    `free_bytes` of the disk, `put_rate` in bytes of records per second.
    """
    if not put_rate or put_rate <= 0:
        return None
    room = min(limits.cap - held.used, max(0, free_bytes - limits.reserve))
    return max(0.0, room / (put_rate * OVERHEAD))


def catch_up_s(backlog: int, sent_rate: float | None) -> float | None:
    """Seconds until the backlog is sent; None where it does not get smaller."""
    if not backlog:
        return 0.0
    return backlog / sent_rate if sent_rate and sent_rate > 0 else None


def clock_time(t: float | None) -> str:
    """`2026-11-25 14:32:07 UTC`, or a dash."""
    return "-" if t is None else datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float | None) -> str:
    """`3.2 days`, `4.5 h`, `12 min`, `8 s`, or a dash."""
    if seconds is None:
        return "-"
    for size, unit in ((86_400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{min(seconds / size, 9999):.1f} {unit}"
    return f"{seconds:.0f} s"


def size(count: float) -> str:
    """`1.2 GB`, `340 kB`."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
