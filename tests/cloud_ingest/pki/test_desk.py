"""The desk decides: labels, rotations, revocations, each by the authority's own clock."""

from __future__ import annotations

import base64
import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from cloud_ingest.pki.desk import GRACE_S, INVITED_S, LIFE_S, PER_DEVICE, Desk
from cloud_ingest.pki.folder import ISSUING_LIFE_S, create, keep_leaf, load
from cloud_ingest.pki.ledger import Ledger
from cloud_ingest.pki.x509 import Leaf, make_crl, new_key
from edge.clock import ManualClock
from edge.errors import ConfigError, EnrolError, StoreError
from edge.identity.enrol import request_for
from edge.wire.enrol import EnrolRequest, Issued, Label, RotateRequest, claim_seed, claim_statement

NOW = 1_800_000_000.0
HERE = "192.0.2.7"


class Office:
    """A desk with a clock that is moved by hand."""

    def __init__(self, path: Path) -> None:
        self.clock = ManualClock(NOW)
        self.path = path
        self.folder = create(path, "Test", NOW)
        self.ledger = Ledger(self.folder.ledger)
        self.desk = Desk(self.folder, self.ledger, self.clock)
        self.desk.add_site("site-1", "")

    def label(self, device: str = "shop-1") -> Label:
        return self.desk.invite(device, "site-1")

    def enrol(self, label: Label, key: Any, source: str = HERE) -> Issued:
        csr = request_for(key, label.device)
        proof = Ed25519PrivateKey.from_private_bytes(claim_seed(label)).sign(claim_statement(label.device, csr))
        return self.desk.enrol(EnrolRequest(device=label.device, csr=csr, proof=proof.hex()), source)

    def rotate(self, shown: Issued, key: Any, device: str = "shop-1") -> Issued:
        return self.desk.rotate(read(shown), RotateRequest(csr=request_for(key, device)), HERE)

    def refusals(self) -> list[tuple[str, str, int]]:
        return [(each.kind, each.subject, each.n) for each in self.ledger.refusals()]


def read(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.certificate.encode())


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path / "ca")
    yield office
    office.ledger.close()


def refused(kind: str, ask: Any, *given: Any) -> EnrolError:
    with pytest.raises(EnrolError) as caught:
        ask(*given)
    assert caught.value.kind == kind
    return caught.value


def test_a_label_gives_a_certificate_of_its_device_for_a_client_only(office: Office) -> None:
    made = read(office.enrol(office.label(), new_key()))
    assert made.subject.rfc4514_string() == "CN=shop-1"
    use = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(use) == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert made.not_valid_after_utc.timestamp() == NOW + LIFE_S
    made.verify_directly_issued_by(office.folder.issuing.certificate)


def test_the_same_key_asking_again_gets_the_same_certificate(office: Office) -> None:
    label, key = office.label(), new_key()
    assert office.enrol(label, key).certificate == office.enrol(label, key).certificate


def test_a_label_runs_out_at_its_time_and_no_sooner(office: Office) -> None:
    label = office.label()
    office.clock.advance(INVITED_S)
    office.enrol(label, new_key())
    label = office.label()
    office.clock.advance(INVITED_S + 1)
    refused("label_expired", office.enrol, label, new_key())


def test_a_new_label_ends_the_one_before(office: Office) -> None:
    first, second = office.label(), office.label()
    refused("wrong_label", office.enrol, first, new_key())
    office.enrol(second, new_key())


def test_enrolling_anew_revokes_what_the_device_had(office: Office) -> None:
    first = read(office.enrol(office.label(), new_key()))
    second = read(office.enrol(office.label(), new_key()))
    states = {each.serial: each.revoked for each in office.ledger.certificates("device = 'shop-1'")}
    assert states == {f"{first.serial_number:x}": NOW, f"{second.serial_number:x}": None}


def test_whoever_guesses_is_stopped_until_the_time_is_over(office: Office) -> None:
    label = office.label()
    wrong = Label(label.device, "0" * 12, label.fingerprint)
    for i in range(PER_DEVICE):
        refused("wrong_label", office.enrol, wrong, new_key(), f"192.0.2.{i}")
    told = refused("too_many_tries", office.enrol, wrong, new_key())
    assert ("wrong_label", "shop-1", 1) in office.refusals()
    office.clock.advance(told.retry_s)
    refused("wrong_label", office.enrol, wrong, new_key())


