"""Stock-outs made up on days that had none, so that what was hidden is known.

Both end with the day, as most real ones do. `random`: from an hour drawn evenly from 9 to 20. `driven`: from when a
stock of 0.3 to 1.3 usual days, in whole units, is sold; the sales of its last hour end with the stock, and the hour
still counts as in stock, as in the data's own flags. Real stock-outs of other days stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloud_ingest.estimate.freshretail import OPENS, SLOTS, Panel
from cloud_ingest.estimate.rows import Bools, Floats

FIRST, LAST = 9, 20
STOCK = 0.3, 1.3


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """What is left to see from the day `first` on: `sold`, `in_stock` [series, day, slot].

    `judged` [series, day] are the days of known truth, `true` [series, day] their units, `censored` those of them in
    which a stock-out was put.
    """

    first: int
    sold: NDArray[np.float32]
    in_stock: NDArray[np.bool_]
    judged: Bools
    true: Floats
    censored: Bools


def hide_random(panel: Panel, first: int, usual: Floats, rng: np.random.Generator) -> Hidden:
    """A stock-out on every judged day, from a random hour on. `usual` is not asked."""
    del usual
    judged, full = _judged(panel, first)
    start = rng.integers(FIRST - OPENS, LAST - OPENS + 1, len(full))
    seen = np.arange(SLOTS) < start[:, None]
    return _hidden(panel, first, judged, seen, full * seen, np.ones(len(full), dtype=bool))


def hide_driven(panel: Panel, first: int, usual: Floats, rng: np.random.Generator) -> Hidden:
    """A stock-out on those judged days that sell a stock drawn for them. `usual` [series] is in units a day."""
    judged, full = _judged(panel, first)
    stock = np.round(usual[np.nonzero(judged)[0]] * rng.uniform(*STOCK, len(full)))
    total = full.cumsum(1)
    censored = total[:, -1] >= stock
    last = np.where(censored, (total >= stock[:, None]).argmax(1), SLOTS)
    seen = np.arange(SLOTS) <= last[:, None]
    left = np.where(seen, full, 0.0)
    rows = np.flatnonzero(censored)
    left[rows, last[rows]] -= total[rows, last[rows]] - stock[rows]
    return _hidden(panel, first, judged, seen, left, censored)


def _judged(panel: Panel, first: int) -> tuple[Bools, Floats]:
    judged = panel.present[:, first:] & panel.in_stock[:, first:].all(-1)
    return judged, panel.sold[:, first:][judged].astype(float)


def _hidden(panel: Panel, first: int, judged: Bools, seen: Bools, left: Floats, censored: Bools) -> Hidden:
    sold, in_stock = panel.sold[:, first:].copy(), panel.in_stock[:, first:].copy()
    true = np.where(judged, sold.sum(-1, dtype=float), 0.0)
    sold[judged], in_stock[judged] = left, seen
    put = np.zeros(judged.shape, dtype=bool)
    put[judged] = censored
    return Hidden(first, sold, in_stock, judged, true, put)


HIDING: dict[str, Callable[[Panel, int, Floats, np.random.Generator], Hidden]] = {
    "random": hide_random,
    "driven": hide_driven,
}
