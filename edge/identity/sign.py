"""Documents signed with the device's key: JSON Web Signatures (RFC 7515), ES256, the certificates in the header.

Who gets one verifies it by the authority: `cornergrid-cloud report verify`.
"""

from __future__ import annotations

import base64
import json

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from edge.identity.files import Identity
from edge.wire.enrol import fingerprint_of

COORDINATE = 32  # bytes of each of a P-256 signature's two numbers (RFC 7518 section 3.4)


def sign(identity: Identity, payload: bytes) -> dict[str, str]:
    """The payload, signed, in the flattened JSON form (RFC 7515 section 7.2.2); the chain without the root is in it."""
    chain = [base64.b64encode(each.public_bytes(Encoding.DER)).decode()
             for each in (identity.certificate, identity.issuing)]
    protected, body = _text(json.dumps({"alg": "ES256", "x5c": chain}).encode()), _text(payload)
    r, s = decode_dss_signature(identity.key.sign(f"{protected}.{body}".encode(), ec.ECDSA(hashes.SHA256())))
    return {"payload": body, "protected": protected,
            "signature": _text(r.to_bytes(COORDINATE, "big") + s.to_bytes(COORDINATE, "big"))}


def fingerprint(identity: Identity) -> str:
    """The certificate's fingerprint, in the form of a label's."""
    return fingerprint_of(identity.certificate.public_bytes(Encoding.DER))


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