def test_strangers_who_guess_do_not_keep_the_right_label_out(office: Office) -> None:
    label = office.label()
    wrong = Label(label.device, "0" * 12, label.fingerprint)
    for i in range(PER_DEVICE):
        refused("wrong_label", office.enrol, wrong, new_key(), f"192.0.2.{i}")
    office.enrol(label, new_key(), "198.51.100.1")


def test_one_address_that_guesses_does_not_stop_another(office: Office) -> None:
    label, wrong = office.label("shop-2"), Label("shop-1", "0" * 12, "0" * 20)
    office.label("shop-1")
    for _ in range(10):
        refused("wrong_label", office.enrol, wrong, new_key())
    refused("too_many_tries", office.enrol, label, new_key())
    office.enrol(label, new_key(), "198.51.100.1")


@pytest.mark.parametrize("name", ["ingest", "ingest-2", "feed", "cornergrid-ingest", "Shop", "a_b", "", "x" * 64, "+",
                                  "#"])
def test_no_device_gets_a_name_that_could_stand_for_something_else(name: str, office: Office) -> None:
    with pytest.raises(ConfigError):
        office.label(name)


def test_a_label_needs_a_site_that_is_known(office: Office) -> None:
    with pytest.raises(ConfigError, match="site add"):
        office.desk.invite("shop-1", "nowhere")


def test_the_ledger_holds_neither_the_code_nor_the_key_that_it_makes(office: Office) -> None:
    label = office.label()
    office.ledger.close()
    stored = b"".join(file.read_bytes() for file in office.path.iterdir())
    assert label.code.encode() not in stored
    assert claim_seed(label) not in stored
    office.ledger = Ledger(office.folder.ledger)


def test_a_rotation_is_due_at_two_thirds_of_the_life(office: Office) -> None:
    present, key = office.enrol(office.label(), new_key()), new_key()
    office.clock.at = present.due - 1
    assert office.rotate(present, key).certificate == ""
    office.clock.at = present.due
    fresh = read(office.rotate(present, key))
    assert fresh.not_valid_after_utc.timestamp() == pytest.approx(present.due + LIFE_S, abs=1)


def test_a_rotation_asked_twice_gives_the_same_certificate(office: Office) -> None:
    present, key = office.enrol(office.label(), new_key()), new_key()
    office.clock.at = present.due
    assert office.rotate(present, key).certificate == office.rotate(present, key).certificate


def test_a_rotation_that_lost_its_key_gets_another_and_the_lost_one_is_revoked(office: Office) -> None:
    present = office.enrol(office.label(), new_key())
    office.clock.at = present.due
    lost = read(office.rotate(present, new_key()))
    office.rotate(present, new_key())
    line = office.ledger.certificates("serial = ?", f"{lost.serial_number:x}")[0]
    assert line.revoked == present.due


def test_a_rotation_with_the_same_key_is_refused(office: Office) -> None:
    key = new_key()
    present = office.enrol(office.label(), key)
    office.clock.at = present.due
    refused("same_key", office.rotate, present, key)


def test_a_certificate_that_ran_out_still_gets_the_next_one_within_the_grace(office: Office) -> None:
    present = office.enrol(office.label(), new_key())
    office.clock.at = NOW + LIFE_S + GRACE_S - 1
    assert office.rotate(present, new_key()).certificate
    office.clock.advance(2)
    refused("expired", office.rotate, present, new_key())


def test_the_old_certificate_renews_nothing_once_the_new_one_is_in_use(office: Office) -> None:
    present, key = office.enrol(office.label(), new_key()), new_key()
    office.clock.at = present.due
    fresh = office.rotate(present, key)
    office.desk.confirm(read(present), HERE)  # still good: the new one may never have arrived
    office.desk.confirm(read(fresh), HERE)
    refused("superseded", office.desk.confirm, read(present), HERE)
    assert ("superseded", "shop-1", 1) in office.refusals()


def test_a_revoked_device_gets_nothing_until_it_is_invited_again(office: Office) -> None:
    label = office.label()
    present = office.enrol(label, new_key())
    assert office.desk.revoke("shop-1", "stolen") == 1
    office.clock.at = present.due
    refused("revoked", office.rotate, present, new_key())
    refused("wrong_label", office.enrol, label, new_key())
    office.enrol(office.label(), new_key())
    device = office.ledger.device("shop-1")
    assert device is not None
    assert device.barred is None


def test_revoking_an_unknown_device_says_so(office: Office) -> None:
    with pytest.raises(ConfigError, match="device list"):
        office.desk.revoke("shop-9", "")


def test_a_second_authority_in_the_same_folder_is_refused(office: Office) -> None:
    with pytest.raises(StoreError, match="worthless"):
        create(office.path, "Test", NOW)
    assert load(office.path).fingerprint == office.folder.fingerprint


