"""The desk: who may have a certificate. Invites, enrols, rotates and revokes; every refusal is noted and logged.

Guessing a code is hopeless before it is limited: ten wrong labels from one address in ten minutes, twenty for one
device in an hour, of 2^60 possible ones. The limits keep the log readable and the processor free. The one for a device
turns away wrong labels only: anybody may guess at a device's name, and must not keep its installer waiting.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Literal, NoReturn

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cloud_ingest.pki.folder import Folder
from cloud_ingest.pki.ledger import Certificate, Invitation, Ledger
from cloud_ingest.pki.x509 import (
    DAY_S,
    Leaf,
    PublicKey,
    begins,
    ends,
    issue,
    key_of_request,
    key_print,
    name_of,
    pem,
)
from edge.clock import Clock
from edge.errors import ConfigError, EnrolError, Problem
from edge.wire.enrol import (
    CODE_SYMBOLS,
    EnrolRequest,
    Issued,
    Label,
    RotateRequest,
    claim_seed,
    claim_statement,
    parse_label,
    to_symbols,
)

log = structlog.get_logger(__name__)
LIFE_S = 90 * DAY_S
GRACE_S = 180 * DAY_S
"""For so long a certificate that ran out still proves who asks for the next one: a shop may have been shut."""
INVITED_S = 14 * DAY_S
PER_SOURCE, SOURCE_S = 10, 600.0
PER_DEVICE, DEVICE_S = 20, 3600.0
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
RESERVED = re.compile(r"(ingest|feed|cornergrid|cg)(-.*)?")
"""Names of topics and workers: a device of such a name could take an ingest worker's session."""


def _print(name: str) -> str:
    return f"ask the operator for a new label: `cornergrid-cloud device invite {name}`"


@dataclass(frozen=True, slots=True)
class Terms:
    """How long certificates live and for how long one that ran out may still be renewed, seconds."""

    life_s: float = LIFE_S
    grace_s: float = GRACE_S


