"""Commissioning reports in the cloud: joined from pieces, judged by the ledger, and shown without running a word."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from typer.testing import CliRunner

from cloud_ingest import reports
from cloud_ingest.__main__ import app
from cloud_ingest.pki.signed import base64url
from cloud_ingest.pki.x509 import DAY_S
from cloud_ingest.report_page import page
from cloud_ingest.reports import NAME, Sent, Verdict, joined, judge_sent, judge_text
from cloud_ingest.store import STORES
from edge.commissioning.report import NAME as EDGE_NAME
from edge.commissioning.report import PIECE
from edge.errors import CornergridError
from edge.identity.sign import sign
from tests.cloud_ingest.browsing import Visit, chromium, driver
from tests.cloud_ingest.pki.world import World, world_in

RUN = "ab" * 16
EVIL = '</td><script>window.owned=1;alert(1)</script><img src=x onerror="window.owned=1">\x1b]0;owned\x07\x1b[2J\u202e'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An authority without a broker."""
    with world_in(tmp_path, None) as world:
        yield world


def content(device: str, ended: float, **more: Any) -> bytes:
    step = {"step": "clock", "title": "the clock", "at": ended, "seconds": 0.1,
            "outcome": {"state": "ok", "found": "all is well", "fix": "", "learned": {}, "pictures": []}}
    return json.dumps({"report": 1, "device": device, "run": RUN, "by": "A. Fitter", "begun": ended - 60,
                       "ended": ended, "resumed": 0, "agent": "1", "result": "ok", "warnings": 0, "steps": [step],
                       "sensors": {}, "slots": {}} | more).encode()


def signed_by(world: World, device: str, *, of: str = "", ended: float | None = None, **more: Any) -> dict[str, str]:
    identity = world.given(device)
    return sign(identity, content(of or device, world.clock.now() if ended is None else ended, **more))


def pieces(text: str, size: int = PIECE) -> list[str]:
    parts = [text[at:at + size] for at in range(0, len(text), size)]
    return [f"{RUN} {number}/{len(parts)} {part}" for number, part in enumerate(parts, 1)]


def judged(world: World, signed: object, sender: str = "") -> Verdict:
    return judge_text(json.dumps(signed), world.folder, world.ledger, sender)


def test_both_ends_name_it_alike() -> None:
    assert NAME == EDGE_NAME


@given(some.text(min_size=1, max_size=200), some.integers(1, 40), some.randoms(use_true_random=False))
def test_pieces_make_a_report_again_in_any_order_and_however_often_each_came(text: str, size: int, rng: Any) -> None:
    rows = [("shop-1", 5.0, piece) for piece in pieces(text, size)]
    rows += rng.choices(rows, k=3)
    rng.shuffle(rows)
    sent, = joined(rows)
    assert (sent.text, sent.missing, sent.run) == (text, (), RUN)


@given(some.lists(some.tuples(some.just("shop-1"), some.floats(0, 2e9), some.one_of(
    some.text(max_size=40), some.none(), some.floats(), some.from_regex(r"[0-9a-f]{1,4} \d{1,9}/\d{1,9} .{0,5}")))))
def test_whatever_a_device_sends_as_pieces_is_joined_or_left_alone(rows: list[tuple[str, float, object]]) -> None:
    for sent in joined(rows):
        assert sent.of <= reports.MOST_PIECES
        assert isinstance(sent.text, str)


def test_a_report_that_was_sent_again_is_not_mixed_with_the_first_sending(world: World) -> None:
    """After a power cut the same run is signed anew: the pieces of two signatures make no document."""
    first, again = (json.dumps(signed_by(world, "shop-1", resumed=n)) for n in (0, 1))
    rows = [("shop-1", 5.0, each) for each in pieces(first)[:-1]] + [("shop-1", 9.0, each) for each in pieces(again)]
    sent, = joined(reversed(rows))
    assert judge_sent(sent, world.folder, world.ledger).valid
    sent, = joined([*rows[:len(pieces(first)) - 1], *rows[-2:]])
    assert judge_sent(sent, world.folder, world.ledger).kind == "incomplete"


def test_a_missing_part_is_named(world: World) -> None:
    text = json.dumps(signed_by(world, "shop-1"))
    sent, = joined(("shop-1", 5.0, each) for each in pieces(text) if f" {2}/" not in each)
    verdict = judge_sent(sent, world.folder, world.ledger)
    assert (verdict.kind, "1 are missing: 2" in verdict.wrong) == ("incomplete", True)


def test_a_report_of_this_device_is_valid(world: World) -> None:
    verdict = judged(world, signed_by(world, "shop-1"), "shop-1")
    assert verdict.valid, verdict
    assert verdict.report is not None
    assert (verdict.report.by, verdict.report.steps[0].outcome.found) == ("A. Fitter", "all is well")