@pytest.mark.parametrize("damage", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_damaged_key_of_the_authority_is_named(damage: bytes, office: Office) -> None:
    (office.path / "issuing.key").write_bytes(damage)
    with pytest.raises(StoreError, match=r"issuing\.key.*backup"):
        load(office.path)


def test_the_keys_are_for_their_owner_only(office: Office) -> None:
    for file in office.path.glob("*.key"):
        assert file.stat().st_mode & 0o077 == 0, file.name


def test_a_storm_of_refusals_does_not_grow_the_ledger_without_end(office: Office, monkeypatch: pytest.MonkeyPatch,
                                                                  ) -> None:
    monkeypatch.setattr("cloud_ingest.pki.ledger.KEEP_REFUSALS", 10)
    for i in range(30):
        office.ledger.refuse("wrong_label", f"shop-{i}", HERE, NOW + i)
    assert [each.subject for each in office.ledger.refusals()][-1] == "shop-20"
    assert len(office.ledger.refusals()) == 10


def test_a_label_that_no_box_can_read_does_not_end_the_one_before(office: Office) -> None:
    label = office.label()
    for server in ("enrol.example.org", "two words:8443", "https://enrol:8443"):
        with pytest.raises(ConfigError, match="HOST:PORT"):
            office.desk.invite("shop-1", "site-1", server)
    office.enrol(label, new_key())


def test_a_ledger_is_not_closed_under_a_transaction_of_another_thread(tmp_path: Path) -> None:
    """Otherwise SQLite ends the process with a segmentation fault, at best."""
    ledger = Ledger(tmp_path / "authority.db")
    closing = threading.Thread(target=ledger.close)
    with ledger.change() as db:
        closing.start()
        closing.join(0.1)  # it would be through by now
        db.execute("INSERT INTO meta VALUES ('whole', 1)")
    closing.join()
    again = Ledger(tmp_path / "authority.db")
    assert again.meta("whole") == 1
    again.close()


def test_a_ledger_that_is_busy_or_closed_to_this_user_is_not_said_to_be_broken(tmp_path: Path) -> None:
    Ledger(tmp_path / "authority.db").close()
    with contextlib.closing(sqlite3.connect(tmp_path / "authority.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked") as busy:
            Ledger(tmp_path / "authority.db", patience_s=0.01)
    (tmp_path / "other.db").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match="backup"):
        Ledger(tmp_path / "other.db")
    assert "backup" not in str(busy.value)


def test_an_authority_that_ran_out_says_so_to_the_device_and_to_the_operator(office: Office) -> None:
    label = office.label()
    office.clock.advance(ISSUING_LIFE_S)
    fresh = office.desk.invite("shop-1", "site-1")
    assert label != fresh
    refused("authority_ended", office.enrol, fresh, new_key())
    with pytest.raises(EnrolError, match="ran out"):
        keep_leaf(office.path / "server.pem", office.folder.issuing, Leaf("broker", "server", 9.0), "",
                  office.clock.now())


def test_a_long_revocation_list_is_made_in_one_go(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """cryptography copies its list at each entry that is added: 200,000 took 40 s, in which nobody could enrol."""
    monkeypatch.delattr(x509.CertificateRevocationListBuilder, "add_revoked_certificate")
    made = make_crl(office.folder.issuing, 7, [(serial, NOW) for serial in range(1, 1001)], NOW, 60.0)
    assert {each.serial_number for each in made} == set(range(1, 1001))
    assert made.is_signature_valid(office.folder.issuing.certificate.public_key())  # type: ignore[arg-type]  # P-256


@pytest.mark.parametrize(("there", "instead"), [("020100", "020105"), ("06082a8648ce3d030107", "06082a8648ce3d030109")],
                         ids=["version", "curve"])
def test_a_request_of_a_kind_that_nobody_knows_is_refused_and_noted(there: str, instead: str, office: Office) -> None:
    issued = office.enrol(office.label(), new_key())
    request = x509.load_pem_x509_csr(request_for(new_key(), "shop-1").encode()).public_bytes(Encoding.DER)
    odd = base64.b64encode(request.replace(bytes.fromhex(there), bytes.fromhex(instead), 1)).decode()
    csr = f"-----BEGIN CERTIFICATE REQUEST-----\n{odd}\n-----END CERTIFICATE REQUEST-----\n"
    refused("bad_request", office.desk.rotate, read(issued), RotateRequest(csr=csr), HERE)
    assert ("bad_request", "shop-1", 1) in office.refusals()
