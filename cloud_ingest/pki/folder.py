"""The authority's folder: its keys and certificates, and the ledger beside them.

    root.key       signs the issuing authority, and nothing else: move it to a safe place after `ca init`
    root.crt       what every device pins by the fingerprint on its label
    issuing.*      signs devices, servers and the revocation list
    services.*     a root of its own for the ingest and the guard: no device's certificate opens their listener
    authority.db   what was invited, issued, revoked and refused
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cloud_ingest.pki.x509 import (
    DAY_S,
    LONGEST_NAME,
    Key,
    Leaf,
    Signer,
    begins,
    der,
    due,
    is_for,
    issue,
    key_pem,
    make_authority,
    new_key,
    pem,
)
from edge.errors import ConfigError, Problem, StoreError
from edge.wire.enrol import fingerprint_of

ROOT_LIFE_S = 25 * 365 * DAY_S
ISSUING_LIFE_S = 10 * 365 * DAY_S
SERVER_LIFE_S = 90 * DAY_S
LEDGER = "authority.db"


def write(path: Path, content: bytes | str, *, secret: bool = False) -> None:
    """Write a file whole or not at all; a secret one is readable by its owner only, from its first byte on."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
    with os.fdopen(handle, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    parent = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


@dataclass(frozen=True, slots=True)
class Folder:
    """An authority that exists."""

    path: Path
    root: x509.Certificate
    issuing: Signer
    services: Signer

    @property
    def fingerprint(self) -> str:
        """What a label says of the root."""
        return fingerprint_of(der(self.root))

    @property
    def ledger(self) -> Path:
        """The database's file."""
        return self.path / LEDGER

    @property
    def chain(self) -> str:
        """What leads from a device's certificate to the root, without it, PEM."""
        return pem(self.issuing.certificate)

    @property
    def anchors(self) -> str:
        """What a broker needs to know every device by: issuing and root, PEM."""
        return self.chain + pem(self.root)


def create(path: Path, name: str, now: float) -> Folder:
    """A new authority; StoreError where there is one already."""
    if (path / "root.crt").exists():
        raise StoreError(str(path), "holds an authority already", "use it, or name another folder: a second root would "
                         "make every label that is printed worthless")
    if not 0 < len(name) <= LONGEST_NAME - len(" services"):
        raise ConfigError("ca init", (Problem("--name", "stands in certificates, which take 1 to 55 characters",
                                              "the operator's name, shortened"),))
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    root = make_authority(f"{name} root", now, ROOT_LIFE_S)
    issuing = make_authority(f"{name} issuing", now, ISSUING_LIFE_S, root)
    services = make_authority(f"{name} services", now, ISSUING_LIFE_S)
    for signer, stem in ((issuing, "issuing"), (services, "services"), (root, "root")):
        write(path / f"{stem}.key", key_pem(signer.key), secret=True)
        write(path / f"{stem}.crt", pem(signer.certificate))
    return Folder(path, root.certificate, issuing, services)


def load(path: Path) -> Folder:
    """The authority in a folder; StoreError where there is none, or a file of it is damaged."""
    if not (path / "root.crt").exists():
        raise StoreError(str(path), "holds no authority", "make one with `cornergrid-cloud ca init`, or name its "
                         "folder with --ca")
    return Folder(path, _certificate(path / "root.crt"), _signer(path, "issuing"), _signer(path, "services"))


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(str(path), f"cannot be read: {error}", "restore it from the backup") from error


def _signer(path: Path, stem: str) -> Signer:
    file = path / f"{stem}.key"
    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(str(file), f"cannot be read: {error}", "restore it from the backup") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise StoreError(str(file), "is not a P-256 key", "restore it from the backup")
    return Signer(_certificate(path / f"{stem}.crt"), key)


def keep_leaf(file: Path, signer: Signer, leaf: Leaf, chain: str, now: float) -> bool:
    """Let `file` hold a key and a certificate for `leaf`, key first, then `chain`; whether it had to be made anew.

    It is made anew at two thirds of its life, and where name, hosts or authority are others.
    """
    if _serves(file, signer, leaf, now):
        return False
    key: Key = new_key()
    certificate = issue(signer, key.public_key(), leaf, now)
    write(file, key_pem(key) + pem(certificate).encode() + chain.encode(), secret=True)
    return True


def _serves(file: Path, signer: Signer, leaf: Leaf, now: float) -> bool:
    try:
        content = file.read_bytes()
        key = load_pem_private_key(content, None)
        certificate = x509.load_pem_x509_certificates(content)[0]
        certificate.verify_directly_issued_by(signer.certificate)
    except (OSError, ValueError, TypeError, InvalidSignature):  # whatever is wrong with it, a new one puts it right
        return False
    mine = key.public_key() == certificate.public_key() and is_for(certificate, leaf)
    return mine and begins(certificate) <= now < due(certificate)
