"""How a device talks to the authority: JSON over HTTPS, one connection for each question."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path
from typing import TypeVar

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edge.errors import EnrolError
from edge.identity.trust import Moment, check_dates, context
from edge.wire.enrol import AUTHORITY, Authority, Issued, Refusal, fingerprint_of

TIMEOUT_S = 20.0
MAX_ANSWER = 64 * 1024
AGAIN_S = 60.0
T = TypeVar("T", bound=msgspec.Struct)


def fetch_root(server: str, fingerprint: str) -> x509.Certificate:
    """The root whose fingerprint is on the label, asked of whoever answers at `server`; nothing else is said there.

    EnrolError where nobody answers, or with another root.
    """
    told = _ask(server, context(None), "GET", AUTHORITY, b"", Authority, None)
    try:
        root = x509.load_pem_x509_certificate(told.root.encode())
    except (ValueError, x509.InvalidVersion) as error:
        raise _other(server) from error
    if fingerprint_of(root.public_bytes(Encoding.DER)) != fingerprint:
        raise _other(server)
    return root


def post(server: str, path: str, message: msgspec.Struct | None, root: x509.Certificate, at: Moment,
         identity: Path | None = None) -> Issued:
    """Ask the authority of `root`, showing the identity in a file; EnrolError with its refusal, or why it has none."""
    body = msgspec.json.encode(message) if message is not None else b""
    return _ask(server, context(root, identity), "POST", path, body, Issued, at)


def _other(server: str) -> EnrolError:
    return EnrolError("other_authority", f"{server} is not the authority on the label; nothing was told to it",
                      "compare the fingerprint with the sticker; where it is right, check the address, and that no "
                      "proxy stands between")


def _ask(server: str, tls: ssl.SSLContext, method: str, path: str, body: bytes, kind: type[T],
         at: Moment | None) -> T:
    host, _, port = server.rpartition(":")
    connection = http.client.HTTPSConnection(host.strip("[]"), int(port), timeout=TIMEOUT_S, context=tls)
    try:
        connection.connect()
        if at is not None:
            check_dates(connection.sock.getpeercert(binary_form=True), at)
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return _read(answer.status, answer.read(MAX_ANSWER), kind, known=at is not None)
    except ssl.SSLCertVerificationError as error:
        raise EnrolError("not_trusted", f"{server} is not to be trusted: {error.verify_message or error}",
                         "is this the address on the label, and the server's certificate for that name?",
                         AGAIN_S) from error
    except (OSError, http.client.HTTPException) as error:
        raise EnrolError("unreachable", f"{server} does not answer: {error}",
                         "check network, address and firewall; nothing is lost, try again", AGAIN_S) from error
    finally:
        connection.close()


def _read(status: int, body: bytes, kind: type[T], *, known: bool) -> T:
    try:
        if status == http.client.OK:
            return msgspec.json.decode(body, type=kind)
        if not known:
            raise msgspec.DecodeError("a stranger's words are not for the person at the box")
        told = msgspec.json.decode(body, type=Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EnrolError("unreachable", f"the answer (HTTP {status}) is not of an enrolment server",
                         "check the address, and that no proxy stands between", AGAIN_S) from error
    raise EnrolError(told.kind, told.wrong, told.fix, told.retry_s)
