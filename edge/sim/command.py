"""`cornergrid-edge sim`: a virtual shop for a profile."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from edge.clock import ManualClock, ShopClock, SystemClock

if TYPE_CHECKING:
    from edge.profile import Profile
    from edge.sim.shop import VirtualShop

CLOCK_FILE, TRUTH_FILE = "clock.json", "truth.jsonl"
out = Console(highlight=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the command `sim`."""
    app.command()(sim)


def sim(
    path: Annotated[Path, typer.Argument(metavar="PROFILE", help="The device profile, TOML.")],
    seed: Annotated[int, typer.Option(help="The same seed tells the same story.")] = 7,
    start: Annotated[str | None, typer.Option(
        help="Event time to begin at, ISO 8601, UTC where it names no zone; 7 days ago at 08:00 by default.")] = None,
    speed: Annotated[float, typer.Option(min=0.01, max=3600.0, help="Shop seconds in one real second.")] = 60.0,
    truth: Annotated[Path | None, typer.Option(help="Where the truth goes; DATA/truth.jsonl by default.")] = None,
    frame: Annotated[Path | None, typer.Option(help="Only draw the first camera's frame into this picture.")] = None,
) -> None:
    """Drive a profile's ports and cameras with a shop that does not exist, and write down the truth.

    Runs until Ctrl-C. The agent follows its clock with `cornergrid-edge run PROFILE --sim-clock DATA/clock.json`.

    Example: `cornergrid-edge sim firmware_configs/shops/demo.toml --speed 60`
    """
    from edge.profile import load_profile  # noqa: PLC0415  # `--help` need not wait for it
    from edge.sim.shop import VirtualShop  # noqa: PLC0415  # loads OpenCV and pymodbus

    profile = load_profile(path)
    data = profile.device.data
    begin = _begin(start)
    truth = truth or data / TRUTH_FILE
    if frame is not None:
        _draw(VirtualShop(profile, seed, ManualClock(begin), truth), profile, frame)
        return
    stop = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: stop.set())
    data.mkdir(parents=True, exist_ok=True)
    clock = ShopClock.begin(begin, speed)
    (data / CLOCK_FILE).unlink(missing_ok=True)  # an earlier shop's; this one's says that every port is open
    shop = VirtualShop(profile, seed, clock, truth)
    try:
        shop.start()
    except OSError as error:
        out.print(f"{path}: a port or an address cannot be had: {error}", style="red")
        raise typer.Exit(1) from error
    try:
        shop.wait_ready()
        clock.save(data / CLOCK_FILE)
        _say(profile, data, truth, begin, speed)
        stop.wait()
    finally:
        shop.stop()


def _begin(start: str | None) -> float:
    if start is None:
        today = datetime.fromtimestamp(SystemClock().now(), UTC)
        return (today - timedelta(days=7)).replace(hour=8, minute=0, second=0, microsecond=0).timestamp()
    try:
        begin = datetime.fromisoformat(start)
    except ValueError:
        raise typer.BadParameter(f"{start!r} is not ISO 8601, like 2026-03-02T08:00", param_hint="--start") from None
    return (begin if begin.tzinfo else begin.replace(tzinfo=UTC)).timestamp()


def _draw(shop: VirtualShop, profile: Profile, to: Path) -> None:
    import cv2  # noqa: PLC0415  # slow to load

    if not profile.cameras:
        raise typer.BadParameter("the profile has no camera to draw", param_hint="--frame")
    ok, png = cv2.imencode(to.suffix.lower() or ".png", shop.frame(profile.cameras[0].name))
    if not ok:
        raise typer.BadParameter(f"cannot write a picture as {to.suffix}", param_hint="--frame")
    to.write_bytes(png.tobytes())
    out.print(f"wrote {to}")


def _say(profile: Profile, data: Path, truth: Path, begin: float, speed: float) -> None:
    from edge.vision.camera import redact  # noqa: PLC0415  # slow to load

    out.print(f"virtual shop {profile.device.id}, {datetime.fromtimestamp(begin, UTC):%Y-%m-%d %H:%M} UTC, "
              f"{speed:g} times as fast")
    for sensor in profile.sensors:
        out.print(f"  {sensor.name}: {sensor.driver} on {sensor.port}")
    for camera in profile.cameras:
        out.print(f"  {camera.name}: {redact(camera.source)}")
    out.print(f"  clock {data / CLOCK_FILE}, truth {truth}; Ctrl-C stops")
