"""A locked server, and how strangers knock: whole requests, parts of them, and far too many."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx

from cloud_ingest import http, tokens
from cloud_ingest.keeper import Door
from cloud_ingest.limits import Limits
from cloud_ingest.pki import folder as folders
from cloud_ingest.pki.folder import keep_leaf
from cloud_ingest.pki.x509 import Leaf
from cloud_ingest.rows import Scope
from edge.clock import SystemClock

PATIENCE_S = 20


def now() -> float:
    return SystemClock().now()


def token(db: Path, name: str = "reader", scope: tokens.TokenScope = "feed", days: float = 1.0) -> str:
    return tokens.add(db, name, scope, days, now())


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def certified(path: Path) -> Path:
    """A chain and its key for 127.0.0.1 in one file; `root.pem` beside it signs it, by the authority in `ca`."""
    folder = folders.create(path / "ca", "Test", now())
    (path / "root.pem").write_text(folder.anchors)
    return sign(folder, path / "feed.pem")


def sign(folder: folders.Folder, file: Path) -> Path:
    """The same with a new key."""
    file.unlink(missing_ok=True)
    keep_leaf(file, folder.issuing, Leaf("feed", "server", 86_400, ("127.0.0.1",)), folder.chain, now())
    return file


@contextlib.contextmanager
def serving(db: Path, scope: Scope = "operator", limits: Limits | None = None, host: str = "127.0.0.1",
            **door: object) -> Iterator[http.Server]:
    made = http.start(db, host, 0, scope, Door(limits=limits or Limits(), **door))  # type: ignore[arg-type]  # cert, key, proxy
    try:
        yield made
    finally:
        made.stop()


@contextlib.contextmanager
def client(server: http.Server, **given: object) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.address, timeout=PATIENCE_S, trust_env=False, **given) as made:  # type: ignore[arg-type]  # httpx's own
        yield made


def port_of(server: http.Server) -> int:
    return int(server.address.rpartition(":")[2])


@contextlib.contextmanager
def connected(server: http.Server, source: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A bare connection from that address."""
    with socket.create_connection(("127.0.0.1", port_of(server)), PATIENCE_S, (source, 0)) as made:
        yield made


def rest(connection: socket.socket) -> bytes:
    """All that comes until the other side ends; what it cut is the end as well."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65_536):
            found += part
    return found


def counted(db: Path) -> Counter[str]:
    """What the operator sees, by kind; after the server has stopped."""
    found: Counter[str] = Counter()
    for each in tokens.refused(db, 0.0):
        found[each.kind] += each.n
    return found
