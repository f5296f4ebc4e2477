from __future__ import annotations

import itertools
import queue
import random
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from edge.clock import ManualClock, SystemClock
from edge.errors import ConfigError, Problem, SensorError
from edge.readings import Reading, no_value
from edge.sensors import open_driver
from edge.sensors.ports import identity
from edge.sensors.sampler import BACKOFF_MAX_S, HUNG_S, TRIES, Readings, Sampler, Watched
from edge.sensors.toledo_8217 import Settings
from tests.edge.sensors.serial_bench import Adapter

PULLS = 100
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
    another = itertools.count().__next__  # each time another adapter stands behind the port
    return Sampler(Watched("scale-1", device.open, failed, period_s, another), sink, SystemClock())


def run_turns(
        device: Device, turns: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Reading], list[float], Sampler]:
    readings: list[Reading] = []
    supervised = sampler(device, readings.extend)
    stopping = Turns(turns)
    monkeypatch.setattr(supervised, "_stopping", stopping)
    supervised.start()
    supervised._thread.join(10)
    return readings, stopping.waits, supervised


def weights(readings: list[Reading]) -> list[str]:
    return [reading.quality for reading in readings if reading.quantity == "weight"]


def healths(readings: list[Reading]) -> list[Decimal | bool | str | None]:
    return [reading.value for reading in readings if reading.name == "scale-1/health"]


def test_one_bad_answer_is_reported_and_the_device_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(GOOD, SensorError("no_answer"), GOOD)

    readings, waits, supervised = run_turns(device, 3, monkeypatch)

    assert weights(readings) == ["ok", "bad:no_answer", "ok"]
    assert healths(readings) == ["ok", "degraded no_answer", "degraded recovering"]
    assert max(waits) <= 0.01, "noise costs no more than a period"
    assert (device.opened, device.closed) == (1, 1)
    assert supervised.status() == "ok"
    assert supervised.last_good is not None


def test_a_device_that_goes_on_failing_is_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(GOOD, *[SensorError("no_answer")] * TRIES, GOOD)

    readings, _, _ = run_turns(device, 5, monkeypatch)

    assert weights(readings) == ["ok", *["bad:no_answer"] * TRIES, "ok"]
    assert (device.opened, device.closed) == (2, 2)


def test_an_adapter_that_went_away_is_opened_anew_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(GOOD, SensorError("unplugged"), GOOD)

    run_turns(device, 3, monkeypatch)

    assert (device.opened, device.closed) == (2, 2)


def test_a_device_that_never_answered_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    readings, _, _ = run_turns(Device(SensorError("no_port"), SensorError("no_answer")), 2, monkeypatch)

    assert healths(readings) == ["lost no_port", "lost no_answer"]


def test_a_dead_probe_among_good_values_degrades(monkeypatch: pytest.MonkeyPatch) -> None:
    half_dead = (Reading("scale-1", "probe-1", 0.0, Decimal(4), "Cel"),
                 no_value("scale-1", "probe-2", 0.0, "no_probe", "Cel"))

    readings, _, supervised = run_turns(Device(half_dead, half_dead), 2, monkeypatch)

    assert healths(readings) == ["degraded probe-2 no_probe"]
    assert supervised.status() == "ok"


