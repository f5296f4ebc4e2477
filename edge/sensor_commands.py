"""`cornergrid-edge probe`, `read` and `record`: what is plugged in, what it says, and a file of what it said."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from edge import profile as profiles
from edge.clock import Clock, SystemClock
from edge.consoles import err
from edge.errors import ConfigError, Problem, SensorError
from edge.finds import Find, Place, look_behind, thermometers, toml_of
from edge.profile import CameraSettings, Profile
from edge.readings import OK, Reading
from edge.sensors import AnySettings, open_driver
from edge.sensors.driver import tapped
from edge.sensors.ds18b20 import DEVICES
from edge.sensors.ports import found_ports
from edge.sensors.recording import Recorder
from edge.sensors.sampler import Readable
from edge.uplink.status import clock_time

EXIT_NOTHING = 1
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object (a line for each reading).")]
Of = Annotated[Path, typer.Option("--profile", envvar="CORNERGRID_PROFILE", help="The device profile, TOML.")]
Sensor = Annotated[str, typer.Argument(help="The sensor's name in the profile, like scale-1.")]
USUAL = Path("/etc/cornergrid/shop.toml")
SHOWN = 64
"""Bytes of one way that are shown on a screen; `record` keeps them all."""
out = Console(highlight=False, soft_wrap=True, markup=False, width=None if sys.stdout.isatty() else 160)


def register(app: typer.Typer) -> None:
    """Add the commands `probe`, `read` and `record`."""
    for command in (probe, read, record):
        app.command()(command)


def probe(
    ports: Annotated[list[str] | None, typer.Argument(help="Ports to look behind; all that there are where none is "
                                                          "named.")] = None,
    addresses: Annotated[str, typer.Option(help="Modbus addresses to ask: 1-16, or 1,2,10.")] = "1-8",
    one_wire: Annotated[Path, typer.Option(help="Where the kernel lists 1-wire thermometers.")] = DEVICES,
    as_json: AsJson = False,
) -> None:
    """Find out what is plugged in: every port by its stable name, and what answers there, with the lines to paste.

    Only listens and asks for values; nothing is zeroed, tared or set. About half a minute for a silent port; all ports
    at once. Stop the agent first: a port that is in use is left alone. Exit code 0: something was found, 1: nothing.

    Example: `cornergrid-edge probe /dev/ttyUSB0 --addresses 1-4`
    """
    places = [Place(str(Path(port).absolute()), port) for port in ports] if ports else [
        *(Place(port.name, port.device, port.description, port.note) for port in found_ports()),
        *thermometers(one_wire)]
    asked = _addresses(addresses)
    with _progress() as told, ThreadPoolExecutor(max_workers=max(1, len(places))) as pool:
        looks = [pool.submit(look_behind, place, asked, SystemClock(), told(place.name)) for place in places]
        finds = [look.result() for look in looks]
    if as_json:
        typer.echo(json.dumps({"ports": [find.as_dict() for find in finds]}))
    else:
        _show(finds)
    raise typer.Exit(0 if any(find.choices for find in finds) else EXIT_NOTHING)


def _addresses(text: str) -> tuple[int, ...]:
    """`1-4,7` as numbers; ConfigError where they are no Modbus addresses."""
    spans = [re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part.strip()) for part in text.split(",")]
    ends = [(int(span[1]), int(span[2] or span[1])) if span else (0, 0) for span in spans]
    if not all(1 <= first <= last <= 247 for first, last in ends):
        raise ConfigError("--addresses", (Problem(text, "is no list of Modbus addresses", "1 to 247, like 1-4,7"),))
    return tuple(n for first, last in ends for n in range(first, last + 1))


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], Callable[[str], None]]]:
    """A line for each port on a terminal, that says what is tried now."""
    with Progress(SpinnerColumn(), TextColumn("{task.fields[port]}: {task.description}", markup=False),
                  console=err, disable=not err.is_terminal, transient=True) as progress:
        def told(port: str) -> Callable[[str], None]:
            task = progress.add_task("waiting", total=None, port=port)
            return lambda what: progress.update(task, description=what)

        yield told


def _show(finds: list[Find]) -> None:
    if not finds:
        out.print("no serial port and no 1-wire thermometer is there: plug an adapter in, or name a port")
    table = Table("port", "found", "says", "how sure", title="What is plugged in", title_justify="left")
    for find in finds:
        about = find.place.name + (f"\n({find.place.description})" if find.place.description else "")
        for choice in find.choices:
            table.add_row(about, choice.title, choice.says, choice.sure)
            about = "" if choice.of == find.choices[0].of else about
        if not find.choices:
            table.add_row(about, find.nothing, "", "")
    if finds:
        out.print(table)
    for find in finds:
        if find.place.note:
            out.print(f"{find.place.name}: {find.place.note}")
        if len({choice.of for choice in find.choices}) < len(find.choices):
            out.print(f"{find.place.name}: several makes understand the same bytes. Compare what each says with the "
                      "device's own display or a thermometer, breathe on a probe, and paste one of them.")
    lines = toml_of(finds)
    if lines:
        out.print("\nFor the profile:\n")
        out.print(lines)


def _only_errors() -> None:
    """What goes wrong with the sensor is the command's own answer: its events would be said twice."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
                        logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def _named(profile: Profile, path: Path, name: str) -> AnySettings | CameraSettings:
    for settings in (*profile.sensors, *profile.cameras):
        if settings.name == name:
            return settings
    known = ", ".join(settings.name for settings in (*profile.sensors, *profile.cameras)) or "none"
    raise ConfigError(str(path), (Problem("sensors", f"none is named {name!r}", f"known: {known}"),))