@pytest.mark.parametrize("part", ["payload", "protected", "signature"])
def test_a_report_that_was_altered_is_told(part: str, world: World) -> None:
    signed = signed_by(world, "shop-1")
    middle = len(signed[part]) // 2
    other = "A" if signed[part][middle] != "A" else "B"
    altered = signed | {part: signed[part][:middle] + other + signed[part][middle + 1:]}
    assert judged(world, altered).kind in {"altered", "not_signed"}


def test_a_result_that_was_turned_into_a_better_one_is_told_as_altered(world: World) -> None:
    signed = signed_by(world, "shop-1", result="warnings", warnings=3)
    better = base64.urlsafe_b64encode(content("shop-1", world.clock.now())).decode().rstrip("=")
    verdict = judged(world, signed | {"payload": better})
    assert (verdict.kind, verdict.valid) == ("altered", False)


def test_another_key_is_told(world: World, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with world_in(tmp_path / "other", None) as other:
        verdict = judged(world, signed_by(other, "shop-1"))
    assert (verdict.kind, "not of this authority" in verdict.wrong) == ("other_key", True)
    signed = signed_by(world, "shop-1")
    with world.ledger.change() as db:
        db.execute("DELETE FROM certificate")
    assert judged(world, signed).kind == "other_key"


def test_another_algorithm_is_no_signature(world: World) -> None:
    signed = signed_by(world, "shop-1")
    header = json.loads(base64.urlsafe_b64decode(signed["protected"] + "=="))
    for name in ("none", "HS256"):
        forged = base64.urlsafe_b64encode(json.dumps(header | {"alg": name}).encode()).decode().rstrip("=")
        assert judged(world, signed | {"protected": forged, "signature": ""}).kind == "not_signed"


def test_a_device_vouches_for_itself_only(world: World) -> None:
    assert judged(world, signed_by(world, "shop-1", of="shop-2")).kind == "other_device"
    assert judged(world, signed_by(world, "shop-2"), "shop-1").kind == "other_device"  # overheard, and sent as its own


@pytest.mark.parametrize("days", [-2, 400])
def test_a_certificate_that_did_not_hold_when_it_was_signed_is_told(days: int, world: World) -> None:
    assert judged(world, signed_by(world, "shop-1", ended=world.clock.now() + days * DAY_S)).kind == "expired"


def test_a_revoked_certificate_is_told_and_what_it_signed_before_stays_good(world: World) -> None:
    signed = signed_by(world, "shop-1")
    assert (judged(world, signed).valid, judged(world, signed).note) == (True, "")
    world.clock.shift = 60.0
    world.desk.revoke("shop-1", "stolen")
    assert judged(world, signed).valid
    assert "revoked later" in judged(world, signed).note
    assert "revoked later" in page("shop-1", judged(world, signed))
    world.ledger.revoke(world.ledger.certificates("device = 'shop-1'")[0], "stolen", world.clock.now() - 3600)
    verdict = judged(world, signed)
    assert (verdict.kind, "stolen" in verdict.wrong) == ("revoked", True)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", "[" * 100_000, '{"payload": 5}', '{"payload": "é"}',
                                  '{"protected": "e30", "payload": "e30", "signature": ""}'])
def test_what_is_no_report_at_all_is_told(text: str, world: World) -> None:
    assert judge_text(text, world.folder, world.ledger).kind == "not_signed"
    assert judge_text(content("shop-1", 1.0).decode(), world.folder, world.ledger).kind == "not_signed"


def kept(world: World, device: str, text: str, t: float = 5.0, lose: int = 0) -> None:
    """Let the ingest's database hold a report."""
    STORES["sqlite"](world.path / "cloud.db").close()
    with sqlite3.connect(world.path / "cloud.db") as db:
        db.executemany("INSERT INTO reading (st, seq, device, name, t, unit, value, quality) "
                       "VALUES (?,?,?,?,?,'',?,'ok')", [
            (f"{device}-{t}", seq, device, NAME, t, piece) for seq, piece in enumerate(pieces(text)) if seq >= lose])
    db.close()


def report(world: World, *words: str) -> tuple[int, str]:
    """`cornergrid-cloud report`: its exit code, and what it said."""
    ran = CliRunner().invoke(app, ["report", words[0], "--ca", str(world.path / "ca"), "--db",
                                   str(world.path / "cloud.db"), *words[1:]])
    if isinstance(ran.exception, CornergridError):
        return 2, str(ran.exception)
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    return ran.exit_code, ran.output


