"""`cornergrid-edge status` and `buffer`: what the outbox holds, and what to do where it is damaged."""

from __future__ import annotations

import contextlib
import fcntl
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import Progress
from rich.table import Table

from edge import profile as profiles
from edge import wire
from edge.box.owner import for_the_agent
from edge.clock import SystemClock
from edge.consoles import err, out
from edge.errors import StoreError, WireError
from edge.profile import lock_file
from edge.uplink import look as looks
from edge.uplink.salvage import salvage
from edge.uplink.status import clock_time, duration, free_bytes, size
from edge.uplink.streams import noted

Where = Annotated[Path, typer.Argument(help="The device profile, TOML.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]
EXIT_DAMAGED = 1


def register(app: typer.Typer) -> None:
    """Add the commands `status` and `buffer`."""
    app.command()(status)
    buffer = typer.Typer(no_args_is_help=True, help="The outbox itself: inspect, export, verify, repair.")
    for command in (inspect, export, verify, repair):
        buffer.command()(command)
    app.add_typer(buffer, name="buffer")


def status(path: Where, as_json: AsJson = False) -> None:
    """What waits on this box, how far the cloud is, how long the disk lasts, and what was lost.

    Works beside the running agent, and without it. Exit code 0: nothing is wrong, 1: something is.

    Example: `cornergrid-edge status /etc/cornergrid/shop.toml --json`
    """
    profile = profiles.load_profile(path)
    found = read_status(profile.device)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        table = Table(show_header=False, box=None, title=profile.device.id, title_justify="left")
        for name, value in rows_of(found, SystemClock().now()):
            table.add_row(name, value)
        out.print(table)
    raise typer.Exit(0 if not found["why"] else EXIT_DAMAGED)


def read_status(device: profiles.Device) -> dict[str, Any]:
    """What the outbox's file says now, and what the agent told last; times are Unix seconds."""
    outbox, data = device.outbox, device.data
    seen = looks.look(outbox)
    told = _last_state(device.state)
    state = told.outbox if told and told.outbox is not msgspec.UNSET else wire.OutboxState()
    running = is_running(data)
    return {
        "running": running, "told": told.t if told else None, "boot": seen.boot,
        "where": state.where if running else "disk",
        "records": told.buffered if told and running and state.where == "memory" else seen.tally.records,
        "bytes": seen.bytes, "cap": state.cap, "free_bytes": free_bytes(data), "oldest": seen.oldest,
        "committed_to": seen.tally.committed, "runway_s": state.runway_s,
        "catch_up_s": state.catch_up_s if running else None, "backlog": state.backlog if running else None,
        "lost": seen.tally.lost, "refused": state.refused,
        "clk": seen.streams[-1].stream.clk if seen.streams else state.clk, "why": state.why if running else "",
        "losses": [{"t": t, **msgspec.structs.asdict(loss)} for t, loss in looks.losses(outbox)],
    }


def rows_of(found: dict[str, Any], now: float) -> list[tuple[str, str]]:
    """The status for people, a line each."""
    told = "never" if found["told"] is None else f"{duration(max(0.0, now - found['told']))} ago"
    cap = f" of {size(found['cap'])}" if found["cap"] else ""
    rows = [
        ("agent", f"{'running' if found['running'] else 'not running'}, boot {found['boot']}, last word {told}"),
        ("kept", f"{found['records']} records, {size(found['bytes'])}{cap} on "
                 f"{'the disk' if found['where'] == 'disk' else 'no disk: in memory only'}"),
        ("cloud has all up to", clock_time(found["committed_to"])),
        ("oldest not committed", clock_time(found["oldest"])),
        ("outage runway", f"{duration(found['runway_s'])} at the present rate"),
        ("catch-up left", duration(found["catch_up_s"])),
        ("lost", f"{found['lost']} records, each told in a loss record" if found["lost"] else "nothing"),
        ("refused by the cloud", str(found["refused"])),
        ("clock", {"ok": "synchronised", "free": "not synchronised: times are marked so",
                   "corrected": "corrected afterwards"}[found["clk"]]),
    ]
    rows += [("", f"{loss['n']} {loss['what']} {loss['why']}, of {clock_time(loss['t0'])} to {clock_time(loss['t1'])}")
             for loss in found["losses"]]
    return [*rows, ("trouble", found["why"])] if found["why"] else rows


def _last_state(path: Path) -> wire.State | None:
    try:
        return wire.decode(path.read_bytes(), wire.State)
    except (OSError, WireError):
        return None


def is_running(data: Path) -> bool:
    """Whether an agent holds the lock of the data folder."""
    try:
        with lock_file(data).open("r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _outbox_of(path: Path) -> Path:
    return profiles.load_profile(path).device.outbox


def inspect(path: Where, as_json: AsJson = False) -> None:
    """The streams in the outbox: which start of the box, which clock, which sequences.

    Example: `cornergrid-edge buffer inspect shop.toml`
    """
    outbox = _outbox_of(path)
    seen = looks.look(outbox)
    aside = sorted(str(file) for file in outbox.parent.glob(f"{outbox.name}.unreadable-*") if file.suffix[1:].isalnum())
    rows = [{**msgspec.structs.asdict(each.stream), "lo": each.lo, "hi": each.hi} for each in seen.streams]
    if as_json:
        typer.echo(json.dumps({"file": str(outbox), "bytes": seen.bytes, "tally": msgspec.structs.asdict(seen.tally),
                               "streams": rows, "set_aside": aside}))
        return
    table = Table("stream", "boot", "clock", "shift s", "sequences held", title=str(outbox), title_justify="left")
    for row in rows:
        held = f"{row['lo']} .. {row['hi']}" if row["lo"] <= row["hi"] else "none"
        table.add_row(row["st"], str(row["boot"]), row["clk"], f"{row['shift']:.3f}", held)
    out.print(table)
    out.print(f"{seen.tally.records} records in {size(seen.bytes)}; {seen.tally.lost} lost so far")
    for file in aside:
        out.print(f"set aside after damage: {file}")


def export(path: Where, target: Annotated[Path, typer.Argument(help="Where the JSON lines go; - for the screen.")],
           ) -> None:
    """Write every record as a line of JSON; out of a damaged file, those that can still be read.

    Example: `cornergrid-edge buffer export shop.toml records.jsonl`
    """
    outbox = _outbox_of(path)
    streams = noted(outbox).streams
    n = 0
    with (contextlib.nullcontext(sys.stdout) if str(target) == "-" else target.open("w", encoding="utf-8") as file,
          Progress(console=err, disable=not err.is_terminal, transient=True) as progress):
        task = progress.add_task("exporting", total=None)
        for n, (place, kind, body) in enumerate(looks.records(outbox), 1):  # told at the end
            st, seq = looks.named(streams, place) or (None, None)
            line = {"place": place, "st": st, "seq": seq, "kind": kind, "record": msgspec.Raw(body)}
            file.write(msgspec.json.encode(line).decode() + "\n")
            if n % 1000 == 0:
                progress.update(task, completed=n, description=f"{n} records")
    err.print(f"{n} records")


def verify(path: Where, as_json: AsJson = False) -> None:
    """Read the whole outbox once and say whether it is sound. Changes nothing.

    Exit code 0: sound, 1: damaged; `buffer repair` then saves what can be read.

    Example: `cornergrid-edge buffer verify shop.toml`
    """
    with err.status("reading everything once") if err.is_terminal else contextlib.nullcontext():
        found = looks.verify(_outbox_of(path))
    if as_json:
        typer.echo(json.dumps({"sound": found.sound, "records": found.records, "bad": found.bad,
                               "counted": found.counted, "damaged": found.damaged, "hidden": found.hidden}))
    else:
        out.print(f"{found.records} records with a right checksum, {found.bad} with a wrong one, "
                  f"{found.counted} were counted")
        if found.damaged:
            out.print(f"the file is damaged: {found.damaged}")
        if found.hidden:
            out.print("its log hides committed records behind a damaged one")
        out.print("sound" if found.sound else f"next: stop the agent, then cornergrid-edge buffer repair {path}")
    raise typer.Exit(0 if found.sound else EXIT_DAMAGED)


def repair(path: Where) -> None:
    """Save every readable record of a damaged outbox into a fresh one; the damaged file is set aside, not deleted.

    The agent does the same by itself when it meets the damage; this is for a box that is looked after by hand.

    Example: `cornergrid-edge buffer repair shop.toml`
    """
    outbox = _outbox_of(path)
    if is_running(outbox.parent):
        raise StoreError(str(outbox), "the agent is running", "stop it first: it would go on writing the old file")
    if not outbox.exists():
        raise StoreError(str(outbox), "is not there", "there is nothing to repair")
    before = looks.verify(outbox)
    if before.sound:
        out.print(f"nothing to repair: {before.records} records, all sound")
        return
    with for_the_agent(outbox.parent):
        aside = salvage(outbox)
    seen = looks.look(outbox)
    out.print(f"{seen.tally.records} records saved, {seen.tally.lost} lost so far; the damaged file is now {aside}")