def test_a_drivers_mistake_is_logged_and_treated_alike(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    readings, _, supervised = run_turns(Device(ZeroDivisionError("oops")), 1, monkeypatch)

    assert weights(readings) == ["bad:crashed"]
    assert supervised.status() == "crashed"
    assert supervised.last_good is None
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_a_drivers_mistake_is_logged_once_as_long_as_it_lasts(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run_turns(Device(*[ZeroDivisionError("oops")] * 3), 3, monkeypatch)

    assert capsys.readouterr().out.count("Traceback") == 1


def test_a_file_that_cannot_be_used_is_a_reason_and_no_crash(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    broken = ConfigError("scale.rec", (Problem("line 1", "is no recording"),))
    readings, _, supervised = run_turns(Device(broken), 1, monkeypatch)

    assert weights(readings) == ["bad:bad_file"]
    assert supervised.status() == "bad_file"
    said = capsys.readouterr().out
    assert "is no recording" in said
    assert "Traceback" not in said


def test_the_backoff_grows_to_its_bound_and_only_a_stable_time_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(*[SensorError("port_busy")] * 12, GOOD, SensorError("port_busy"))

    _, waits, supervised = run_turns(device, 14, monkeypatch)

    for wait_s, full_s in zip(waits[:12], [1, 2, 4, 8, *[15] * 8], strict=True):
        assert 0 <= wait_s <= full_s <= BACKOFF_MAX_S
    assert max(waits[4:12]) > 2
    assert waits[12] <= 0.01
    assert supervised._backoff.tries == 13


def test_a_hung_device_delays_no_other_and_shows() -> None:
    release, reading = threading.Event(), threading.Event()
    hung, alive = Device(), Device()

    def hang() -> Readings:
        reading.set()
        release.wait(30)
        return GOOD

    hung.read = hang  # type: ignore[method-assign]
    heard: queue.Queue[Readings] = queue.Queue()

    def weighed(readings: Readings) -> None:
        if readings[0].quantity == "weight":
            heard.put(readings)

    stuck, living = sampler(hung, heard.put), sampler(alive, weighed)
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
    supervised = Sampler(
        Watched("scale-1", lambda: open_driver(settings, clock), failed, 0.05, lambda: identity(settings.port)),
        heard.put, clock)
    supervised.start()
    seen: list[str] = []

    def until(quality: str) -> None:
        while not seen or seen[-1] != quality:
            reading, *_ = heard.get(timeout=20)
            if reading.quantity == "health":
                continue
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


def test_a_device_that_hangs_is_lost_while_it_hangs() -> None:
    device, release, reading = Device(), threading.Event(), threading.Event()
    clock = ManualClock(1000.0)

    def hang() -> Readings:
        reading.set()
        release.wait(30)
        return GOOD

    device.read = hang  # type: ignore[method-assign]
    heard: list[Reading] = []
    stuck = Sampler(Watched("scale-1", device.open, failed, 0.05), heard.extend, clock)
    stuck.start()
    assert reading.wait(10)
    clock.advance(HUNG_S + 1)

    assert stuck.status() == "hung"
    assert stuck.status() == "hung"
    assert healths(heard) == ["lost hung"], "told once"
    release.set()
    stuck.stop()


def test_pulled_and_plugged_a_hundred_times_it_reads_again_within_three_seconds(tmp_path: Path) -> None:
    """At random moments of a read; a ManualClock would not move the real port's timeouts, so this takes real time."""
    adapter = Adapter(tmp_path / "scale", lambda _: b"\x0201.234\r")
    settings = Settings(name="scale-1", driver="toledo-8217", port=str(adapter.path), unit="kg", timeout_s=0.2)
    clock, rng = SystemClock(), random.Random(4)
    heard: queue.Queue[tuple[float, Reading]] = queue.Queue()
    supervised = Sampler(
        Watched("scale-1", lambda: open_driver(settings, clock), failed, 0.01, lambda: identity(settings.port)),
        lambda readings: heard.put((clock.monotonic(), readings[0])), clock)
    supervised.start()
    late: list[float] = []
    for _ in range(PULLS):
        plugged_at = clock.monotonic()
        while True:
            at, reading = heard.get(timeout=20)
            assert reading.value in (None, Decimal("1.234")) or reading.quantity in ("health", "net")
            if reading.name == "scale-1/weight" and reading.value is not None and at >= plugged_at:
                break
        late.append(at - plugged_at)
        threading.Event().wait(rng.uniform(0, 0.03))
        adapter.unplug()
        threading.Event().wait(rng.choice((0.0, rng.uniform(0, 0.1))))
        adapter.plug()
    supervised.stop()
    adapter.unplug()

    assert max(late) < 3.0, sorted(late)[-5:]
    assert len(late) == PULLS
