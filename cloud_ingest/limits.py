"""How much one client may ask of the HTTP side. Pure: time is a parameter."""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from dataclasses import dataclass

from cloud_ingest.allowance import Bucket, Limit

KEYS = 10_000
"""Keys that a rate remembers; the one that was seen longest ago is forgotten first."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes, seconds and numbers.

    Attributes:
        url: bytes of path and query.
        headers: bytes of all headers.
        body: bytes of a request's body; only a login has one.
        connections: at once; more are told to come again.
        per_address: connections of one address; more are cut.
        head_s: for a whole request to arrive.
        stall_s: for a client that reads to take the next part.
        burst: requests of one token at once, which come back at
        per_s: so many a second.
        guesses: wrong tokens of one address at once, which come back at
        guess_s: one in so many seconds.
        together: requests of one token under way.
        streams: open streams of one token.
        flush_s: from one note of what was refused to the next.
    """

    url: int = 16_384
    headers: int = 16_384
    body: int = 4096
    connections: int = 512
    per_address: int = 128
    head_s: float = 10.0
    stall_s: float = 30.0
    burst: int = 200
    per_s: float = 20.0
    guesses: int = 10
    guess_s: float = 6.0
    together: int = 16
    streams: int = 16
    flush_s: float = 5.0


class Rate:
    """For each key `burst` at once, and then `per_s` a second."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._limit = Limit(per_s, burst)
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, key: str, now: float) -> float:
        """Take one: 0 where that was to be had, else after how many seconds it will be. `now` is monotonic."""
        bucket = self._buckets.pop(key, None) or Bucket(self._limit.most, now)
        self._buckets[key] = bucket
        if len(self._buckets) > KEYS:
            self._buckets.popitem(last=False)
        left = bucket.refilled(self._limit, now)
        if left < 1:
            return (1 - left) / self._limit.per_s
        bucket.left -= 1
        return 0.0


class Places:
    """For each key at most `most` at the same time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._taken: Counter[str] = Counter()

    def enter(self, key: str) -> bool:
        """Take a place, where one is free."""
        if self._taken[key] >= self.most:
            return False
        self._taken[key] += 1
        return True

    def leave(self, key: str) -> None:
        """Give it back."""
        self._taken[key] -= 1
        if not self._taken[key]:
            del self._taken[key]


def source_of(address: str) -> str:
    """Whom a try is counted for: an IPv4 address, or the /64 that one customer has in IPv6."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return address
