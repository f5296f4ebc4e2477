"""The composition root: a profile becomes samplers, stock levels, an outbox and a publisher.

    samplers (a thread each) ─▶ queue ─▶ Shelf: levels, movements ─▶ Buffer.put ─▶ Publisher

Facts and the stock state that they follow from are committed in one transaction, so that a power cut between two
readings neither loses a sale nor counts one twice.
"""

from __future__ import annotations

import dataclasses
import fcntl
import queue
import threading
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import IO

import structlog

from edge import wire
from edge.box.notify import Systemd
from edge.box.raw import RawLines
from edge.clock import Clock, HonestClock, every
from edge.commission import load_baseline
from edge.commission import regions_of as regions_of  # noqa: PLC0414  # `check` looks at the same places
from edge.errors import StoreError
from edge.identity.files import Store
from edge.identity.keeper import Keeper
from edge.profile import CameraSettings, Profile, lock_file
from edge.readings import Reading, no_value
from edge.report import Reporter, to_fact
from edge.sensors import AnySettings, open_driver, quantities
from edge.sensors.ports import identity
from edge.sensors.sampler import Sampler, Watched
from edge.shelf import Shelf
from edge.uplink.buffer import Buffer
from edge.uplink.disk import Limits
from edge.uplink.lanes import Pace
from edge.uplink.publisher import Link, Publisher, Voice
from edge.uplink.refuge import Terms
from edge.uplink.session import Address
from edge.vision.detector import Detector
from edge.vision.eye import ShelfEye
from edge.vision.onnx import DEFAULT_MODEL, OnnxDetector
from edge.vision.watch import CameraWatch

log = structlog.get_logger(__name__)
BATCH_WAIT_S = 0.2
BUILT = 1_764_547_200.0  # 2025-12-01: no reading of this program is older
Sink = Callable[[tuple[Reading, ...]], None]


class Agent:
    """One shop's device, running until `stop` is set."""

    def __init__(self, profile: Profile, clock: Clock) -> None:
        """Opens the outbox and loads the models; StoreError, ModelError or ConfigError where that cannot be."""
        self._profile, self._clock = profile, clock
        self._queue: queue.Queue[tuple[Reading, ...]] = queue.Queue(10_000)
        detectors = load_detectors(profile)
        self._alone = hold_alone(profile.device.data)
        self._raw, self._systemd = RawLines(profile, clock), Systemd()
        self.buffer = Buffer(profile.device.outbox, clock, terms=terms_of(profile))
        if isinstance(clock, HonestClock):
            clock.begin(max(BUILT, self.buffer.tally.floor))
            self.buffer.turn(clock.era)
        self._shelf = Shelf(profile, self.buffer.snapshot())
        self._reporter = Reporter({part.name: part.report_s for part in (*profile.sensors, *profile.cameras)})
        self.samplers = build_samplers(profile, clock, self._queue.put, detectors)
        self.publisher = Publisher(link_of(profile, clock), self.buffer, clock, Voice(
            self._birth, self.statuses, self._event, self._note_state,
            lambda: isinstance(clock, HonestClock) and clock.doubtful))

    def run(self, stop: threading.Event) -> None:
        """Sample, derive, commit and publish until `stop` is set; then finish what was read."""
        for sampler in self.samplers:
            sampler.start()
        self.publisher.start()
        log.info("running", device=self._profile.device.id, stream=self.buffer.stream, boot=self.buffer.boot,
                 held=self.buffer.held().records)
        self._systemd.ready()
        due = every(self._clock, 1.0)
        while not stop.is_set():
            facts = self._derive(self._next_readings())
            if due():
                facts += self._shelf.tick(self._clock.now())
                self._poll_clock()
                self._tend()
            self._commit(facts)
        self._close()

    def _poll_clock(self) -> None:
        """Where the clock turned, what was counted in the old time is kept as such, and a new stream begins."""
        turn = self._clock.poll() if isinstance(self._clock, HonestClock) else None
        if turn is None:
            return
        log.warning("clock_turned", shift_s=round(turn.shift, 3), was=turn.before.clk, now=turn.after.clk)
        self._commit(self._shelf.turn(turn.shift))
        self.buffer.turn(turn.after, turn.shift if turn.corrects else None)

    def _tend(self) -> None:
        """From the loop that commits, so that systemd hears nothing once that stands still."""
        statuses = self.statuses()
        self._raw.tick(statuses)
        troubled = [f"{name}: {status}" for name, status in statuses.items() if status != "ok"]
        self._systemd.beat(all(sampler.alive for sampler in self.samplers), ", ".join(troubled) or "all sensors are ok")

    def statuses(self) -> dict[str, str]:
        """How each sensor and camera is doing: `ok`, a reason, or `hung`."""
        return {sampler.name: sampler.status() for sampler in self.samplers}

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
        for taken in readings:
            reading = self._restated(taken)
            if self._reporter.worth(reading):
                facts.append(to_fact(reading))
            facts.extend(self._shelf.step(reading))
        return tuple(facts)

    def _restated(self, reading: Reading) -> Reading:
        """A reading taken just before the clock turned, in the new time."""
        if not isinstance(self._clock, HonestClock):
            return reading
        t = self._clock.restate(reading.t)
        return reading if t == reading.t else dataclasses.replace(reading, t=t)

    def _commit(self, facts: tuple[wire.Fact, ...]) -> None:
        if facts:
            self.buffer.put(facts, self._shelf.snapshot())
            self.publisher.wake()

    def _event(self, what: str, text: str) -> None:
        """Something that a person must know travels like a reading, and outlives an outage."""
        self.buffer.put([wire.Fact(f"event/{what}", self._clock.now(), "", text[:500])])

    def _note_state(self, state: wire.State) -> None:
        """What was told last, for `cornergrid-edge status`: it is another process."""
        path = self._profile.device.state
        try:
            part = path.with_suffix(".part")
            part.write_bytes(wire.encode(state))
            part.replace(path)
        except OSError as error:
            log.warning("state_not_noted", file=str(path), error=str(error))

    def _close(self) -> None:
        self._systemd.stopping()
        for sampler in self.samplers:
            sampler.stop()
        self._commit(self._derive(self._next_readings()))
        self.publisher.stop()
        self.buffer.close()
        self._raw.close()
        self._systemd.close()
        if self._alone is not None:
            self._alone.close()
        log.info("stopped", device=self._profile.device.id)

    def _birth(self) -> wire.Birth:
        profile = self._profile
        return wire.Birth(
            device=profile.device.id, st=self.buffer.stream, boot=self.buffer.boot, t=self._clock.now(),
            agent=version("cornergrid"),
            sensors={sensor.name: sensor.driver for sensor in profile.sensors}
            | {camera.name: "camera" for camera in profile.cameras},
            slots={slot.name: slot.sku for slot in profile.slots})


