"""How much of the database one device may fill: a bucket for each kind of row, kept in the database.

A device that says nothing wrong may still send a new name, SKU or stream with each message, for as long as it likes.
Each kind of row comes from a bucket that is wide for a shop, and that a month offline does not empty; what is beyond
is refused or, where nothing may be lost, left with the device.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from cloud_ingest.allowance import Bucket, Limit

DAY_S = 86_400
LIMITS: Mapping[str, Limit] = {
    "streams": Limit(1000 / DAY_S, 5000),         # one for each start and each turn of the clock
    "names": Limit(500 / DAY_S, 5000),            # what stands in `latest`, and on the operator's screen
    "skus": Limit(500 / DAY_S, 5000),
    "windows": Limit(200_000 / DAY_S, 2_000_000),  # rows of `flow`: a SKU has 96 windows a day
    "records": Limit(5_000_000 / DAY_S, 20_000_000),  # rows of `reading`: 58 a second, and three weeks of 10 a second
}


def spend(db: sqlite3.Connection, device: str, what: str, n: int, now: float) -> bool:
    """Whether a device may add `n` rows of a kind, which are then paid for. `now` is Unix seconds."""
    limit = LIMITS[what]
    row = db.execute("SELECT left_over, t FROM growth WHERE device = ? AND what = ?", (device, what)).fetchone()
    left = Bucket(*row).refilled(limit, now) if row else limit.most
    if left < n:
        return False
    db.execute("INSERT INTO growth (device, what, left_over, t) VALUES (?,?,?,?) ON CONFLICT (device, what) "
               "DO UPDATE SET left_over = excluded.left_over, t = excluded.t", (device, what, left - n, now))
    return True


def beyond(what: str) -> str:
    """The reason that the device and its operator hear."""
    limit = LIMITS[what]
    return (f"too_many_{what}: more than {limit.most:,.0f} new ones, or {limit.per_s * DAY_S:,.0f} a day; "
            "see what runs on this device")
