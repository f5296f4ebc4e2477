"""The demo as a newcomer runs it: rows of demand, a clean end, nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from edge.sim.demo import DemoError, Plant, free, truth


def demo(folder: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "edge.sim.demo", "--folder", str(folder), *options],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)


def left_behind(folder: Path) -> list[str]:
    """Processes that name the demo's folder on their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if str(folder) in command and process.pid != os.getpid():
            found.append(command)
    return found


@pytest.mark.e2e
@pytest.mark.timeout(150)
@pytest.mark.parametrize("broker", ["mosquitto", "nats"])
def test_the_demo_shows_demand_and_leaves_nothing_behind(tmp_path: Path, mosquitto: str, broker: str) -> None:
    assert mosquitto
    run = demo(tmp_path / "demo", "--seconds", "6", "--broker", broker)
    said, _ = run.communicate(timeout=140)
    assert run.returncode == 0, said
    assert "first demand" in said
    assert re.search(r"shop-0001: [1-9]\d* committed", said), said
    assert said.rstrip().endswith("everything has stopped")
    assert left_behind(tmp_path) == []


@pytest.mark.e2e
@pytest.mark.timeout(60)
def test_sigint_at_the_start_stops_everything(tmp_path: Path, mosquitto: str) -> None:
    assert mosquitto
    run = demo(tmp_path / "demo")
    assert run.stdout is not None
    assert "broker" in run.stdout.readline()
    run.send_signal(signal.SIGINT)
    said, _ = run.communicate(timeout=50)
    assert run.returncode == 0, said
    assert left_behind(tmp_path) == []


def test_a_process_that_ends_by_itself_is_named_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    plant = Plant(tmp_path, threading.Event())
    plant.start("cloud", [sys.executable, "-c", "raise SystemExit('no disk')"])
    plant.running["cloud"].wait()
    with pytest.raises(DemoError, match=r"the cloud ended by itself \(exit code 1\)(.|\n)*no disk"):
        plant.watch()
    plant.close()


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    plant = Plant(tmp_path, threading.Event())
    plant.start("deaf", [sys.executable, "-c", "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
                         "print(1, flush=True); signal.pause()"])
    assert plant.until(lambda: plant.log("deaf").read_text() == "1\n", "it ignores SIGTERM")
    process = plant.running["deaf"]
    plant.close()
    assert process.returncode == -signal.SIGKILL


def test_a_taken_port_is_given_way_to() -> None:
    taken = free(0)
    with socket.socket() as other:
        other.bind(("127.0.0.1", taken))
        other.listen()
        assert free(taken) != taken


def test_a_half_written_line_of_truth_waits(tmp_path: Path) -> None:
    (tmp_path / "truth.jsonl").write_text('{"slot": "A1", "level": 4}\n{"slot": "A1", "le')
    assert truth(tmp_path) == {"A1": 4}
