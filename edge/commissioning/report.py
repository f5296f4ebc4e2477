"""The report: JSON that is signed with the device's key, a page that shows it with its pictures, and what is sent up.

    report.json   every step with what was found, and what is still to be done
    report.jws    the same bytes with the device's signature (RFC 7515), where it has a key
    report.html   both for a person, with the pictures, in one file

The three follow from the run alone, so that a run that was cut off here makes the same report again.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from edge import wire
from edge.box.steps import write_whole
from edge.commissioning.eyes import shown
from edge.commissioning.state import Done, Run
from edge.identity.files import Identity
from edge.identity.sign import fingerprint, sign
from edge.profile import Profile

PIECE = 900  # characters; a record's words are at most 1000 long
EVENT, NAME = "event/commissioned", "commissioning/report"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#1a1a1a;background:#fff;
overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;
border-bottom:1px solid #ccc}td.ok,td.warning,td.skipped{overflow-wrap:normal}td.ok{color:#0a5c2b}
td.warning{color:#8a3a00;font-weight:600}td.skipped{color:#555}
img{max-width:100%;border:1px solid #ccc}pre{white-space:pre-wrap;word-break:break-all;background:#f4f4f4;padding:1rem}
@media (max-width:40rem){table,tbody,tr,td{display:block}thead{display:none}tr{border-bottom:1px solid #ccc;
padding:.5rem 0}td{border:0;padding:.1rem 0}td.ok::before,td.warning::before,td.skipped::before{content:"● "}}
@media print{details{display:none}}
"""


def warnings(run: Run) -> tuple[Done, ...]:
    """The steps that leave something to do."""
    return tuple(each for each in run.steps if each.outcome.state == "warning")


def build(run: Run, profile: Profile) -> bytes:
    """The report as JSON; the same bytes for the same run."""
    left = warnings(run)
    return json.dumps({
        "report": 1, "device": run.device, "run": run.id, "by": run.by, "begun": run.begun,
        "ended": max((each.at for each in run.steps), default=run.begun), "resumed": run.resumed,
        "agent": version("cornergrid"), "result": "warnings" if left else "ok", "warnings": len(left),
        "steps": [msgspec.to_builtins(each) for each in run.steps],
        "sensors": {each.name: each.driver for each in profile.sensors},
        "slots": {each.name: each.sku for each in profile.slots},
    }, indent=1, ensure_ascii=False).encode()


def write(run: Run, profile: Profile, identity: Identity | None, folder: Path) -> dict[str, str] | None:
    """Write the report into a folder; its signed form, None where this device has no key. OSError from the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    content = build(run, profile)
    signed = sign(identity, content) if identity else None
    write_whole(folder / "report.json", content, 0o640)
    if signed is not None:
        write_whole(folder / "report.jws", json.dumps(signed).encode(), 0o640)
    page = html(json.loads(content), run, profile.device.data, signed, fingerprint(identity) if identity else "")
    write_whole(folder / "report.html", page.encode(), 0o640)
    return signed


def html(report: dict[str, Any], run: Run, data: Path, signed: dict[str, str] | None, mark: str) -> str:
    """The report as one page that needs nothing else."""
    rows = "".join(
        f'<tr><td class="{each.outcome.state}">{each.outcome.state}</td><td>{escape(each.title)}</td>'
        f"<td>{escape(each.outcome.found)}</td><td>{escape(each.outcome.fix)}</td></tr>" for each in run.steps)
    pictures = "".join(
        f"<figure><img alt=\"{escape(picture.name)}\" src=\"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}\">"
        f"<figcaption>{escape(picture.name)}</figcaption></figure>"
        for each in run.steps for picture, jpeg in shown(each.outcome.pictures, data))
    count = report["warnings"]
    result = "everything works" if not count else f"{count} warning{'s' if count > 1 else ''} left"
    proof = (f"<p>Signed with the key of {escape(run.device)}, certificate {escape(mark)}.</p><details><summary>"
             f"Signature (RFC 7515)</summary><pre>{escape(json.dumps(signed))}</pre></details>" if signed else
             "<p>Not signed: this device has no certificate.</p>")
    title = f"Commissioning of {escape(run.device)}"
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
            f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><h1>{title}</h1>'
            f"<p><strong>{result}.</strong> By {escape(run.by or 'nobody named')}, {_time(report['begun'])} to "
            f"{_time(report['ended'])}{f', in {run.resumed + 1} goes' if run.resumed else ''}.</p>"
            f"<table><thead><tr><th>result</th><th>step</th><th>found</th><th>what to do</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>{pictures}{proof}</body></html>\n")


def _time(t: float) -> str:
    return f"{datetime.fromtimestamp(t, UTC):%Y-%m-%d %H:%M} UTC"


def facts(run: Run, content: str, t: float) -> list[wire.Fact]:
    """The report for the way up: one line for people, and the whole of it in numbered pieces."""
    left = warnings(run)
    pieces = [content[at:at + PIECE] for at in range(0, len(content), PIECE)]
    said = f"commissioned by {run.by or 'nobody named'}: {len(run.steps)} steps, {len(left)} warnings" + (
        f" ({', '.join(each.step for each in left)})" if left else "")
    return [wire.Fact(EVENT, t, "", said[:500]),
            *(wire.Fact(NAME, t, "", f"{run.id} {number}/{len(pieces)} {piece}")
              for number, piece in enumerate(pieces, 1))]
