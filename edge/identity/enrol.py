"""Enrolment: from a label to an identity, over the network or by a USB stick, through any number of power cuts.

The code on the label stays here. It makes a key (`edge.wire.enrol`) that signs this device's request, and that is
forgotten; what is kept and sent proves the code, and is worth nothing for another key.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from edge.errors import EnrolError
from edge.identity.client import fetch_root, post
from edge.identity.files import Identity, Key, Pending, Store, identity_of, key_pem, read_key
from edge.identity.trust import Moment
from edge.wire.enrol import ENROL, EnrolRequest, Issued, Label, claim_seed, claim_statement


def request_for(key: Key, device: str) -> str:
    """A PKCS #10 request (PEM) for a device's key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256()).public_bytes(
        Encoding.PEM).decode()


def new_key() -> Key:
    """A private key, which never leaves this device."""
    return ec.generate_private_key(ec.SECP256R1())


def begin(store: Store, label: Label) -> Pending:
    """Make a key and a signed request for a label, and keep both; the same again where the label is the same."""
    claim = _claim_key(label)
    pending = store.pending()
    if pending is not None and _is_of(pending.request, label, claim):
        if label.server and label.server != pending.server:
            pending = msgspec.structs.replace(pending, server=label.server)
            store.keep_pending(pending)
        return pending
    key = new_key()
    csr = request_for(key, label.device)
    proof = claim.sign(claim_statement(label.device, csr)).hex()
    pending = Pending(key=key_pem(key).decode(), request=EnrolRequest(device=label.device, csr=csr, proof=proof),
                      fingerprint=label.fingerprint, server=label.server)
    store.keep_pending(pending)
    return pending


def already(store: Store, label: Label | None) -> Identity | None:
    """The identity in use, where it was this very label that gave it, or nobody says which: what is typed twice, or
    after a power cut, is no other enrolment."""
    claim, present = store.claim(), store.read(store.current)
    if present is None or store.pending() is not None:
        return None
    if label is not None and (claim is None or not _is_of(claim, label, _claim_key(label))):
        return None
    return present


def _claim_key(label: Label) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(claim_seed(label))  # of device, code and fingerprint


def _is_of(request: EnrolRequest, label: Label, claim: Ed25519PrivateKey) -> bool:
    if request.device != label.device:
        return False
    try:
        claim.public_key().verify(bytes.fromhex(request.proof), claim_statement(request.device, request.csr))
    except InvalidSignature:
        return False
    return True


def send(store: Store, pending: Pending, at: Moment) -> Identity:
    """Ask the authority that the label names; EnrolError where it refuses or does not answer.

    A refusal that no waiting mends ends the enrolment: the label is of no use any more.
    """
    root = fetch_root(pending.server, pending.fingerprint)
    try:
        issued = post(pending.server, ENROL, pending.request, root, at)
    except EnrolError as error:
        if error.kind in {"wrong_label", "label_used", "label_expired"}:
            store.give_up()
        raise
    return accept(store, pending, issued)


def accept(store: Store, pending: Pending, issued: Issued) -> Identity:
    """Take an answer into use; EnrolError where it is not the answer to this request."""
    if issued.device != pending.request.device:
        raise EnrolError("bad_answer", f"the answer is for {issued.device}, not {pending.request.device}",
                         "is this the stick of another box?")
    key = read_key(pending.key.encode())
    identity = identity_of(issued, key, pending.fingerprint, pending.server)
    store.set_floor(max(issued.t, store.floor()))
    store.enrolled(identity, pending.request)
    return identity


def to_stick(pending: Pending, stick: Path) -> Path:
    """Write the request, which holds no secret, to a stick; the file. OSError where that cannot be."""
    file = stick / f"{pending.request.device}.request.json"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(pending.request)) + b"\n")
    return file


def from_stick(pending: Pending, stick: Path) -> Issued | None:
    """The answer on a stick; None where there is none yet, EnrolError where it cannot be read."""
    file = stick / f"{pending.request.device}.bundle.json"
    try:
        return msgspec.json.decode(file.read_bytes(), type=Issued)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EnrolError("bad_answer", f"{file} cannot be read: {error}",
                         "sign the request again with `cornergrid-cloud device sign`") from error
