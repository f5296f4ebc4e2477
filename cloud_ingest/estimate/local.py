"""Windows in the shop's own time: local day, weekday and slot of the day, summer time included."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from cloud_ingest.estimate.rows import Floats, Ints, Windows
from edge.errors import ConfigError, Problem

DAY_S = 86_400
EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Rows of the ingest's facts: series number, window start in Unix seconds, units, seconds in opening hours."""

    series: Ints
    start: Ints
    sold: Floats
    in_stock_s: Floats
    observed_s: Floats
    opened_s: Floats


def ahead_of_utc(starts: Ints, timezone: str) -> Ints:
    """Seconds that the wall clock is ahead of UTC at Unix seconds `starts`; ConfigError for an unknown `timezone`."""
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError("registry", (Problem("tz", f"{timezone!r} is no IANA time zone", "like Asia/Kolkata"),)
                          ) from error
    unique, inverse = np.unique(starts, return_inverse=True)
    ahead = np.array([_ahead(zone, int(start)) for start in unique], dtype=np.intp)
    return ahead[inverse].reshape(starts.shape)


def local_slots(starts: Ints, timezone: str, window_s: int) -> tuple[Ints, Ints, Ints]:
    """Local day (since 1970-01-01), weekday (Monday is 0) and slot of windows that start at Unix seconds `starts`.

    The slot is the wall clock's: an hour that repeats at the end of summer time has the same slots twice, one that is
    left out in spring has none, so a profile by slot holds all year. ConfigError for an unknown `timezone`.
    """
    local = starts + ahead_of_utc(starts, timezone)
    day = local // DAY_S
    return day, (day + EPOCH - 1) % 7, local % DAY_S // window_s


def to_windows(flow: Flow, timezone: str, window_s: int) -> Windows:
    """The flow of shops in one time zone, placed on their wall clock; see `rows.join` for several zones.

    Seconds become parts of the window: a sum that is over the window, or in stock over observed, is cut to it.
    """
    day, weekday, slot = local_slots(flow.start, timezone, window_s)
    opened = np.clip(flow.opened_s / window_s, 0.0, 1.0)
    observed = np.clip(flow.observed_s / window_s, 0.0, opened)
    return Windows(flow.series, day, weekday, slot, flow.sold, np.clip(flow.in_stock_s / window_s, 0.0, observed),
                   observed, opened)


def _ahead(zone: ZoneInfo, start: int) -> int:
    offset = datetime.fromtimestamp(start, UTC).astimezone(zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())
