"""How long to wait before the next try to connect: full jitter, reset only after a stable time. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Waits of `uniform(0, min(cap, base * 2^n))` seconds (AWS Architecture Blog, 2015, "full jitter").

    `n` counts tries in a row; only a connection that lasted `stable_s` begins anew, so that a broker which accepts
    and drops at once is not hammered.
    """

    base_s: float = 1.0
    cap_s: float = 30.0
    stable_s: float = 30.0
    tries: int = 0

    def after(self, lasted_s: float, rng: random.Random) -> float:
        """The wait after a connection that lasted so long; 0.0 for one that was never made."""
        self.tries = 0 if lasted_s >= self.stable_s else self.tries + 1
        return rng.uniform(0, min(self.cap_s, self.base_s * 2 ** min(self.tries, 16)))
