"""The last bytes of a serial line: bounded in memory, written on a fault and on request, and played back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.box.raw import MOST, OVERHEAD, REST_S, WANTED, RawLines, Ring
from edge.clock import ManualClock
from edge.profile import Profile, parse_profile
from edge.sensors import driver
from edge.sensors.recording import load


def profile(data: Path) -> Profile:
    scale = {"driver": "toledo-8217", "unit": "kg"}
    probe = {"driver": "modbus", "device": "xy-md02", "port": "/dev/line"}
    return parse_profile("shop.toml", {
        "device": {"id": "shop-1", "data": str(data)},
        "sensors": [{"name": "scale-1", "port": "/dev/scale", **scale}, {"name": "probe-1", "address": 1, **probe},
                    {"name": "probe-2", "address": 2, **probe}]})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


def say(port: str, way: str, data: bytes) -> None:
    driver._taps[port](way, data)


def test_a_fault_writes_what_went_over_the_line_before_it(tmp_path: Path, clock: ManualClock) -> None:
    lines = RawLines(profile(tmp_path), clock)
    say("/dev/scale", ">", b"W")
    clock.advance(0.01)
    for byte in b"\x0200.000\r":
        say("/dev/scale", "<", bytes([byte]))
    lines.tick({"scale-1": "ok", "probe-1": "ok"})
    assert list((tmp_path / "raw").iterdir()) == []
    lines.tick({"scale-1": "bad_checksum", "probe-1": "ok"})
    lines.close()
    kept = load(tmp_path / "raw" / "scale-1.rec")
    assert [(chunk.way, chunk.data) for chunk in kept.chunks] == [(">", b"W"), ("<", b"\x0200.000\r")]
    assert kept.about["driver"] == "toledo-8217"
    assert kept.about["began"] == 1000.0


def test_sensors_of_one_line_share_its_recording(tmp_path: Path, clock: ManualClock) -> None:
    lines = RawLines(profile(tmp_path), clock)
    say("/dev/line", ">", b"\x02\x04")
    lines.tick({"probe-2": "no_answer"})
    lines.close()
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["probe-1.rec"]


def test_a_loose_plug_does_not_wear_out_the_disk(tmp_path: Path, clock: ManualClock) -> None:
    lines, file = RawLines(profile(tmp_path), clock), tmp_path / "raw" / "scale-1.rec"
    writes = 0
    for _ in range(int(REST_S)):  # off and on each second
        say("/dev/scale", "<", b"x")
        for status in ("ok", "unplugged"):
            lines.tick({"scale-1": status})
            writes += file.exists()
            file.unlink(missing_ok=True)
        clock.advance(1.0)
    lines.tick({"scale-1": "ok"})
    lines.tick({"scale-1": "unplugged"})
    lines.close()
    assert (writes, file.exists()) == (1, True)


def test_a_request_writes_all_lines_and_is_taken_away(tmp_path: Path, clock: ManualClock) -> None:
    lines = RawLines(profile(tmp_path), clock)
    say("/dev/scale", ">", b"W")
    say("/dev/line", ">", b"\x01")
    (tmp_path / "raw" / WANTED).touch()
    lines.tick({})
    lines.close()
    assert {path.name for path in (tmp_path / "raw").iterdir()} == {"scale-1.rec", "probe-1.rec"}


def test_a_disk_that_takes_nothing_ends_no_reading(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "raw").write_text("no folder")
    lines = RawLines(profile(tmp_path), clock)
    say("/dev/scale", ">", b"W")
    lines.tick({"scale-1": "no_answer"})
    lines.close()


@given(st.lists(st.tuples(st.sampled_from("<>"), st.binary(min_size=1, max_size=2 * MOST), st.floats(0, 1)),
                max_size=60), st.integers(64, 4096))
def test_a_ring_keeps_the_newest_bytes_and_not_more(
        tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str, bytes, float]], kept: int) -> None:
    clock = ManualClock(1.0)
    ring = Ring({}, clock, kept)
    for way, data, pause in said:
        clock.advance(pause)
        ring(way, data)
    text = ring.recording()
    if not said:
        assert text == ""
        return
    file = tmp_path_factory.mktemp("ring") / "line.rec"
    file.write_text(text)
    chunks = load(file).chunks
    for way in "<>":
        whole = b"".join(data for each, data, _ in said if each == way)
        assert whole.endswith(b"".join(chunk.data for chunk in chunks if chunk.way == way))
    assert chunks[-1].data.endswith(said[-1][1])
    assert len(chunks) == 1 or sum(len(chunk.data) + OVERHEAD for chunk in chunks) <= kept
    assert [chunk.t for chunk in chunks] == sorted(chunk.t for chunk in chunks)
