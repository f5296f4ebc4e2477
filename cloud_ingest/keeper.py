"""Who stands at the door of the HTTP side, and what may be had: tokens, sessions, rates, and the count of refusals."""

from __future__ import annotations

import asyncio
import ipaddress
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from cloud_ingest import tokens
from cloud_ingest.limits import Limits, Places, Rate, source_of
from cloud_ingest.rows import Scope
from cloud_ingest.tokens import Token
from edge.clock import Clock
from edge.errors import StoreError

log = structlog.get_logger(__name__)
HOW = "send `Authorization: Bearer <token>`, or log in at /login with a browser; the operator makes one with " \
      "`cornergrid-cloud token add`"
PUBLIC_SERVER = "this server gives the public feed; the operator starts another with `cornergrid-cloud run --scope " \
                "operator`"
KINDS = 1000
LINES = 20


@dataclass(frozen=True, slots=True)
class Door:
    """How a server can be reached.

    Attributes:
        local: whether from this machine only; then it is open until the database has a token.
        cert: file of its certificate chain (PEM) for TLS; `key`, where the private key is not in it.
        proxy: address (or network) of the proxy that ends TLS in front of it, whose word about clients' addresses is
            taken; then nobody else is heard without TLS.
        limits: how much one client may ask.
    """

    local: bool = True
    cert: Path | None = None
    key: Path | None = None
    proxy: str | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def secure(self) -> bool:
        """Whether browsers reach it by TLS."""
        return self.cert is not None or self.proxy is not None

    def hears(self, address: str) -> bool:
        """Whether a connection from there is let be."""
        return self.proxy is None or self.cert is not None or ipaddress.ip_address(address.partition("%")[0]) in \
            ipaddress.ip_network(self.proxy, strict=False)

    @property
    def cookie(self) -> str:
        """The name of the session's cookie; a browser takes `__Host-` from TLS and this very host only."""
        return "__Host-cornergrid" if self.secure else "cornergrid"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer instead of the one that was asked for; `kind` is a short token, counted for `subject`."""

    status: int
    kind: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    subject: str = "?"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks: a token (None on an open door) until `ends` (Unix seconds), at a server that gives `given` at most."""

    token: Token | None
    ends: float
    given: Scope

    @property
    def most(self) -> Scope:
        """The most that may be had."""
        return self.given if self.insider else "public"

    @property
    def insider(self) -> bool:
        """Whether it is the operator, or somebody at this machine."""
        return self.token is None or self.token.includes("operate")

    @property
    def name(self) -> str:
        """The name that refusals are counted for."""
        return "?" if self.token is None else self.token.name

    def allowed(self, asked: Scope | None) -> Scope:
        """The scope of an answer; 403 for more than may be had."""
        if asked == "operator" and self.given == "public":
            raise HTTPException(403, PUBLIC_SERVER)
        if asked == "operator" and not self.insider:
            raise HTTPException(403, "this needs a token of the scope operate; yours reads the feed (scope feed)",
                                {"WWW-Authenticate": 'Bearer realm="cornergrid", error="insufficient_scope", '
                                                     'scope="operate"'})
        return asked or self.most

    def operator_only(self) -> None:
        """403 for everybody else."""
        self.allowed("operator")

    def still(self, db: Path, now: float) -> bool:
        """Whether a stream may go on: the token was not revoked and did not run out."""
        if self.token is None:
            return not tokens.locked(db)
        return now < self.ends and tokens.valid(db, self.token.id, now)


