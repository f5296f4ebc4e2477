"""The whole shop: alive on real ports, true to its story, and gone without a trace."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
import serial

from edge.clock import ManualClock, ShopClock
from edge.errors import ConfigError
from edge.profile import Profile, load_profile
from edge.sim.scale import SETTLE_S
from edge.sim.shop import VirtualShop
from edge.sim.truth import read_truth, totals

DEMO = Path(__file__).parents[3] / "firmware_configs" / "shops" / "demo.toml"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()


def wait_until(true: Callable[[], bool]) -> None:
    patience = threading.Event()
    for _ in range(400):
        if true():
            return
        patience.wait(0.05)
    raise AssertionError("never came true")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The demo's profile, with ports of this test's own."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    path = tmp_path / "shop.toml"
    path.write_text(DEMO.read_text().replace('".demo/edge"', json.dumps(str(tmp_path / "data")))
                    .replace(":18831/", f":{port}/"))
    return path


def links(profile: Profile) -> set[Path]:
    return {Path(sensor.port) for sensor in profile.sensors}


def test_it_lives_by_its_clock_and_leaves_nothing_behind(path: Path, tmp_path: Path) -> None:
    profile, clock, truth = load_profile(path), ManualClock(NOON), tmp_path / "truth.jsonl"
    before = set(threading.enumerate())
    shop = VirtualShop(profile, 7, clock, truth)
    shop.start()
    assert shop.wait_ready()
    at_noon = shop.levels
    assert {event.slot: event.level for event in read_truth(truth)} == at_noon
    assert all(link.is_symlink() for link in links(profile))

    clock.advance(3 * 3600)
    wait_until(lambda: len(read_truth(truth)) > 30 and shop.levels != at_noon)
    wait_until(lambda: weight(profile) is None)
    clock.advance(SETTLE_S)
    wait_until(lambda: weight(profile) == 0.25 * shop.levels["A1"])
    capture = cv2.VideoCapture(profile.cameras[0].source, cv2.CAP_FFMPEG)
    ok, frame = capture.read()
    capture.release()
    assert ok
    assert frame.shape == (720, 960, 3)

    shop.stop()
    shop.stop()
    assert set(threading.enumerate()) == before
    assert not any(link.is_symlink() for link in links(profile))
    for slot in profile.slots:
        last = [event for event in read_truth(truth) if event.slot == slot.name][-1]
        assert last.level == shop.levels[slot.name]
    assert sum(total.sold for total in totals(read_truth(truth), NOON, NOON + 3 * 3600).values()) > 10


def weight(profile: Profile) -> float | None:
    """What the scale says, through its port; None while it is in motion, which only the test's clock ends."""
    with serial.Serial(profile.sensors[0].port, timeout=5) as port:
        port.write(b"W")
        frame = bytes(port.read_until(b"\r"))
    return None if b"?" in frame else round(float(frame[1:-1]), 2)


def test_a_port_that_is_taken_leaves_nothing_open(path: Path, tmp_path: Path) -> None:
    profile = load_profile(path)
    before = set(threading.enumerate())
    host, port = profile.cameras[0].source.split("/")[2].split(":")
    with socket.create_server((host, int(port))), pytest.raises(OSError, match="in use"):
        VirtualShop(profile, 7, ManualClock(NOON), tmp_path / "truth.jsonl").start()
    assert set(threading.enumerate()) == before
    assert not any(link.is_symlink() for link in links(profile))


def test_a_device_without_a_twin_is_named(path: Path, tmp_path: Path) -> None:
    profile = load_profile(path)
    probe = profile.sensors[1].model_copy(update={"device": "no-such-device"})
    other = profile.model_copy(update={"sensors": (profile.sensors[0], probe)})
    with pytest.raises(ConfigError, match=r"fridge-1.*no-such-device"):
        VirtualShop(other, 7, ManualClock(NOON), tmp_path / "truth.jsonl").start()
    assert not any(link.is_symlink() for link in links(profile))


def run_sim(path: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "edge", "sim", str(path), "--start", "2026-03-02T12:00", *more],
                            stdout=subprocess.PIPE, text=True)


def test_killed_and_started_again_it_takes_its_ports_back(path: Path) -> None:
    profile = load_profile(path)
    for fatal in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        with run_sim(path) as sim:
            assert sim.stdout is not None
            assert "shop-0001, 2026-03-02 12:00 UTC, 60 times as fast" in sim.stdout.readline()
            clock = ShopClock.load(profile.device.data / "clock.json")
            assert clock.speed == 60
            assert clock.now() >= NOON
            wait_until(lambda: weight(profile) is not None)
            sim.send_signal(fatal)
            assert sim.wait(10) == (-9 if fatal == signal.SIGKILL else 0)
        assert all(os.path.lexists(link) == (fatal == signal.SIGKILL) for link in links(profile))


def test_one_frame_can_be_drawn_without_starting_anything(path: Path, tmp_path: Path) -> None:
    picture = tmp_path / "shelf.png"
    with run_sim(path, "--frame", str(picture)) as sim:
        assert sim.wait(30) == 0
    frame = cv2.imread(str(picture))
    assert frame is not None
    assert frame.shape == (720, 960, 3)
    assert np.asarray(frame).std() > 20
    assert not any(os.path.lexists(link) for link in links(load_profile(path)))


@pytest.mark.parametrize("wrong", [("--start", "yesterday"), ("--speed", "0")])
def test_a_wrong_option_is_refused(path: Path, wrong: tuple[str, str]) -> None:
    answer = subprocess.run([sys.executable, "-m", "edge", "sim", str(path), *wrong], capture_output=True, text=True,
                            check=False)
    assert answer.returncode == 2
    assert wrong[0] in answer.stderr