class Desk:
    """Decides over one authority; any number of threads may ask."""

    def __init__(self, folder: Folder, ledger: Ledger, clock: Clock, terms: Terms | None = None) -> None:
        self._folder, self._ledger, self._clock = folder, ledger, clock
        self._terms = terms or Terms()

    def add_site(self, site: str, name: str) -> None:
        """Note a site; again to rename it."""
        _check_name("site", site)
        with self._ledger.change() as db:
            db.execute("INSERT INTO site VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET name = excluded.name",
                       (site, name or site, self._clock.now()))

    def invite(self, device: str, site: str, server: str = "", lasts_s: float = INVITED_S) -> Label:
        """A new label for a device; the one before it no longer opens anything.

        Without a `site` it stays where it is. ConfigError for an unknown one.
        """
        _check_name("device", device)
        if RESERVED.fullmatch(device):
            raise ConfigError("device invite", (Problem("device", f"{device} is a name that the cloud's own parts use",
                                                        "choose another, like shop-0042"),))
        known = self._ledger.device(device)
        site = site or (known.site if known else "")
        if not site:
            raise ConfigError("device invite", (Problem("--site", f"is missing, and {device} has none yet",
                                                        "see `cornergrid-cloud site list`"),))
        if not self._ledger.rows("SELECT 1 FROM site WHERE id = ?", site):
            raise ConfigError("device invite", (Problem("--site", f"no site is named {site}",
                                                        f"add it: `cornergrid-cloud site add {site}`"),))
        code = to_symbols(secrets.randbits(5 * CODE_SYMBOLS), CODE_SYMBOLS)
        label = Label(device, code, self._folder.fingerprint, server)
        if parse_label(str(label)).server != server.lower():  # one that no box can read must not end the one before
            raise ConfigError("device invite", (Problem("--server", f"{server!r} is not HOST:PORT",
                                                        "like enrol.example.org:8443"),))
        claim = Ed25519PrivateKey.from_private_bytes(claim_seed(label)).public_key()
        now = self._clock.now()
        with self._ledger.change() as db:
            db.execute("INSERT INTO device (id, site, added) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
                       "site = excluded.site", (device, site, now))
            db.execute("INSERT OR REPLACE INTO invitation VALUES (?, ?, ?, ?, NULL)",
                       (device, claim.public_bytes(Encoding.Raw, PublicFormat.Raw), now, now + lasts_s))
        log.info("invited", device=device, site=site, ends=now + lasts_s)
        return label

    def enrol(self, request: EnrolRequest, source: str) -> Issued:
        """The first certificate, for a label; the same again where the same key asks again.

        EnrolError, noted, where the label opens nothing.
        """
        try:
            with self._ledger.change():
                return self._enrol(request, source)
        except EnrolError as error:
            self._note(error, request.device, source)
            raise

    def _enrol(self, request: EnrolRequest, source: str) -> Issued:
        now, device = self._clock.now(), request.device
        self._limit("source", source, now)
        invitation = self._ledger.invitation(device)
        if invitation is None or not _proves(request, invitation):
            self._limit("device", device, now)
            raise EnrolError("wrong_label", f"no open label of {device} has this code",
                             "compare device and code with the sticker; where they are right, " + _print(device))
        key = key_of_request(request.csr, device)
        mark = key_print(key)
        if invitation.used is not None:
            known = self._ledger.certificates("device = ? AND key = ? AND parent = ''", device, mark)
            if known and invitation.used == mark and known[0].revoked is None:
                return self._issued(known[0])
            raise EnrolError("label_used", f"the label of {device} was used before, by another key",
                             f"if nobody else set this box up, revoke {device}; then " + _print(device))
        if now > invitation.ends:
            raise EnrolError("label_expired", f"the label of {device} has run out", _print(device))
        certificate = self._make(device, key, "", now)
        with self._ledger.change() as db:
            for old in self._ledger.certificates("device = ? AND revoked IS NULL AND serial <> ?", device,
                                                 certificate.serial):
                self._ledger.revoke(old, "enrolled anew", now)
            db.execute("UPDATE invitation SET used = ? WHERE device = ?", (mark, device))
            db.execute("UPDATE device SET barred = NULL, why = '', paused = 0 WHERE id = ?", (device,))
            self._ledger.touch()
        log.info("enrolled", device=device, serial=certificate.serial, source=source)
        return self._issued(certificate)

    def rotate(self, shown: x509.Certificate, request: RotateRequest, source: str) -> Issued:
        """The next certificate for who shows the present one; without one where none is due yet.

        EnrolError, noted, where the present one is no longer worth anything.
        """
        try:
            with self._ledger.change():
                return self._rotate(shown, request)
        except EnrolError as error:
            self._note(error, name_of(shown), source)
            raise

    def confirm(self, shown: x509.Certificate, source: str) -> Issued:
        """Note that a certificate is in use: from then on the one before it renews nothing. EnrolError as `rotate`."""
        try:
            with self._ledger.change():
                return self._issued(self._present(shown), certificate=False)
        except EnrolError as error:
            self._note(error, name_of(shown), source)
            raise

    def _rotate(self, shown: x509.Certificate, request: RotateRequest) -> Issued:
        now, present = self._clock.now(), self._present(shown)
        key = key_of_request(request.csr, present.device)
        mark = key_print(key)
        for successor in self._ledger.certificates("parent = ? AND revoked IS NULL", present.serial):
            if successor.key == mark:
                return self._issued(successor)
            self._ledger.revoke(successor, "never taken into use", now)
        if mark == present.key:
            raise EnrolError("same_key", "a rotation needs a new key", "none needed: the device makes one by itself")
        if now < present.due:
            return self._issued(present, certificate=False)
        fresh = self._make(present.device, key, present.serial, now)
        log.info("rotated", device=fresh.device, serial=fresh.serial, before=present.serial)
        return self._issued(fresh)

    def revoke(self, device: str, why: str) -> int:
        """Bar a device and all its certificates; how many were valid. ConfigError where there is no such device."""
        if self._ledger.device(device) is None:
            raise ConfigError("device revoke", (Problem("device", f"no device is named {device}",
                                                        "see `cornergrid-cloud device list`"),))
        now = self._clock.now()
        with self._ledger.change() as db:
            valid = self._ledger.certificates("device = ? AND revoked IS NULL AND ends > ?", device, now)
            for certificate in self._ledger.certificates("device = ? AND revoked IS NULL", device):
                self._ledger.revoke(certificate, why, now)
            db.execute("UPDATE device SET barred = ?, why = ? WHERE id = ?", (now, why, device))
            db.execute("DELETE FROM invitation WHERE device = ?", (device,))
            self._ledger.touch()
        log.warning("revoked", device=device, why=why, certificates=len(valid))
        return len(valid)

    def _present(self, shown: x509.Certificate) -> Certificate:
        """The ledger's line for a certificate whose key the connection has proved; EnrolError where it is worthless."""
        now = self._clock.now()
        known = self._ledger.certificates("serial = ?", f"{shown.serial_number:x}")
        if not known or known[0].pem != pem(shown):
            raise EnrolError("unknown_certificate", "this authority did not make the certificate that was shown",
                             "was the authority's ledger restored from an old backup? " + _print("<device>"))
        present = known[0]
        if present.revoked is not None:
            raise EnrolError("revoked", f"the certificate of {present.device} was revoked: {present.why}",
                             _print(present.device))
        if now < present.begins:
            raise EnrolError("not_yet_valid", "the certificate is not valid yet", "set the server's clock")
        if now > present.ends + self._terms.grace_s:
            raise EnrolError("expired", f"the certificate of {present.device} ran out more than "
                             f"{self._terms.grace_s / DAY_S:.0f} days ago", _print(present.device))
        if self._ledger.certificates("parent = ? AND used IS NOT NULL AND revoked IS NULL", present.serial):
            raise EnrolError("superseded", f"{present.device} has a newer certificate in use; its old key was copied, "
                             "or its disk restored from an image", f"find out which; then revoke {present.device} and "
                             + _print(present.device))
        if present.used is None:
            with self._ledger.change() as db:
                db.execute("UPDATE certificate SET used = ? WHERE serial = ?", (now, present.serial))
        return present

    def _limit(self, column: Literal["source", "device"], value: str, now: float) -> None:
        most, span = {"source": (PER_SOURCE, SOURCE_S), "device": (PER_DEVICE, DEVICE_S)}[column]
        sql = f"SELECT count(*), min(t) FROM guess WHERE {column} = ? AND t > ?"  # noqa: S608  # one of two names
        count, first = self._ledger.rows(sql, value, now - span)[0]
        if int(str(count)) >= most:
            wait = max(1.0, float(str(first)) + span - now)
            raise EnrolError("too_many_tries", "too many wrong labels " + (
                                 "from this address" if column == "source" else f"for {value}"),
                             f"wait {wait / 60:.0f} minutes, then type the label once, slowly", wait)

    def _make(self, device: str, key: PublicKey, parent: str, now: float) -> Certificate:
        made = issue(self._folder.issuing, key, Leaf(device, "device", self._terms.life_s), now)
        line = Certificate(f"{made.serial_number:x}", device, key_print(key), parent, begins(made), ends(made), now,
                           None, None, "", pem(made))
        self._ledger.add_certificate(line)
        return line

    def _issued(self, line: Certificate, *, certificate: bool = True) -> Issued:
        if not certificate:
            return Issued(device=line.device, t=self._clock.now(), due=line.due)
        return Issued(device=line.device, t=self._clock.now(), due=line.due, certificate=line.pem,
                      chain=self._folder.chain, root=pem(self._folder.root))

    def _note(self, error: EnrolError, device: str, source: str) -> None:
        now = self._clock.now()
        with self._ledger.change() as db:
            if error.kind == "wrong_label":
                db.execute("INSERT INTO guess VALUES (?, ?, ?)", (now, device, source))
                db.execute("DELETE FROM guess WHERE t < ?", (now - DEVICE_S,))
            self._ledger.refuse(error.kind, device, source, now, str(error))
        log.warning("enrolment_refused", kind=error.kind, device=device, source=source, why=error.wrong, fix=error.fix)


def _proves(request: EnrolRequest, invitation: Invitation) -> bool:
    """Whether the request is signed by the key that the label's code makes."""
    try:
        Ed25519PublicKey.from_public_bytes(invitation.verifier).verify(
            bytes.fromhex(request.proof), claim_statement(request.device, request.csr))
    except (InvalidSignature, ValueError):
        return False
    return True


def _check_name(what: str, name: str) -> None:
    if not NAME.fullmatch(name):
        _bad_name(what, name)


def _bad_name(what: str, name: str) -> NoReturn:
    raise ConfigError(f"{what} id", (Problem(what, f"{name!r} cannot be one",
                                             "lower-case letters, digits and -, 63 at most, like shop-0042"),))
