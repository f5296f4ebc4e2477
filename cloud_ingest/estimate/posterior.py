"""The Gamma-Poisson estimate of a day: what was lost while the shelf was empty, and how sure that is.

A day's rate is gamma with mean `expected` and shape `prior`; sales in the time seen are Poisson. The posterior is
gamma with shape prior + sold and rate prior / expected + seen, whatever made the stock end (Agrawal & Smith 1996;
Berk, Gurler & Levine 2007). The shape grows with `expected`: in real sales, one part of a day tells less about the
rest than Poisson sales would.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from cloud_ingest.estimate.parameters import Parameters
from cloud_ingest.estimate.rows import Days, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """Per row of Days, in units: `sold`; `rate` of a whole day; `lost` while out of stock; `silent`, what will have
    been wanted while nothing was observed, which is never part of demand; `variance` of `lost`."""

    sold: Floats
    rate: Floats
    lost: Floats
    silent: Floats
    variance: Floats

    @property
    def demand(self) -> Floats:
        """Units wanted in the time observed."""
        return self.sold + self.lost


def posterior(days: Days, expected: Floats, parameters: Parameters) -> Estimates:
    """The estimate of each row, given what it was expected to sell in a whole day."""
    prior = parameters.prior_units + parameters.prior_share * expected
    rate = (prior + days.sold) / (prior / expected + days.seen)
    lost = rate * days.gap
    return Estimates(days.sold, rate, lost, rate * days.silent, variance(lost, parameters))


def variance(lost: Floats, parameters: Parameters) -> Floats:
    """Variance of what was lost about its estimate, in units squared."""
    return np.asarray(parameters.noise * lost + parameters.spread * lost * lost)


def interval(mean: Floats, spread: Floats, cover: float = 0.8, whole: float = 0.0) -> tuple[Floats, Floats]:
    """The central interval, low and high, of a gamma with this mean and variance `spread`; (0, 0) for a mean of 0.

    Each end lies `whole` units further out, but none below 0.

    Wilson & Hilferty 1931: the cube root of a gamma is nearly normal. Where the gamma is so skewed that a bound
    passes the mean, the mean is the bound. Error of a bound below 2% of the mean for a shape above 1.
    """
    z = NormalDist().inv_cdf(0.5 + cover / 2)
    shape = np.divide(mean * mean, spread, out=np.full_like(mean, 1e12), where=spread > 0)
    shape = np.maximum(shape, 1e-9)
    centre, width = 1.0 - 1.0 / (9.0 * shape), z / (3.0 * np.sqrt(shape))
    low = mean * np.maximum(centre - width, 0.0) ** 3
    high = mean * np.maximum(centre + width, 0.0) ** 3
    further = np.where(mean > 0, whole, 0.0)
    return np.maximum(np.minimum(low, mean) - further, 0.0), np.maximum(high, mean) + further
