"""What the operator sees: every device, and what it last told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from cloud_ingest.feed import reading


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One device: sequence numbers of its newest stream, times in Unix seconds."""

    device: str
    store: str
    online: bool
    boot: int
    last_seen: float | None
    buffered: int
    committed: int
    complete_to: float | None
    refused: int
    missing: int
    trouble: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The newest value of one name of one device."""

    device: str
    name: str
    t: float
    value: float | str | None
    unit: str
    quality: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything on the operator's screen."""

    devices: tuple[DeviceRow, ...]
    telemetry: tuple[Telemetry, ...]
    quarantined: int


def read_fleet(db: Path) -> Fleet:
    """The fleet as the database has it now; StoreError where there is none."""
    with reading(db) as connection:
        devices = tuple(_device(row) for row in connection.execute(_DEVICES))
        telemetry = tuple(Telemetry(*row) for row in connection.execute(
            "SELECT device, name, t, value, unit, quality FROM latest ORDER BY device, name"))
        quarantined = connection.execute("SELECT coalesce(sum(count), 0) FROM quarantine").fetchone()[0]
    return Fleet(devices, telemetry, quarantined)


_DEVICES = """
SELECT d.id, d.store, d.online, d.boot, d.last_seen, d.state,
       s.mark, s.last_t, coalesce(s.refused, 0), coalesce(s.missing, 0)
FROM device d LEFT JOIN stream s ON s.device = d.id AND s.st = (
    SELECT st FROM stream WHERE device = d.id ORDER BY last_t DESC, rowid DESC LIMIT 1)
ORDER BY d.id
"""


def _device(row: tuple[str, str, int, int, float | None, str | None, int | None, float | None, int, int]) -> DeviceRow:
    device, store, online, boot, last_seen, state, mark, last_t, refused, missing = row
    told = json.loads(state) if state else {}
    trouble = tuple(f"{name} {status}" for name, status in told.get("sensors", {}).items() if status != "ok")
    return DeviceRow(device, store, bool(online), boot, last_seen, told.get("buffered", 0), mark or 0, last_t,
                     refused, missing, trouble)


def clock_time(t: float | None) -> str:
    """`11-20 08:31:07` UTC, or a dash."""
    return "-" if t is None else datetime.fromtimestamp(t, UTC).strftime("%m-%d %H:%M:%S")


def render(fleet: Fleet) -> Group:
    """The fleet as tables for a terminal."""
    table = Table("device", "store", "", "boot", "last seen", "buffered", "committed", "cloud has up to", "refused",
                  "missing", "trouble", title="devices (UTC)")
    for row in fleet.devices:
        online = "[green]online[/]" if row.online else "[red]offline[/]"
        table.add_row(row.device, row.store, online, str(row.boot), clock_time(row.last_seen), str(row.buffered),
                      str(row.committed), clock_time(row.complete_to), str(row.refused), str(row.missing),
                      escape(", ".join(row.trouble)))
    values = Table("device", "what", "value", "at", title=f"telemetry; {fleet.quarantined} messages in quarantine")
    for each in fleet.telemetry:
        shown = f"{each.value:g} {each.unit}" if isinstance(each.value, int | float) else str(each.value)
        values.add_row(each.device, escape(each.name),
                       escape(shown) if each.quality == "ok" else f"[yellow]{each.quality}[/]", clock_time(each.t))
    return Group(table, values)


def changes(before: Fleet | None, after: Fleet) -> Iterator[str]:
    """What is new since `before`, a line each, for a pipe."""
    known = {(row.device, row.name): row.t for row in before.telemetry} if before else {}
    online = {row.device: (row.online, row.trouble) for row in before.devices} if before else {}
    for row in after.devices:
        if online.get(row.device) != (row.online, row.trouble):
            trouble = f" trouble: {', '.join(row.trouble)}" if row.trouble else ""
            yield f"{row.device} {'online' if row.online else 'offline'} boot {row.boot} " \
                  f"committed {row.committed} buffered {row.buffered}{trouble}"
    for each in after.telemetry:
        if known.get((each.device, each.name)) != each.t:
            value = f"{each.value} {each.unit}".strip() if each.quality == "ok" else each.quality
            yield f"{clock_time(each.t)} {each.device} {each.name} {value}"


def to_json(fleet: Fleet) -> str:
    """The fleet as one JSON object."""
    return json.dumps(asdict(fleet))
