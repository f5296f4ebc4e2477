"""Demand from sales: what would have been sold had the shelf never been empty.

The baseline: sales went on while the SKU was on the shelf, and would have gone on at the same rate for the
whole time that was observed, so `demand = sold * observed / in_stock`. It assumes a steady rate within a
window and that a customer before an empty facing leaves; both are wrong in known ways (rush hours,
substitution), and a later model can replace this module without touching the facts it is computed from.
Where the SKU was never on the shelf, demand is *not known*, which is never written as 0. Where it was there
for less than a tenth of the time, one sale would stand for dozens: the estimate stops at ten times the sales,
and is then too low rather than wild.

The estimate proper is in `cloud_ingest.estimate`, over columns instead of rows:

    windows = join([to_windows(flow, timezone, WINDOW_S) for each time zone])     # estimate.local, estimate.rows
    model = learn(list(by_day(history)), series, slots, read_parameters())        # estimate.estimator: the past days
    for today in by_day(windows):
        day = estimate_day(today, model)          # demand, lost, silent, variance per series and local day
        by_window(today, model, day)              # the same on each window: what `lost` of the day splits into
        combine(cell, day.estimates, parameters)  # estimate.cells: sums and 80% intervals per cell, any resolution
        model = learn_days([day.days], model)     # once the day is over
"""

from __future__ import annotations

MOST = 10.0
"""Demand is estimated as at most this many times the sales."""


def share(in_stock: float, observed: float) -> float | None:
    """The part, 0..1, of the observed seconds in which the SKU was on the shelf; None where none were observed."""
    return min(1.0, in_stock / observed) if observed > 0 else None


def demand(sold: float, in_stock: float, observed: float) -> float | None:
    """Units that would have been sold with a full shelf; None where the shelf was empty or not observed.

    `in_stock` and `observed` are seconds. Equals `sold` where the SKU was always on the shelf, and is never above
    MOST times `sold`.
    """
    if in_stock <= 0 or observed <= 0:
        return None
    return sold if in_stock >= observed else sold * min(MOST, observed / in_stock)


def total(parts: list[float | None]) -> float | None:
    """The sum of what is known; None where nothing is."""
    known = [part for part in parts if part is not None]
    return sum(known) if known else None
