"""The door of the HTTP side: every request passes here, and a route is closed unless it is named here as open."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import unquote

import msgspec
import structlog
from fastapi import Depends, Request
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from cloud_ingest import tokens
from cloud_ingest.keeper import HOW, Door, Keeper, Refusal, Visitor, light, source, unknown
from cloud_ingest.limits import Limits
from edge.errors import StoreError

log = structlog.get_logger(__name__)
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
YEAR_S = 31_536_000
LOGIN, LOGOUT = LOGINS = ("/login", "/logout")
ASSETS = {"/web/login.css", "/web/login.js", "/web/style.css", "/web/icon.svg"}
"""What the login page is made of: nothing of it is anybody's business."""
FREE = {*LOGINS, "/v1/health"}
"""These say by themselves what a stranger gets."""
_NAMED = re.compile(rb"(?i)(?:^|&)(?:access_token|api_?key|authorization|auth|bearer|password|token)=[^&]")


def _visitor(request: Request) -> Visitor | None:
    found: Visitor | None = request.scope["state"].get("visitor")
    return found


def _let_in(request: Request) -> Visitor:
    found = _visitor(request)
    assert found is not None  # noqa: S101  # the gate lets nobody else through to such a route
    return found


Asking = Annotated[Visitor, Depends(_let_in)]
"""Who asks, for a route that is not free."""
Anybody = Annotated[Visitor | None, Depends(_visitor)]
"""Who asks, None for a stranger."""


class Gate:
    """Turns away what may not pass, and puts the headers on every answer, without touching streamed bodies."""

    def __init__(self, app: ASGIApp, keeper: Keeper) -> None:
        self._app, self._keeper = app, keeper

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """One request."""
        asking = HTTPConnection(scope)
        found = await self._judge(asking)
        visitor = found if isinstance(found, Visitor) else None
        scope.setdefault("state", {})["visitor"] = visitor
        send = self._with_headers(asking, visitor, send)
        if isinstance(found, Response):
            await found(scope, receive, send)
            return
        with self._place(asking, visitor) as there_is_one:
            answer = None if there_is_one else self._refuse(asking, Refusal(
                429, "too_many_together", "too many requests with this token are under way: wait for one to end",
                {"Retry-After": "5"}, visitor.name if visitor else "?"))
            await (answer or self._app)(scope, receive, send)

    async def _judge(self, asking: HTTPConnection) -> Visitor | Response | None:
        """Who asks, None for a stranger who may; or the answer that ends it."""
        wrong = misshapen(asking, self._keeper.door.limits)
        if wrong is not None:
            return self._refuse(asking, wrong)
        path = asking.scope["path"]
        if path in ASSETS:
            return None
        try:
            found = await self._keeper.visitor(asking)
        except StoreError as error:
            return unreadable(error, None)
        return found if isinstance(found, Visitor) else self._stranger(asking, path, found)

    def _stranger(self, asking: HTTPConnection, path: str, found: Refusal | None) -> Response | None:
        """The answer to somebody without a token, or whose token is refused; None where that is no matter."""
        if path in FREE and (found is None or (path in LOGINS and found.kind == "ended_session")):
            return None  # whose login is over must be able to log in
        refusal = found or unknown("no_token", f"a token is needed: {HOW}")
        if path == "/" and refusal.kind in {"no_token", "ended_session"} and asking.scope["method"] == "GET":
            return RedirectResponse(LOGIN, 303)
        return self._refuse(asking, refusal)

    def _refuse(self, asking: HTTPConnection, refusal: Refusal) -> Response:
        self._keeper.count(refusal.kind, refusal.subject, source(asking))
        return Response(msgspec.json.encode({"detail": refusal.detail}), refusal.status,
                        {**refusal.headers, "Cache-Control": "no-store"}, "application/json")

    @contextlib.contextmanager
    def _place(self, asking: HTTPConnection, visitor: Visitor | None) -> Iterator[bool]:
        """A place among the requests of one token that are under way; False where it has too many."""
        if visitor is None or visitor.token is None or light(asking):
            yield True
            return
        places = self._keeper.places.get(asking.scope["path"], self._keeper.places[""])
        if not places.enter(visitor.token.id):
            yield False
            return
        try:
            yield True
        finally:
            places.leave(visitor.token.id)

    def _with_headers(self, asking: HTTPConnection, visitor: Visitor | None, send: Send) -> Send:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] == 403 and visitor is not None and asking.scope["path"] not in LOGINS:
                    self._keeper.count("other_scope", visitor.name, source(asking))
                dress(MutableHeaders(scope=message), self._keeper.door, visitor)
            await send(message)

        return with_headers


def unreadable(error: StoreError, visitor: Visitor | None) -> Response:
    """503; where the database lies is the operator's business."""
    log.error("database_unreadable", error=str(error))
    told = str(error) if visitor is not None and visitor.insider else "the database cannot be read; the log says why"
    return Response(msgspec.json.encode({"detail": told}), 503, {"Cache-Control": "no-store"}, "application/json")


def dress(headers: MutableHeaders, door: Door, visitor: Visitor | None) -> None:
    """Put the headers on an answer, whose own go before them."""
    if visitor is None or visitor.token is not None:
        headers.setdefault("Cache-Control", "private, no-cache")
        headers.add_vary_header("Authorization, Cookie")
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if door.secure:
        headers["Strict-Transport-Security"] = f"max-age={YEAR_S}"


def misshapen(asking: HTTPConnection, limits: Limits) -> Refusal | None:
    """What is wrong with a request before anybody asks whose it is."""
    query = asking.scope["query_string"]
    target = asking.scope["raw_path"] + b"?" + query
    close = {"Connection": "close"}
    if len(target) > limits.url:
        return Refusal(414, "too_long", f"the address has more than {limits.url} bytes: ask for a larger cell instead "
                       "of a long polygon", close)
    if sum(len(name) + len(value) for name, value in asking.scope["headers"]) > limits.headers:
        return Refusal(431, "too_long", f"the headers have more than {limits.headers} bytes", close)
    length = asking.headers.get("content-length", "0")
    if "transfer-encoding" in asking.headers:
        return Refusal(411, "too_large", "a request here says its length", close)
    if not re.fullmatch("[0-9]{1,9}", length) or int(length) > limits.body:
        return Refusal(413, "too_large", f"a request here has a body of {limits.body} bytes at most", close)
    if tokens.LOOKS_LIKE.search(unquote(target.decode("latin-1"))) or _NAMED.search(query):
        return Refusal(400, "token_in_address", "a token in an address stays in logs and histories: revoke this one "
                       "(`cornergrid-cloud token revoke`), and send the next as `Authorization: Bearer <token>`")
    return None
