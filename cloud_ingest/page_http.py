"""The page's part of the HTTP server: its files, packed, and what its map asks for beside the feed."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Annotated

import msgspec
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.gzip import GZipMiddleware

from cloud_ingest import feed, frames
from cloud_ingest.feed_http import Resolution, Window
from cloud_ingest.gate import Asking
from edge.clock import SystemClock

WEB = Path(__file__).with_name("web")
LEVEL = 3
"""Of gzip: a frame of 50,000 cells shrinks to a quarter in less time than it takes to send the rest."""

Start = Annotated[int | None, Query(ge=0, le=2**40, description="Unix seconds; without: the newest")]
Sku = Annotated[str | None, Query(max_length=64)]


def add(app: FastAPI, db: Path) -> None:
    """Add the routes."""

    @app.get("/v1/frames")
    def windows(request: Request, asking: Asking, resolution: Resolution = 8, window: Window = "15m",
                start: Start = None, count: Annotated[int, Query(ge=1, le=96)] = 1, sku: Sku = None) -> Response:
        """What a map shows: for `count` windows, or fewer, numbers per cell, summed over SKUs or of one."""
        asked = frames.Asked(resolution, feed.parse_window(window), start, sku, count)
        return _json(request, frames.read_frames(db, asking.most, asked, SystemClock().now()))

    @app.get("/v1/skus")
    def skus(request: Request, asking: Asking) -> Response:
        """Every SKU that can be asked for, with its name and category."""
        return _json(request, frames.read_catalogue(db, asking.most))

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    app.mount("/web", GZipMiddleware(StaticFiles(directory=WEB), compresslevel=LEVEL))


def _json(request: Request, value: object) -> Response:
    data, headers = msgspec.json.encode(value), {"Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        data, headers["Content-Encoding"] = gzip.compress(data, LEVEL), "gzip"
    return Response(data, media_type="application/json", headers=headers)
