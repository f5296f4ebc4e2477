"""The real processes together: kill -9 of each in the middle loses no record and counts none twice."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.clock import SystemClock
from edge.uplink.outbox import Outbox
from edge.wire import flow_of, window_of
from tests.conftest import free_port

DEMO = Path(__file__).parents[2] / "firmware_configs" / "shops" / "demo.toml"
REGISTRY = """
[[stores]]
id = "store-1"
name = "Corner shop"
lat = 52.5163
lon = 13.3777
tz = "Europe/Berlin"
devices = ["shop-0001"]
"""


def until(happened: Callable[[], bool], timeout_s: float, what: str) -> None:
    clock, pause = SystemClock(), threading.Event()
    end = clock.monotonic() + timeout_s
    while not happened():
        assert clock.monotonic() < end, f"not within {timeout_s} s: {what}"
        pause.wait(0.1)


class Plant:
    """One shop, a broker and the cloud as real processes on loopback."""

    def __init__(self, folder: Path, mosquitto: str) -> None:
        self.folder = folder
        self.mqtt, self.web, camera = free_port(), free_port(), free_port()
        self.db = folder / "cloud.db"
        self.data = folder / "edge"
        self.profile = folder / "shop.toml"
        self.profile.write_text(DEMO.read_text().replace("18830", str(self.mqtt)).replace("18831", str(camera))
                                .replace(".demo/edge", str(self.data)))
        (folder / "registry.toml").write_text(REGISTRY)
        (folder / "mosquitto.conf").write_text(f"listener {self.mqtt} 127.0.0.1\nallow_anonymous true\n")
        python = sys.executable
        self.commands = {
            "broker": [mosquitto, "-c", str(folder / "mosquitto.conf")],
            "cloud": [python, "-m", "cloud_ingest", "run", "--db", str(self.db), "--broker", f"127.0.0.1:{self.mqtt}",
                      "--http", f"127.0.0.1:{self.web}", "--registry", str(folder / "registry.toml")],
            "sim": [python, "-m", "edge", "sim", str(self.profile), "--seed", "7", "--speed", "60",
                    "--truth", str(folder / "truth.jsonl")],
            "agent": [python, "-m", "edge", "run", str(self.profile), "--sim-clock", str(self.data / "clock.json")],
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        with log:
            self.running[name] = subprocess.Popen(self.commands[name], stdout=log, stderr=log)

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for name in ("agent", "sim", "cloud", "broker"):
            if process := self.running.pop(name, None):
                process.terminate()
                try:
                    process.wait(timeout=10)
                finally:
                    process.kill()
                    process.wait()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            with sqlite3.connect(f"file:{self.db}?mode=ro", uri=True, timeout=10) as db:
                rows = db.execute(sql).fetchall()
            db.close()
            return rows
        except sqlite3.OperationalError:
            return []

    def mark(self) -> int:
        rows = self.rows("SELECT mark FROM stream")
        return int(str(rows[0][0])) if rows else 0


@pytest.fixture
def plant(tmp_path: Path, mosquitto: str) -> Iterator[Plant]:
    plant = Plant(tmp_path, mosquitto)
    yield plant
    plant.stop()


@pytest.mark.e2e
@pytest.mark.timeout(240)
@pytest.mark.parametrize("victims", [("agent", "broker", "cloud")])
def test_kill_9_loses_nothing_and_counts_nothing_twice(plant: Plant, victims: tuple[str, ...]) -> None:
    plant.start("broker")
    plant.start("cloud")
    plant.start("sim")
    until((plant.data / "clock.json").exists, 30, "the virtual shop's clock")
    plant.start("agent")
    until(lambda: plant.mark() > 50, 60, "the first records in the cloud")
    for victim in victims:
        plant.kill(victim)
        plant.start(victim)
        reached = plant.mark()
        until(lambda reached=reached: plant.mark() > reached + 50, 60,  # type: ignore[misc]  # bound per victim
              f"records after kill -9 of the {victim}")
    until(lambda: bool(plant.rows("SELECT 1 FROM flow WHERE sold > 0")), 60, "a sale")
    agent = plant.running.pop("agent")
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(timeout=15) == 0
    drain(plant)
    judge(plant)


def drain(plant: Plant) -> None:
    """Start the agent once more until the cloud has everything that the first ones kept."""
    outbox = Outbox(plant.data / "outbox.db")
    kept = outbox.held().hi
    outbox.close()
    plant.start("agent")
    until(lambda: plant.mark() >= kept, 60, "everything that was put is committed")


def judge(plant: Plant) -> None:
    """Every sequence is there once, and the flow is the sum of its facts."""
    mark = plant.mark()
    rows = plant.rows(f"SELECT seq, name, t, value FROM reading WHERE seq <= {mark} ORDER BY seq")
    assert [row[0] for row in rows] == list(range(1, mark + 1))
    plant.kill("cloud")
    facts: Counter[tuple[int, str]] = Counter()
    for _, name, t, value in plant.rows("SELECT seq, name, t, value FROM reading"):
        flow = flow_of(str(name))
        if flow:
            facts[window_of(float(str(t))), flow[1]] += float(str(value))  # type: ignore[assignment]  # seconds
    for column in ("sold", "put_back", "restocked", "in_stock", "observed"):
        flows = dict(plant.rows(f"SELECT window, sum({column}) FROM flow GROUP BY window"))
        for window, total in flows.items():
            assert float(str(total)) == pytest.approx(facts[int(str(window)), column], abs=0.01), (window, column)
    assert os.path.getsize(plant.folder / "truth.jsonl") > 0
