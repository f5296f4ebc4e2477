"""Does this shop work? Every part is tried for real, from the sensors to the cloud's own commit."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edge import wire
from edge.agent import link_of, load_detector, regions_of
from edge.clock import Clock
from edge.commission import load_baseline
from edge.errors import CornergridError, ModelError, SensorError
from edge.outbox_commands import is_running, read_status
from edge.profile import CameraSettings, Profile
from edge.sensors import AnySettings, open_driver
from edge.uplink.buffer import Buffer
from edge.uplink.publisher import Publisher
from edge.uplink.status import clock_time
from edge.vision.camera import open_camera, redact
from edge.vision.eye import ShelfEye
from edge.vision.observe import MotionRule

EARLIEST = 1_735_689_600  # 2025-01-01: a clock before the program was written has lost its battery
FREE_BYTES = 200 * 1024 * 1024
FIXES = {
    "no_port": "is the adapter plugged in? `ls /dev/serial/by-id` shows what is",
    "no_permission": "add this user to the group dialout",
    "port_busy": "another program has the port: stop the running agent first",
    "no_answer": "power, cable, address, and the protocol on the device's own menu",
    "line_busy": "a device on the line reports by itself (R4DCB08: register 0x00FD), or there is a second master",
    "bad_frame": "another protocol, baud rate or parity, or two devices with one address: `cornergrid-edge probe`",
    "line_settings": "one baud rate and parity for all devices of a port",
    "power_on": "the thermometer's supply: it started just now",
    "short_circuit": "the 1-wire cable: data and ground touch",
    "not_serial": "the port names a file or folder: `cornergrid-edge probe` shows the ports",
    "bad_file": "the recording or device profile cannot be used: the line above says where",
    "crashed": "a mistake in this program: send the log and a recording",
    "unplugged": "is the adapter plugged in? `ls /dev/serial/by-id` shows what is",
    "no_camera": "open the address in a player; check the cable and the password",
    "stalled": "the stream opens but sends no picture: restart the camera, check the network",
    "missing": "the file or folder is not there: check the camera's source in the profile",
    "undecodable": "it sends no picture that can be read: check the camera's source in the profile",
    "no_login": "the camera refuses the name or the password in its address",
    "not_mjpeg": "the address answers, but with no MJPEG stream: check its path",
    "stream_ended": "the camera closed the stream or was unplugged: cable, power, its number of viewers",
    "behind": "lower the camera's rate or size: this box cannot keep up",
    "unknown_source": "rtsp://, http://, /dev/videoN, a folder, a video file or replay:FILE",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One thing that was tried: what came of it, and what to do where it failed."""

    part: str
    ok: bool
    found: str
    fix: str = ""


def check(profile: Profile, clock: Clock, *, patience_s: float = 15.0) -> Iterator[Outcome]:
    """Try every part of the shop in turn; each outcome comes as soon as it is known.

    `patience_s`: real seconds for the round trip to the cloud's commit.
    """
    yield _clock(clock)
    yield _disk(profile.device.data)
    for settings in profile.sensors:
        yield _try(settings.name, partial(_sensor, settings, clock))
    for camera in profile.cameras:
        yield _try(camera.name, partial(_camera, camera, profile, clock))
    running = profile.uplink.secure and is_running(profile.device.data)
    yield _try("uplink", lambda: _by_the_agent(profile) if running else _round_trip(profile, clock, patience_s))


def _try(part: str, look: Callable[[], Outcome]) -> Outcome:
    try:
        return look()
    except SensorError as error:
        return Outcome(part, False, str(error), FIXES.get(error.reason, "power, cable, settings"))
    except ModelError as error:
        return Outcome(part, False, f"{error.file}: {error.wrong}", error.fix)
    except CornergridError as error:
        return Outcome(part, False, str(error), "see the message")


def _clock(clock: Clock) -> Outcome:
    ok = clock.now() > EARLIEST
    return Outcome("clock", ok, clock_time(clock.now()),
                   "" if ok else "set it, or let it reach an NTP server")


