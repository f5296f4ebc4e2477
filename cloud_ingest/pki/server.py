"""The enrolment server: HTTPS, because a device behind any shop's router can reach it, and TLS proves both sides.

    GET  /v1/ca        the root, for a device to compare with its label
    POST /v1/enrol     a request signed with the label's code            -> the first certificate
    POST /v1/rotate    a request of a new key, certificate shown in TLS  -> the next certificate, where one is due
    POST /v1/confirm   certificate shown in TLS                          -> it is in use

The standard library's server, since the certificate that a client showed is seldom to be had behind a web framework.
Bounded in all directions: connections of all and of one address, seconds for each, bytes of a request.
"""

from __future__ import annotations

import contextlib
import re
import socket
import sqlite3
import ssl
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import msgspec
import structlog
from cryptography import x509

from cloud_ingest.limits import Places, source_of
from cloud_ingest.pki.desk import Desk
from cloud_ingest.pki.folder import SERVER_LIFE_S, Folder, keep_leaf
from cloud_ingest.pki.ledger import Ledger
from cloud_ingest.pki.x509 import Leaf, is_host, pem
from edge.clock import Clock
from edge.errors import ConfigError, EnrolError, Problem
from edge.wire.enrol import (
    AUTHORITY,
    CONFIRM,
    ENROL,
    MAX_REQUEST,
    ROTATE,
    Authority,
    EnrolRequest,
    Issued,
    Refusal,
    RotateRequest,
)

