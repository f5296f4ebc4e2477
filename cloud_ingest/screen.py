"""The operator's screen: the fleet as tables for a terminal, and as lines for a pipe. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from cloud_ingest.plain import plain
from cloud_ingest.refusals import OVER_HTTP, fix_of
from cloud_ingest.watch import DeviceRow, Fleet, LossRow, Telemetry

CENTURY_S = 3.16e9
MOST_TROUBLE = 20


def clock_time(t: float | None, now: float | None = None) -> str:
    """`11-20 08:31:07` UTC, on the day of `now` only `08:31:07`, or a dash."""
    if t is None:
        return "-"
    try:
        at = datetime.fromtimestamp(t, UTC)
    except (ValueError, OverflowError, OSError):  # a device may say anything
        return "no time"
    today = now is not None and at.date() == datetime.fromtimestamp(now, UTC).date()
    return at.strftime("%H:%M:%S" if today else "%m-%d %H:%M:%S")


def span(seconds: float | None) -> str:
    """`40 s`, `12 min`, `5.5 hours` or `3.2 days`; a dash where it is not known."""
    if seconds is None:
        return "-"
    if not -CENTURY_S < seconds < CENTURY_S:
        return "over 100 years"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} hours" if seconds < 172_800 else f"{seconds / 86_400:,.1f} days"


def size(count: int) -> str:
    """Bytes as `812 B`, `4.1 kB`, `64 MB` or `1.2 GB`."""
    value, unit = float(min(count, 10**18)), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"


def render(fleet: Fleet, now: float | None = None) -> Group:
    """The fleet as tables; `now` (Unix seconds) lets today's times go without their date."""
    tables = [_devices(fleet, now), _outboxes(fleet, now), _refused(fleet), _refusals(fleet, now),
              _over_http(fleet, now), _losses(fleet, now), _values(fleet, now)]
    return Group(*(table for table in tables if table.row_count or table is tables[0] or table is tables[-1]))


def _devices(fleet: Fleet, now: float | None) -> Table:
    table = Table("device", "store", "", "boot", "clock", "last seen", "committed", "cloud has up to", "refused",
                  "missing", "told lost", "unexplained", "trouble", title="devices (UTC)")
    for row in fleet.devices:
        online = "[green]online[/]" if row.online else "[red]offline[/]"
        clock = row.clk if row.clk in {None, "ok"} else f"[yellow]{row.clk}[/]"
        table.add_row(
            row.device, row.store, online, str(row.boot), clock or "-", clock_time(row.last_seen, now),
            str(row.committed), clock_time(row.complete_to, now), _marked(row.refused, "yellow"), str(row.missing),
            str(row.losses), _marked(row.unexplained, "bold red"), _safe(_few(row.trouble)))
    return table


def _safe(text: str) -> str:
    """A stranger's text for a cell: neither a terminal's commands nor this screen's markup."""
    return escape(plain(text))


def _few(trouble: tuple[str, ...]) -> str:
    more = len(trouble) - MOST_TROUBLE
    return ", ".join(trouble[:MOST_TROUBLE]) + (f" and {more} more" if more > 0 else "")


def _marked(count: int, style: str) -> str:
    return f"[{style}]{count}[/]" if count else "0"


def _outboxes(fleet: Fleet, now: float | None) -> Table:
    table = Table("device", "keeps in", "records", "size", "oldest", "room for", "to catch up", "done in", "says",
                  title="outboxes, as the devices tell")
    for row in fleet.devices:
        if held := row.held:
            where = held.where if held.where == "disk" else f"[red]{held.where}[/]"
            table.add_row(row.device, where, str(held.buffered), f"{size(held.bytes)} of {size(held.cap)}",
                          clock_time(held.oldest, now), span(held.runway_s), str(held.backlog), span(held.catch_up_s),
                          _safe(held.why))
    return table


def _refused(fleet: Fleet) -> Table:
    table = Table("device", "refused", "the last because", title="refused records")
    for row in fleet.devices:
        if row.refused:
            table.add_row(row.device, str(row.refused), _safe(row.why))
    return table


def _refusals(fleet: Fleet, now: float | None) -> Table:
    table = Table("device", "kind", "times", "last", "the newest", "what to do", title="refusals by kind, the newest")
    for row in fleet.refusals:
        table.add_row(_safe(row.device), row.kind, str(row.n), clock_time(row.last_t, now), _safe(row.detail[:100]),
                      escape(fix_of(row.kind)))
    return table


