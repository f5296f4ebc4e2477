"""Who may send how much of a backlog, so that a fleet that comes back does not drown the ingest. Pure.

Each worker paces for itself. Where several share the backlog, each hears about as many records as it granted, though
not the same ones; what it never hears expires.
"""

from __future__ import annotations

from dataclasses import dataclass, field

QUOTA = 6000
"""Records of one grant at most; also how far a device may be from its next turn before it is granted again: half."""
BUDGET = 100_000
EXPIRE_S = 30.0


@dataclass(slots=True)
class _Grant:
    """Records granted and not yet heard, and when the device was last granted or heard."""

    n: int
    at: float


@dataclass(slots=True)
class _Ask:
    """Records that wait on the device, as it last said, and when it said so."""

    left: int
    at: float


@dataclass(slots=True)
class Pacer:
    """Grants in the order of first asking, then in turn; never more than `budget` records that are yet to come.

    Every `now` is monotonic seconds, never going back.
    """

    budget: int = BUDGET
    outstanding: int = field(default=0, init=False)
    _asks: dict[str, _Ask] = field(default_factory=dict, init=False)  # whose turn it is stands first
    _grants: dict[str, _Grant] = field(default_factory=dict, init=False)  # the least lately active stands first

    def ask(self, device: str, left: int, now: float) -> None:
        """The device says that `left` records of its backlog wait; 0 gives up its turn."""
        if left <= 0:
            self._asks.pop(device, None)
        else:
            self._asks[device] = _Ask(left, now)  # one that has a place keeps it

    def heard(self, device: str, n: int, now: float) -> None:
        """`n` records of the device's backlog are committed, granted or not."""
        grant = self._grants.get(device)
        if grant is not None:
            self._owe(device, grant.n - n, now)

    def grants(self, now: float, waiting: int = 0) -> list[tuple[str, int]]:
        """The devices that may send now, and how many records more; `waiting` records are here and not committed."""
        self._expire(now)
        granted: list[tuple[str, int]] = []
        for device in list(self._asks):
            ask, owed = self._asks[device], self._owed(device)
            if owed >= QUOTA / 2:
                continue  # its turn stays
            n = min(QUOTA, self.budget, ask.left - owed)
            if n <= 0:
                continue
            if self.outstanding + waiting + n > self.budget:
                break  # whoever needs less does not overtake
            granted.append((device, n))
            self._owe(device, owed + n, now)
            del self._asks[device]
            if ask.left > owed + n:
                self._asks[device] = ask  # behind all others
        return granted

    def _owed(self, device: str) -> int:
        grant = self._grants.get(device)
        return grant.n if grant else 0

    def _owe(self, device: str, n: int, now: float) -> None:
        self.outstanding += max(0, n) - self._owed(device)
        self._grants.pop(device, None)
        if n > 0:
            self._grants[device] = _Grant(n, now)

    def _expire(self, now: float) -> None:
        """Forget grants that came to nothing, and with them whoever has said nothing since: it may be gone."""
        for device, grant in list(self._grants.items()):
            if now - grant.at < EXPIRE_S:
                break
            self._owe(device, 0, now)
            ask = self._asks.get(device)
            if ask is not None and ask.at <= grant.at:
                del self._asks[device]
