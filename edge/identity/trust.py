"""TLS for a device whose clock may be years wrong.

The root is pinned, by the label's fingerprint at enrolment and from the identity's file later, and each server proves
with its key that it is of that root. Only the dates cannot be judged by a clock that is not set. So OpenSSL is told to
leave the dates alone (X509_V_FLAG_NO_CHECK_TIME), and `check_dates` judges them by what is known: by the clock where it
is synchronised, and otherwise by the floor, the newest time an authority ever told, which only refuses what had run out
before. Until a device has a floor, at its first enrolment, a server's old stolen certificate would pass.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edge.clock import Clock, HonestClock

NO_CHECK_TIME = 0x200000
SLACK_S = 300.0


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known of the time, Unix seconds: it is `now` where that is `sure`, and no earlier than `floor`."""

    now: float
    sure: bool
    floor: float

    @property
    def latest(self) -> float:
        """The best guess."""
        return self.now if self.sure else max(self.now, self.floor)


def moment(clock: Clock, floor: float) -> Moment:
    """What `clock` and the floor say together; only an HonestClock knows whether it is synchronised."""
    return Moment(clock.now(), isinstance(clock, HonestClock) and clock.era.clk == "ok", floor)


def context(root: x509.Certificate | None, identity: Path | None = None) -> ssl.SSLContext:
    """TLS towards a server of `root`, showing the identity in a file. Without a root, anybody's: say nothing there."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    if root is None:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
        return tls
    tls.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
    tls.load_verify_locations(cadata=root.public_bytes(Encoding.PEM).decode())
    if identity is not None:
        tls.load_cert_chain(identity)
    return tls


def check_dates(shown: bytes | None, at: Moment) -> None:
    """Judge the dates of the certificate (DER) that a server showed; ssl.SSLCertVerificationError where it ran out."""
    if shown is None:
        raise ssl.SSLCertVerificationError("the server showed no certificate")
    certificate = x509.load_der_x509_certificate(shown)
    begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    if ends + SLACK_S < (at.now if at.sure else at.floor):
        raise ssl.SSLCertVerificationError(f"the server's certificate ran out at {certificate.not_valid_after_utc}")
    if at.sure and at.now < begins - SLACK_S:
        raise ssl.SSLCertVerificationError(f"the server's certificate begins at {certificate.not_valid_before_utc}")