def _over_http(fleet: Fleet, now: float | None) -> Table:
    table = Table("kind", "whose", "from", "times", "last", "meaning", title="refused over HTTP, the newest")
    for row in fleet.http_refusals:
        table.add_row(row.kind, row.subject, row.source, str(row.n), clock_time(row.last, now),
                      OVER_HTTP.get(row.kind, ""))
    return table


def _losses(fleet: Fleet, now: float | None) -> Table:
    table = Table("device", "told at", "records", "what", "from - to", "why", title="losses, the newest")
    for loss in fleet.losses:
        table.add_row(loss.device, clock_time(loss.t, now), str(loss.n), loss.what, _period(loss, now), loss.why)
    return table


def _period(loss: LossRow, now: float | None = None) -> str:
    if loss.t0 is None and loss.t1 is None:
        return "time not known"
    return f"{clock_time(loss.t0, now)} - {clock_time(loss.t1, now)}"


def _values(fleet: Fleet, now: float | None) -> Table:
    values = Table("device", "what", "value", "at", title=f"telemetry; {fleet.quarantined} messages in quarantine")
    for each in fleet.telemetry:
        shown = f"{each.value:g} {each.unit}" if isinstance(each.value, int | float) else str(each.value)
        values.add_row(each.device, _safe(each.name), _safe(shown) if each.quality == "ok"
                       else f"[yellow]{_safe(each.quality)}[/]", clock_time(each.t, now))
    return values


def changes(before: Fleet | None, after: Fleet) -> Iterator[str]:
    """What is new since `before`, a line each, for a pipe."""
    known = {(row.device, row.name): row.t for row in before.telemetry} if before else {}
    gists = {row.device: _gist(row) for row in before.devices} if before else {}
    for row in after.devices:
        if gists.get(row.device) != _gist(row):
            yield _line(row)
    lost = set(before.losses) if before else set()
    for loss in reversed(after.losses):
        if loss not in lost:
            yield f"{clock_time(loss.t)} {loss.device} lost {loss.n} {loss.what}: {loss.why}, {_period(loss)}"
    counted = {(row.device, row.kind): row.n for row in before.refusals} if before else {}
    for told in reversed(after.refusals):
        more = told.n - counted.get((told.device, told.kind), 0)
        if more > 0:
            yield plain(f"{clock_time(told.last_t)} {told.device} refused {told.kind} {more} times, {told.n} in all: "
                        f"{told.detail}")
    yield from _over_http_since(before, after)
    for each in after.telemetry:
        if known.get((each.device, each.name)) != each.t:
            yield _value_line(each)


def _over_http_since(before: Fleet | None, after: Fleet) -> Iterator[str]:
    counted = {(row.kind, row.subject, row.source): row.n for row in before.http_refusals} if before else {}
    for row in reversed(after.http_refusals):
        more = row.n - counted.get((row.kind, row.subject, row.source), 0)
        if more > 0:
            yield (f"{clock_time(row.last)} HTTP refused {row.kind} of {row.subject} from {row.source} {more} times, "
                   f"{row.n} in all")


def _value_line(each: Telemetry) -> str:
    value = f"{each.value} {each.unit}".strip() if each.quality == "ok" else each.quality
    return plain(f"{clock_time(each.t)} {each.device} {each.name} {value}")


def _gist(row: DeviceRow) -> tuple[object, ...]:
    """What is worth a line where it changes."""
    outbox = (row.held.where, row.held.why) if row.held else ()
    return row.online, row.trouble, row.refused, row.why, row.unexplained, row.clk, outbox


def _line(row: DeviceRow) -> str:
    parts = [f"{row.device} {'online' if row.online else 'offline'} boot {row.boot} committed {row.committed} "
             f"buffered {row.buffered}", f"complete to {clock_time(row.complete_to)}"]
    if row.trouble:
        parts.append(f"trouble: {_few(row.trouble)}")
    if row.clk not in {None, "ok"}:
        parts.append(f"clock {row.clk}")
    if row.held and row.held.where != "disk":
        parts.append(f"keeps records in {row.held.where} only")
    if row.held and row.held.why:
        parts.append(f"outbox: {row.held.why}")
    if row.unexplained:
        parts.append(f"{row.unexplained} missing without explanation")
    if row.refused:
        parts.append(f"{row.refused} refused: {row.why}")
    return plain("; ".join(parts))
