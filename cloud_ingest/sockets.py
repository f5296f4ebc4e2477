"""uvicorn with patience that ends: a client that sends, shakes hands or reads too slowly is cut, and so is a crowd.

uvicorn itself waits for ever for the rest of a request and for a reader; its own limit on connections counts those that
have sent a request. What is cut is counted like other refusals.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from pathlib import Path
from typing import Any, ClassVar

import h11
import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from cloud_ingest.keeper import Keeper
from cloud_ingest.limits import Places, source_of
from edge.errors import ConfigError, Problem

log = structlog.get_logger(__name__)
GRACE_S = 1
HANDSHAKE_S = 10.0
SPARE = 64
"""Connections above `Limits.connections` that are still told to come again; beyond them they are cut."""
_ARRIVED = {h11.DONE, h11.MUST_CLOSE, h11.CLOSED, h11.ERROR, h11.SWITCHED_PROTOCOL}


class Patient(H11Protocol):
    """One connection; what all of a server's share is set by `patient`."""

    places: ClassVar[Places]
    keeper: ClassVar[Keeper]
    _arriving: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _where: str = "?"
    _placed = False
    _heard = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """A client has come."""
        super().connection_made(transport)
        address = self.client[0] if self.client else "0.0.0.0"  # noqa: S104  # nobody's
        self._where = source_of(address)
        self._placed = self.keeper.door.proxy is not None or self.places.enter(self._where)
        if not self._placed or len(self.connections) > self.keeper.door.limits.connections + SPARE:
            self._cut("too_many_connections")
        elif not self.keeper.door.hears(address):
            self._cut("past_proxy")
        else:
            self._arriving = self.loop.call_later(self.keeper.door.limits.head_s, self._cut, "slow_sender")

    def data_received(self, data: bytes) -> None:
        """A part of a request, or all of it."""
        self._heard = True
        super().data_received(data)
        if self.conn.their_state in _ARRIVED:
            _cancel(self._arriving)
            self._arriving = None
        elif self._arriving is None:
            self._arriving = self.loop.call_later(self.keeper.door.limits.head_s, self._cut, "slow_sender")

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP."""
        self.keeper.count("malformed", "?", self._where)
        super().send_400_response(msg)

    def pause_writing(self) -> None:
        """The client does not take what is sent."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self.keeper.door.limits.stall_s, self._cut, "slow_reader")

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        _cancel(self._stalled)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        _cancel(self._arriving, self._stalled)
        if self._placed and self.keeper.door.proxy is None:
            self.places.leave(self._where)
        self._placed = False
        super().connection_lost(exc)

    def _cut(self, why: str) -> None:
        if self._heard or why != "slow_sender":  # browsers open some that they never use
            self.keeper.count(why, "?", self._where)
        # A reset, or the kernel would keep for minutes what the client does not take.
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def _cancel(*timers: asyncio.TimerHandle | None) -> None:
    for timer in timers:
        if timer is not None:
            timer.cancel()


def patient(keeper: Keeper) -> type[Patient]:
    """The protocol of one server."""
    return type("Protocol", (Patient,), {"keeper": keeper, "places": Places(keeper.door.limits.per_address)})


class Uvicorn(uvicorn.Server):
    """uvicorn on listeners that are there already, with a limit on the TLS handshake."""

    async def startup(self, sockets: list[Any] | None = None) -> None:
        """Listen."""
        loop, config, lifespan = asyncio.get_running_loop(), self.config, self.lifespan

        def protocol() -> asyncio.Protocol:
            made: Any = config.http_protocol_class
            return made(config=config, server_state=self.server_state, app_state=lifespan.state, _loop=loop)  # type: ignore[no-any-return]  # one of two kinds, both protocols

        patience = HANDSHAKE_S if config.ssl else None
        self.servers = [await loop.create_server(protocol, sock=each, ssl=config.ssl, backlog=config.backlog,
                                                 ssl_handshake_timeout=patience) for each in sockets or []]
        self.started = True


class Certificate:
    """TLS 1.2 or newer with a door's certificate; one that was renewed on the disk is taken up without a restart."""

    def __init__(self, cert: Path, key: Path | None) -> None:
        """ConfigError where it cannot be used."""
        self._files = (cert, key)
        self._stamp = self._look()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(self.context)

    def refresh(self) -> None:
        """Look whether the files are others by now; connections from now on see the new certificate."""
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # a chain and a key that do not fit spoil a context
            self._load(self.context)
        except ConfigError as error:
            log.warning("certificate_not_taken", error=str(error), effect="the one before goes on")
        else:
            log.info("certificate_taken", file=str(self._files[0]))

    def _look(self) -> tuple[object, ...]:
        with contextlib.suppress(OSError):
            return tuple((found.st_ino, found.st_mtime_ns) for file in self._files if file for found in [file.stat()])
        return ()

    def _load(self, context: ssl.SSLContext) -> None:
        cert, key = self._files
        try:
            context.load_cert_chain(cert, key, password=_no_password)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ConfigError("--http-cert", (Problem(f"{cert}{f', {key}' if key else ''}",
                                                      f"cannot be used: {getattr(error, 'reason', None) or error}",
                                                      "a certificate chain and its private key, both PEM, the key "
                                                      "without a password"),)) from error


def _no_password() -> str:
    """Otherwise OpenSSL would ask on the terminal, and wait."""
    raise ValueError("the key has a password")


def make(app: Any, keeper: Keeper, certificate: Certificate | None) -> Uvicorn:
    """The server of an application, not listening yet."""
    door, limits = keeper.door, keeper.door.limits
    return Uvicorn(uvicorn.Config(
        app, http=patient(keeper), ws="none", lifespan="off", log_config=None, log_level="error", access_log=False,
        server_header=False, timeout_graceful_shutdown=GRACE_S, limit_concurrency=limits.connections,
        h11_max_incomplete_event_size=limits.url + limits.headers, proxy_headers=door.proxy is not None,
        forwarded_allow_ips=door.proxy or "",
        ssl_context_factory=(lambda *_: certificate.context) if certificate else None))
