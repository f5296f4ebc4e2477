"""Opening hours in the shop's own time: how many seconds of a window a shop is open.

The text is OpenStreetMap's `opening_hours` (wiki.openstreetmap.org/wiki/Key:opening_hours), like
`Mo-Sa 07:00-22:00; Su 09:00-18:00`; empty means always open. Hours are said on the wall clock: at the end of summer
time an hour comes twice and is open twice, at its beginning one is left out. Windows start on quarter hours of UTC,
and so do all changes of the zones in use, so a window never holds a change.
"""

from __future__ import annotations

from calendar import timegm
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray
from opening_hours import OpeningHours, ParserError, State  # type: ignore[attr-defined]  # its stub forgets the error

from cloud_ingest.estimate.local import ahead_of_utc
from edge.errors import ConfigError, Problem
from edge.wire import WINDOW_S

Seconds = NDArray[np.float64]
Starts = NDArray[np.int64]
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # the wall clock, which names no zone


@dataclass(frozen=True, slots=True)
class Schedule:
    """When shops are open, and in which time zone."""

    hours: str
    tz: str


def check(schedule: Schedule, where: str) -> None:
    """ConfigError naming `where`, the key and the fix, unless both can be read."""
    problems = []
    try:
        ZoneInfo(schedule.tz)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        problems.append(Problem("tz", f"{schedule.tz!r} is no time zone", "an IANA name, like Europe/Berlin"))
    try:
        OpeningHours(schedule.hours or "24/7")
    except ParserError:
        problems.append(Problem("hours", f"{schedule.hours!r} are no opening hours",
                                "as OpenStreetMap writes them: Mo-Sa 07:00-22:00; Su 09:00-18:00"))
    if problems:
        raise ConfigError(where, tuple(problems))


def open_seconds(schedule: Schedule, windows: Starts) -> Seconds:
    """Seconds, 0..900, that are open in each window that starts at Unix seconds `windows`."""
    if not schedule.hours or not windows.size:
        return np.full(windows.shape, float(WINDOW_S))
    local = windows + ahead_of_utc(windows, schedule.tz)
    first, last = int(local.min()), int(local.max()) + WINDOW_S
    edges, before = _opened(schedule.hours, first // 86_400 * 86_400, -(-last // 86_400) * 86_400)
    opened: Seconds = np.interp(local + WINDOW_S, edges, before) - np.interp(local, edges, before)
    return opened


def local_days(tz: str, windows: Starts) -> Starts:
    """The wall clock's date of each window, in days since 1970-01-01."""
    days: Starts = (windows + ahead_of_utc(windows, tz)) // 86_400
    return days


@lru_cache(4096)
def _opened(hours: str, first: int, last: int) -> tuple[Seconds, Seconds]:
    """Places on the wall clock, and the seconds open before each since `first`; between two it grows evenly."""
    start, end = (_EPOCH + timedelta(seconds=at) for at in (first, last))
    edges, before = [float(first)], [0.0]
    for begin, stop, state, _ in OpeningHours(hours).intervals(start, end):
        until = min(last, timegm((stop or end).timetuple()))
        edges += [float(max(first, timegm(begin.timetuple()))), float(until)]
        before += [before[-1], before[-1] + (until - edges[-2] if state == State.OPEN else 0.0)]
    return np.array([*edges, float(last)]), np.array([*before, before[-1]])
