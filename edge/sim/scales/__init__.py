"""The voices of simulated scales: one file for a protocol, one line here; the names are the drivers'."""

from __future__ import annotations

from collections.abc import Callable

from edge.sim.scale import Voice
from edge.sim.scales.toledo_8217 import Toledo8217

VOICES: dict[str, Callable[[], Voice]] = {
    "toledo-8217": Toledo8217,
}
