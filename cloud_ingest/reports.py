"""Commissioning reports as they came: joined from their pieces, and judged by the authority's ledger. Pure but for SQL.

    pieces in `reading` ─▶ sendings, by run and time ─▶ the newest whole one of each run
                        ─▶ signature ─▶ certificate ─▶ whose report it is ─▶ a verdict

What a report says of itself, its time too, is its device's word; that it is this device's word is what is proved.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from cloud_ingest.facts import reading
from cloud_ingest.pki.folder import Folder
from cloud_ingest.pki.ledger import Ledger
from cloud_ingest.pki.signed import AGAIN, base64url, judge, verify
from edge.errors import EnrolError

NAME = "commissioning/report"
MOST_PIECES = 5000
"""Of one report: 4.5 MB. Whoever sends more sends no report."""
MOST_ROWS = 4 * MOST_PIECES
"""The newest pieces of one device that are looked at: whoever sends without end fills no memory."""
_PIECE = re.compile(r"(?P<run>[0-9a-f]{1,64}) (?P<number>[0-9]{1,6})/(?P<of>[0-9]{1,6}) (?P<text>.*)", re.DOTALL)
_PIECES = f"""
SELECT device, t, value FROM (
    SELECT device, t, value, st, seq, row_number() OVER (PARTITION BY device ORDER BY t DESC, st, seq DESC) AS place
    FROM reading WHERE name = '{NAME}' AND (?1 IS NULL OR device = ?1))
WHERE place <= ?2 ORDER BY t, st, seq
"""  # noqa: S608  # a constant: an index is on this name


class Outcome(msgspec.Struct, frozen=True):
    """What came of one step."""

    state: str
    found: str
    fix: str = ""


class Step(msgspec.Struct, frozen=True):
    """One step of a commissioning; `at` is Unix seconds."""

    step: str
    title: str
    at: float
    outcome: Outcome


class Report(msgspec.Struct, frozen=True):
    """A commissioning as its device reports it; times in Unix seconds."""

    device: str
    run: str
    by: str
    begun: float
    ended: float
    result: str
    warnings: int
    agent: str = ""
    resumed: int = 0
    steps: tuple[Step, ...] = ()


@dataclass(slots=True)
class Sent:
    """One sending of a report by a device: its pieces by number, of how many."""

    device: str
    run: str
    t: float
    of: int
    pieces: dict[int, str] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers of the pieces that did not come."""
        return tuple(number for number in range(1, self.of + 1) if number not in self.pieces)

    @property
    def text(self) -> str:
        """The report, as far as it came."""
        return "".join(self.pieces[number] for number in sorted(self.pieces))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a report is worth.

    `kind` is `valid` or why not: incomplete, not_signed, altered, other_key, other_device, expired, revoked. `report`
    is what it says, also where that is not to be trusted; None where it cannot be read. `note` is what is to
    be known of a valid one.
    """

    kind: str
    wrong: str = ""
    fix: str = ""
    report: Report | None = None
    note: str = ""

    @property
    def valid(self) -> bool:
        """Whether it is this device's report, whole and unaltered."""
        return self.kind == "valid"


def read_sent(db: Path, device: str | None = None) -> list[Sent]:
    """The newest sending of each report of a device, or of all, the newest first; a whole one before one in part.

    StoreError where the database cannot be read.
    """
    with reading(db) as source:
        return joined(source.execute(_PIECES, (device, MOST_ROWS)))


def joined(rows: Iterable[tuple[str, float, object]]) -> list[Sent]:
    """As `read_sent`, from (device, time, piece) in any order and however often each came."""
    sendings: dict[tuple[str, str, int, int], Sent] = {}
    for device, t, value in rows:
        found = _PIECE.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            continue
        number, of = int(found["number"]), int(found["of"])
        if 1 <= number <= of <= MOST_PIECES:
            # A report that is sent again is signed again: its pieces and the earlier ones do not go together.
            key = device, found["run"], round(t * 1000), of
            sendings.setdefault(key, Sent(device, found["run"], t, of)).pieces[number] = found["text"]
    best: dict[tuple[str, str], Sent] = {}
    for each in sorted(sendings.values(), key=lambda sent: (not sent.missing, sent.t)):
        best[each.device, each.run] = each
    return sorted(best.values(), key=lambda sent: sent.t, reverse=True)


def judge_sent(sent: Sent, folder: Folder, ledger: Ledger) -> Verdict:
    """What a report that came from a device is worth."""
    if sent.missing:
        shown = ", ".join(map(str, sent.missing[:10])) + (" ..." if len(sent.missing) > 10 else "")
        return Verdict("incomplete", f"of {sent.of} parts, {len(sent.missing)} are missing: {shown}",
                       "they come with the device's outbox; is it connected?")
    return judge_text(sent.text, folder, ledger, sent.device)


def judge_text(text: str, folder: Folder, ledger: Ledger, sender: str = "") -> Verdict:
    """What a report is worth; `sender` is the device that it came from, where it did not come as a file."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Verdict("not_signed", f"is no signed document: {error}"[:200], AGAIN)
    report = _report(text)
    if report is not None:
        return Verdict("not_signed", "has no signature: its device had no certificate, or somebody took it off",
                       "enrol the device, and commission again", report)
    report = _unchecked(document)
    try:
        signed = verify(document, folder.root)
        report = _report(signed.payload)
        if report is None:
            raise EnrolError("altered", "what was signed is no commissioning report", AGAIN)
        if not signed.device == report.device == (sender or signed.device):
            raise EnrolError("other_device", f"{signed.device} signed a report of {report.device}" + (
                f", and {sender} sent it" if sender else ""), "find out who has these boxes")
        revoked = judge(signed, report.ended, ledger)
    except EnrolError as error:
        return Verdict(error.kind, error.wrong, error.fix, report)
    note = "" if revoked is None else (f"its certificate was revoked later, {shown_time(revoked)}; "
                                       "that it was signed before is the device's own word")
    return Verdict("valid", report=report, note=note)


def _report(content: str | bytes) -> Report | None:
    try:
        return msgspec.json.decode(content, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _unchecked(document: object) -> Report | None:
    """What a document says that may not be signed by whom it says."""
    payload = document.get("payload") if isinstance(document, dict) else None
    try:
        return _report(base64url(payload)) if isinstance(payload, str) else None
    except ValueError:
        return None


def shown_time(t: float) -> str:
    """Unix seconds for a person; a device may have said any number."""
    try:
        return f"{datetime.fromtimestamp(t, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return "no time"
