"""The feed over HTTP, and the page: FastAPI on the ingest's database, opened read-only for every request."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import uvicorn
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud_ingest.demand import DemandRow, share, total
from cloud_ingest.feed import MEDIA, latest_window, parse_time, parse_window, read_feed, reading, render
from cloud_ingest.grid import neighbours, ring
from edge.errors import ConfigError, CornergridError, Problem, StoreError

WEB = Path(__file__).with_name("web")
POLL_S = 0.5
GRACE_S = 1
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
Resolution = Annotated[int, Query(ge=5, le=9, description="H3 resolution")]
Window = Annotated[str, Query(description="A multiple of 15m, like 15m, 1h or 1d")]
Since = Annotated[str | None, Query(description="ISO 8601 (UTC where it names no zone) or Unix seconds")]
Format = Literal["json", "csv", "parquet"]


class _Headers:
    """Puts HEADERS on every response, without touching streamed bodies."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers)


def create_app(db: Path, closing: asyncio.Event) -> FastAPI:
    """The application; `closing` ends the streams of `/v1/changes`, so that a server can stop."""
    # Without docs pages: they load scripts from outside addresses. /openapi.json stays.
    app = FastAPI(title="Cornergrid demand feed", version="1", docs_url=None, redoc_url=None)
    app.add_middleware(_Headers)
    app.add_exception_handler(CornergridError, _told)

    @app.get("/v1/feed", response_model=list[DemandRow])
    def feed(
        resolution: Resolution = 8, window: Window = "15m", sku: str | None = None, cell: str | None = None,
        since: Since = None, until: Since = None, format: Format = "json",  # noqa: A002
    ) -> Response:
        """Demand per cell, SKU and window, newest first; units and seconds as in the schema."""
        rows = read_feed(db, resolution, parse_window(window), sku, cell, parse_time(since), parse_time(until))
        return Response(render(rows, format), media_type=MEDIA[format])

    @app.get("/v1/cells.geojson")
    def cells(resolution: Resolution = 8, window: Window = "15m") -> Response:
        """The stores' cells with the latest window's totals, and their empty neighbours (RFC 7946)."""
        return _json(cells_geojson(db, resolution, parse_window(window)), "application/geo+json")

    @app.get("/v1/devices")
    def devices() -> Response:
        """Every registered device, up to when it has delivered everything, and the state it last sent."""
        return _json(_rows(db, "SELECT id, device.store, online, boot, last_seen, progress.complete_to, state "
                               "FROM device JOIN progress ON progress.device = id ORDER BY id"))

    @app.get("/v1/quarantine")
    def quarantine(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
        """What was not taken and why, newest first; without the payloads."""
        return _json(_rows(db, "SELECT id, device, topic, reason, length(payload) AS bytes, count, first_t, last_t "
                               "FROM quarantine ORDER BY last_t DESC, id DESC LIMIT ?", limit))

    @app.get("/v1/health")
    def health() -> dict[str, str | int]:
        """Whether the database can be read, and its revision."""
        return {"status": "ok", "revision": _revision(db)}

    @app.get("/v1/changes")
    async def changes() -> StreamingResponse:
        """Server-sent events: the database's revision, now and whenever it changes."""
        return StreamingResponse(_changes(db, closing), media_type="text/event-stream")

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    app.mount("/web", StaticFiles(directory=WEB))
    return app


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


def _revision(db: Path) -> int:
    with reading(db) as connection:
        return int(connection.execute("SELECT value FROM meta WHERE key = 'revision'").fetchone()[0])


async def _changes(db: Path, closing: asyncio.Event) -> AsyncIterator[str]:
    told = -1
    while not closing.is_set():
        now = await asyncio.to_thread(_revision, db)
        if now != told:
            told = now
            yield f"event: revision\ndata: {now}\n\n"
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(closing.wait(), POLL_S)


def cells_geojson(db: Path, resolution: int, window_s: int) -> dict[str, Any]:
    """A FeatureCollection with a foreign member `latest`, the start of the window it tells of, or None.

    Units are summed over SKUs: `demand` over those `skus` whose demand is known, None where none is; `unknown`
    counts the others. A cell without facts in that window has `sold` None.
    """
    latest = latest_window(db, window_s)
    rows = [] if latest is None else read_feed(db, resolution, window_s, since=latest)
    found: dict[str, list[DemandRow]] = {}
    for row in rows:
        found.setdefault(row.cell, []).append(row)
    with reading(db) as connection:
        stores = dict(connection.execute(f"SELECT r{resolution}, count(*) FROM store GROUP BY 1"))  # noqa: S608
    features = [_feature(cell, {"stores": 0}) for cell in sorted(neighbours(stores, 1))]
    features += [_feature(cell, _totals(found.get(cell, []), count)) for cell, count in sorted(stores.items())]
    return {"type": "FeatureCollection", "latest": latest, "window_s": window_s, "features": features}


def _totals(rows: list[DemandRow], stores: int) -> dict[str, float | None]:
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

    def __init__(self, db: Path, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        self.address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._listener = listener
        self._ready = threading.Event()
        self._closing = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server = uvicorn.Server(uvicorn.Config(
            create_app(db, self._closing), log_config=None, access_log=False, ws="none", lifespan="off",
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


def start(db: Path, host: str, port: int) -> Server:
    """Serve `db` on `host`:`port`, 0 for any free port; `address` of the result has the real one.

    ConfigError where the address cannot be had.
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
    return Server(db, listener)
