"""systemd hears from the agent while all of it lives, and nothing once its loop stands still or a thread has ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.agent import Agent
from edge.clock import ManualClock, SystemClock
from edge.errors import SensorError
from edge.profile import load_profile
from edge.sensors.sampler import STUCK_S, Readable, Sampler, Watched
from tests.conftest import free_port


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's socket, named to every process that starts."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.toml"
    path.write_text(f'[device]\nid = "shop-1"\ndata = "{tmp_path}/data"\n[uplink]\nport = {free_port()}\n[[sensors]]\n'
                    f'name = "scale-1"\ndriver = "toledo-8217"\nport = "{tmp_path}/none"\nunit = "kg"\n')
    return path


def hear(listening: socket.socket) -> str:
    return listening.recv(4096).decode()


def hear_all(listening: socket.socket) -> None:
    """Everything that was sent so far."""
    listening.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while listening.recv(4096):
            pass


def test_the_agent_says_that_it_is_ready_lives_and_ends(manager: socket.socket, shop: Path) -> None:
    """One missing scale is told, and no reason to start the whole agent again."""
    with subprocess.Popen([sys.executable, "-m", "edge", "run", str(shop)], stderr=subprocess.DEVNULL) as agent:
        assert hear(manager) == "READY=1"
        first = hear(manager)
        assert first.startswith("WATCHDOG=1\nSTATUS=scale-1: ")
        assert hear(manager).startswith("WATCHDOG=1")
        agent.send_signal(signal.SIGTERM)
        while (said := hear(manager)) != "STOPPING=1":
            assert said.startswith("WATCHDOG=1")
    assert agent.returncode == 0


def test_a_loop_that_stands_still_is_not_told_as_living(
        manager: socket.socket, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(load_profile(shop), SystemClock())
    stop, going_on, stuck = threading.Event(), threading.Event(), threading.Event()

    def tick(_: float) -> tuple[()]:
        stuck.set()
        going_on.wait(30)
        return ()

    thread = threading.Thread(target=agent.run, args=(stop,))
    thread.start()
    try:
        assert hear(manager) == "READY=1"
        assert hear(manager).startswith("WATCHDOG=1")
        monkeypatch.setattr(agent._shelf, "tick", tick)
        assert stuck.wait(10)
        hear_all(manager)
        manager.settimeout(2.5)  # it would have been told twice
        with pytest.raises(TimeoutError):
            hear(manager)
        going_on.set()
        manager.settimeout(10)
        assert hear(manager).startswith("WATCHDOG=1")
    finally:
        going_on.set()
        stop.set()
        thread.join(20)
    assert not thread.is_alive()


class Held:
    """A device whose call does not return until it is let go."""

    def __init__(self) -> None:
        self.reading, self.let_go = threading.Event(), threading.Event()

    def read(self) -> tuple[()]:
        self.reading.set()
        self.let_go.wait(30)
        return ()

    def close(self) -> None:
        pass


def watched(device: Readable) -> Watched:
    return Watched("scale-1", lambda: device, lambda _: (), 0.01)


def test_a_device_that_holds_its_thread_for_good_does_not_count_as_living() -> None:
    clock, device = ManualClock(0.0), Held()
    sampler = Sampler(watched(device), lambda _: None, clock)
    assert sampler.alive  # it has not started yet
    sampler.start()
    assert device.reading.wait(10)
    clock.advance(STUCK_S)
    assert sampler.alive
    clock.advance(1.0)
    assert not sampler.alive
    device.let_go.set()
    sampler.stop()
    assert sampler.alive  # it was told to end


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_does_not_count_as_living() -> None:
    class Silent:
        def read(self) -> tuple[()]:
            raise SensorError("no_answer")

        def close(self) -> None:
            pass

    def sink(_: object) -> None:
        raise RuntimeError("a mistake of ours")

    sampler = Sampler(watched(Silent()), sink, SystemClock())
    sampler.start()
    sampler._thread.join(10)
    assert not sampler.alive


def test_in_the_journal_the_agents_events_have_levels(shop: Path) -> None:
    """The journal's stream is told by device and inode, as systemd does."""
    with tempfile.TemporaryFile("w+") as journal:
        found = os.fstat(journal.fileno())
        environ = {**os.environ, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        with subprocess.Popen([sys.executable, "-m", "edge", "run", str(shop)], stderr=journal, env=environ) as agent:
            clock, pause = SystemClock(), threading.Event()
            end = clock.monotonic() + 30
            while "sensor_lost" not in os.pread(journal.fileno(), 65_536, 0).decode() and clock.monotonic() < end:
                pause.wait(0.05)
            agent.send_signal(signal.SIGTERM)
        lines = os.pread(journal.fileno(), 65_536, 0).decode().splitlines()
    by_event = {json.loads(line[3:])["event"]: line[:3] for line in lines}
    assert by_event["running"] == "<6>"
    assert by_event["sensor_lost"] == "<4>"
