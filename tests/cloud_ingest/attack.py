"""Whoever has every published row, all of its revisions, and a computer: what can be worked out?

A row is its weights of the data: one column for each number that a shop sent. Adding and subtracting rows reaches
exactly their row space.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.optimize import linprog  # type: ignore[import-untyped]  # scipy ships no types

from cloud_ingest.privacy import Floats, Ints

NOTHING = 1e-7


def isolated(rows: Floats, owner: Ints, shops: int) -> tuple[int, ...] | None:
    """Fewer than `shops` shops of whose data alone some combination of the rows consists, or None.

    Such a combination has its whole length within their columns: over an orthonormal basis of the row space, the
    largest squared length within them is an eigenvalue, and that is then 1.
    """
    everyone = [int(shop) for shop in np.unique(owner)]
    if not rows.size:
        return None
    _, sizes, directions = np.linalg.svd(rows, full_matrices=False)
    basis = directions[sizes > NOTHING * sizes[0]]
    within = {shop: basis[:, owner == shop] @ basis[:, owner == shop].T for shop in everyone}
    for few in combinations(everyone, min(shops - 1, len(everyone))):
        if np.linalg.eigvalsh(np.sum([within[shop] for shop in few], axis=0))[-1] > 1 - NOTHING:
            return few
    return None


def dominated(rows: Floats, values: Floats, owner: Ints, most: float) -> tuple[int, ...] | None:
    """Two shops that hold over `most` of some combination of the rows that is a sum (no weight below 0), or None.

    For each two, the combination in which they hold the most is a linear program: weights c with c rows >= 0.
    """
    if not rows.size or not values.any():
        return None
    totals = rows @ values
    for pair in combinations([int(shop) for shop in np.unique(owner)], 2):
        theirs = rows[:, np.isin(owner, pair)] @ values[np.isin(owner, pair)]
        found = linprog(-theirs, A_ub=-rows.T, b_ub=np.zeros(rows.shape[1]), A_eq=totals[None], b_eq=[1.0],
                        bounds=(None, None))
        assert found.status in {0, 2}, found.message  # solved, or no combination at all
        if found.status == 0 and -found.fun > most + NOTHING:
            return pair
    return None