def _disk(data: Path) -> Outcome:
    try:
        data.mkdir(parents=True, exist_ok=True)
        probe = data / ".write-test"
        with probe.open("wb") as file:
            file.write(b"cornergrid")
            os.fsync(file.fileno())
        probe.unlink()
        free = shutil.disk_usage(data).free
    except OSError as error:
        return Outcome("disk", False, f"{data}: {error.strerror}", "the data folder must be a writable disk")
    return Outcome("disk", free > FREE_BYTES, f"{free // 1024 ** 2} MiB free in {data}",
                   "" if free > FREE_BYTES else "make room: an outage needs somewhere to keep its readings")


def _sensor(settings: AnySettings, clock: Clock) -> Outcome:
    driver = open_driver(settings, clock)
    try:
        readings = driver.read()
    finally:
        driver.close()
    bad = [reading for reading in readings if reading.quality.startswith("bad")]
    shown = ", ".join(f"{reading.quantity} {reading.quality if reading.value is None else reading.value} {reading.unit}"
                      for reading in readings)
    return Outcome(settings.name, not bad, shown.strip(), FIXES.get("no_answer", "") if bad else "")


def _camera(camera: CameraSettings, profile: Profile, clock: Clock) -> Outcome:
    detector = load_detector(camera)
    source = open_camera(camera.source, clock)
    try:
        frame = source.read()
    finally:
        source.close()
    height, width = frame.image.shape[:2]
    stands = regions_of(camera.name, profile)
    full = load_baseline(profile.device.data, camera.name, stands, detector)
    verdict = ShelfEye(stands, detector, full, MotionRule(warm=1)).judge(frame.image)
    found = f"{width}x{height} from {redact(camera.source)}"
    if verdict.reason:
        return Outcome(camera.name, False, f"{found}: {verdict.reason}", "light, lens cover, aim, somebody in front?")
    seen = ", ".join(f"{fill.slot} {fill.facings}" for fill in verdict.fills)
    note = "" if full else "; not commissioned: `cornergrid-edge planogram keep` once the shelf is full"
    return Outcome(camera.name, True, f"{found}; facings {seen}{note}")


def _by_the_agent(profile: Profile) -> Outcome:
    """What the running agent tells: a closed broker knows a device by its certificate, and lets it connect but once."""
    told = read_status(profile.device)
    found = f"{profile.uplink.host}:{profile.uplink.port}: the agent runs, {told['records']} records wait for a commit"
    return Outcome("uplink", not told["why"], f"{found}; {told['why']}".removesuffix("; "),
                   "see `cornergrid-edge status`" if told["why"] else "")


def _round_trip(profile: Profile, clock: Clock, patience_s: float) -> Outcome:
    """One record through an outbox on the same disk and the real broker, until the cloud has committed it."""
    uplink = profile.uplink
    where = f"{uplink.host}:{uplink.port}"
    with tempfile.TemporaryDirectory(prefix="check-", dir=profile.device.data) as folder:
        buffer = Buffer(Path(folder) / "outbox.db", clock)  # not the agent's: it may be running
        link = link_of(profile, clock)
        publisher = Publisher(dataclasses.replace(link, address=dataclasses.replace(link.address, visitor=True)),
                              buffer, clock)
        publisher.start()
        try:
            place = buffer.put([wire.Fact("check/round_trip", clock.now(), "", True)])
            publisher.wake()
            if publisher.wait_committed(place, patience_s):
                return Outcome("uplink", True, f"{where}: a record is committed in the cloud")
            if not publisher.connected:
                return Outcome("uplink", False, f"no broker answers at {where}", "network, address, firewall")
            why = f"; the cloud says: {publisher.sender.why}" if publisher.sender.why else ""
            return Outcome("uplink", False, f"{where} answers, but nothing was committed in {patience_s:.0f} s{why}",
                           f"is the ingest running, and {profile.device.id} registered (`cornergrid-cloud store add`)?")
        finally:
            publisher.stop()
            buffer.close()
