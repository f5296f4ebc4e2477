"""Documents that a device signed: JSON Web Signatures (RFC 7515), ES256, judged by what this authority issued.

The certificate stands in the document. Whether it is good is the ledger's word: that this authority gave it to that
device, and had not revoked it when the document was signed.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from cloud_ingest.pki.ledger import Ledger
from cloud_ingest.pki.x509 import pem
from edge.errors import EnrolError

COORDINATE = 32  # bytes of each of a P-256 signature's two numbers (RFC 7518 section 3.4)
CHAIN = 2
SLACK_S = 300.0
AGAIN = "take the file from the device again; where that changes nothing, it is not this device's"
RESIGN = "see `cornergrid-cloud device list`; then commission again, which signs with the present key"


@dataclass(frozen=True, slots=True)
class Signed:
    """A document whose signature fits: who signed it, by the certificate's subject, that certificate, and its bytes."""

    device: str
    certificate: x509.Certificate
    payload: bytes


def verify(signed: object, root: x509.Certificate) -> Signed:
    """The document in the flattened JSON form; EnrolError where it is altered, or not signed below `root`.

    Dates and revocation are left alone: `judge` knows them.
    """
    try:
        if not isinstance(signed, dict):
            raise TypeError("not a JSON object")
        header = json.loads(base64url(signed["protected"]))
        chain = [x509.load_der_x509_certificate(base64.b64decode(each, validate=True)) for each in header["x5c"]]
        if header["alg"] != "ES256" or len(chain) != CHAIN:
            raise ValueError("not signed by ES256 with a chain of two")
        certificate, issuing = chain
        key, payload = certificate.public_key(), base64url(signed["payload"])
        subject = str(certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
        _check(key, signed)
    except InvalidSignature as error:
        raise EnrolError("altered", "the signature does not fit: the document was altered after it was signed",
                         AGAIN) from error
    except (KeyError, IndexError, TypeError, ValueError, RecursionError, UnsupportedAlgorithm,
            x509.InvalidVersion) as error:
        raise EnrolError("not_signed", f"no signed document: {type(error).__name__} {error}"[:200], AGAIN) from error
    try:
        issuing.verify_directly_issued_by(root)
        certificate.verify_directly_issued_by(issuing)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise EnrolError("other_key", f"{subject} signed with a key that is not of this authority",
                         "is --ca the authority of that device? otherwise somebody made it up") from error
    return Signed(subject, certificate, payload)


def _check(key: Any, signed: dict[str, Any]) -> None:
    """InvalidSignature where the signature does not fit, ValueError where it is none."""
    value = base64url(signed["signature"])
    if not isinstance(key, ec.EllipticCurvePublicKey) or len(value) != 2 * COORDINATE:
        raise ValueError("not signed by ES256")
    r, s = (int.from_bytes(value[at:at + COORDINATE], "big") for at in (0, COORDINATE))
    key.verify(encode_dss_signature(r, s), f"{signed['protected']}.{signed['payload']}".encode(),
               ec.ECDSA(hashes.SHA256()))


def judge(signed: Signed, at: float, ledger: Ledger) -> float | None:
    """Whether the certificate was worth something at `at`, Unix seconds, as the document says; EnrolError where not.

    Returns when it was revoked later, if it was: whoever took that key may also have written an earlier time.
    """
    serial, shown = f"{signed.certificate.serial_number:x}", pem(signed.certificate)
    known = next((each for each in ledger.certificates("serial = ?", serial) if each.pem == shown), None)
    if known is None:
        raise EnrolError("other_key", f"this authority gave {signed.device} no certificate {serial}",
                         "was the ledger restored from an older backup?")
    if not known.begins - SLACK_S <= at <= known.ends + SLACK_S:
        raise EnrolError("expired", "the certificate did not hold when it was signed", RESIGN)
    if known.revoked is not None and known.revoked <= at:
        raise EnrolError("revoked", "the certificate was revoked before it was signed" + (
                         f": {known.why}" if known.why else ""),
                         "find out who has that box, and invite the device anew")
    return known.revoked


def base64url(text: str) -> bytes:
    """The bytes of RFC 4648 section 5, without padding; ValueError where it is none."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
