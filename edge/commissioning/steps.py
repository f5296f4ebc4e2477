"""The table of steps, and the loop that does what is left of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import msgspec

from edge.check import FIXES
from edge.clock import SystemClock
from edge.commissioning import devices, eyes, lines, scales, uplink
from edge.commissioning.person import Stopped
from edge.commissioning.place import Place, Skip, skipped, warning
from edge.commissioning.state import Chest, Done, Outcome, Run
from edge.errors import ConfigError, CornergridError, EnrolError, ModelError, SensorError
from edge.profile import Profile
from edge.sensors import AnySettings, quantities, weighs


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is tried. `part`: the sensor or camera it belongs to."""

    name: str
    title: str
    run: Callable[[Place], Outcome]
    part: str = ""


def steps_of(profile: Profile) -> tuple[Step, ...]:
    """Every step of a shop, in the order in which they are done; some add to the profile, and so make more."""
    return (
        Step("identity", "who this device is", uplink.identity),
        Step("clock", "the clock", partial(uplink.checked, "clock")),
        Step("disk", "the disk", partial(uplink.checked, "disk")),
        Step("ports", "what is plugged in", devices.ports),
        Step("profile", "the profile has what was found", lines.lines),
        *(step for settings in profile.sensors for step in _of_sensor(settings, profile)),
        *(step for camera in profile.cameras for step in (
            Step(f"{camera.name}/aim", f"{camera.name}: aimed, and the full shelf kept", partial(eyes.aim, camera),
                 camera.name),
            Step(f"{camera.name}/slots", f"{camera.name}: its slots", partial(eyes.slots, camera), camera.name))),
        Step("foreign", "the broker keeps devices apart", uplink.foreign),
        Step("committed", "a reading comes back as committed", partial(uplink.checked, "uplink")),
        Step("drill", "outages, in short", uplink.short_drill),
    )


def _of_sensor(settings: AnySettings, profile: Profile) -> Iterator[Step]:
    name = settings.name
    if weighs(settings):
        yield Step(f"{name}/zero", f"{name}: empty", partial(scales.zero, settings), name)
        yield Step(f"{name}/known", f"{name}: a known weight", partial(scales.known, settings), name)
        on_it = [slot for slot in profile.slots if slot.scale == name]
        if not on_it:
            yield Step(f"{name}/product", f"{name}: what lies on it", partial(scales.product, settings), name)
        for slot in on_it:
            yield Step(f"{name}/{slot.name}", f"{name}: the weight of {slot.product or slot.sku}",
                       partial(scales.item, settings, slot), name)
        return
    yield Step(f"{name}/plausible", f"{name}: its values make sense", partial(devices.plausible, settings), name)
    yield Step(f"{name}/alike", f"{name}: no look-alike of another make", partial(devices.breath, settings), name)
    for quantity, _ in quantities(settings):
        if quantity.split("/", maxsplit=1)[0] == "open":
            yield Step(f"{name}/{quantity}", f"{name}: a door opens and closes",
                       partial(devices.door, settings, quantity), name)


def go_on(run: Run, chest: Chest, place: Place) -> Iterator[tuple[Step, Run]]:
    """Do the steps that are left; the run after each, which is kept already. Stopped where the installer leaves."""
    clock = SystemClock()
    while (step := _following(run, place.profile)) is not None:
        place.person.tell(f"\n{step.title}")
        begin = clock.monotonic()
        outcome = _with_patience(step, place)
        done = Done(step.name, step.title, place.clock.now(), round(clock.monotonic() - begin, 1), outcome)
        run = msgspec.structs.replace(run, steps=(*run.steps, done))
        chest.keep(run)
        yield step, run


def _following(run: Run, profile: Profile) -> Step | None:
    return next((step for step in steps_of(profile) if run.done(step.name) is None), None)


def _with_patience(step: Step, place: Place) -> Outcome:
    """The outcome that the installer is content with: a warning may be tried again at once."""
    while True:
        outcome = _attempt(step, place)
        if outcome.state != "warning" or not place.person.there:
            return outcome
        place.person.tell(f"  {outcome.found}\n  → {outcome.fix}")
        if place.person.ask("r and Enter: try again; Enter: go on with this warning").lower() != "r":
            return outcome


def _attempt(step: Step, place: Place) -> Outcome:
    if step.name in place.answers.skip or step.part in place.answers.skip:
        return skipped("left out, as asked for")
    try:
        return step.run(place)
    except Stopped:
        raise
    except Skip:
        return skipped("left out by the installer")
    except CornergridError as error:
        return warning(*_told(error))


def _told(error: CornergridError) -> tuple[str, str]:
    """What is wrong, and what to do about it."""
    match error:
        case SensorError():
            told = str(error).replace("_", " ", error.reason.count("_"))
            return told, FIXES.get(error.reason, "power, cable, settings")
        case EnrolError():
            return error.wrong, error.fix
        case ModelError():
            return f"{error.file}: {error.wrong}", error.fix
        case ConfigError():
            first = error.problems[0]
            return f"{error.file}: {first.key} {first.wrong}", first.fix or "put it right, and try again"
        case _:
            return str(error), "see the message"
