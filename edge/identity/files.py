"""The identity's files: each written whole, readable by its owner only, and put right after a power cut.

    pending.json   an enrolment under way: the key and the request. Gone when current.pem is there
    claim.json     the request that brought current.pem, or one before it: no secret, but it knows its label again
    current.pem    the identity in use: key, certificate, what leads to the root, and the root; one file, so that no
                   power cut parts them
    next.key       a rotation under way: the new key
    next.pem       the new identity, until the broker has taken it and it becomes current.pem
    floor          the newest time that an authority told, Unix seconds
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from edge.box.steps import give, sync, write_whole
from edge.errors import EnrolError
from edge.wire.enrol import EnrolRequest, Issued, fingerprint_of

log = structlog.get_logger(__name__)
Key = ec.EllipticCurvePrivateKey
HEAD = "Cornergrid identity 1"
ANEW = "ask the operator for a label (`cornergrid-cloud device invite`), then `cornergrid-edge enroll \"LABEL\"`"


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """An enrolment that is not through: `key` is the private key (PEM); the rest is no secret."""

    key: str
    request: EnrolRequest
    fingerprint: str
    server: str


@dataclass(frozen=True, slots=True)
class Identity:
    """A key, its certificate, and the way from that to the root. `server` is the authority's HOST:PORT, or empty."""

    server: str
    key: Key
    certificate: x509.Certificate
    issuing: x509.Certificate
    root: x509.Certificate

    @property
    def device(self) -> str:
        """The certificate's subject."""
        return str(self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

    @property
    def begins(self) -> float:
        """From when the certificate is valid, Unix seconds."""
        return self.certificate.not_valid_before_utc.timestamp()

    @property
    def ends(self) -> float:
        """Until when it is valid, Unix seconds."""
        return self.certificate.not_valid_after_utc.timestamp()

    @property
    def due(self) -> float:
        """When it is to be replaced: at two thirds of its life."""
        return self.begins + (self.ends - self.begins) * 2 / 3

    def to_bytes(self) -> bytes:
        """The file: OpenSSL reads past the first lines."""
        chain = b"".join(each.public_bytes(Encoding.PEM) for each in (self.certificate, self.issuing, self.root))
        return f"{HEAD}\nserver: {self.server}\n".encode() + key_pem(self.key) + chain


def key_pem(key: Key) -> bytes:
    """A private key as text."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_identity(content: bytes) -> Identity:
    """An identity from its file; EnrolError where anything of it is missing or does not belong together."""
    try:
        head, server = content.split(b"\n", 2)[:2]
        if head.decode() != HEAD:
            raise ValueError("not an identity file")
        key = read_key(content)
        certificate, issuing, root = x509.load_pem_x509_certificates(content)
        issuing.verify_directly_issued_by(root)
        certificate.verify_directly_issued_by(issuing)
        if certificate.public_key() != key.public_key():
            raise ValueError("key and certificate do not belong together")
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise EnrolError("damaged", f"this device's identity is damaged: {error or 'a signature does not fit'}",
                         ANEW) from error
    return Identity(server.decode().removeprefix("server: "), key, certificate, issuing, root)


def read_key(content: bytes) -> Key:
    """A P-256 private key; ValueError where it is none."""
    key = load_pem_private_key(content, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not a P-256 key")  # what is wrong is the file's content
    return key


def identity_of(issued: Issued, key: Key, fingerprint: str, server: str) -> Identity:
    """The identity that an answer makes of a key; EnrolError where it is for another key, or of another root.

    Dates are left alone: this device's clock may be years wrong.
    """
    fix = "nothing was changed; ask the operator whether this is the right server, or the right stick"
    try:
        root = x509.load_pem_x509_certificate(issued.root.encode())
        parts = [x509.load_pem_x509_certificate(text.encode()) for text in (issued.certificate, issued.chain)]
    except (ValueError, x509.InvalidVersion) as error:
        raise EnrolError("bad_answer", f"the answer holds no certificates: {error}", fix) from error
    if fingerprint_of(root.public_bytes(Encoding.DER)) != fingerprint:
        raise EnrolError("other_authority", "the answer is of another authority than the label's", fix)
    found = read_identity(Identity(server, key, parts[0], parts[1], root).to_bytes())
    if found.device != issued.device:
        raise EnrolError("bad_answer", f"the certificate is for {found.device}, not {issued.device}", fix)
    return found


class Store:
    """The folder of one device's identity."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.current, self.next = folder / "current.pem", folder / "next.pem"
        self._pending, self._next_key, self._floor = folder / "pending.json", folder / "next.key", folder / "floor"
        self._claim = folder / "claim.json"

    def recover(self) -> None:
        """After a start: what a power cut left half done is completed where all is there, and undone otherwise."""
        for part in self.folder.glob("*.part"):
            part.unlink()
        current, following = self.read(self.current), self.read(self.next)
        if following is None:
            _drop(self.next, "a new certificate was written in part; it is asked for again")
        elif current is None:
            log.warning("identity_completed", why="the present certificate is damaged, the next one is whole")
            self.promote()
            current = following
        pending = self.pending()
        if pending is None:
            _drop(self._pending, "an enrolment was written in part")
        elif current and current.key.public_key() == read_key(pending.key.encode()).public_key():
            self._pending.unlink()
        key = self.next_key()
        if key is None or (current and key.public_key() == current.key.public_key()):
            _drop(self._next_key, "a rotation's key is of no use any more")

    def read(self, file: Path) -> Identity | None:
        """The identity in a file; None where there is none, or it is damaged, which is logged."""
        try:
            return read_identity(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, EnrolError) as error:
            log.error("identity_unreadable", file=str(file), error=str(error))
            return None

    def pending(self) -> Pending | None:
        """The enrolment under way."""
        try:
            pending = msgspec.json.decode(self._pending.read_bytes(), type=Pending)
            read_key(pending.key.encode())
        except (OSError, ValueError, msgspec.DecodeError):
            return None
        return pending

    def keep_pending(self, pending: Pending) -> None:
        """Keep an enrolment before anything of it is sent."""
        self._write(self._pending, msgspec.json.encode(pending))

    def enrolled(self, identity: Identity, claim: EnrolRequest) -> None:
        """Take an identity into use, and forget what led to it but for the claim."""
        self._write(self._claim, msgspec.json.encode(claim))
        self._write(self.current, identity.to_bytes())
        for rest in (self.next, self._next_key, self._pending):
            rest.unlink(missing_ok=True)
        sync(self.folder)

    def claim(self) -> EnrolRequest | None:
        """The request that was answered last; None where nobody knows."""
        try:
            return msgspec.json.decode(self._claim.read_bytes(), type=EnrolRequest)
        except (OSError, UnicodeDecodeError, msgspec.DecodeError):
            return None

    def give_up(self) -> None:
        """Forget the enrolment under way."""
        self._pending.unlink(missing_ok=True)

    def next_key(self) -> Key | None:
        """The key of a rotation under way."""
        try:
            return read_key(self._next_key.read_bytes())
        except (OSError, ValueError, TypeError):
            return None

    def keep_next_key(self, key: Key) -> None:
        """Keep a rotation's key before it is sent."""
        self._write(self._next_key, key_pem(key))

    def keep_next(self, identity: Identity) -> None:
        """Keep the next identity beside the present one, until the broker has taken it."""
        self._write(self.next, identity.to_bytes())

    def promote(self) -> None:
        """The next identity is the present one from now on; the one before is gone."""
        os.replace(self.next, self.current)
        sync(self.folder)
        self._next_key.unlink(missing_ok=True)

    def floor(self) -> float:
        """The newest time that an authority told; 0 where none did."""
        try:
            return float(self._floor.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0.0

    def set_floor(self, t: float) -> None:
        """Remember a time that an authority told, or a synchronised clock, which alone may put it back."""
        self._write(self._floor, f"{t:.0f}".encode())

    def _write(self, file: Path, content: bytes) -> None:
        if not self.folder.exists():
            self.folder.mkdir(parents=True, mode=0o700)
            give(self.folder, self.folder.parent)
        write_whole(file, content, 0o600, like=self.folder.parent)


def _drop(file: Path, why: str) -> None:
    if file.exists():
        log.warning("identity_undone", file=file.name, why=why)
        file.unlink()
