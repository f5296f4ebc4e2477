"""Memory and CPU of the real agent beside the virtual shop: one camera at 1 frame/s, a scale, a probe and a door."""

from __future__ import annotations

import threading
from pathlib import Path

import psutil
import pytest

from tests.conftest import free_port
from tests.e2e.test_kill import Plant, until

pytestmark = [pytest.mark.bench, pytest.mark.timeout(240)]
SECONDS = 30
DEMO = Path(__file__).parents[2] / "firmware_configs" / "shops" / "demo.toml"


def test_agent_memory_and_cpu(tmp_path: Path, mosquitto: str) -> None:
    text = DEMO.read_text().replace("{", "{{").replace("}", "}}")
    text = text.replace("18830", "{port}").replace(".demo/edge", "{data}")
    plant = Plant(tmp_path, mosquitto, text.replace("18831", str(free_port())))
    try:
        for name in ("broker", "cloud-1", "sim"):
            plant.start(name)
        until((plant.data / "clock.json").exists, 30, "the virtual shop's clock")
        plant.start("agent")
        until(lambda: plant.committed() > 50, 60, "the first records in the cloud")
        process = psutil.Process(plant.running["agent"].pid)
        before = process.cpu_times()
        threading.Event().wait(SECONDS)
        after = process.cpu_times()
        used = after.user + after.system - before.user - before.system
        rss = process.memory_info().rss / 1024 ** 2
        print(f"\nagent: {rss:.0f} MB RSS (to reach: < 250), {100 * used / SECONDS:.0f}% of one core (to reach: < 40)")
        assert process.is_running()
    finally:
        plant.stop()