class _Overheard:
    """The bytes of one read, in the order they went."""

    def __init__(self) -> None:
        self._chunks: list[tuple[str, bytes]] = []

    def __call__(self, way: str, data: bytes) -> None:
        if self._chunks and self._chunks[-1][0] == way:
            data = self._chunks.pop()[1] + data
        self._chunks.append((way, data))

    def take(self) -> list[tuple[str, str]]:
        """What was heard since the last call, `(">", "57")`."""
        chunks, self._chunks = self._chunks, []
        return [(way, data.hex(" ").upper()) for way, data in chunks]


def read(
    sensor: Sensor, profile: Of = USUAL,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Read one sensor or camera now; a sensor beside the bytes that went over its wire.

    Exit code 0: every value was good, 1: one was not (its reason stands in its place).

    Example: `cornergrid-edge read scale-1 --profile shop.toml --follow`
    """
    _only_errors()
    shop, clock = profiles.load_profile(profile), SystemClock()
    settings, heard, good = _named(shop, profile, sensor), _Overheard(), True
    with contextlib.nullcontext() if isinstance(settings, CameraSettings) else tapped(settings.port, heard):
        for t, readings, why in _reads(_opener(settings, shop, clock), settings.period_s, clock, once=not follow):
            good = not why and all(reading.quality in (OK, "unstable") for reading in readings)
            raw = heard.take()
            if as_json:
                plain = [_plain(each) for each in readings]
                typer.echo(json.dumps({"t": t, "readings": plain, "why": why, "raw": raw}))
            else:
                shown = ", ".join(f"{each.quantity} {_words(each)}" for each in readings) or f"no value: {why}"
                out.print(f"{clock_time(t)}  {shown}")
                for way, data in raw:
                    out.print(f"    {way} {_begin(data)}", style="dim")
    raise typer.Exit(0 if good else EXIT_NOTHING)


def _begin(spaced: str) -> str:
    """Bytes in hex, cut where a babbler would fill the screen."""
    count = len(spaced.split())
    return spaced if count <= SHOWN else f"{spaced[:3 * SHOWN - 1]} … ({count} bytes)"


def _opener(settings: AnySettings | CameraSettings, shop: Profile, clock: Clock) -> Callable[[], Readable]:
    if not isinstance(settings, CameraSettings):
        return lambda: open_driver(settings, clock)
    from edge.agent import load_detector, watch_of  # noqa: PLC0415  # loads the vision libraries

    watch = watch_of(settings, shop, clock, load_detector(settings))
    return lambda: watch


def _reads(opener: Callable[[], Readable], period_s: float, clock: Clock, *, once: bool,
           until: float | None = None) -> Iterator[tuple[float, tuple[Reading, ...], str]]:
    """(event time, readings, what went wrong) of one read each period, until Ctrl-C or the monotonic time `until`."""
    driver: Readable | None = None
    rest = threading.Event()
    try:
        while until is None or clock.monotonic() < until:
            try:
                driver = driver or opener()
                yield clock.now(), driver.read(), ""
            except SensorError as error:
                yield clock.now(), (), str(error)
                if driver is not None:
                    driver.close()
                    driver = None
            if once:
                return
            rest.wait(period_s if until is None else min(period_s, max(0.0, until - clock.monotonic())))
    except KeyboardInterrupt:
        return
    finally:
        if driver is not None:
            driver.close()


def _plain(reading: Reading) -> dict[str, Any]:
    value = reading.value if isinstance(reading.value, bool | str | None) else float(reading.value)
    return {"quantity": reading.quantity, "value": value, "unit": reading.unit, "quality": reading.quality,
            "net": reading.net}


def _words(reading: Reading) -> str:
    if reading.value is None:
        return reading.quality
    return " ".join(part for part in (str(reading.value), reading.unit, "net" if reading.net else "") if part)


def record(
    sensor: Sensor,
    target: Annotated[Path, typer.Argument(help="The recording to write; it must not be there yet.")],
    profile: Of = USUAL,
    seconds: Annotated[float | None, typer.Option(min=0, help="How long; until Ctrl-C where not given.")] = None,
) -> None:
    """Keep what one sensor or camera says, with times, in a file: a support ticket.

    `port = "replay:FILE"`, or a camera's `source = "replay:FILE"`, plays it.

    Example: `cornergrid-edge record scale-1 odd-scale.rec --profile shop.toml --seconds 60`
    """
    _only_errors()
    shop, clock = profiles.load_profile(profile), SystemClock()
    settings = _named(shop, profile, sensor)
    until = None if seconds is None else clock.monotonic() + seconds
    if isinstance(settings, CameraSettings):
        _record_camera(settings, target, clock, until)
        return
    about = settings.model_dump(mode="json", exclude_none=True)
    reads, wrong = 0, list[str]()
    with target.open("x", encoding="utf-8") as file, _progress() as told:
        recorder, step = Recorder(file, about, clock), told(settings.port)
        with tapped(settings.port, recorder):
            for _, _, why in _reads(_opener(settings, shop, clock), settings.period_s, clock, once=False, until=until):
                reads += 1
                wrong += [why.partition(":")[0]] if why else []
                step(f"{reads} reads, {len(wrong)} without a value, {recorder.bytes} bytes; Ctrl-C ends it")
    out.print(f"wrote {target}: {reads} reads, {recorder.bytes} bytes{_faults(wrong)}")
    raise typer.Exit(0 if reads > len(wrong) else EXIT_NOTHING)


def _faults(wrong: list[str]) -> str:
    """How often there was no value, and for which reasons."""
    return f", {len(wrong)} times none: {', '.join(sorted(set(wrong)))}" if wrong else ""


def _record_camera(settings: CameraSettings, target: Path, clock: Clock, until: float | None) -> None:
    """Keep every frame of a camera, until Ctrl-C or the monotonic time `until`."""
    from edge.vision.camera import open_camera, redact  # noqa: PLC0415  # loads OpenCV
    from edge.vision.cameras.recording import FrameRecorder, record_frames  # noqa: PLC0415

    wrong: list[str] = []
    with _progress() as told, FrameRecorder(target, settings.name, settings.source, clock) as recorder:
        step, camera = told(redact(settings.source)), open_camera(settings.source, clock)

        def go_on() -> bool:
            step(f"{recorder.frames} frames, {recorder.bytes} bytes; Ctrl-C ends it")
            return until is None or clock.monotonic() < until

        try:
            record_frames(camera, recorder, go_on, lambda error: wrong.append(error.reason))
        except KeyboardInterrupt:
            pass  # as the installer wished: what was kept is whole
        finally:
            camera.close()
    out.print(f"wrote {target}: {recorder.frames} frames, {recorder.bytes} bytes{_faults(wrong)}")
    raise typer.Exit(0 if recorder.frames else EXIT_NOTHING)
