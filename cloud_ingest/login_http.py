"""The login of the page: a browser cannot send a header with a link, so a token opens a session in a cookie.

The cookie holds a secret of its own, never the token; scripts cannot read it (HttpOnly), and no other site's page can
have it sent (SameSite=Strict). Only these two forms change anything, and they are taken from this site alone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from fastapi import FastAPI, Header, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cloud_ingest.gate import LOGIN, LOGOUT, Anybody
from cloud_ingest.keeper import Keeper, Refusal, source
from edge.clock import SystemClock

WEB = Path(__file__).with_name("web")
Origin = Annotated[str | None, Header()]
# So that a browser says where a form came from; without it, it says nothing even to this site.
_HERS = {"Cache-Control": "no-store", "Referrer-Policy": "same-origin"}


def add(app: FastAPI, keeper: Keeper) -> None:
    """Add the routes."""

    @app.get(LOGIN, include_in_schema=False)
    def login(visitor: Anybody) -> Response:
        if visitor is None:
            return _page("login.html", told="")
        if visitor.token is None:
            return RedirectResponse("/", 303)
        until = datetime.fromtimestamp(visitor.ends, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return _page("account.html", name=visitor.token.name, scope=visitor.token.scope, until=until)

    @app.post(LOGIN, include_in_schema=False)
    async def enter(request: Request, visitor: Anybody, origin: Origin = None) -> Response:
        if visitor is not None and visitor.token is None:
            return RedirectResponse("/", 303)
        if not _from_here(request, origin, secure=keeper.door.secure):
            return _refused(keeper, request, _FOREIGN)
        form = parse_qs((await request.body()).decode("latin-1"))
        found = await keeper.by_token(form.get("token", [""])[0], request)
        if isinstance(found, Refusal):
            return _refused(keeper, request, found)
        secret, ends = await keeper.log_in(found)
        answer = RedirectResponse("/", 303, _HERS)
        answer.set_cookie(keeper.door.cookie, secret, max_age=int(ends - SystemClock().now()), path="/", httponly=True,
                          samesite="strict", secure=keeper.door.secure)
        return answer

    @app.post(LOGOUT, include_in_schema=False)
    async def leave(request: Request, origin: Origin = None) -> Response:
        if not _from_here(request, origin, secure=keeper.door.secure):
            return _refused(keeper, request, _FOREIGN)
        await keeper.log_out(request)
        answer = RedirectResponse(LOGIN, 303, _HERS)
        answer.delete_cookie(keeper.door.cookie, path="/", httponly=True, samesite="strict", secure=keeper.door.secure)
        return answer


MISTYPED = "this is no token of this server: see that all of it was pasted"
_FOREIGN = Refusal(403, "foreign_form", "this form was sent by another site: open this server's own login page")


def _from_here(request: Request, origin: str | None, *, secure: bool) -> bool:
    """Whether a form is this site's own; what is no browser says nothing, and has no cookie to be misused."""
    if origin is None:
        return True
    came = urlsplit(origin)
    return came.netloc == request.headers.get("host") and (came.scheme == "https" or not secure)


def _refused(keeper: Keeper, request: Request, refusal: Refusal) -> Response:
    keeper.count(refusal.kind, refusal.subject, source(request))
    page = _page("login.html", told=MISTYPED if refusal.kind == "wrong_token" else refusal.detail)
    page.status_code = refusal.status
    page.headers.update(refusal.headers)
    return page


def _page(file: str, **values: str) -> HTMLResponse:
    text = Template((WEB / file).read_text(encoding="utf-8"))
    return HTMLResponse(text.substitute({key: escape(value) for key, value in values.items()}), headers=_HERS)
