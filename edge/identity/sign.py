"""Documents signed with the device's key: JSON Web Signatures (RFC 7515), ES256, the certificates in the header."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from edge.errors import EnrolError
from edge.identity.files import Identity
from edge.wire.enrol import fingerprint_of

COORDINATE = 32  # bytes of each of a P-256 signature's two numbers (RFC 7518 section 3.4)
REFUSED = "take the file from the device again; where that changes nothing, it is not this device's"


def sign(identity: Identity, payload: bytes) -> dict[str, str]:
    """The payload, signed, in the flattened JSON form (RFC 7515 section 7.2.2); the chain without the root is in it."""
    chain = [base64.b64encode(each.public_bytes(Encoding.DER)).decode()
             for each in (identity.certificate, identity.issuing)]
    protected, body = _text(json.dumps({"alg": "ES256", "x5c": chain}).encode()), _text(payload)
    r, s = decode_dss_signature(identity.key.sign(f"{protected}.{body}".encode(), ec.ECDSA(hashes.SHA256())))
    return {"payload": body, "protected": protected,
            "signature": _text(r.to_bytes(COORDINATE, "big") + s.to_bytes(COORDINATE, "big"))}


def verify(signed: dict[str, Any], root: x509.Certificate) -> tuple[str, bytes]:
    """Who signed, by the certificate's subject, and the payload; EnrolError where it is not of `root`, or altered.

    Dates are left alone: a report outlives the certificate that signed it.
    """
    try:
        header = json.loads(_bytes(signed["protected"]))
        certificate, issuing = (x509.load_der_x509_certificate(base64.b64decode(each)) for each in header["x5c"])
        issuing.verify_directly_issued_by(root)
        certificate.verify_directly_issued_by(issuing)
        key, value = certificate.public_key(), _bytes(signed["signature"])
        if header["alg"] != "ES256" or not isinstance(key, ec.EllipticCurvePublicKey) or len(value) != 2 * COORDINATE:
            raise ValueError("not signed by ES256")
        r, s = (int.from_bytes(value[at:at + COORDINATE], "big") for at in (0, COORDINATE))
        key.verify(encode_dss_signature(r, s), f"{signed['protected']}.{signed['payload']}".encode(),
                   ec.ECDSA(hashes.SHA256()))
        subject = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
        return str(subject), _bytes(signed["payload"])
    except InvalidSignature as error:
        raise EnrolError("altered", "the signature does not fit", REFUSED) from error
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise EnrolError("not_signed", f"no signed document: {type(error).__name__} {error}", REFUSED) from error


def fingerprint(identity: Identity) -> str:
    """The certificate's fingerprint, in the form of a label's."""
    return fingerprint_of(identity.certificate.public_bytes(Encoding.DER))


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