class Keeper:
    """Lets in and counts; of one event loop."""

    def __init__(self, db: Path, given: Scope, door: Door, clock: Clock) -> None:
        limits = door.limits
        self.door, self._db, self._given, self._clock = door, db, given, clock
        self.rate, self.guesses = Rate(limits.burst, limits.per_s), Rate(limits.guesses, 1 / limits.guess_s)
        self.places = {"/v1/changes": Places(limits.streams), "": Places(limits.together)}
        self._locked = not door.local or door.proxy is not None
        self._used: dict[str, float] = {}
        self._counted: Counter[tuple[str, str, str]] = Counter()

    async def visitor(self, asking: HTTPConnection) -> Visitor | Refusal | None:
        """Who asks; None for somebody who shows nothing where something is asked for."""
        self._locked = self._locked or await asyncio.to_thread(tokens.locked, self._db)
        if not self._locked:
            return foreign(asking) or Visitor(None, math.inf, self._given)
        shown = asking.headers.getlist("authorization")
        if shown:
            scheme, _, token = shown[0].partition(" ")
            return await self.by_token(token if len(shown) == 1 and scheme.lower() == "bearer" else "", asking)
        secret = asking.cookies.get(self.door.cookie)
        if secret is None:
            return None
        found = await asyncio.to_thread(tokens.session, self._db, secret, self._clock.now())
        return self._let_in(*found, asking) if found else unknown(
            "ended_session", "this login is over: log in again at /login")

    async def by_token(self, token: str, asking: HTTPConnection) -> Visitor | Refusal:
        """Who holds that token; a wrong one counts as a guess."""
        found = await asyncio.to_thread(tokens.find, self._db, token.strip())
        return self._let_in(found, found.ends, asking) if found else self._guessed(asking)

    def _guessed(self, asking: HTTPConnection) -> Refusal:
        # The right token opens all the same: nobody guesses one of 2^160, and a neighbour behind the same address who
        # has an old one must not lock everybody out.
        wait = self.guesses.take(source(asking), self._clock.monotonic())
        if wait:
            return Refusal(429, "too_many_guesses", "too many wrong tokens from this address; the right one opens",
                           {"Retry-After": str(math.ceil(wait))})
        return unknown("wrong_token", f"this is no token of this server: {HOW}")

    def _let_in(self, token: Token, ends: float, asking: HTTPConnection) -> Visitor | Refusal:
        now = self._clock.now()
        if not light(asking) and (wait := self.rate.take(token.id, self._clock.monotonic())):
            return Refusal(429, "too_fast", f"more than {self.door.limits.per_s:g} requests a second with this token: "
                           "ask less often, or for more at once", {"Retry-After": str(math.ceil(wait))}, token.name)
        if (state := token.state(now)) != "valid":
            return unknown(f"{state}_token", f"this token {'was revoked' if state == 'revoked' else 'ran out'}: ask "
                           "the operator for another (`cornergrid-cloud token add`)", token.name)
        self._used[token.id] = now
        return Visitor(token, ends, self._given)

    async def log_in(self, visitor: Visitor) -> tuple[str, float]:
        """A session for somebody who showed a token: its secret, and until when (Unix seconds)."""
        assert visitor.token is not None  # noqa: S101  # for mypy: an open door has no login
        return await asyncio.to_thread(tokens.log_in, self._db, visitor.token, self._clock.now())

    async def log_out(self, asking: HTTPConnection) -> None:
        """End the session, where there is one."""
        if secret := asking.cookies.get(self.door.cookie):
            await asyncio.to_thread(tokens.log_out, self._db, secret)

    def count(self, kind: str, subject: str, where: str) -> None:
        """Count a refusal."""
        what = (kind, subject, where)
        self._counted[what if what in self._counted or len(self._counted) < KINDS else (kind, "?", "others")] += 1

    async def flush(self) -> None:
        """Note in the database and the log what came since."""
        (used, self._used), (counted, self._counted) = (self._used, {}), (self._counted, Counter())
        for (kind, subject, where), n in counted.most_common(LINES):
            log.warning("http_refused", kind=kind, subject=subject, source=where, n=n)
        if not (used or counted) or not self._db.exists():
            return
        try:
            await asyncio.to_thread(tokens.note, self._db, used, counted, self._clock.now())
        except StoreError as error:
            log.warning("http_not_noted", error=str(error))


def light(asking: HTTPConnection) -> bool:
    """Whether a file of the page is asked for: twenty at once are usual, and cost nothing."""
    path: str = asking.scope["path"]
    return path == "/" or path.startswith("/web/")


def unknown(kind: str, detail: str, subject: str = "?") -> Refusal:
    """401, with what to do."""
    error = "" if kind == "no_token" else ', error="invalid_token"'
    return Refusal(401, kind, detail, {"WWW-Authenticate": f'Bearer realm="cornergrid"{error}'}, subject)


def foreign(asking: HTTPConnection) -> Refusal | None:
    """What is wrong with a request to an open door: it came through a proxy, or is for a name that is not this machine.

    A page of any site can have its name point to 127.0.0.1 and then read what is there (DNS rebinding); the browser
    still says that name.
    """
    told = next((name for name in ("forwarded", "x-forwarded-for", "x-real-ip", "via") if name in asking.headers), "")
    if told:
        return Refusal(403, "forwarded", f"this server is open to its own machine only, and {told} says that this came "
                       "through a proxy: start it with --http-proxy ADDRESS, which asks for tokens")
    host = asking.headers.get("host", "")
    name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    if name.lower() != "localhost" and not is_loopback(name):
        return Refusal(421, "foreign_host", "this server is open to its own machine only: ask for localhost or "
                       "127.0.0.1")
    return None


def is_loopback(address: str) -> bool:
    """Whether that is an address of this machine only; a name is none."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def is_network(text: str) -> bool:
    """Whether that is an address or a network (CIDR)."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def source(asking: HTTPConnection) -> str:
    """Whom a request is counted for; `?` where a proxy tells nothing of use."""
    try:
        return source_of(asking.client.host if asking.client else "")
    except ValueError:
        return "?"
