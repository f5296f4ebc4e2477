"""The feed over HTTP, and the page: FastAPI on the ingest's database, opened read-only for every request."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from pathlib import Path
from typing import Annotated, Any

import msgspec
import uvicorn
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from cloud_ingest import feed, forecast_http, page_http
from cloud_ingest.demand import share, total
from cloud_ingest.facts import reading
from cloud_ingest.feed_http import Resolution, Served, Window, describe, routes
from cloud_ingest.grid import neighbours, ring
from cloud_ingest.rows import FeedRow, Scope
from edge.clock import SystemClock
from edge.errors import ConfigError, CornergridError, Problem, StoreError

GRACE_S = 1
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class _Headers:
    """Puts HEADERS on every response, without touching streamed bodies."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers)


def create_app(db: Path, closing: asyncio.Event, scope: Scope = "public") -> FastAPI:
    """The application; `closing` ends the streams of `/v1/changes`, so that a server can stop.

    With the scope public it gives the public feed and nothing else; who may reach it decides which scope is right.
    """
    # Without docs pages: they load scripts from outside addresses. /openapi.json stays.
    app = FastAPI(title="Cornergrid demand feed", version="1", docs_url=None, redoc_url=None)
    app.add_middleware(_Headers)
    app.add_exception_handler(CornergridError, _told)
    served = Served(db, scope, closing)
    app.include_router(routes(served))
    _operators_routes(app, served)
    page_http.add(app, served)
    forecast_http.add(app, served)
    describe(app)

    @app.get("/v1/health")
    def health() -> dict[str, str | int]:
        """Whether the database can be read, its revision, and how much this server gives away."""
        return {"status": "ok", "revision": feed.revision(db, "operator"), "scope": scope,
                "release": feed.revision(db, "public")}

    return app


def _operators_routes(app: FastAPI, served: Served) -> None:
    """The map, the fleet and the quarantine: they tell of single shops."""
    db = served.db

    @app.get("/v1/cells.geojson")
    def cells(resolution: Resolution = 8, window: Window = "15m") -> Response:
        """The stores' cells with the latest window's totals, and their empty neighbours (RFC 7946)."""
        served.operator_only()
        now = SystemClock().now()
        return _json(cells_geojson(db, resolution, feed.parse_window(window), now), "application/geo+json")

    @app.get("/v1/devices")
    def devices() -> Response:
        """Every registered device, up to when it has delivered everything, and the state it last sent."""
        served.operator_only()
        return _json(_rows(db, "SELECT id, device.store, online, boot, last_seen, progress.complete_to, state "
                               "FROM device JOIN progress ON progress.device = id ORDER BY id"))

    @app.get("/v1/quarantine")
    def quarantine(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
        """What was not taken and why, newest first; without the payloads."""
        served.operator_only()
        return _json(_rows(db, "SELECT id, device, topic, reason, length(payload) AS bytes, count, first_t, last_t "
                               "FROM quarantine ORDER BY last_t DESC, id DESC LIMIT ?", limit))


async def _told(_request: Request, error: Exception) -> JSONResponse:
    status = 503 if isinstance(error, StoreError) else 422
    return JSONResponse({"detail": str(error)}, status_code=status)


def _json(value: object, media_type: str = "application/json") -> Response:
    return Response(msgspec.json.encode(value), media_type=media_type)


def _rows(db: Path, query: str, *values: int) -> list[dict[str, Any]]:
    with reading(db) as connection:
        cursor = connection.execute(query, values)
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor]
    for row in rows:
        if row.get("state"):
            row["state"] = msgspec.Raw(row["state"].encode())
        if "online" in row:
            row["online"] = bool(row["online"])
    return rows


def cells_geojson(db: Path, resolution: int, window_s: int, now: float) -> dict[str, Any]:
    """A FeatureCollection with a foreign member `latest`, the start of the window it tells of, or None.

    Units are summed over SKUs: `demand` over those `skus` whose demand is known, None where none is; `unknown`
    counts the others. A cell without facts in that window has `sold` None.
    """
    latest = feed.latest_window(db, now, window_s)
    rows = [] if latest is None else feed.read_feed(feed.Query(
        db, "operator", resolution, window_s, since=latest, until=latest + window_s))
    found: dict[str, list[FeedRow]] = {}
    for row in rows:
        found.setdefault(row.cell, []).append(row)
    with reading(db) as connection:
        stores = dict(connection.execute(
            f"SELECT r{resolution}, count(*) FROM store WHERE removed IS NULL GROUP BY 1"))  # noqa: S608
    features = [_feature(cell, {"stores": 0}) for cell in sorted(neighbours(stores, 1))]
    features += [_feature(cell, _totals(found.get(cell, []), count)) for cell, count in sorted(stores.items())]
    return {"type": "FeatureCollection", "latest": latest, "window_s": window_s, "features": features}


def _totals(rows: list[FeedRow], stores: int) -> dict[str, float | None]:
    return {
        "stores": stores,
        "sold": total([row.sold for row in rows]),
        "demand": total([row.demand for row in rows]),
        "in_stock_share": share(sum(row.in_stock for row in rows), sum(row.observed for row in rows)),
        "stores_reporting": rows[0].stores_reporting if rows else 0,
        "complete_to": rows[0].complete_to if rows else None,
        "skus": len(rows),
        "unknown": sum(row.demand is None for row in rows),
    }


def _feature(cell: str, properties: dict[str, float | None]) -> dict[str, Any]:
    return {"type": "Feature", "id": cell, "geometry": {"type": "Polygon", "coordinates": [ring(cell)]},
            "properties": {"cell": cell, **properties}}


class Server:
    """The application in a thread of its own; made by `start`."""

    def __init__(self, db: Path, listener: socket.socket, scope: Scope) -> None:
        host, port = listener.getsockname()[:2]
        self.address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._listener = listener
        self._ready = threading.Event()
        self._closing = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server = uvicorn.Server(uvicorn.Config(
            create_app(db, self._closing, scope), log_config=None, access_log=False, ws="none", lifespan="off",
            timeout_graceful_shutdown=GRACE_S))
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()
        self._ready.wait(5)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        await self._server.serve([self._listener])

    def stop(self) -> None:
        """End every stream and the server; returns within two seconds, and may be called again."""
        if self._loop is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop closed between the question and the call
                self._loop.call_soon_threadsafe(self._end)
        self._thread.join(2)
        self._listener.close()

    def _end(self) -> None:
        self._closing.set()
        self._server.should_exit = True


def start(db: Path, host: str, port: int, scope: Scope = "public") -> Server:
    """Serve `db` on `host`:`port`, 0 for any free port; `address` of the result has the real one.

    `scope` says how much of it, see `create_app`. ConfigError where the address cannot be had.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(128)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        problem = Problem(f"{host}:{port}", f"cannot be listened on: {error.strerror}", "name another with --http")
        raise ConfigError("--http", (problem,)) from error
    return Server(db, listener, scope)
