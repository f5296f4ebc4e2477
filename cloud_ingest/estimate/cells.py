"""Cells: the sums of their series, with an interval that does not average away what the series share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloud_ingest.estimate.parameters import Parameters
from cloud_ingest.estimate.posterior import Estimates, interval
from cloud_ingest.estimate.rows import Floats, Ints, count, grouped


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Per cell, in units: sums over its series, and the 80% interval of `demand`. `series` is how many there are."""

    series: Ints
    sold: Floats
    lost: Floats
    silent: Floats
    demand: Floats
    low: Floats
    high: Floats


def combine(cell: Ints, estimates: Estimates, parameters: Parameters, cover: float = 0.8) -> Cells:
    """The cells of estimates whose rows are in the cells `cell`, numbered from 0."""
    size = count(cell)
    sold, lost, silent, spread = (grouped(cell, values, size) for values in (
        estimates.sold, estimates.lost, estimates.silent, estimates.variance))
    low, high = interval(lost, spread + parameters.common * lost * lost, cover, parameters.whole)
    return Cells(np.bincount(cell, minlength=size), sold, lost, silent, sold + lost, sold + low, sold + high)
