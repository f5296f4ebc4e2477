"""What every step has: the profile, the clock, the person, the answers, and how to watch a device until it is so."""

from __future__ import annotations

import threading
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from edge.box.steps import write_whole
from edge.clock import Clock, SystemClock
from edge.commissioning.person import Answers, Person
from edge.commissioning.state import Outcome
from edge.documents import Documents
from edge.errors import ConfigError, Problem, SensorError
from edge.finds import Find
from edge.profile import Profile, parse_profile
from edge.readings import Reading
from edge.sensors import AnySettings, open_driver

LOOK_S = 0.25


@dataclass(slots=True)
class Place:
    """One box while it is commissioned.

    `run`: the run's id. `patience_s`: real seconds that a hand, or the cloud, is waited for.
    `addresses`: of Modbus devices that are looked for. `other_ports`: whether ports are looked behind that the
    profile does not name.
    """

    path: Path
    profile: Profile
    clock: Clock
    person: Person
    answers: Answers
    documents: Documents
    run: str
    patience_s: float = 60.0
    addresses: tuple[int, ...] = tuple(range(1, 9))
    other_ports: bool = True
    finds: list[Find] = field(default_factory=list)

    @property
    def data(self) -> Path:
        """The device's data folder."""
        return self.profile.device.data

    @property
    def folder(self) -> Path:
        """Where this run's report and pictures lie."""
        return self.data / "commissioning" / self.run


def extend(place: Place, blocks: Iterable[str]) -> None:
    """Add blocks of TOML to the profile, in one write, where all of it is still valid; ConfigError otherwise."""
    text = place.path.read_text(encoding="utf-8").rstrip("\n") + "\n\n" + "\n\n".join(blocks).rstrip("\n") + "\n"
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(place.path), (Problem("file", f"would be no TOML any more: {error}"),)) from error
    profile = parse_profile(str(place.path), data)
    try:
        write_whole(place.path, text.encode(), place.path.stat().st_mode & 0o777)
    except OSError as error:
        raise ConfigError(str(place.path), (Problem("file", f"cannot be written: {error.strerror}",
                                                    "may this user write it? put sudo before the command"),)) from error
    place.profile = profile


class Skip(Exception):  # noqa: N818  # not an error: the installer said so
    """The installer skips this step."""


def watch(place: Place, settings: AnySettings, says: Callable[[Iterable[Reading]], str],
          until: Callable[[Iterable[Reading]], bool]) -> bool:
    """Read a sensor until something is so; False where it is not in time, or the installer takes it as it is (Enter).

    `says` is shown while waiting. Skip where the installer types `s`. What the sensor cannot tell is waited for too;
    SensorError where it told nothing at all.
    """
    pause, clock = threading.Event(), SystemClock()
    end, heard, last = clock.monotonic() + place.patience_s, False, SensorError("no_answer")
    driver = None
    try:
        while clock.monotonic() < end:
            try:
                driver = driver or open_driver(settings, place.clock)
                readings = driver.read()
                heard = True
                place.person.live(says(readings))
                if until(readings):
                    return True
            except SensorError as error:
                last = error
                place.person.live(f"{settings.name}: {error}")
                if driver is not None:
                    driver.close()
                    driver = None
            if (typed := place.person.pressed()) is not None:
                if typed.lower() == "s":
                    raise Skip
                return False
            pause.wait(LOOK_S)
    finally:
        if driver is not None:
            driver.close()
    if not heard:
        raise last
    return False


def ok(found: str, **learned: object) -> Outcome:
    """A step that went well."""
    return Outcome("ok", found, learned=learned)


def warning(found: str, fix: str, **learned: object) -> Outcome:
    """A step that leaves something to do."""
    return Outcome("warning", found, fix, learned=learned)


def skipped(why: str) -> Outcome:
    """A step that does not apply here, or that the installer left out."""
    return Outcome("skipped", why)
