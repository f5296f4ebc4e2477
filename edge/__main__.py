"""cornergrid-edge: what an installer types at the box."""

from __future__ import annotations

from edge.stopping import STOP  # the first: nothing that loads slowly may come before

# isort: split
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import structlog
import typer
from rich.markup import escape
from rich.table import Table

from edge import profile as profiles
from edge.box.levels import machine_lines
from edge.box.owner import hand_over
from edge.clock import Clock, HonestClock, ShopClock, SystemClock
from edge.consoles import err, out
from edge.errors import CornergridError, system_told
from edge.trusted import CAMERA, ask_login, camera_given

log = structlog.get_logger(__name__)
EXIT_BAD_INPUT = 2
EXIT_FAILED = 1
Where = Annotated[Path, typer.Argument(help="The device profile, TOML.")]
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown",
                  help="The agent on a shop's box. Start with `commission`, or with `init`, `check`, `run`.")


@app.command()
def init(  # noqa: PLR0913, PLR0917  # one option for each question
    path: Where,
    device: Annotated[str, typer.Option(help="Device id.", prompt="Device id, like shop-0042")],
    broker: Annotated[str, typer.Option(help="HOST:PORT.", prompt="Broker, HOST:PORT")] = "127.0.0.1:1883",
    data: Annotated[str, typer.Option(help="Folder for the outbox.", prompt="Data folder")] = "/var/lib/cornergrid",
    scale_port: Annotated[str, typer.Option(help="Serial port, or empty.", prompt="Scale's port (empty: none)")] = "",
    scale_sku: Annotated[str, typer.Option(help="GTIN on the scale.")] = "",
    item_weight: Annotated[str, typer.Option(help='Like "0.250 kg".')] = "",
    probe_port: Annotated[str, typer.Option(help="RS-485 port.", prompt="Fridge probe's port (empty: none)")] = "",
    camera: Annotated[str | None, typer.Option(help="A camera's address without a login.")] = None,
    camera_file: Annotated[str, typer.Option(help='A file of mode 0600 with its address and login, or "-"; '
                                                  f"{CAMERA} in the environment does too.")] = "",
    camera_sku: Annotated[str, typer.Option(help="GTIN in the picture.")] = "",
    force: Annotated[bool, typer.Option(help="Replace a profile that is there.")] = False,
) -> None:
    """Write a valid profile; asks for what no flag says.

    Example: `cornergrid-edge init shop.toml --device shop-0042 --scale-port /dev/serial/by-id/usb-1
    --scale-sku 4006381333931 --item-weight "0.250 kg"`
    """
    from edge import wizard  # noqa: PLC0415  # `look` and `--help` need not wait for it

    if path.exists() and not force:
        _give_up(f"{path}: is there already (--force replaces it)")
    if scale_port:
        scale_sku = scale_sku or typer.prompt("GTIN of the product on the scale")
        item_weight = item_weight or typer.prompt('Weight of one unit, like "0.250 kg"')
    source = camera_given(camera, camera_file)
    if source is None:
        source = ask_login(typer.prompt("Camera's address (empty: none)", default="", show_default=False), _ask)
    if source:
        camera_sku = camera_sku or typer.prompt("GTIN of the product in the picture")
    answers = wizard.Answers(device, broker, data, scale_port, scale_sku, item_weight, probe_port, source, camera_sku)
    wizard.write(answers, path)
    out.print(f"wrote {path}; next: cornergrid-edge check {path}")


def _ask(question: str, hidden: bool) -> str:
    return str(typer.prompt(f"  {question}", default="", show_default=False, hide_input=hidden))


@app.command()
def check(
    path: Where,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    patience: Annotated[float, typer.Option(help="Seconds to wait for the cloud's commit.")] = 15.0,
    sim_clock: Annotated[Path | None, typer.Option(help="Follow a virtual shop's clock.json.")] = None,
) -> None:
    """Try every sensor, the camera, the clock, the disk and the way to the cloud's commit.

    Exit code 0: all is well, 1: something failed (a fix stands beside it), 2: the profile cannot be used.

    Example: `cornergrid-edge check firmware_configs/shops/demo.toml`
    """
    from edge import check as checks  # noqa: PLC0415  # loads the vision libraries
    from edge.documents import Documents  # noqa: PLC0415

    profile = profiles.load_profile(path)
    clock = _clock(sim_clock)
    _log(pretty=False, level=logging.ERROR)
    outcomes: list[checks.Outcome] = []
    for outcome in checks.check(profile, clock, patience_s=patience):
        outcomes.append(outcome)
        if not as_json and out.is_terminal:
            err.print(f"{'ok  ' if outcome.ok else 'FAIL'} {outcome.part}", style="dim")
    rows = [asdict(outcome) for outcome in outcomes]
    ok = all(outcome.ok for outcome in outcomes)
    if as_json:
        typer.echo(json.dumps({"device": profile.device.id, "ok": ok, "rows": rows}))
    else:
        out.print(_table(profile.device.id, rows))
    if any(outcome.ok for outcome in outcomes if outcome.part == "disk"):
        Documents(profile.device.data).keep_check(clock.now(), rows)
    hand_over(profile.device.data)
    raise typer.Exit(0 if ok else EXIT_FAILED)


