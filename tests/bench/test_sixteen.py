"""Sixteen Modbus devices on four RS-485 lines, three of them dead: do the live thirteen keep their periods?

Real samplers, drivers and terminals; the simulated lines take as long as 9600 baud do, and each device thinks for
20 ms. Every number is a ratio to the same devices while all sixteen are alive; "none dead" is the same once more, and
tells how much of the others is the machine's own unrest.
"""

from __future__ import annotations

import statistics
import threading
from collections import defaultdict
from collections.abc import Collection
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.readings import Reading
from edge.sensors.modbus import Settings, open_driver
from edge.sensors.sampler import Sampler, Watched
from edge.sim.faults import Fault
from edge.sim.modbus_devices import xy_md02
from edge.sim.rs485 import Rs485Line, SimModbus

pytestmark = [pytest.mark.bench, pytest.mark.timeout(240)]
LINES, DEVICES = 4, 4
SECONDS, SETTLE_S = 12.0, 3.0
THINKS_S = 0.02
SPREAD = {(0, 4), (1, 4), (2, 4)}
TOGETHER = {(0, 2), (0, 3), (0, 4)}
Where = tuple[int, int]


def kept(folder: Path, dead: Collection[Where], period_s: float) -> dict[Where, list[float]]:
    """The seconds between two readings of each live device."""
    clock = SystemClock()
    times: dict[Where, list[float]] = defaultdict(list)
    lines, samplers = [], []
    for line in range(LINES):
        link = folder / f"rs485-{line}"
        lines.append(Rs485Line(link, [
            SimModbus(address, xy_md02(lambda: (4.0, 60.0)), delay_s=THINKS_S,
                      fault=Fault.SILENT if (line, address) in dead else Fault.NONE)
            for address in range(1, DEVICES + 1)], paced=True))
        for address in range(1, DEVICES + 1):
            settings = Settings.model_validate({
                "name": f"s-{line}-{address}", "driver": "modbus", "port": str(link), "device": "xy-md02",
                "address": address, "period_s": period_s})

            def sink(readings: tuple[Reading, ...], where: Where = (line, address)) -> None:
                if any(reading.quantity == "temperature" and reading.value is not None for reading in readings):
                    times[where].append(clock.monotonic())

            samplers.append(Sampler(Watched(settings.name, partial(open_driver, settings, clock), lambda _: (),
                                            period_s), sink, clock))
    for sampler in samplers:
        sampler.start()
    threading.Event().wait(SECONDS + SETTLE_S)
    for sampler in samplers:
        sampler.stop()
    for each in lines:
        each.close()
    begin = min(min(taken) for taken in times.values()) + SETTLE_S
    return {where: [later - earlier for earlier, later in pairwise(taken) if earlier >= begin]
            for where, taken in times.items()}


@pytest.mark.parametrize("period_s", [1.0, 0.5])
def test_three_dead_of_sixteen(tmp_path: Path, period_s: float) -> None:
    alive = kept(tmp_path / "alive", (), period_s)
    print()
    for name, dead in (("none dead", set[Where]()), ("three dead on three lines", SPREAD),
                       ("three dead on one line", TOGETHER)):
        found = kept(tmp_path / name.replace(" ", "-"), dead, period_s)
        assert found.keys() == alive.keys() - dead
        means = [statistics.fmean(found[where]) / statistics.fmean(alive[where]) for where in found]
        tails = [statistics.quantiles(found[where], n=20)[-1] / statistics.quantiles(alive[where], n=20)[-1]
                 for where in found]
        print(f"period {period_s:g} s, {name}: the live {len(found)} have a mean period x {max(means):.3f} at worst "
              f"(to reach: <= 1.1), 95th percentile x {statistics.median(tails):.3f} in the middle, "
              f"{max(tails):.3f} at worst")
