"""The feed over HTTP, and the page: FastAPI on the ingest's database, opened read-only for every request."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import threading
from pathlib import Path
from typing import Annotated, Any

import msgspec
import structlog
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse

from cloud_ingest import feed, forecast_http, login_http, page_http, sockets, tokens
from cloud_ingest.demand import share, total
from cloud_ingest.facts import reading
from cloud_ingest.feed_http import Resolution, Served, Window, describe, routes
from cloud_ingest.gate import HEADERS, Anybody, Asking, Gate, unreadable
from cloud_ingest.grid import neighbours, ring
from cloud_ingest.keeper import Door, Keeper, is_loopback, is_network
from cloud_ingest.rows import FeedRow, Scope
from edge.clock import SystemClock
from edge.errors import ConfigError, CornergridError, Problem, StoreError

log = structlog.get_logger(__name__)


def create_app(db: Path, closing: asyncio.Event, keeper: Keeper) -> FastAPI:
    """The application; `closing` ends the streams of `/v1/changes`, so that a server can stop.

    `keeper` says who gets how much of it.
    """
    # Without docs pages: they load scripts from outside addresses. /openapi.json stays. A redirect would say back
    # whatever host was asked for.
    app = FastAPI(title="Cornergrid demand feed", version="1", docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_middleware(Gate, keeper=keeper)
    app.add_exception_handler(CornergridError, _told)
    app.add_exception_handler(Exception, _failed)
    served = Served(db, closing)
    app.include_router(routes(served))
    _operators_routes(app, db)
    page_http.add(app, db)
    forecast_http.add(app, db)
    login_http.add(app, keeper)
    describe(app)

    @app.get("/v1/health")
    def health(visitor: Anybody) -> dict[str, str | int]:
        """Whether the database can be read; with a token its revision, and how much there is for that token."""
        release, revision = feed.revision(db, "public"), feed.revision(db, "operator")
        if visitor is None:
            return {"status": "ok"}
        told: dict[str, str | int] = {"status": "ok", "scope": visitor.most, "release": release}
        if visitor.insider:
            told["revision"] = revision
        return told if visitor.token is None else told | {"name": visitor.token.name}

    return app


def _operators_routes(app: FastAPI, db: Path) -> None:
    """The map, the fleet and the quarantine: they tell of single shops."""

    @app.get("/v1/cells.geojson")
    def cells(asking: Asking, resolution: Resolution = 8, window: Window = "15m") -> Response:
        """The stores' cells with the latest window's totals, and their empty neighbours (RFC 7946)."""
        asking.operator_only()
        now = SystemClock().now()
        return _json(cells_geojson(db, resolution, feed.parse_window(window), now), "application/geo+json")

    @app.get("/v1/devices")
    def devices(asking: Asking) -> Response:
        """Every registered device, up to when it has delivered everything, and the state it last sent."""
        asking.operator_only()
        return _json(_rows(db, "SELECT id, device.store, online, boot, last_seen, progress.complete_to, state "
                               "FROM device JOIN progress ON progress.device = id ORDER BY id"))

    @app.get("/v1/quarantine")
    def quarantine(asking: Asking, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
        """What was not taken and why, newest first; without the payloads."""
        asking.operator_only()
        return _json(_rows(db, "SELECT id, device, topic, reason, length(payload) AS bytes, count, first_t, last_t "
                               "FROM quarantine ORDER BY last_t DESC, id DESC LIMIT ?", limit))


async def _told(request: Request, error: Exception) -> Response:
    if isinstance(error, StoreError):
        return unreadable(error, request.scope["state"]["visitor"])
    return JSONResponse({"detail": str(error)}, status_code=422)


async def _failed(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"detail": "the server failed, and its log says why"}, 500, HEADERS)


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
        if row.heard:
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

    def __init__(self, db: Path, listener: socket.socket, scope: Scope, door: Door) -> None:
        host, port = listener.getsockname()[:2]
        scheme = "https" if door.cert else "http"
        self.address = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
        self._listener, self._every_s = listener, door.limits.flush_s
        self._ready = threading.Event()
        self._closing = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._keeper = Keeper(db, scope, door, SystemClock())
        self._certificate = sockets.Certificate(door.cert, door.key) if door.cert else None
        self._server = sockets.make(create_app(db, self._closing, self._keeper), self._keeper, self._certificate)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()
        self._ready.wait(5)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        noting = asyncio.create_task(self._note())
        await self._server.serve([self._listener])
        self._closing.set()
        await noting

    async def _note(self) -> None:
        """Note what was refused, now and then and at the end, and look after the certificate."""
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._every_s)
            await self._keeper.flush()
            if self._certificate is not None:
                self._certificate.refresh()

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


def start(db: Path, host: str, port: int, scope: Scope = "public", door: Door | None = None) -> Server:
    """Serve `db` on `host`:`port`, 0 for any free port; `address` of the result has the real one.

    `scope` is the most that it gives, to whom `door` lets in. ConfigError where the address cannot be had, or where
    everybody would be let in who can reach it.
    """
    listener = _listen(host, port)
    at = listener.getsockname()
    door = dataclasses.replace(door or Door(), local=is_loopback(at[0]))
    try:
        _check(db, door, f"{host}:{at[1]}")
        return Server(db, listener, scope, door)
    except ConfigError:
        listener.close()
        raise


def _listen(host: str, port: int) -> socket.socket:
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
    return listener


def _check(db: Path, door: Door, where: str) -> None:
    """ConfigError where strangers could come in, or tokens be read on their way."""
    problems = []
    exposed = not door.local or door.proxy is not None
    if exposed and not tokens.usable(db, SystemClock().now()):
        problems.append(Problem(where, "can be reached from other machines, and nobody has a valid token",
                                f"cornergrid-cloud token add NAME --scope feed --db {db}"))
    if not door.local and not door.secure:
        problems.append(Problem(where, "can be reached from other machines without TLS: tokens could be read on "
                                "their way", "--http-cert FILE --http-key FILE, or --http-proxy ADDRESS where a proxy "
                                "ends TLS"))
    if door.key is not None and door.cert is None:
        problems.append(Problem("--http-key", "stands alone", "--http-cert FILE"))
    if door.proxy is not None and not is_network(door.proxy):
        problems.append(Problem("--http-proxy", f"{door.proxy!r} is no address", "the address from which the proxy "
                                "connects, like 10.0.0.5"))
    if problems:
        raise ConfigError("--http", tuple(problems))
    if not exposed and not tokens.locked(db):
        log.warning("http_open", address=where, effect="everybody on this machine may read it, nobody else; from the "
                    "first `cornergrid-cloud token add` on it asks for a token")