def hold_alone(data: Path) -> IO[str] | None:
    """A lock on the data folder for as long as the file stays open; StoreError where another agent has it.

    None where the disk lets no file be made: readings are then kept in memory.
    """
    path = lock_file(data)
    try:
        data.mkdir(parents=True, exist_ok=True)
        held = path.open("w", encoding="utf-8")
    except OSError as error:
        log.error("no_lock", file=str(path), error=str(error), fix="the data folder must be a writable disk")
        return None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise StoreError(str(path), "another agent runs on this folder",
                         "stop it first: two would count every sale twice") from error
    return held


def link_of(profile: Profile, clock: Clock) -> Link:
    """The profile's uplink as the publisher takes it."""
    uplink = profile.uplink
    keeper = Keeper(Store(profile.device.identity), clock, device=profile.device.id) if uplink.secure else None
    return Link(Address(profile.device.id, uplink.host, uplink.port, uplink.keepalive_s, tls=keeper),
                Pace(uplink.batch, uplink.window, uplink.age_s, uplink.resend_s), terms_of(profile).limits)


def terms_of(profile: Profile) -> Terms:
    """How much the outbox may take, and what memory holds where the disk takes nothing."""
    outbox = profile.outbox
    return Terms(Limits(outbox.cap_mb * 1024 ** 2, outbox.reserve_mb * 1024 ** 2), outbox.memory)


def load_detector(camera: CameraSettings) -> Detector:
    """The detector of one camera; ModelError where its model cannot be used."""
    return OnnxDetector.load(camera.model or DEFAULT_MODEL, threshold=camera.threshold)


def load_detectors(profile: Profile) -> dict[str, Detector]:
    """The detector of each camera, by camera name; cameras with one model and threshold share it.

    ModelError where a model cannot be used.
    """
    loaded: dict[tuple[Path | None, float | None], Detector] = {}
    for camera in profile.cameras:
        if (camera.model, camera.threshold) not in loaded:
            loaded[camera.model, camera.threshold] = load_detector(camera)
    return {camera.name: loaded[camera.model, camera.threshold] for camera in profile.cameras}


def build_samplers(profile: Profile, clock: Clock, sink: Sink, detectors: dict[str, Detector]) -> list[Sampler]:
    """A supervised thread for each sensor and camera: none waits for another, but for its turn at a shared detector."""
    sensors = [_sensor_sampler(settings, clock, sink) for settings in profile.sensors]
    cameras = [_camera_sampler(camera, profile, clock, sink, detectors[camera.name]) for camera in profile.cameras]
    return sensors + cameras


def _sensor_sampler(settings: AnySettings, clock: Clock, sink: Sink) -> Sampler:
    measured = quantities(settings)
    return Sampler(Watched(
        name=settings.name, open=lambda: open_driver(settings, clock),
        failed=lambda reason: tuple(
            no_value(settings.name, quantity, clock.now(), reason, unit) for quantity, unit in measured),
        period_s=settings.period_s, identity=lambda: identity(settings.port)), sink, clock)


def watch_of(camera: CameraSettings, profile: Profile, clock: Clock, detector: Detector) -> CameraWatch:
    """One camera of the profile, watched as the agent does it."""
    regions = regions_of(camera.name, profile)
    eye = ShelfEye(regions, detector, load_baseline(profile.device.data, camera.name, regions, detector))
    return CameraWatch(camera.name, camera.source, eye, clock)


def _camera_sampler(camera: CameraSettings, profile: Profile, clock: Clock, sink: Sink, detector: Detector) -> Sampler:
    regions = regions_of(camera.name, profile)
    watch = watch_of(camera, profile, clock, detector)
    return Sampler(Watched(
        name=camera.name,
        open=lambda: watch,
        failed=lambda reason: tuple(
            no_value(camera.name, f"facings/{region.slot}", clock.now(), reason, "count") for region in regions),
        period_s=camera.period_s, heals=True), sink, clock)