@app.command()
def run(
    path: Where,
    sim_clock: Annotated[Path | None, typer.Option(help="Follow a virtual shop's clock.json.")] = None,
) -> None:
    """Run the agent until SIGINT or SIGTERM.

    Example: `cornergrid-edge run /etc/cornergrid/shop.toml`
    """
    from edge.agent import Agent  # noqa: PLC0415  # loads the vision libraries

    profile = profiles.load_profile(path)
    _log(pretty=sys.stderr.isatty())
    if STOP.is_set():
        log.info("stopped", device=profile.device.id)
        return
    Agent(profile, _clock(sim_clock)).run(STOP)


@app.command()
def look(
    photo: Annotated[Path, typer.Argument(help="Any photo of a shelf.")],
    annotated: Annotated[Path | None, typer.Option("--out", help="Where the picture goes.")] = None,
    model: Annotated[Path | None, typer.Option(help="Another ONNX model, its card beside it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Run the detector on a photo: an annotated picture and a table of what was found.

    Example: `cornergrid-edge look shelf.jpg --out found.jpg`
    """
    import cv2  # noqa: PLC0415  # heavy

    from edge.vision.annotate import look as look_at  # noqa: PLC0415
    from edge.vision.onnx import DEFAULT_MODEL, OnnxDetector  # noqa: PLC0415

    seen = look_at(photo, OnnxDetector.load(model or DEFAULT_MODEL))
    target = annotated or photo.with_name(f"{photo.stem}.found.jpg")
    if not cv2.haveImageWriter(str(target)) or not cv2.imwrite(str(target), seen.image):
        _give_up(f"{target}: cannot be written (name a .jpg or .png in a folder that is there)")
    rows = [asdict(row) for row in seen.rows]
    if as_json:
        typer.echo(json.dumps({"photo": str(photo), "quality": seen.quality, "out": str(target), "found": rows}))
        return
    table = Table("n", "class", "score", "x0", "y0", "x1", "y1", title=f"{photo.name}: {len(rows)} found")
    for row in rows:
        table.add_row(*(f"{value:.2f}" if name == "score" else str(value) for name, value in row.items()))
    out.print(table)
    out.print(f"picture quality: {seen.quality}; annotated picture: {target}")


@app.command()
def schema() -> None:
    """Print the JSON schema of a profile.

    Example: `cornergrid-edge schema > firmware_configs/profile.schema.json`
    """
    typer.echo(profiles.schema(), nl=False)


def _table(device: str, rows: list[dict[str, Any]]) -> Table:
    table = Table("", "part", "found", "what to do", title=device)
    for row in rows:
        mark = "[green]ok[/]" if row["ok"] else "[red]FAIL[/]"
        table.add_row(mark, row["part"], escape(row["found"]), escape(row["fix"]))
    return table


def _clock(sim_clock: Path | None) -> Clock:
    if sim_clock is None:
        return HonestClock(SystemClock())
    try:
        return ShopClock.load(sim_clock)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        _give_up(f"{sim_clock}: no virtual shop's clock ({error}); start `cornergrid-edge sim` first")


def _log(*, pretty: bool, level: int = logging.INFO) -> None:
    """Events for a person on a terminal, as JSON lines otherwise; always on stderr."""
    # Plain traces: the usual ones show local variables, and a private key may be one.
    for_people = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            for_people if pretty else machine_lines(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _give_up(message: str) -> NoReturn:
    err.print(message, style="red", markup=False)
    raise typer.Exit(EXIT_BAD_INPUT)


def main() -> None:
    """The console script: every error on purpose is one clear message and an exit code, never a trace."""
    # Imported here, so that errors on import are told like all others.
    from edge import (  # noqa: PLC0415
        box_commands,
        commission_commands,
        identity_commands,
        outbox_commands,
        planogram_commands,
        profile_commands,
        sensor_commands,
        vision_commands,
    )
    from edge.drill import command as drill  # noqa: PLC0415
    from edge.sim import bus_command, command  # noqa: PLC0415  # the virtual shop stands beside the agent, not below it

    for part in (
        outbox_commands, sensor_commands, profile_commands, planogram_commands, identity_commands, drill,
        command, bus_command, box_commands, commission_commands,
    ):
        part.register(app)
    app.add_typer(vision_commands.vision_app, name="vision")
    try:
        app()
    except CornergridError as error:
        err.print(str(error), style="red", markup=False)
        sys.exit(EXIT_BAD_INPUT)
    except OSError as error:
        err.print(system_told(error), style="red", markup=False)
        sys.exit(EXIT_BAD_INPUT)


if __name__ == "__main__":
    main()
