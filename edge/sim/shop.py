"""A whole virtual shop: the story told through a profile's sensors and cameras, with the truth written down."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Protocol

import structlog

from edge.clock import Clock
from edge.commission import keep_baseline, regions_of
from edge.errors import ConfigError, Problem
from edge.profile import Profile
from edge.sim.camera import sim_camera
from edge.sim.feed import ServedCamera
from edge.sim.fridge import Fridge
from edge.sim.modbus_devices import IN_A_ROOM
from edge.sim.onewire import SimThermometer
from edge.sim.packs import Frame
from edge.sim.rs485 import Rs485Line, SimModbus
from edge.sim.scale import SimScale
from edge.sim.scales import VOICES
from edge.sim.scene import Scene
from edge.sim.story import HABITS, Arm, DoorClosed, DoorOpened, Event, Habits, Move, change, story
from edge.sim.truth import TruthFile

TICK_S = 0.05
"""Real seconds between looks at the clock."""
log = structlog.get_logger(__name__)


class _Part(Protocol):
    def close(self) -> None: ...


class VirtualShop:
    """The shop of a profile, alive from `start()` to `stop()`.

    What happened on the first day before `clock.now()` is taken as done and is not in the truth.
    """

    def __init__(self, profile: Profile, seed: int, clock: Clock, truth_path: Path, habits: Habits = HABITS) -> None:
        self._profile, self._seed, self._clock, self._truth_path = profile, seed, clock, truth_path
        self._slots = {slot.name: slot for slot in profile.slots}
        self._events = story(profile.slots, seed, clock.now(), habits)
        self._lock = threading.Lock()
        self._levels = {slot.name: slot.capacity for slot in profile.slots}
        self._fridge = Fridge(clock.now())
        self._arm: Arm | None = None
        self._stop = threading.Event()
        self.scales: dict[str, SimScale] = {}
        self.lines: dict[str, Rs485Line] = {}
        self.wires: dict[str, SimThermometer] = {}
        self.cameras: dict[str, ServedCamera] = {}
        self._truth: TruthFile | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Open every port and camera and begin the day.

        ConfigError for a device that cannot be simulated, OSError where a port or an address cannot be had; nothing
        stays open then.
        """
        now = self._clock.now()
        following = self._catch_up(now)
        self._truth = TruthFile(self._truth_path)
        try:
            for slot in self._profile.slots:
                self._truth.start(now, slot.name, slot.sku, self._levels[slot.name])
            _commission(self._profile, self._seed, now)
            self._open()
        except BaseException:
            self.stop()
            raise
        self._thread = threading.Thread(target=self._live, args=(following,), name="virtual shop", daemon=True)
        self._thread.start()

    def wait_ready(self, timeout_s: float = 5.0) -> bool:
        """Whether every device answers by then; ports and cameras answer from the start."""
        return all(line.wait_ready(timeout_s) for line in self.lines.values())

    def stop(self) -> None:
        """End everything: threads joined, ports and symlinks gone, the truth closed. Twice does no harm."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        parts: chain[_Part] = chain(
            self.cameras.values(), self.lines.values(), self.scales.values(), self.wires.values())
        for part in parts:
            part.close()
        self.cameras, self.lines, self.scales, self.wires = {}, {}, {}, {}
        if self._truth is not None:
            self._truth.close()

    @property
    def levels(self) -> dict[str, int]:
        """Units in each slot now."""
        with self._lock:
            return dict(self._levels)

    @property
    def door_open(self) -> bool:
        """Whether the fridge's door is open now."""
        with self._lock:
            return self._fridge.open

    def climate(self) -> tuple[float, float]:
        """The fridge's temperature in degrees Celsius and relative humidity in % now."""
        now = self._clock.now()
        with self._lock:
            return self._fridge.temperature(now), self._fridge.humidity(now)

    def frame(self, camera: str) -> Frame:
        """What a camera of the profile sees now, BGR uint8; for one picture, without `start()`."""
        if self._thread is None:
            self._catch_up(self._clock.now())
        return self._viewer(camera)()

    def _catch_up(self, now: float) -> Event:
        for event in self._events:
            if event.t > now:
                return event
            self._apply(event)
        raise AssertionError("a story has no end")

    def _open(self) -> None:
        on_line: dict[str, list[SimModbus]] = defaultdict(list)
        for sensor in self._profile.sensors:
            if sensor.driver == "modbus":
                on_line[sensor.port].append(_modbus(self, sensor.name, sensor.device, sensor.address))
            elif sensor.driver == "ds18b20":
                self.wires[sensor.name] = SimThermometer(Path(sensor.port), lambda: self.climate()[0])
            elif sensor.driver in VOICES:
                rng = random.Random(f"{self._seed}/{sensor.name}")
                unit = sensor.shown_unit() or "kg"
                self.scales[sensor.name] = SimScale(
                    Path(sensor.port), VOICES[sensor.driver](), unit, self._clock, rng)
            else:
                raise _cannot(sensor.name, sensor.driver)
        for port, devices in on_line.items():
            self.lines[port] = Rs485Line(Path(port), devices)
        for camera in self._profile.cameras:
            self.cameras[camera.name] = sim_camera(camera.source, self._viewer(camera.name))
        self._weigh()

    def _viewer(self, camera: str) -> Callable[[], Frame]:
        scene = _scene(self._profile, camera, self._seed)

        def take() -> Frame:
            now = self._clock.now()
            with self._lock:
                levels, arm = dict(self._levels), self._arm
            return scene.render(levels, now, arm.slot if arm is not None and arm.t <= now < arm.until else None)

        return take

    def _live(self, following: Event) -> None:
        while not self._stop.wait(TICK_S):
            now = self._clock.now()
            while following.t <= now and not self._stop.is_set():
                self._apply(following)
                following = next(self._events)
            self._weigh()

    def _apply(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, Arm):
                self._arm = event
            elif isinstance(event, DoorOpened | DoorClosed):
                self._fridge = self._fridge.door(event.t, isinstance(event, DoorOpened))
            else:
                self._move(event)

    def _move(self, move: Move) -> None:
        slot = self._slots[move.slot]
        self._levels[slot.name] += change(move)
        if self._truth is not None:
            self._truth.moved(move, slot.sku, self._levels[slot.name])
            log.debug("shop_moved", kind=type(move).__name__, slot=slot.name, n=move.n,
                      level=self._levels[slot.name])

    def _weigh(self) -> None:
        levels = self.levels
        for slot in self._profile.slots:
            scale = self.scales.get(slot.scale or "")
            if scale is not None and slot.item_weight_kg is not None:
                scale.put(slot.tare_kg + slot.item_weight_kg * levels[slot.name])


def _scene(profile: Profile, camera: str, seed: int) -> Scene:
    return Scene([slot for slot in profile.slots if slot.camera == camera], seed)


def _commission(profile: Profile, seed: int, now: float) -> None:
    """A picture of each full shelf, as a fitter takes it before the shop opens."""
    full = {slot.name: slot.capacity for slot in profile.slots}
    for camera in profile.cameras:
        picture = _scene(profile, camera.name, seed).render(full, now)
        keep_baseline(profile.device.data, camera.name, picture, regions_of(camera.name, profile), now)


def _modbus(shop: VirtualShop, name: str, device: str, address: int) -> SimModbus:
    if device not in IN_A_ROOM:
        raise _cannot(name, device)
    return SimModbus(address, IN_A_ROOM[device](shop))


def _cannot(name: str, what: str) -> ConfigError:
    return ConfigError("virtual shop", (Problem(
        f"sensors.{name}", f"a virtual shop has no {what}",
        f"it has {', '.join(VOICES)}, and modbus with {', '.join(IN_A_ROOM)}"),))
