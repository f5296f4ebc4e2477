from __future__ import annotations

import io
import select
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from edge.clock import ManualClock, SystemClock
from edge.errors import ConfigError, SensorError
from edge.sensors import open_driver
from edge.sensors.driver import tapped
from edge.sensors.ds18b20 import Settings as ThermometerSettings
from edge.sensors.modbus import Settings as ModbusSettings
from edge.sensors.recording import Chunk, Exchange, Recorder, load
from edge.sensors.replay import ReplayPort
from edge.sensors.toledo_8217 import Settings
from edge.sim.onewire import OneWire
from tests.edge.sensors.serial_bench import Adapter, replies

WEIGHTS = (b"\x0201.234\r", b"\x0201.230\r", b"\x02?A\r")


@pytest.fixture
def adapter(tmp_path: Path) -> Iterator[Adapter]:
    left = list(WEIGHTS)
    adapter = Adapter(tmp_path / "scale", lambda _: left.pop(0) if left else b"")
    yield adapter
    adapter.unplug()


def settings(port: str) -> Settings:
    return Settings(name="scale-1", driver="toledo-8217", port=port, unit="kg", timeout_s=0.2)


def record(adapter: Adapter, file: Path, reads: int) -> None:
    """A recording made by the agent's own driver."""
    with file.open("w") as target, tapped(str(adapter.path), Recorder(target, {"sensor": "scale-1"}, SystemClock())):
        driver = open_driver(settings(str(adapter.path)), SystemClock())
        for _ in range(reads):
            driver.read()
        driver.close()


def test_a_recording_plays_what_the_device_said(adapter: Adapter, tmp_path: Path) -> None:
    file = tmp_path / "scale.rec"
    record(adapter, file, 3)

    driver = open_driver(settings(f"replay:{file}"), SystemClock())
    seen = [driver.read()[0] for _ in range(3)]

    assert [reading.value for reading in seen] == [Decimal("1.234"), Decimal("1.230"), None]
    assert seen[2].quality == "unstable"
    with pytest.raises(SensorError, match="no_answer"):
        driver.read()
    driver.close()
    driver.close()


def test_a_recording_is_text_with_both_ways_and_times() -> None:
    clock, target = ManualClock(1000.0), io.StringIO()
    recorder = Recorder(target, {"sensor": "scale-1"}, clock)
    recorder(">", b"W")
    clock.advance(0.0131)
    recorder("<", b"\x02?A\r")

    assert target.getvalue().splitlines() == [
        "cornergrid recording 1 serial", '{"sensor": "scale-1"}', "0.000000 > 57", "0.013100 < 02 3F 41 0D"]
    assert recorder.bytes == 5


def test_a_recording_that_was_cut_off_is_whole_up_to_its_last_line(adapter: Adapter, tmp_path: Path) -> None:
    file = tmp_path / "scale.rec"
    record(adapter, file, 2)
    whole = load(file)
    text = file.read_bytes()
    body = text.index(b"\n", text.index(b"\n") + 1) + 1

    for length in range(body, len(text)):
        file.write_bytes(text[:length])
        assert load(file).chunks == whole.chunks[: len(load(file).chunks)]
    assert whole.about == {"sensor": "scale-1"}


def test_what_follows_a_request_belongs_to_it(tmp_path: Path) -> None:
    file = tmp_path / "r.rec"
    file.write_text("cornergrid recording 1 serial\n{}\n"
                    "0.5 < 01\n1.0 > 05\n1.1 < 06\n1.2 > 11\n1.3 > 12\n1.5 < 02 03\n")

    recording = load(file)

    assert recording.chunks[0] == Chunk(0.5, "<", b"\x01")
    assert [(each.request, [data for _, data in each.replies]) for each in recording.exchanges()] == [
        (b"", [b"\x01"]), (b"\x05", [b"\x06"]), (b"\x11\x12", [b"\x02\x03"])]
    assert isinstance(recording.exchanges()[0], Exchange)


