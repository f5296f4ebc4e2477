"""The operator's newest window of 50,000 cells: read first, again, and after new facts; beside a day made anew.

    CORNERGRID_WINDOWS=50 python -m pytest -q -s -m bench tests/bench/test_kept.py      # 5 million facts
"""

from __future__ import annotations

import os
import time  # the processor's time, which other programs on the machine do not count into
from pathlib import Path

import pytest

from cloud_ingest import estimates, facts, frames, kept, model
from cloud_ingest.store.protocol import Arrival
from cloud_ingest.store.sqlite import SqliteStore
from edge import wire
from edge.clock import SystemClock
from tests.cloud_ingest.country import CATALOGUE, around, country
from tests.cloud_ingest.town import DAY, MIDNIGHT

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1200)]
WINDOWS = int(os.environ.get("CORNERGRID_WINDOWS", "10"))
CELLS, SKUS = 50_000, 2
CLOCK = SystemClock()
NEWEST = MIDNIGHT + 6 * 3600 + (WINDOWS - 1) * 900


def ask(path: Path, told: str) -> float:
    """Seconds of the processor that a frame takes, printed with those of the clock and the peak of memory."""
    wall, cpu = CLOCK.monotonic(), time.process_time()
    answer = frames.read_frames(path, "operator", frames.Asked(), NEWEST + DAY)
    assert len(answer["cells"]) == CELLS
    cpu = time.process_time() - cpu
    peak = int(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines()
                    if line.startswith("VmHWM"))) // 1024
    print(f"{told:>22}: {cpu:6.2f} s CPU, {CLOCK.monotonic() - wall:6.2f} s wall, peak {peak} MB", flush=True)
    return cpu


def send(store: SqliteStore, cells: list[str], number: int) -> None:
    """A sale in each of some shops."""
    arrivals = []
    for cell in cells:
        device = f"d-{cell}-0"
        told = [wire.Fact(f"slot/s1/{name}", float(NEWEST), wire.FLOW_UNITS[name], 1.0, "ok", CATALOGUE[0].id)
                for name in ("sold", "observed")]
        payload = wire.encode_batch(device, told, st=f"{number:08}{cell}".ljust(32, "0"), seq=1, lo=1, boot=1)
        arrivals.append(Arrival(device, wire.up(device, "data"), wire.decode_batch(device, payload)))
    store.commit(arrivals, [], NEWEST + 900.0)


def test_the_newest_window_first_again_and_after_new_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cells = tmp_path / "cloud.db", around(50.0, 8.3, CELLS)
    country(path, cells, [NEWEST - 900 * back for back in range(WINDOWS)], SKUS, silent=0.05)
    with facts.reading(path) as source, facts.engine() as duck:
        facts.load_registry(duck, source)
        facts.fill_flow(duck, source, MIDNIGHT, MIDNIGHT + DAY)
        facts.load_hours(duck, MIDNIGHT, MIDNIGHT + DAY)
        estimates.learn(duck, source, model.model_file(source))
    print(f"\n{CELLS * SKUS * WINDOWS * 0.95:,.0f} facts over {CELLS:,} cells")
    first, again = ask(path, "first read"), ask(path, "again")
    store = SqliteStore(path)
    for number, count in enumerate((1, 100, 1500), 1):
        send(store, cells[:count], number)
        ask(path, f"{count} shops new")
    ask(path, "nothing new")
    size = path.with_name("cloud.db.kept").stat().st_size
    monkeypatch.setattr(kept.Kept, "day", lambda _self, *given: facts.anew(*given))
    whole = ask(path, "made anew")
    print(f"kept {size / 1e6:.0f} MB beside {path.stat().st_size / 1e6:.0f} MB; a read from it costs "
          f"{again / whole:.2f} of a day made anew, the first {first / whole:.2f}")
    store.close()
    assert again < whole
