"""The rest of the table: attacks on the enrolment server, on the rotation, and on the device itself."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cloud_ingest.pki.desk import PER_SOURCE
from cloud_ingest.pki.x509 import DAY_S, Leaf, Signer, new_key
from edge.errors import EnrolError
from edge.identity.client import post
from edge.identity.enrol import begin, request_for, send
from edge.identity.files import Identity
from edge.identity.trust import check_dates, context
from edge.wire.enrol import (
    ALPHABET,
    CONFIRM,
    ENROL,
    MAX_REQUEST,
    ROTATE,
    EnrolRequest,
    Issued,
    Label,
    RotateRequest,
    claim_seed,
    claim_statement,
)
from tests.cloud_ingest.pki.world import HOST, WAIT_S, tls_of
from tests.e2e.attacks import ATTACKS as ATTACKS  # noqa: PLC0414  # the rows of both files are one table
from tests.e2e.attacks import VICTIM, Scene, attack, old_tls

# On the enrolment server.

def refused(kind: str, ask: Callable[[], object]) -> EnrolError:
    with pytest.raises(EnrolError) as caught:
        ask()
    assert caught.value.kind == kind
    assert caught.value.fix
    return caught.value


def request_of(label: Label, csr: str) -> EnrolRequest:
    claim = Ed25519PrivateKey.from_private_bytes(claim_seed(label))
    return EnrolRequest(device=label.device, csr=csr, proof=claim.sign(claim_statement(label.device, csr)).hex())


def enrol(scene: Scene, request: EnrolRequest) -> Issued:
    return post(scene.world.address, ENROL, request, scene.world.folder.root, scene.world.moment())


def signed(key: Any, name: str) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256()).public_bytes(
        Encoding.PEM).decode()


def other_code(label: Label, i: int = 0) -> Label:
    return Label(label.device, "".join(ALPHABET[i // 32 ** n % 32] for n in range(12)), label.fingerprint)


def forget_guesses(scene: Scene) -> None:
    with scene.world.ledger.change() as db:
        db.execute("DELETE FROM guess")


@attack("a guessed claim code", "wrong_label")
def _guess(scene: Scene) -> None:
    label = scene.world.invite("shop-guess")
    refused("wrong_label", lambda: enrol(scene, request_of(other_code(label), signed(new_key(), label.device))))


@attack("many guessed claim codes", "too_many_tries")
def _brute_force(scene: Scene) -> None:
    label = scene.world.invite("shop-brute")
    csr = signed(new_key(), label.device)
    forget_guesses(scene)
    for i in range(PER_SOURCE):
        refused("wrong_label", lambda i=i: enrol(scene, request_of(other_code(label, i), csr)))  # type: ignore[misc]  # bound at once
    told = refused("too_many_tries", lambda: enrol(scene, request_of(label, csr)))
    assert 0 < told.retry_s <= 600
    forget_guesses(scene)


@attack("a label used again with another key", "label_used")
def _replayed(scene: Scene) -> None:
    label = scene.world.invite("shop-twice")
    enrol(scene, request_of(label, signed(new_key(), label.device)))
    refused("label_used", lambda: enrol(scene, request_of(label, signed(new_key(), label.device))))


@attack("a label that has run out", "label_expired")
def _expired_label(scene: Scene) -> None:
    label = scene.world.desk.invite("shop-late", "site-1", scene.world.address, lasts_s=-1)
    refused("label_expired", lambda: enrol(scene, request_of(label, signed(new_key(), label.device))))


@attack("one device's label for another device", "wrong_label")
def _other_device(scene: Scene) -> None:
    label, other = scene.world.invite("shop-one"), scene.world.invite("shop-two")
    crossed = Label(other.device, label.code, label.fingerprint)
    refused("wrong_label", lambda: enrol(scene, request_of(crossed, signed(new_key(), other.device))))
    forget_guesses(scene)


@attack("another key put into a request that was overheard, or found on a stick", "wrong_label")
def _swapped(scene: Scene) -> None:
    label = scene.world.invite("shop-swap")
    overheard = request_of(label, signed(new_key(), label.device))
    mine = msgspec.structs.replace(overheard, csr=signed(new_key(), label.device))
    refused("wrong_label", lambda: enrol(scene, mine))
    forget_guesses(scene)


@attack("a request whose subject was altered after it was signed", "bad_signature")
def _altered(scene: Scene) -> None:
    label = scene.world.invite("shop-altr")
    honest = x509.load_pem_x509_csr(signed(new_key(), label.device).encode()).public_bytes(Encoding.DER)
    altered = x509.load_der_x509_csr(honest.replace(b"shop-altr", b"shop-alt2")).public_bytes(Encoding.PEM).decode()
    refused("bad_signature", lambda: enrol(scene, request_of(label, altered)))


@attack("a well signed request for another subject", "foreign_subject")
def _subject(scene: Scene) -> None:
    label = scene.world.invite("shop-subj")
    refused("foreign_subject", lambda: enrol(scene, request_of(label, signed(new_key(), VICTIM))))


@attack("a request for the ingest's name", "foreign_subject")
def _backend_subject(scene: Scene) -> None:
    label = scene.world.invite("shop-high")
    refused("foreign_subject", lambda: enrol(scene, request_of(label, signed(new_key(), "cg_backend"))))


@attack("a weak RSA key", "bad_key")
def _weak(scene: Scene) -> None:
    label = scene.world.invite("shop-weak")
    key = rsa.generate_private_key(65537, 1024)
    refused("bad_key", lambda: enrol(scene, request_of(label, signed(key, label.device))))


@attack("a key of another curve", "bad_key")
def _curve(scene: Scene) -> None:
    label = scene.world.invite("shop-curve")
    key = ec.generate_private_key(ec.SECP256K1())
    refused("bad_key", lambda: enrol(scene, request_of(label, signed(key, label.device))))


@attack("a request that is no JSON", "malformed")
def _no_json(scene: Scene) -> None:
    status, body = ask_raw(scene, ENROL, b"{" * 2000)
    assert (status, body["kind"]) == (400, "malformed")


@attack("a request of a megabyte", "too_large")
def _large(scene: Scene) -> None:
    status, body = ask_raw(scene, ENROL, b"x" * 100, length=1024 ** 2)
    assert (status, body["kind"]) == (413, "too_large")
    assert MAX_REQUEST < 1024 ** 2


def ask_raw(scene: Scene, path: str, body: bytes, length: int | None = None) -> tuple[int, Any]:
    head = f"POST {path} HTTP/1.0\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n".encode()
    with socket.create_connection((HOST, scene.world.server.port), WAIT_S) as plain, tls_of(
            scene.world, None).wrap_socket(plain, server_hostname=HOST) as secure:
        secure.sendall(head + body)
        answer = b""
        while chunk := _more(secure):
            answer += chunk
    head, _, told = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(told)


def _more(secure: ssl.SSLSocket) -> bytes:
    try:
        return secure.recv(4096)
    except OSError:
        return b""


@attack("TLS 1.1 to the enrolment server", "enrol_tls")
def _downgraded_enrol(scene: Scene) -> None:
    tls = old_tls(scene)
    with socket.create_connection((HOST, scene.world.server.port), WAIT_S) as plain, pytest.raises(ssl.SSLError):
        tls.wrap_socket(plain, server_hostname=HOST)


# On the rotation.

def identity(scene: Scene, device: str) -> Identity:
    found = scene.world.store(device).read(scene.world.store(device).current)
    return found or scene.world.given(device)


def rotate(scene: Scene, shown: Path | None, csr: str, path: str = ROTATE) -> Issued:
    return post(scene.world.address, path, RotateRequest(csr=csr), scene.world.folder.root, scene.world.moment(), shown)


@attack("a rotation without a certificate", "no_certificate")
def _rotate_nobody(scene: Scene) -> None:
    refused("no_certificate", lambda: rotate(scene, None, request_for(new_key(), VICTIM)))


@attack("a rotation with a rogue authority's certificate", "enrol_tls")
def _rotate_rogue(scene: Scene) -> None:
    shown = scene.world.issued(VICTIM, 0, 1, scene.rogue)
    refused("unreachable", lambda: rotate(scene, shown, request_for(new_key(), VICTIM)))


@attack("a rotation with a certificate that the ledger does not know", "unknown_certificate")
def _rotate_unknown(scene: Scene) -> None:
    shown = scene.world.issued(VICTIM, 0, 1)
    refused("unknown_certificate", lambda: rotate(scene, shown, request_for(new_key(), VICTIM)))


@attack("a rotation of a revoked device", "revoked")
def _rotate_revoked(scene: Scene) -> None:
    scene.world.given("shop-rr")
    scene.world.desk.revoke("shop-rr", "attack")
    refused("revoked", lambda: rotate(scene, scene.world.store("shop-rr").current, request_for(new_key(), "shop-rr")))


@attack("a rotation into another device's name", "foreign_subject")
def _rotate_subject(scene: Scene) -> None:
    refused("foreign_subject", lambda: later(scene, 61, lambda: rotate(
        scene, scene.thief, request_for(new_key(), VICTIM))))


def later(scene: Scene, days: float, ask: Callable[[], Issued]) -> Issued:
    scene.world.clock.shift = days * DAY_S
    try:
        return ask()
    finally:
        scene.world.clock.shift = 0.0


@attack("a rotation with a copied key, after the device has rotated", "superseded")
def _rotate_copied(scene: Scene) -> None:
    world = scene.world
    first = world.given("shop-old")
    shown, key = world.store("shop-old").current, new_key()
    made = later(scene, 61, lambda: rotate(scene, shown, request_for(key, "shop-old")))
    fresh = world.file("fresh", key, x509.load_pem_x509_certificate(made.certificate.encode()), first.issuing)
    later(scene, 61, lambda: rotate(scene, fresh, "", CONFIRM))
    refused("superseded", lambda: later(scene, 62, lambda: rotate(scene, shown, request_for(new_key(), "shop-old"))))


@attack("a rotation with a certificate that ran out years ago", "expired")
def _rotate_ancient(scene: Scene) -> None:
    world = scene.world
    world.given("shop-ancient")
    shown = world.store("shop-ancient").current
    refused("expired", lambda: later(scene, 800, lambda: rotate(scene, shown, request_for(new_key(), "shop-ancient"))))


# On the device.

@attack("an enrolment server of another authority, which wants the code", "")
def _rogue_server(scene: Scene) -> None:
    heard: list[bytes] = []
    with impostor(scene, scene.rogue, heard) as address:
        label = scene.world.invite("shop-lured")
        lured = Label(label.device, label.code, label.fingerprint, address)
        store = scene.world.store("shop-lured")
        refused("other_authority", lambda: send(store, begin(store, lured), scene.world.moment()))
    assert heard
    assert not any(label.code.encode() in said or b"proof" in said for said in heard)


@attack("another device posing as the enrolment server", "")
def _device_as_server(scene: Scene) -> None:
    with socket.create_server((HOST, 0)) as listening:
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(scene.thief)
        answering = threading.Thread(target=_shake_hands, args=(listening, serving))
        answering.start()
        address = f"{HOST}:{listening.getsockname()[1]}"
        root = scene.world.folder.root
        refused("not_trusted", lambda: post(address, CONFIRM, None, root, scene.world.moment(),
                                            scene.world.store(VICTIM).current))
        answering.join()


def _shake_hands(listening: socket.socket, tls: ssl.SSLContext) -> None:
    connection, _ = listening.accept()
    with connection, contextlib.suppress(OSError):
        tls.wrap_socket(connection, server_side=True).close()


@contextlib.contextmanager
def impostor(scene: Scene, signer: Signer, heard: list[bytes]) -> Iterator[str]:
    """An enrolment server of another authority that writes down what it is told."""
    shown = scene.world.issued("enrol", 0, 1, signer, Leaf("enrol", "server", DAY_S, (HOST,)))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(shown)
    root = json.dumps({"root": signer.certificate.public_bytes(Encoding.PEM).decode()}).encode()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError), tls.wrap_socket(connection, server_side=True) as secure:
            heard.append(secure.recv(65536))
            secure.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(root) + root)
            heard.append(secure.recv(65536))

    with socket.create_server((HOST, 0)) as listening:
        answering = threading.Thread(target=serve)
        answering.start()
        yield f"{HOST}:{listening.getsockname()[1]}"
        answering.join()


@attack("a broker of another authority", "")
def _rogue_broker(scene: Scene) -> None:
    shown = scene.world.issued("broker", 0, 1, scene.rogue, Leaf("broker", "server", DAY_S, (HOST,)))
    with pytest.raises(ssl.SSLCertVerificationError):
        _meet(scene, shown)


@attack("a broker with an old certificate of ours that ran out", "")
def _old_broker(scene: Scene) -> None:
    shown = scene.world.issued("broker", -400, 90, leaf=Leaf("broker", "server", 90 * DAY_S, (HOST,)))
    now = scene.world.moment()
    with pytest.raises(ssl.SSLCertVerificationError):
        check_dates(_meet(scene, shown), type(now)(0.0, False, scene.world.clock.now()))


def _meet(scene: Scene, shown: Path) -> bytes | None:
    """What a device's TLS sees of a broker with that certificate."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(shown)
    with socket.create_server((HOST, 0)) as listening:
        answering = threading.Thread(target=_shake_hands, args=(listening, serving))
        answering.start()
        try:
            with socket.create_connection(listening.getsockname()[:2], WAIT_S) as plain, context(
                    scene.world.folder.root, scene.world.store(VICTIM).current).wrap_socket(
                    plain, server_hostname=HOST) as secure:
                return secure.getpeercert(binary_form=True)
        finally:
            answering.join()