@pytest.mark.parametrize(("text", "place"), [
    ("", "line 1"), ("hello\n", "line 1"), ("cornergrid recording 1 serial\n[]\n", "line 2"),
    ("cornergrid recording 1 serial\n{\n", "line 2"),
    ("cornergrid recording 1 serial\n{}\nx > 05\n", "line 3"),
    ("cornergrid recording 1 serial\n{}\n0 > 05\n1 ? 05\n", "line 4"),
    ("cornergrid recording 1 serial\n{}\n0 > 5Z\n", "line 3"),
    ("cornergrid recording 1 serial\n{}\n0 <> 05\n", "line 3"),
    ("cornergrid recording 1 serial\n{}\n0 > 05\ninf < 05\n", "line 4"),
    ("cornergrid recording 1 serial\n{}\nnan < 05\n", "line 3"),
])
def test_what_is_no_recording_is_told_with_its_line(tmp_path: Path, text: str, place: str) -> None:
    file = tmp_path / "bad.rec"
    file.write_text(text)

    with pytest.raises(ConfigError, match=place):
        load(file)


def test_a_missing_recording_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        open_driver(settings(f"replay:{tmp_path / 'none.rec'}"), SystemClock())


def test_a_modbus_line_can_be_recorded_and_replayed(tmp_path: Path) -> None:
    reply = bytes.fromhex("01 04 04 01 31 02 22 2A CE")
    adapter = Adapter(tmp_path / "line", replies({bytes.fromhex("01 04 00 01 00 02 20 0B"): reply}))
    file = tmp_path / "probe.rec"

    def probe(port: str) -> list[Decimal | bool | str | None]:
        driver = open_driver(ModbusSettings(name="f", driver="modbus", port=port, device="xy-md02", address=1),
                             SystemClock())
        values = [reading.value for reading in driver.read()]
        driver.close()
        return values

    with file.open("w") as target, tapped(str(adapter.path), Recorder(target, {}, SystemClock())):
        live = probe(str(adapter.path))
    adapter.unplug()

    assert probe(f"replay:{file}") == live == [Decimal("30.5"), Decimal("54.6")]


def test_a_stream_is_played_unasked(tmp_path: Path) -> None:
    file = tmp_path / "r.rec"
    file.write_text("cornergrid recording 1 serial\n{}\n0.1 < 02 30 31 2E\n0.2 < 32 33 34 0D\n")
    driver = open_driver(settings(f"replay:{file}"), SystemClock())

    assert driver.read()[0].value == Decimal("1.234")
    driver.close()


def test_a_recording_of_a_babbler_that_nobody_reads_is_let_go_at_once(tmp_path: Path) -> None:
    file = tmp_path / "babble.rec"
    file.write_text(f"cornergrid recording 1 serial\n{{}}\n0.0 < {'41 ' * 1_000_000}\n")
    port = ReplayPort(file)
    select.select([port._slave], [], [], 10)  # it has begun to say more than the line holds

    closing = threading.Thread(target=port.close, daemon=True)
    closing.start()
    closing.join(10)

    assert not closing.is_alive(), "a full line must not hold the player"


def test_a_thermometer_can_be_recorded_and_replayed(tmp_path: Path) -> None:
    wire, file = OneWire(tmp_path / "w1"), tmp_path / "cold.rec"
    port = str(wire.put("28-0316a2794bff", 4.25))
    with file.open("w") as target, tapped(port, Recorder(target, {"sensor": "cold-1"}, SystemClock())):
        thermometer = open_driver(ThermometerSettings(name="cold-1", driver="ds18b20", port=port), SystemClock())
        thermometer.read()
        wire.put("28-0316a2794bff", -18.5)
        thermometer.read()

    played = open_driver(ThermometerSettings(name="cold-1", driver="ds18b20", port=f"replay:{file}"), SystemClock())

    assert [played.read()[0].value for _ in range(2)] == [Decimal("4.250"), Decimal("-18.500")]
    with pytest.raises(SensorError, match="no_answer"):
        played.read()
