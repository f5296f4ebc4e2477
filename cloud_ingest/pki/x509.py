"""Keys, certificates, requests and revocation lists (RFC 5280), by `cryptography`. Pure: times are given.

Elliptic curve P-256 throughout: a cheap box signs with it in a millisecond, and every TLS library knows it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge.errors import EnrolError

DAY_S = 86_400.0
SKEW_S = 300.0
"""A certificate begins so long before it is made, for brokers whose clock is behind the authority's."""
Key = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey
PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Signer:
    """A certificate of an authority, and its key."""

    certificate: x509.Certificate
    key: Key


@dataclass(frozen=True, slots=True)
class Leaf:
    """Whom a certificate is for. `hosts` are the names and addresses of a server, none for a client."""

    name: str
    role: Literal["device", "server", "service"]
    life_s: float
    hosts: tuple[str, ...] = ()


def new_key() -> Key:
    """A fresh private key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: Key) -> bytes:
    """PKCS #8, without a passphrase: whoever keeps it guards the file."""
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def pem(certificate: x509.Certificate | x509.CertificateRevocationList) -> str:
    """A certificate or list as text."""
    return certificate.public_bytes(PEM).decode()


def der(certificate: x509.Certificate) -> bytes:
    """A certificate as the bytes that its fingerprint is of."""
    return certificate.public_bytes(serialization.Encoding.DER)


def name_of(certificate: x509.Certificate) -> str:
    """The subject's common name: a device id, or a service's user name."""
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def key_print(key: PublicKey) -> str:
    """Names a public key: SHA-256 of its SubjectPublicKeyInfo, hex."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize().hex()


def begins(certificate: x509.Certificate) -> float:
    """From when it is valid, Unix seconds."""
    return certificate.not_valid_before_utc.timestamp()


def ends(certificate: x509.Certificate) -> float:
    """Until when it is valid, Unix seconds."""
    return certificate.not_valid_after_utc.timestamp()


def due(certificate: x509.Certificate) -> float:
    """When it is to be replaced, Unix seconds: at two thirds of its life."""
    return begins(certificate) + (ends(certificate) - begins(certificate)) * 2 / 3


def _at(t: float) -> datetime:
    return datetime.fromtimestamp(t, UTC)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False)


LONGEST_NAME = 64
"""Characters of a common name (RFC 5280, ub-common-name)."""


def is_host(name: str) -> bool:
    """Whether a server's certificate can be for that: an address, or a name in letters, digits, hyphens and dots."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return _HOST.fullmatch(name) is not None
    return True


_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
                   r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")


def make_authority(name: str, now: float, life_s: float, above: Signer | None = None) -> Signer:
    """A new authority, signed by the one `above` it or by itself. One below another signs no further authorities."""
    key = new_key()
    issuer = above or Signer(None, key)  # type: ignore[arg-type]  # a root has no issuer but itself
    end = now + life_s if above is None else min(now + life_s, ends(above.certificate))
    builder = (
        x509.CertificateBuilder().subject_name(_name(name)).public_key(key.public_key())
        .issuer_name(above.certificate.subject if above else _name(name)).serial_number(x509.random_serial_number())
        .not_valid_before(_at(now - SKEW_S)).not_valid_after(_at(end))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0 if above else 1), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False))
    return Signer(builder.sign(issuer.key, hashes.SHA256()), key)


def issue(signer: Signer, key: PublicKey, leaf: Leaf, now: float) -> x509.Certificate:
    """A certificate for a device, a server or a service; it ends before its authority does.

    EnrolError where that has ended.
    """
    if now >= ends(signer.certificate):
        raise EnrolError("authority_ended", f"the authority {name_of(signer.certificate)!r} ran out at "
                         f"{signer.certificate.not_valid_after_utc:%Y-%m-%d}, and can make no more certificates",
                         "is the server's clock right? then the operator needs a new authority, and a label of it for "
                         "each device")
    server = leaf.role == "server"
    use = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        x509.CertificateBuilder().subject_name(_name(leaf.name)).public_key(key)
        .issuer_name(signer.certificate.subject).serial_number(x509.random_serial_number())
        .not_valid_before(_at(now - SKEW_S)).not_valid_after(_at(min(now + leaf.life_s, ends(signer.certificate))))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False))
    if leaf.hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(map(_host, leaf.hosts)), critical=False)
    return builder.sign(signer.key, hashes.SHA256())


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def is_for(certificate: x509.Certificate, leaf: Leaf) -> bool:
    """Whether a certificate names `leaf` and its hosts, and no others."""
    try:
        hosts = set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        hosts = set()
    return certificate.subject == _name(leaf.name) and hosts == set(map(_host, leaf.hosts))


def make_crl(signer: Signer, number: int, revoked: Iterable[tuple[int, float]], now: float, life_s: float,
             ) -> x509.CertificateRevocationList:
    """The list of revoked serial numbers with the times of their revocation; it must be replaced within `life_s`."""
    entries = [x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_at(at)).build()
               for serial, at in revoked]
    builder = (  # add_revoked_certificate copies the list for each: minutes, for many
        x509.CertificateRevocationListBuilder(revoked_certificates=entries).issuer_name(signer.certificate.subject)
        .last_update(_at(now - SKEW_S)).next_update(_at(now + life_s))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False))
    return builder.sign(signer.key, hashes.SHA256())


def key_of_request(text: str, device: str) -> PublicKey:
    """The public key of a PKCS #10 request that proves it has the private one; nothing else of it is used.

    EnrolError where it cannot be read, its signature is not its key's, the key is not P-256, or it names another
    device than `device`.
    """
    again = "run `cornergrid-edge enroll` again on the box, and do not edit its request"
    try:
        request = x509.load_pem_x509_csr(text.encode())
        key = request.public_key()
        signed = request.is_signature_valid
        names = [str(each.value) for each in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, x509.InvalidVersion) as error:
        raise EnrolError("bad_request", f"the certificate request cannot be read: {error}", again) from error
    if not signed:
        raise EnrolError("bad_signature", "the certificate request was changed after it was signed", again)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise EnrolError("bad_key", "the request's key is not of the curve P-256", again)
    if names not in ([], [device]):
        raise EnrolError("foreign_subject", f"the request asks for the subject {', '.join(names)[:80]!r}, not {device}",
                         again)
    return key
