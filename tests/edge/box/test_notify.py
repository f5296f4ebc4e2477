"""What systemd hears, on a real datagram socket as it makes them; and when it hears nothing."""

from __future__ import annotations

import io
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from edge.box.levels import PRIORITY, in_journal, levelled
from edge.box.notify import Systemd


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's socket and what it writes into NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@cornergrid-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name[1:] if name.startswith("@") else name)
        listening.settimeout(5)
        yield listening, name


def test_ready_beats_and_the_end_are_told(manager: tuple[socket.socket, str]) -> None:
    listening, name = manager
    systemd = Systemd({"NOTIFY_SOCKET": name})
    systemd.ready()
    systemd.beat(True, "all sensors are ok")
    systemd.beat(True, "all sensors are ok")
    systemd.stopping()
    systemd.close()
    heard = [listening.recv(4096).decode() for _ in range(4)]
    assert heard == ["READY=1", "WATCHDOG=1\nSTATUS=all sensors are ok", "WATCHDOG=1", "STOPPING=1"]


def test_what_does_not_live_is_not_told_as_living(manager: tuple[socket.socket, str]) -> None:
    listening, name = manager
    systemd = Systemd({"NOTIFY_SOCKET": name})
    systemd.beat(False, "scale-1: hung\nsince long")
    systemd.beat(False, "scale-1: hung\nsince long")
    systemd.beat(True, "all sensors are ok")
    systemd.close()
    assert listening.recv(4096) == b"STATUS=scale-1: hung since long"
    assert listening.recv(4096) == b"WATCHDOG=1\nSTATUS=all sensors are ok"


def test_a_manager_that_has_gone_ends_nothing(tmp_path: Path) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    systemd.ready()
    systemd.beat(True)
    systemd.close()
    systemd.beat(True)


def test_a_manager_that_does_not_listen_delays_nothing(manager: tuple[socket.socket, str]) -> None:
    _, name = manager
    systemd = Systemd({"NOTIFY_SOCKET": name})
    for _ in range(10_000):  # far more than its queue holds
        systemd.beat(True)
    systemd.close()


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_a_manager_nothing_is_sent(environ: dict[str, str]) -> None:
    systemd = Systemd(environ)
    systemd.ready()
    systemd.beat(True, "ok")
    systemd.stopping()
    systemd.close()


@pytest.mark.parametrize(("method", "priority"), [("info", 6), ("warning", 4), ("error", 3), ("critical", 2)])
def test_a_line_for_the_journal_has_its_level_before_its_json(method: str, priority: int) -> None:
    text = io.StringIO()
    log = structlog.wrap_logger(structlog.PrintLogger(text), processors=[
        structlog.processors.add_log_level, levelled(structlog.processors.JSONRenderer())])
    getattr(log, method)("sensor_lost", detail="two\nlines")
    line = text.getvalue()
    assert line.count("\n") == 1
    assert line.startswith(f"<{priority}>")
    assert json.loads(line[3:]) == {"event": "sensor_lost", "detail": "two\nlines", "level": method}
    assert PRIORITY[method] == priority


def test_the_journal_is_known_by_its_device_and_inode() -> None:
    with tempfile.TemporaryFile("w+") as stream:
        found = os.fstat(stream.fileno())
        assert in_journal(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
        assert not in_journal(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"})
        assert not in_journal(stream, {})
    assert not in_journal(io.StringIO(), {"JOURNAL_STREAM": "1:2"})
