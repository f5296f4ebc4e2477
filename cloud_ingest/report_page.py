"""A commissioning report as a page: words of a stranger, shown as words. No script runs in it, whatever they are."""

from __future__ import annotations

from html import escape

from cloud_ingest.plain import plain
from cloud_ingest.reports import Verdict, shown_time

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STATES = {"ok", "warning", "skipped"}
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#1a1a1a;background:#fff;
overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;
border-bottom:1px solid #ccc}td.ok,td.warning,td.skipped{overflow-wrap:normal}td.ok{color:#0a5c2b}
td.warning{color:#8a3a00;font-weight:600}td.skipped{color:#555}
p.valid,p.wrong{padding:.6rem 1rem;border-left:.4rem solid}p.valid{color:#0a5c2b}p.wrong{color:#8a1500;font-weight:600}
@media (max-width:40rem){table,tbody,tr,td{display:block}thead{display:none}tr{border-bottom:1px solid #ccc;
padding:.5rem 0}td{border:0;padding:.1rem 0}td.ok::before,td.warning::before,td.skipped::before{content:"● "}}
"""


def page(device: str, verdict: Verdict) -> str:
    """One HTML document. The pictures stay on the device, beside its own report.html."""
    title, told = f"Commissioning of {_text(device)}", verdict.report
    proof = (f'<p class="valid">Valid: signed by {_text(device)} with a certificate of this authority'
             f'{f"; but {_text(verdict.note)}" if verdict.note else ""}.</p>'
             if verdict.valid else
             f'<p class="wrong">Not valid ({_text(verdict.kind)}): {_text(verdict.wrong)}. → {_text(verdict.fix)}</p>')
    about = rows = ""
    if told is not None:
        result = f"{told.warnings} warning{'s' if told.warnings != 1 else ''} left" if told.warnings else (
            "everything works")
        about = (f"<p><strong>{result}.</strong> By {_text(told.by or 'nobody named')}, {shown_time(told.begun)} to "
                 f"{shown_time(told.ended)}{f', in {told.resumed + 1} goes' if told.resumed else ''}.</p>")
        rows = "".join(
            f'<tr><td class="{each.outcome.state if each.outcome.state in STATES else ""}">{_text(each.outcome.state)}'
            f"</td><td>{_text(each.title)}</td><td>{_text(each.outcome.found)}</td><td>{_text(each.outcome.fix)}</td>"
            "</tr>" for each in told.steps)
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
            f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><h1>{title}</h1>'
            f"{proof}{about}<table><thead><tr><th>result</th><th>step</th><th>found</th><th>what to do</th></tr>"
            f"</thead><tbody>{rows}</tbody></table></body></html>\n")


def _text(text: str) -> str:
    return escape(plain(text))
