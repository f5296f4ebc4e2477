"""Real parts for the tests: a mosquitto on a free port of loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from edge.clock import SystemClock

settings.register_profile("cornergrid", deadline=None, max_examples=60)
settings.load_profile("cornergrid")


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """What a command that ran in this process made of the log ends with its test."""
    yield
    structlog.reset_defaults()


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the real broker listens."""

    host: str
    port: int


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, timeout_s: float = 10.0) -> None:
    """Return once somebody listens on `port`."""
    clock, pause = SystemClock(), threading.Event()
    end = clock.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert clock.monotonic() < end, f"nobody listens on {port}"
            pause.wait(0.05)


@pytest.fixture(scope="session")
def mosquitto() -> str:
    """The path of the real mosquitto."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if found is None:
        pytest.skip("needs a real mosquitto: sudo apt install mosquitto")
    return found


@pytest.fixture(scope="session")
def broker(mosquitto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real mosquitto for the whole run; tests keep apart by device name."""
    port = free_port()
    config: Path = tmp_path_factory.mktemp("broker") / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    with subprocess.Popen([mosquitto, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        try:
            wait_for_port(port)
            yield Broker("127.0.0.1", port)
        finally:
            run.terminate()
