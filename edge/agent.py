"""The composition root: a profile becomes samplers, stock levels, an outbox and a publisher.

    samplers (a thread each) ─▶ queue ─▶ Shelf: levels, movements ─▶ Outbox.put ─▶ Publisher

Facts and the stock state that they follow from are committed in one transaction, so that a power cut between two
readings neither loses a sale nor counts one twice.
"""

from __future__ import annotations

import fcntl
import queue
import threading
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import IO

import msgspec
import structlog

from edge import wire
from edge.clock import Clock, every
from edge.errors import StoreError
from edge.profile import CameraSettings, Profile
from edge.readings import Reading, no_value
from edge.report import Reporter, to_fact
from edge.sensors import AnySettings, open_driver, quantities
from edge.sensors.sampler import Sampler
from edge.stock import Plan, SlotState, resume, step, tick
from edge.uplink.outbox import Outbox
from edge.uplink.publisher import Link, Publisher
from edge.vision.detector import Detector
from edge.vision.observe import Region
from edge.vision.onnx import DEFAULT_MODEL, OnnxDetector
from edge.vision.watch import CameraWatch

log = structlog.get_logger(__name__)
BATCH_WAIT_S = 0.2
HUNG_S = 15.0
RETRY_S = 1.0
Sink = Callable[[tuple[Reading, ...]], None]
_states = msgspec.json.Decoder(dict[str, SlotState])


class Shelf:
    """The stock of every slot: readings in, facts and the state to commit with them out."""

    def __init__(self, profile: Profile, snapshot: bytes | None) -> None:
        stock = profile.stock
        self._plans = {slot.source: Plan(
            slot.name, slot.sku, slot.source, slot.item_weight_kg, slot.tare_kg, slot.depth,
            stock.agree, stock.put_back_s, stock.gap_s) for slot in profile.slots}
        kept = _kept_states(snapshot)
        self._states = {plan.slot: resume(plan, kept.get(plan.slot)) for plan in self._plans.values()}

    def step(self, reading: Reading) -> tuple[wire.Fact, ...]:
        """The facts that follow from one reading; none where no slot looks at it."""
        plan = self._plans.get(reading.name)
        if plan is None:
            return ()
        self._states[plan.slot], facts = step(plan, self._states[plan.slot], reading)
        return facts

    def tick(self, now: float) -> tuple[wire.Fact, ...]:
        """The facts that are due without any reading."""
        facts: list[wire.Fact] = []
        for plan in self._plans.values():
            self._states[plan.slot], due = tick(plan, self._states[plan.slot], now)
            facts.extend(due)
        return tuple(facts)

    def levels(self) -> dict[str, int | None]:
        """Units on the shelf by slot; None where nothing is known yet."""
        return {slot: state.level for slot, state in self._states.items()}

    def snapshot(self) -> bytes:
        """All slots' state, to be committed with the facts."""
        return msgspec.json.encode(self._states)


class Agent:
    """One shop's device, running until `stop` is set."""

    def __init__(self, profile: Profile, clock: Clock) -> None:
        """Opens the outbox and loads the models; StoreError, ModelError or ConfigError where that cannot be."""
        self._profile, self._clock = profile, clock
        self._queue: queue.Queue[tuple[Reading, ...]] = queue.Queue(10_000)
        detectors = load_detectors(profile)
        self._alone = hold_alone(profile.device.data)
        self.outbox = Outbox(profile.device.data / "outbox.db")
        self._shelf = Shelf(profile, self.outbox.snapshot())
        self._reporter = Reporter({part.name: part.report_s for part in (*profile.sensors, *profile.cameras)})
        self.samplers = build_samplers(profile, clock, self._queue.put, detectors)
        self.publisher = Publisher(link_of(profile), self.outbox, clock, self._birth(), self.statuses)

    def run(self, stop: threading.Event) -> None:
        """Sample, derive, commit and publish until `stop` is set; then finish what was read."""
        for sampler in self.samplers:
            sampler.start()
        self.publisher.start()
        log.info("running", device=self._profile.device.id, stream=self.outbox.stream, boot=self.outbox.boot,
                 held=self.outbox.held().records)
        due = every(self._clock, 1.0)
        while not stop.is_set():
            facts = self._derive(self._next_readings())
            if due():
                facts += self._shelf.tick(self._clock.now())
            self._commit(facts, stop)
        self._close(stop)

    def statuses(self) -> dict[str, str]:
        """How each sensor and camera is doing: `ok`, a reason, or `hung`."""
        now = self._clock.monotonic()
        return {sampler.name: "hung" if now - sampler.beat > HUNG_S else sampler.status()
                for sampler in self.samplers}

    def _next_readings(self) -> list[Reading]:
        """The readings that wait, or those of the next moment: one commit serves them all."""
        readings: list[Reading] = []
        try:
            readings.extend(self._queue.get(timeout=BATCH_WAIT_S))
            while True:
                readings.extend(self._queue.get_nowait())
        except queue.Empty:
            return readings

    def _derive(self, readings: Iterable[Reading]) -> tuple[wire.Fact, ...]:
        facts: list[wire.Fact] = []
        for reading in readings:
            if self._reporter.worth(reading):
                facts.append(to_fact(reading))
            facts.extend(self._shelf.step(reading))
        return tuple(facts)

    def _commit(self, facts: tuple[wire.Fact, ...], stop: threading.Event) -> None:
        """Put facts, again and again while the disk does not take them; readings wait in the queue meanwhile."""
        while facts:
            try:
                self.outbox.put(facts, self._shelf.snapshot())
            except StoreError as error:
                log.error("not_kept", error=str(error), facts=len(facts), retry_s=RETRY_S)
                if stop.wait(RETRY_S):
                    return
            else:
                self.publisher.wake()
                return

    def _close(self, stop: threading.Event) -> None:
        for sampler in self.samplers:
            sampler.stop()
        self._commit(self._derive(self._next_readings()), stop)
        self.publisher.stop()
        self.outbox.close()
        self._alone.close()
        log.info("stopped", device=self._profile.device.id)

    def _birth(self) -> wire.Birth:
        profile = self._profile
        return wire.Birth(
            device=profile.device.id, st=self.outbox.stream, boot=self.outbox.boot, t=self._clock.now(),
            agent=version("cornergrid"),
            sensors={sensor.name: sensor.driver for sensor in profile.sensors}
            | {camera.name: "camera" for camera in profile.cameras},
            slots={slot.name: slot.sku for slot in profile.slots})


