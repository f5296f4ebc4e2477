from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.errors import SensorError
from edge.readings import Reading, no_value
from edge.sensors import open_driver
from edge.sensors.sampler import BACKOFF_MAX_S, Readings, Sampler
from edge.sensors.toledo_8217 import Settings
from tests.edge.sensors.serial_bench import Adapter

GOOD = (Reading("scale-1", "weight", 0.0, Decimal("1.000"), "kg"),)


class Device:
    """A device that gives what it is told to: readings, or an exception."""

    def __init__(self, *answers: Readings | Exception) -> None:
        self.answers = list(answers)
        self.opened = self.closed = 0

    def open(self) -> Device:
        self.opened += 1
        return self

    def read(self) -> Readings:
        answer = self.answers.pop(0) if self.answers else GOOD
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed += 1


class Turns(threading.Event):
    """A stop event that keeps what was waited for, and is set after so many turns."""

    def __init__(self, turns: int) -> None:
        super().__init__()
        self.turns, self.waits = turns, list[float]()

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        if len(self.waits) == self.turns:
            self.set()
        return self.is_set()


def failed(reason: str) -> Readings:
    return (no_value("scale-1", "weight", 0.0, reason, "kg"),)


def sampler(device: Device, sink: Callable[[Readings], None], period_s: float = 0.01) -> Sampler:
    return Sampler("scale-1", device.open, failed, sink, period_s, SystemClock())


def run_turns(
        device: Device, turns: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Reading], list[float], Sampler]:
    readings: list[Reading] = []
    supervised = sampler(device, readings.extend)
    stopping = Turns(turns)
    monkeypatch.setattr(supervised, "_stopping", stopping)
    supervised.start()
    supervised._thread.join(10)
    return readings, stopping.waits, supervised


def test_a_failure_is_reported_and_the_device_reopened(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(GOOD, SensorError("no_answer"), GOOD)

    readings, _, supervised = run_turns(device, 3, monkeypatch)

    assert [reading.quality for reading in readings] == ["ok", "bad:no_answer", "ok"]
    assert readings[1].value is None
    assert (device.opened, device.closed) == (2, 2)
    assert supervised.status() == "ok"
    assert supervised.last_good is not None


def test_a_drivers_mistake_is_logged_and_treated_alike(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    readings, _, supervised = run_turns(Device(ZeroDivisionError("oops")), 1, monkeypatch)

    assert [reading.quality for reading in readings] == ["bad:crashed"]
    assert supervised.status() == "crashed"
    assert supervised.last_good is None
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_the_backoff_doubles_to_its_bound_and_a_good_read_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(*[SensorError("no_answer")] * 8, GOOD, SensorError("no_answer"))

    _, waits, _ = run_turns(device, 10, monkeypatch)

    for wait_s, full_s in zip(waits[:8], [0.5, 1, 2, 4, 8, 15, 15, 15], strict=True):
        assert full_s / 2 <= wait_s <= full_s <= BACKOFF_MAX_S
    assert waits[8] <= 0.01
    assert 0.25 <= waits[9] <= 0.5


def test_a_hung_device_delays_no_other_and_shows() -> None:
    release, reading = threading.Event(), threading.Event()
    hung, alive = Device(), Device()

    def hang() -> Readings:
        reading.set()
        release.wait(30)
        return GOOD

    hung.read = hang  # type: ignore[method-assign]
    heard: queue.Queue[Readings] = queue.Queue()
    stuck, living = sampler(hung, heard.put), sampler(alive, heard.put)
    stuck.start()
    assert reading.wait(10)
    since = stuck.beat
    living.start()
    for _ in range(5):
        assert heard.get(timeout=10) == GOOD

    assert stuck.beat == since
    assert living.beat > since
    assert living.status() == "ok"
    release.set()
    stuck.stop()
    living.stop()


def test_stopping_ends_the_thread_and_closes_the_device() -> None:
    device = Device()
    heard: queue.Queue[Readings] = queue.Queue()
    supervised = sampler(device, heard.put, period_s=3600)
    supervised.start()
    heard.get(timeout=10)

    supervised.stop()

    assert not supervised._thread.is_alive()
    assert device.closed == 1


def test_a_pulled_scale_heals_when_it_is_plugged_in_again(tmp_path: Path) -> None:
    adapter = Adapter(tmp_path / "scale", lambda _: b"\x0201.234\r")
    settings = Settings(name="scale-1", driver="toledo-8217", port=str(adapter.path), unit="kg", timeout_s=0.2)
    heard: queue.Queue[Readings] = queue.Queue()
    clock = SystemClock()
    supervised = Sampler("scale-1", lambda: open_driver(settings, clock), failed, heard.put, 0.05, clock)
    supervised.start()
    seen: list[str] = []

    def until(quality: str) -> None:
        while not seen or seen[-1] != quality:
            reading, *_ = heard.get(timeout=20)
            assert reading.value in (None, Decimal("1.234"))
            seen.append(reading.quality)

    until("ok")
    adapter.unplug()
    until("bad:no_port")
    adapter.plug()
    until("ok")
    supervised.stop()
    adapter.unplug()

    assert set(seen) <= {"ok", "bad:unplugged", "bad:no_port", "bad:no_answer"}
