"""The real processes together: kill -9 of any of them, at any moment, loses no record and counts none twice.

Fifteen kills here; `make soak` sets CORNERGRID_KILLS to 200. The seed of the moments is printed.
"""

from __future__ import annotations

import os
import random
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
from edge.uplink import look as looks
from edge.wire import flow_of, window_of
from tests.conftest import free_port

KILLS = int(os.environ.get("CORNERGRID_KILLS", "15"))
SEED = int(os.environ.get("CORNERGRID_SEED", "1"))
PROFILE = """
[device]
id = "shop-0001"
data = "{data}"

[uplink]
port = {port}
resend_s = 2.0

[stock]
put_back_s = 60.0

[[sensors]]
name = "scale-1"
driver = "toledo-8217"
port = "pty/scale-1"
unit = "kg"
period_s = 0.1
report_s = 0.5

[[slots]]
name = "A1"
sku = "4006381333931"
capacity = 24
scale = "scale-1"
item_weight = "0.250 kg"
"""
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
    """One shop, a broker and two ingest workers as real processes on loopback."""

    def __init__(self, folder: Path, mosquitto: str, profile: str = PROFILE) -> None:
        self.folder = folder
        self.mqtt = free_port()
        self.db = folder / "cloud.db"
        self.data = folder / "edge"
        self.profile = folder / "shop.toml"
        self.profile.write_text(profile.format(data=self.data, port=self.mqtt))
        (folder / "registry.toml").write_text(REGISTRY)
        (folder / "mosquitto.conf").write_text(f"listener {self.mqtt} 127.0.0.1\nallow_anonymous true\n")
        python = sys.executable
        cloud = [python, "-m", "cloud_ingest", "run", "--db", str(self.db), "--broker", f"127.0.0.1:{self.mqtt}",
                 "--http", "", "--registry", str(folder / "registry.toml"), "--client-id"]
        self.commands = {
            "broker": [mosquitto, "-c", str(folder / "mosquitto.conf")],
            "cloud-1": [*cloud, "ingest-1"],
            "cloud-2": [*cloud, "ingest-2"],
            "sim": [python, "-m", "edge", "sim", str(self.profile), "--seed", "7", "--speed", "60",
                    "--truth", str(folder / "truth.jsonl")],
            "agent": [python, "-m", "edge", "run", str(self.profile), "--sim-clock", str(self.data / "clock.json")],
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.begun: dict[str, int] = {}  # where in its log the newest process of a name began

    def start(self, name: str) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        self.begun[name] = log.tell()
        with log:
            self.running[name] = subprocess.Popen(self.commands[name], stdout=log, stderr=log)

    def end_agent(self) -> int:
        """Stop the agent once it runs, and how it ended: before Python itself runs, a signal just kills it."""
        process, log = self.running["agent"], self.folder / "agent.log"
        until(lambda: b'"event":"running"' in log.read_bytes()[self.begun["agent"]:].replace(b" ", b""), 60,
              "the agent runs")
        process.send_signal(signal.SIGTERM)
        ended = process.wait(timeout=20)
        del self.running["agent"]
        return ended

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for name in ("agent", "sim", "cloud-1", "cloud-2", "broker"):
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

    def committed(self) -> int:
        return int(self.rows("SELECT coalesce(sum(mark), 0) FROM stream")[0][0]) if self.db.exists() else 0


@pytest.fixture
def plant(tmp_path: Path, mosquitto: str) -> Iterator[Plant]:
    plant = Plant(tmp_path, mosquitto)
    yield plant
    plant.stop()


@pytest.mark.e2e
@pytest.mark.timeout(180 + 5 * KILLS)
def test_kill_9_at_any_moment_loses_nothing_and_counts_nothing_twice(plant: Plant) -> None:
    rng, pause = random.Random(SEED), threading.Event()
    for name in ("broker", "cloud-1", "cloud-2", "sim"):
        plant.start(name)
    until((plant.data / "clock.json").exists, 30, "the virtual shop's clock")
    plant.start("agent")
    until(lambda: plant.committed() > 20, 60, "the first records in the cloud")
    killed: Counter[str] = Counter()
    for _ in range(KILLS):
        pause.wait(rng.uniform(0.05, 2.0))
        victim = rng.choice(["agent", "agent", "broker", "cloud-1", "cloud-2"])
        plant.kill(victim)
        plant.start(victim)
        killed[victim] += 1
    until(lambda: bool(plant.rows("SELECT 1 FROM flow WHERE sold > 0")), 90, "a sale")
    assert plant.end_agent() == 0
    drain(plant)
    print(f"\nkilled {dict(killed)}, seed {SEED}: {judge(plant)} records, each once")


def drain(plant: Plant) -> None:
    """Start the agent once more, until the cloud has everything that all agents kept before."""
    held = looks.look(plant.data / "outbox.db")
    wanted = {each.stream.st: each.hi for each in held.streams if each.lo <= each.hi}
    plant.start("agent")

    def has_all() -> bool:
        marks = dict(plant.rows("SELECT st, mark FROM stream"))
        return all(marks.get(st, 0) >= hi for st, hi in wanted.items())

    until(has_all, 90, "everything that was kept is committed")
    assert plant.end_agent() == 0


def judge(plant: Plant) -> int:
    """Every sequence is there once, nothing is missing, and the flow is the sum of its facts; how many there are."""
    streams = plant.rows("SELECT st, mark, missing, refused FROM stream")
    assert len(streams) > 1
    assert {(missing, refused) for _, _, missing, refused in streams} == {(0, 0)}
    total = 0
    for st, mark, _, _ in streams:
        seqs = plant.rows(f"SELECT seq FROM reading WHERE st = '{st}' AND seq <= {mark} ORDER BY seq")
        assert [seq for seq, in seqs] == list(range(1, mark + 1))
        total += mark
    facts: Counter[tuple[int, str]] = Counter()
    for name, t, value in plant.rows("SELECT name, t, value FROM reading"):
        flow = flow_of(str(name))
        if flow:
            facts[window_of(float(str(t))), flow[1]] += float(str(value))  # type: ignore[assignment]  # seconds
    for column in ("sold", "put_back", "restocked", "in_stock", "observed"):
        flows = dict(plant.rows(f"SELECT window, sum({column}) FROM flow GROUP BY window"))
        assert flows
        for window, sold in flows.items():
            assert float(str(sold)) == pytest.approx(facts[int(str(window)), column], abs=0.01), (window, column)
    verdict = looks.verify(plant.data / "outbox.db")
    assert verdict.sound
    assert os.path.getsize(plant.folder / "truth.jsonl") > 0
    return total