def hold_alone(data: Path) -> IO[str]:
    """A lock on the data folder for as long as the file stays open; StoreError where another agent has it."""
    path = data / "agent.lock"
    try:
        data.mkdir(parents=True, exist_ok=True)
        held = path.open("w", encoding="utf-8")
    except OSError as error:
        raise StoreError(str(path), f"cannot be opened: {error.strerror}",
                         "the data folder of the profile must be a writable disk") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise StoreError(str(path), "another agent runs on this folder",
                         "stop it first: two would count every sale twice") from error
    return held


def _kept_states(snapshot: bytes | None) -> dict[str, SlotState]:
    try:
        return _states.decode(snapshot) if snapshot else {}
    except msgspec.DecodeError as error:
        log.error("stock_state_unreadable", error=str(error), fix="none needed: levels are learned again")
        return {}


def link_of(profile: Profile) -> Link:
    """The profile's uplink as the publisher takes it."""
    uplink = profile.uplink
    return Link(profile.device.id, uplink.host, uplink.port, uplink.batch, uplink.window, uplink.resend_s)


def load_detectors(profile: Profile) -> dict[str, Detector]:
    """The detector of each camera, by camera name; cameras with one model and threshold share it.

    ModelError where a model cannot be used.
    """
    wanted = {camera.name: (camera.model or DEFAULT_MODEL, camera.threshold) for camera in profile.cameras}
    loaded = {each: OnnxDetector.load(each[0], threshold=each[1]) for each in set(wanted.values())}
    return {name: loaded[each] for name, each in wanted.items()}


def build_samplers(profile: Profile, clock: Clock, sink: Sink, detectors: dict[str, Detector]) -> list[Sampler]:
    """A supervised thread for each sensor and camera: none waits for another."""
    sensors = [_sensor_sampler(settings, clock, sink) for settings in profile.sensors]
    cameras = [_camera_sampler(camera, profile, clock, sink, detectors[camera.name]) for camera in profile.cameras]
    return sensors + cameras


def _sensor_sampler(settings: AnySettings, clock: Clock, sink: Sink) -> Sampler:
    measured = quantities(settings)
    return Sampler(
        name=settings.name, open=lambda: open_driver(settings, clock),
        failed=lambda reason: tuple(
            no_value(settings.name, quantity, clock.now(), reason, unit) for quantity, unit in measured),
        sink=sink, period_s=settings.period_s, clock=clock)


def regions_of(camera: str, profile: Profile) -> tuple[Region, ...]:
    """The slots' places in one camera's picture."""
    return tuple(Region(slot.name, *slot.region) for slot in profile.slots if slot.camera == camera and slot.region)


def _camera_sampler(camera: CameraSettings, profile: Profile, clock: Clock, sink: Sink, detector: Detector) -> Sampler:
    regions = regions_of(camera.name, profile)
    return Sampler(
        name=camera.name,
        open=lambda: CameraWatch(camera.name, camera.source, detector, regions, clock),
        failed=lambda reason: tuple(
            no_value(camera.name, f"facings/{region.slot}", clock.now(), reason, "count") for region in regions),
        sink=sink, period_s=camera.period_s, clock=clock)