def test_the_commands_tell_what_is_valid_by_their_exit_codes(world: World) -> None:
    signed = json.dumps(signed_by(world, "shop-1"))
    kept(world, "shop-1", signed)
    code, told = report(world, "list")
    assert (code, "all works" in told) == (0, True)
    code, told = report(world, "verify", "shop-1", "--json")
    assert (code, json.loads(told)["kind"]) == (0, "valid")
    file = world.path / "report.jws"
    file.write_text(signed)
    assert report(world, "verify", str(file))[0] == 0
    file.write_text(signed.replace('"payload": "ey', '"payload": "eY'))
    code, told = report(world, "verify", str(file))
    assert (code, "NOT valid (altered)" in told) == (1, True)
    kept(world, "shop-2", json.dumps(signed_by(world, "shop-2")), lose=1)
    code, told = report(world, "list", "--json")
    assert (code, {each["device"]: each["kind"] for each in json.loads(told)["reports"]}) == (
        1, {"shop-1": "valid", "shop-2": "incomplete"})
    code, told = report(world, "show", "shop-2")
    assert (code, "parts, 1 are missing: 1" in told) == (1, True)
    for words in (("show", "shop-3"), ("verify", "shop-3"), ("list", "--db", "none.db"), ("list", "--ca", "none")):
        assert report(world, *words)[0] == 2, words


def test_a_hostile_report_runs_nothing_in_a_browser_and_moves_nothing_on_a_terminal(world: World) -> None:
    step = {"step": EVIL, "title": EVIL, "at": 1.0, "outcome": {"state": f'ok" onclick="{EVIL}', "found": EVIL,
                                                               "fix": f"[red]{EVIL}[/red] [/b]"}}
    signed = signed_by(world, "shop-1", by=EVIL, steps=[step], agent=EVIL, begun=1e300)
    kept(world, "shop-1", json.dumps(signed))
    code, told = report(world, "show", "shop-1", "--html", str(world.path / "page.html"))
    assert code == 0, told
    assert "\\x1b]0;owned" in told
    assert "[red]" in told
    for sign_ in ("\x1b", "\x07", "\u202e"):
        assert sign_ not in told
        assert sign_ not in (world.path / "page.html").read_text()
    with driver() as playwright, chromium(playwright) as browser:
        page = browser.new_page()
        dialogs: list[str] = []
        page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        visit = Visit(page, (world.path / "page.html").as_uri())
        page.locator("td").nth(2).click()
        assert page.evaluate("typeof window.owned") == "undefined"
        assert dialogs == []
        assert page.locator("script, img, [onclick]").count() == 0
        assert "<script>" in page.locator("tbody").inner_text()
        assert visit.hosts <= {None, ""}
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_reports_are_found_by_an_index(world: World) -> None:
    kept(world, "shop-1", "x")
    db = sqlite3.connect(world.path / "cloud.db")
    plan = db.execute(f"EXPLAIN QUERY PLAN {reports._PIECES}", (None, 9)).fetchall()
    db.close()
    assert "reading_report" in str(plan)


def test_a_sending_knows_what_is_missing() -> None:
    assert Sent("shop-1", RUN, 1.0, 4, {2: "b", 4: "d"}).missing == (1, 3)


CURVE, KEY, VERSION = (bytes.fromhex(each) for each in ("06082a8648ce3d030107", "06072a8648ce3d0201", "a003020102"))


@pytest.mark.parametrize(("there", "instead"), [
    (CURVE, bytes.fromhex("06082a8648ce3d030109")), (KEY, bytes.fromhex("06072a8648ce3d0209")),
    (VERSION, bytes.fromhex("a003020107")),
], ids=["curve", "kind of key", "version"])
def test_a_certificate_of_a_kind_that_nobody_knows_spoils_only_its_own_report(
        there: bytes, instead: bytes, world: World) -> None:
    signed = signed_by(world, "shop-1")
    header = json.loads(base64url(signed["protected"]))
    odd = base64.b64decode(header["x5c"][0]).replace(there, instead)
    header["x5c"][0] = base64.b64encode(odd).decode()
    protected = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    assert judged(world, signed | {"protected": protected}, "shop-1").kind == "not_signed"


def test_a_device_that_sends_pieces_for_ever_fills_no_memory_and_hides_nobody_elses_report(
        world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps(signed_by(world, "shop-1"))
    kept(world, "shop-1", text)
    with sqlite3.connect(world.path / "cloud.db") as db:
        row = db.execute("SELECT * FROM reading LIMIT 1").fetchone()
        columns = [each[1] for each in db.execute("PRAGMA table_info(reading)")]
        for n in range(100):
            given = dict(zip(columns, row, strict=True)) | {"device": "shop-2", "seq": 1000 + n, "t": 2e9 + n,
                                                           "value": f"{n:032x} 1/1 junk"}
            db.execute(f"INSERT INTO reading VALUES ({','.join('?' * len(columns))})", tuple(given.values()))
    db.close()
    monkeypatch.setattr(reports, "MOST_ROWS", 40)
    sent = reports.read_sent(world.path / "cloud.db")
    assert len([each for each in sent if each.device == "shop-2"]) == 40
    assert [judge_sent(each, world.folder, world.ledger).kind for each in sent if each.device == "shop-1"] == ["valid"]
