"""How long a revoked device is still heard on its live session, and how long its connection lasts."""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge.clock import SystemClock
from tests.cloud_ingest.pki.world import WAIT_S, Client, World, until, world_in

TRIALS = 10


def trial(world: World, device: str) -> tuple[float, float]:
    """Seconds from the start of `device revoke`, as a process, until its messages are refused, and until it is cut."""
    clock = SystemClock()
    world.given(device)
    with Client(world, world.store(device).current, device) as client:
        topic, heard = f"cg/v1/{device}/up/data", {"Success", "No matching subscribers"}
        assert client.publish(topic, b"1") in heard
        began = clock.monotonic()
        command = [sys.executable, "-m", "cloud_ingest", "device", "revoke", device, "--ca", str(world.folder.path)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2]) as revoking:
            until(lambda: client.publish(topic, b"2") not in heard, "its messages are refused")
            silent = clock.monotonic() - began
            assert client.ended.wait(WAIT_S), "its session goes on"
            cut = clock.monotonic() - began
            assert revoking.wait(WAIT_S) == 0
    return silent, cut


@pytest.mark.bench
@pytest.mark.timeout(120)
def test_revocation_on_a_live_session(mosquitto: str, tmp_path: Path) -> None:
    with world_in(tmp_path, mosquitto) as world:
        stop = threading.Event()
        guard = threading.Thread(target=world.guard.run, args=(stop,), daemon=True)
        guard.start()
        try:
            took = [trial(world, f"shop-{i}") for i in range(TRIALS)]
        finally:
            stop.set()
            guard.join()
    for what, times in zip(("refused", "cut"), zip(*took, strict=True), strict=True):
        print(f"\n{what}: median {statistics.median(times):.2f} s, most {max(times):.2f} s of {TRIALS}", end="")