log = structlog.get_logger(__name__)
NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: OpenSSL leaves the dates to the desk, which renews a certificate that ran out."""
PATIENCE_S = 10.0
LONGEST_S = 30.0
"""A client has so long for everything; one that sends a byte now and then would otherwise never end."""
CONNECTIONS, OF_ONE_SOURCE = 64, 16
STATUS = {
    "wrong_label": HTTPStatus.FORBIDDEN, "label_used": HTTPStatus.CONFLICT, "label_expired": HTTPStatus.GONE,
    "too_many_tries": HTTPStatus.TOO_MANY_REQUESTS, "unknown_certificate": HTTPStatus.UNAUTHORIZED,
    "no_certificate": HTTPStatus.UNAUTHORIZED, "revoked": HTTPStatus.FORBIDDEN, "expired": HTTPStatus.FORBIDDEN,
    "superseded": HTTPStatus.CONFLICT, "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "not_found": HTTPStatus.NOT_FOUND, "busy": HTTPStatus.SERVICE_UNAVAILABLE,
}


class EnrolServer:
    """Serves from threads of its own until it is stopped."""

    def __init__(self, folder: Folder, ledger: Ledger, clock: Clock, desk: Desk, where: tuple[str, int],
                 names: tuple[str, ...]) -> None:
        """Listens at once on `where`; `names` are the hosts that devices know it by."""
        self._folder, self._clock, self._names = folder, clock, names
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self._context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
        self._context.load_verify_locations(cadata=folder.anchors)
        handler = type("Handler", (_Handler,), {"desk": desk, "ledger": ledger, "clock": clock,
                                                "root": pem(folder.root)})
        try:
            self._http = _Server(where, handler, self._context)
        except OSError as error:
            raise ConfigError("ca serve", (Problem(f"{where[0]}:{where[1]}", "cannot be listened on: "
                                                   f"{error.strerror or error}", "is one running already? otherwise "
                                                   "name another with --listen"),)) from error
        self.renew(force=True)
        self._thread = threading.Thread(target=self._http.serve_forever, name="enrol", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._http.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def renew(self, *, force: bool = False) -> None:
        """Keep the server's own certificate young; connections from now on see the new one."""
        file = self._folder.path / "enrol.pem"
        leaf = Leaf("enrol", "server", SERVER_LIFE_S, self._names)
        if keep_leaf(file, self._folder.issuing, leaf, self._folder.chain, self._clock.now()) or force:
            self._context.load_cert_chain(file)
            log.info("server_certificate", names=self._names)

    def stop(self) -> None:
        """Stop listening."""
        if self._thread.is_alive():
            self._http.shutdown()
        self._http.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, where: tuple[str, int], handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext) -> None:
        self.address_family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
        self._context = context
        self._all = threading.BoundedSemaphore(CONNECTIONS)
        self._lock, self.places = threading.Lock(), Places(OF_ONE_SOURCE)
        super().__init__(where, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._take_place(client_address[0]):
            self.shutdown_request(request)  # a device tries again by itself
            return
        super().process_request(request, client_address)

    def _take_place(self, address: str) -> bool:
        with self._lock:
            if not self._all.acquire(blocking=False):
                return False
            if self.places.enter(source_of(address)):
                return True
            self._all.release()
        return False

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The handshake, too, is made here: a client that says nothing holds up no other."""
        try:
            request.settimeout(PATIENCE_S)
            request.getpeername()  # who is gone already: `ssl` would raise, and leave the socket open
            self._serve(request, client_address)
        except OSError as error:  # ssl.SSLError is one
            self._refused(client_address[0], error)
        finally:
            self.shutdown_request(request)
            with self._lock:
                self.places.leave(source_of(client_address[0]))
                self._all.release()

    def _serve(self, request: Any, client_address: Any) -> None:
        with self._context.wrap_socket(request, server_side=True, do_handshake_on_connect=False) as tls:
            ending = threading.Timer(LONGEST_S, _end, (tls,))
            ending.daemon = True
            ending.start()
            try:
                tls.do_handshake()
                self.finish_request(tls, client_address)
            finally:
                ending.cancel()
                self.shutdown_request(tls)

    def _refused(self, address: str, error: OSError) -> None:
        handler: Any = self.RequestHandlerClass
        why = getattr(error, "reason", None) or str(error)
        with contextlib.suppress(sqlite3.Error):  # a full disk: the log has it all the same
            handler.ledger.refuse("enrol_tls", "?", source_of(address), handler.clock.now(), str(why))
        log.info("enrolment_tls_refused", source=address, why=str(why))


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it ended by itself
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # an SSLSocket's own takes TLS from under its reader


class _Handler(BaseHTTPRequestHandler):
    desk: ClassVar[Desk]
    ledger: ClassVar[Ledger]
    clock: ClassVar[Clock]
    root: ClassVar[str]
    timeout = PATIENCE_S
    server_version, sys_version = "cornergrid", ""

    def do_GET(self) -> None:  # the base class's name
        if self.path == AUTHORITY:
            self._answer(HTTPStatus.OK, Authority(root=self.root))
        else:
            self._refuse(EnrolError("not_found", f"there is no {self.path[:80]!r} here", "see cornergrid-edge enroll"))

    def do_POST(self) -> None:  # the base class's name
        posts: dict[str, Callable[[bytes, str], Issued]] = {
            ENROL: lambda body, source: self.desk.enrol(_decode(body, EnrolRequest), source),
            ROTATE: lambda body, source: self.desk.rotate(self._shown(), _decode(body, RotateRequest), source),
            CONFIRM: lambda _body, source: self.desk.confirm(self._shown(), source),
        }
        source = source_of(self.client_address[0])
        try:
            if self.path not in posts:
                raise EnrolError("not_found", f"there is no {self.path[:80]!r} here", "update the device's program")
            self._answer(HTTPStatus.OK, posts[self.path](self._body(), source))
        except EnrolError as error:
            if error.kind in _UNHEARD:
                self.ledger.refuse(error.kind, "?", source, self.clock.now(), str(error))
            self._refuse(error)
        except sqlite3.Error as error:
            log.error("ledger_failed", error=str(error))
            self._refuse(EnrolError("busy", f"the ledger does not answer: {error}", "none needed: try again", 30.0))

    def _body(self) -> bytes:
        text = self.headers.get("Content-Length", "")
        length = int(text) if re.fullmatch("[0-9]{1,9}", text) else -1
        if not 0 <= length <= MAX_REQUEST:
            raise EnrolError("too_large", f"a request has at most {MAX_REQUEST} bytes, and says how many",
                             "update the device's program")
        return self.rfile.read(length)

    def _shown(self) -> x509.Certificate:
        connection: Any = self.connection
        shown = connection.getpeercert(binary_form=True)
        if not shown:
            raise EnrolError("no_certificate", "no certificate was shown", "enrol the device first")
        return x509.load_der_x509_certificate(shown)

    def _refuse(self, error: EnrolError) -> None:
        self._answer(STATUS.get(error.kind, HTTPStatus.BAD_REQUEST),
                     Refusal(kind=error.kind, wrong=error.wrong, fix=error.fix, retry_s=error.retry_s))

    def _answer(self, status: HTTPStatus, message: msgspec.Struct) -> None:
        body = msgspec.json.encode(message)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self) -> None:
        """On every answer, the base class's own errors too."""
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """What matters is logged by the desk."""


_UNHEARD = {"not_found", "too_large", "no_certificate", "malformed"}
"""Refusals that are made before the desk hears of the request."""


def _decode(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EnrolError("malformed", f"the request cannot be read: {str(error)[:200]}",
                         "update the device's program") from error


def keep_serving(server: EnrolServer, stop: threading.Event, every_s: float = 3600.0) -> None:
    """Serve until `stop` is set, and keep the server's own certificate young."""
    server.start()
    while not stop.wait(every_s):
        try:
            server.renew()
        except OSError as error:  # a disk is supervised here: the certificate has a third of its life left
            log.error("server_certificate_not_renewed", error=str(error), fix="the authority's folder must be a "
                      "writable disk; it is tried again")
    server.stop()


def names_with(host: str, names: list[str]) -> tuple[str, ...]:
    """The names a server's certificate is for: those given, and the address it listens on where that says one."""
    known = tuple(dict.fromkeys([*names, *([host] if host not in {"0.0.0.0", "::"} else [])]))  # noqa: S104  # compared
    if not known:
        raise ConfigError("ca serve", (Problem("--name", "is missing", "the name or address by which devices reach "
                                               "this server: they refuse any other"),))
    if odd := [each for each in known if not is_host(each)]:
        raise ConfigError("ca serve", (Problem("--name", f"{odd[0]!r} is no name or address of a machine",
                                               "like enrol.example.org, without a port"),))
    return known
