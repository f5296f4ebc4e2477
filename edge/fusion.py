"""A scale and a camera on one slot: their looks go into one filter by their deviations; here, where they quarrel. Pure.

The filter takes each look as exact as it says it is, so a scale that knows the unit outweighs a camera that sees the
front row. Where the two stay apart by more than both can explain, one of them is wrong, and a person must look.
"""

from __future__ import annotations

import math

import msgspec

from edge.filter import Look
from edge.moves import event
from edge.plan import Plan
from edge.wire import Fact

LASTING_S, LASTING_LOOKS = 600.0, 5
"""A disagreement seen so often and so long is told; once, until they agree again."""
SPREAD = 3.0
"""Apart by more than so many deviations of their difference, and by more than a unit, is a disagreement."""


class Apart(msgspec.Struct, frozen=True):
    """The newest look of each source, and since when, and how often, they disagree."""

    scale: Look | None = None
    camera: Look | None = None
    since: float = 0.0
    n: int = 0
    told: bool = False

    def shifted(self, shift: float) -> Apart:
        """The same after event time turned by `shift` (s)."""
        scale, camera = (look and msgspec.structs.replace(look, t=look.t + shift) for look in (self.scale, self.camera))
        return msgspec.structs.replace(self, scale=scale, camera=camera, since=self.since + shift)


def compare(plan: Plan, apart: Apart, look: Look, *, by_scale: bool) -> tuple[Apart, tuple[Fact, ...]]:
    """What is remembered after one more look, and the event where the disagreement has lasted."""
    apart = msgspec.structs.replace(apart, scale=look) if by_scale else msgspec.structs.replace(apart, camera=look)
    scale, camera = apart.scale, apart.camera
    if scale is None or camera is None or by_scale:
        return apart, ()
    if look.t - scale.t > plan.gap_s or _agree(scale, camera):
        return msgspec.structs.replace(apart, n=0, told=apart.told and not _agree(scale, camera)), ()
    since = min(apart.since, look.t) if apart.n else look.t
    apart = msgspec.structs.replace(apart, since=since, n=apart.n + 1)
    if apart.told or apart.n < LASTING_LOOKS or look.t - since < LASTING_S:
        return apart, ()
    text = f"scale says {scale.units:.0f}, camera sees {camera.units:.0f}: one of them is wrong"
    return msgspec.structs.replace(apart, told=True), (event(plan, "disagreement", look.t, text),)


def _agree(scale: Look, camera: Look) -> bool:
    return abs(scale.units - camera.units) <= max(1.0, SPREAD * math.hypot(scale.sd, camera.sd))
