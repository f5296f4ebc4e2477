"""The feed's part of the HTTP server: rows in every format, filters, pages, and what changed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from cloud_ingest import feed
from cloud_ingest.area import parse_area
from cloud_ingest.facts import reading
from cloud_ingest.formats import FORMATS, encode
from cloud_ingest.gate import FREE, Asking
from cloud_ingest.keeper import Visitor
from cloud_ingest.release import folder_of
from cloud_ingest.rows import MEANING, FeedRow, Scope, rows_of
from cloud_ingest.signal_reading import Asked, read_signal
from cloud_ingest.store.streams import KEPT_CHANGES
from edge.clock import SystemClock

POLL_S = 0.5
RETRY_MS = 2000
ALIVE = 30
"""Polls from one sign of life to the next."""
MOST_CHANGES = 1000
Resolution = Annotated[int, Query(ge=5, le=9, description="H3 resolution")]
Window = Annotated[str, Query(max_length=16, description="A multiple of 15m, like 15m, 1h or 1d")]
Time = Annotated[str | None, Query(max_length=64, description="ISO 8601 (UTC where it names no zone) or Unix seconds")]
Format = Literal["json", "csv", "parquet", "arrow", "geojson"]
ScopeAsked = Annotated[Scope | None, Query(
    description="public: what is published; operator: everything, where server and token give it. Default: the most "
                "that they give")]
Skus = Annotated[list[Annotated[str, Field(max_length=64)]] | None, Query(
    max_length=200, description="Only this SKU; may be repeated")]
Category = Annotated[str | None, Query(max_length=200, description="Only SKUs of this category of the catalogue")]
Cell = Annotated[str | None, Query(max_length=32, description="Only within this H3 cell, of any resolution, or around "
                                                              "it")]
Box = Annotated[str | None, Query(max_length=200, description="west,south,east,north in degrees; west > east crosses "
                                                              "the antimeridian")]
Polygon = Annotated[str | None, Query(max_length=16_384, description="lon,lat;lon,lat;... or GeoJSON; cells whose "
                                                                     "centre is inside")]


@dataclass(frozen=True, slots=True)
class Served:
    """What a server reads; `closing` ends its streams."""

    db: Path
    closing: asyncio.Event


@dataclass(frozen=True, slots=True)
class Filters:
    """A question about rows, as the query string has it."""

    resolution: Resolution = 8
    window: Window = "15m"
    sku: Skus = None
    category: Category = None
    cell: Cell = None
    bbox: Box = None
    polygon: Polygon = None
    since: Time = None
    until: Time = None
    scope: ScopeAsked = None
    store: Annotated[str | None, Query(max_length=200, description="One shop's own numbers; operator only")] = None
    after: Annotated[str | None, Query(max_length=1000, description="Cursor: from the Link header before")] = None
    limit: Annotated[int | None, Query(ge=1, le=100_000, description="Rows of a page")] = None
    format: Format = "json"

    def query(self, db: Path, asking: Visitor) -> feed.Query:
        """The same as the feed understands it; 403 or ConfigError where it cannot be answered."""
        return feed.Query(
            db, asking.allowed(self.scope), self.resolution, feed.parse_window(self.window),
            parse_area(self.cell, self.bbox, self.polygon), tuple(self.sku) if self.sku else None, self.category,
            feed.parse_time(self.since), feed.parse_time(self.until, "until"), self.store, self.after, self.limit)


def routes(served: Served) -> APIRouter:
    """The feed's routes."""
    router = APIRouter()

    @router.get("/v1/feed", response_model=list[FeedRow], responses={304: {"description": "Not changed (ETag)"}})
    def rows(request: Request, asking: Asking, asked: Annotated[Filters, Depends()],
             if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """Demand per cell, SKU and window, newest first; meaning and units as in the schema."""
        return _answer(asked.query(served.db, asking), asked.format, request, if_none_match)

    @router.get("/v1/signals/{name}")
    def signal(name: Literal["slow", "near-date", "hot-spots", "cold-chain", "uptake"], asking: Asking,
               resolution: Resolution = 7, scope: ScopeAsked = None) -> Response:
        """What somebody should look at, the most important first; all but hot-spots and uptake are the operator's."""
        asked = Asked(served.db, asking.allowed(scope), resolution, SystemClock().now())
        return Response(msgspec.json.encode(read_signal(name, asked)), media_type="application/json")

    @router.get("/v1/schema")
    def schema() -> dict[str, str]:
        """What each column means, with its unit."""
        return MEANING

    @router.get("/v1/changes")
    async def changes(asking: Asking, resolution: Resolution = 8, scope: ScopeAsked = None,
                      last_event_id: Annotated[str | None, Header()] = None) -> StreamingResponse:
        """Server-sent events: `revision`, now and whenever it changes, and `change`: which cells and windows did.

        A client that comes back says its last id and hears what it missed.
        """
        last = int(last_event_id) if last_event_id and re.fullmatch("[0-9]{1,15}", last_event_id) else None
        told = _changes(served, asking, asking.allowed(scope), resolution, last)
        return StreamingResponse(told, media_type="text/event-stream")

    return router


def _answer(asked: feed.Query, form: Format, request: Request, known: str | None) -> Response:
    revision = feed.revision(asked.db, asked.scope)
    tag = hashlib.sha256(f"{revision} {feed.stamp(asked)} {request.url.query} {asked.scope}".encode()).hexdigest()[:20]
    headers = {"ETag": f'"{tag}"', "Cornergrid-Scope": asked.scope, "Cornergrid-Revision": str(revision)}
    if known is not None and f'"{tag}"' in known:
        return Response(status_code=304, headers=headers)
    found = feed.whole(feed.tables(asked))
    if asked.limit is not None:
        page = list(found)
        if sum(map(len, page)) == asked.limit:
            last = rows_of(page[-1].slice(len(page[-1]) - 1))[0]
            following = request.url.include_query_params(after=feed.cursor(asked, last))
            headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
        found = iter(page)
    return StreamingResponse(encode(found, form), media_type=FORMATS[form][0], headers=headers)


async def _changes(served: Served, asking: Visitor, scope: Scope, resolution: int,
                   last: int | None) -> AsyncIterator[str]:
    told: int | None = None
    yield f"retry: {RETRY_MS}\n\n"
    for turn in itertools.count(1):
        if served.closing.is_set() or not await asyncio.to_thread(asking.still, served.db, SystemClock().now()):
            return
        if turn % ALIVE == 0:
            yield ":\n\n"  # proxies end what is silent, and a client that is gone is noticed by this
        now = await asyncio.to_thread(feed.revision, served.db, scope)
        if now != told:
            before = last if told is None else told
            yield f"id: {now}\nevent: revision\ndata: {now}\n\n"
            if before is not None and before != now:
                change = await asyncio.to_thread(CHANGES[scope], served.db, before, now, resolution)
                yield f"id: {now}\nevent: change\ndata: {msgspec.json.encode(change).decode()}\n\n"
            told = now
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(served.closing.wait(), POLL_S)


def _changed_facts(db: Path, before: int, now: int, resolution: int) -> dict[str, Any]:
    """`first` and `last` window that changed, and in which `cells`; `cells` null: too many, or no longer known."""
    with reading(db) as source:
        stores, first, last = source.execute("SELECT count(DISTINCT store), min(first), max(last) FROM change WHERE "
                                             "rev > ? AND rev <= ?", (before, now)).fetchone()
        cells = None
        if stores <= MOST_CHANGES and now - before <= KEPT_CHANGES:
            cells = [cell for (cell,) in source.execute(
                f"SELECT DISTINCT place.r{resolution} FROM change JOIN place ON place.store = change.store "  # noqa: S608  # checked
                "WHERE rev > ? AND rev <= ? ORDER BY 1", (before, now))]
    return {"revision": now, "first": first, "last": last, "cells": cells}


def _changed_releases(db: Path, before: int, now: int, _resolution: int) -> dict[str, Any]:
    """The days of which a newer release published something."""
    days = {path.parent.name.removeprefix("date=") for number in range(before + 1, now + 1)
            for path in (folder_of(db) / "rows").glob(f"date=*/{number}.parquet")}
    return {"revision": now, "days": sorted(days)}


CHANGES: dict[Scope, Callable[[Path, int, int, int], dict[str, Any]]] = {
    "operator": _changed_facts, "public": _changed_releases}


OPERATORS = {"/v1/cells.geojson", "/v1/devices", "/v1/quarantine"}
SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "bearerFormat": "cgt_<8 hex>_<40 hex>",
              "description": "Made by `cornergrid-cloud token add NAME --scope SCOPE`. Scopes: feed (the public feed, "
                             "the page, schema, catalogue), operate (the operator's view too: cells, devices, "
                             "quarantine), admin (includes operate; nothing can be changed over HTTP, so that no route "
                             "needs it: tokens are managed with `cornergrid-cloud token`). A server on loopback whose "
                             "database never had a token asks for none."},
    "session": {"type": "apiKey", "in": "cookie", "name": "__Host-cornergrid",
                "description": "What the page's login sets; `cornergrid` where the server has no TLS."},
}
REFUSALS = {
    "401": "No token, or one that is wrong, revoked or run out", "403": "The token's scope, or the server's, is less",
    "429": "Too many requests, streams or wrong tokens: Retry-After says when to come again",
}


def describe(app: FastAPI) -> None:
    """Put the columns' meaning, and what each route asks for, into the OpenAPI document."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        for name, about in document["components"]["schemas"]["FeedRow"]["properties"].items():
            about["description"] = MEANING[name]
        document["components"]["securitySchemes"] = SCHEMES
        for path, item in document["paths"].items():
            scopes = ["operate" if path in OPERATORS else "feed"]
            for operation in item.values():
                operation["security"] = [{"token": scopes}, {"session": scopes}, *([{}] if path in FREE else [])]
                for status, meaning in REFUSALS.items():
                    operation["responses"].setdefault(status, {"description": meaning})
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it
