"""The virtual 8217 scale, byte by byte on its pseudo-terminal, and read by the agent's own driver."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
import serial

from edge.clock import ManualClock, SystemClock
from edge.sensors import open_driver, toledo_8217
from edge.sim.scale import SETTLE_S, SimScale
from edge.sim.scales.toledo_8217 import Toledo8217, weight_frame
from edge.sim.serial import PtyPort


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def scale(tmp_path: Path, clock: ManualClock) -> Iterator[SimScale]:
    scale = SimScale(tmp_path / "pty" / "scale-1", Toledo8217(), "kg", clock, random.Random(7))
    yield scale
    scale.close()


def ask(scale: SimScale, request: bytes = b"W") -> bytes:
    assert scale.port.link is not None
    with serial.Serial(str(scale.port.link), timeout=5) as port:
        port.write(request)
        return bytes(port.read_until(b"\r"))


def test_it_answers_motion_after_a_change_and_the_weight_once_it_settled(scale: SimScale,
                                                                         clock: ManualClock) -> None:
    assert ask(scale) == b"\x0200.000\r"
    scale.put(Decimal("6.25"))
    assert ask(scale) == b"\x02?A\r"
    clock.advance(SETTLE_S)
    assert ask(scale) == b"\x0206.250\r"
    scale.put(Decimal("6.25"))  # nothing changed
    assert ask(scale) == b"\x0206.250\r"


def test_it_echoes_between_e_and_f_and_hears_seven_bits(scale: SimScale) -> None:
    assert ask(scale, b"EW\r") == b"\x02E\r"
    assert ask(scale, b"\r") in {b"W\r", b"\r"}  # what stood in the line before this opening may be gone
    assert ask(scale, b"FW") == b"\x0200.000\r"
    assert ask(scale, bytes((ord("W") | 0x80,))) == b"\x0200.000\r"


@pytest.mark.parametrize(("weight", "unit", "frame"), [
    ("1.2344", "kg", b"\x0201.234\r"),
    ("99.999", "kg", b"\x0299.999\r"),
    ("100", "kg", b"\x02?B\r"),
    ("-0.1", "kg", b"\x02?D\r"),
    ("12.5", "lb", b"\x02012.50\r"),
])
def test_frames(weight: str, unit: str, frame: bytes) -> None:
    assert weight_frame(Decimal(weight), unit) == frame


def test_the_agents_driver_reads_it(scale: SimScale, clock: ManualClock) -> None:
    settings = toledo_8217.Settings(name="scale-1", driver="toledo-8217", port=str(scale.port.link), unit="kg",
                                    timeout_s=5)
    driver = open_driver(settings, SystemClock())
    try:
        scale.put(Decimal("0.750"))
        assert [(reading.value, reading.quality) for reading in driver.read()] == [(None, "unstable")]
        clock.advance(SETTLE_S)
        assert [reading.value for reading in driver.read()] == [Decimal("0.750"), False]
    finally:
        driver.close()


def test_a_port_replaces_a_stale_link_and_leaves_none(tmp_path: Path) -> None:
    link = tmp_path / "deep" / "scale-1"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "gone")
    port = PtyPort(link, lambda _: None)
    assert os.readlink(link) == port.path
    port.unplug()
    assert not link.is_symlink()
    port.replug()
    assert os.readlink(link) == port.path
    port.close()
    port.close()
    assert not link.is_symlink()


def test_a_port_never_replaces_a_real_file(tmp_path: Path) -> None:
    link = tmp_path / "precious"
    link.write_text("keep")
    with pytest.raises(FileExistsError):
        PtyPort(link, lambda _: None)
    assert link.read_text() == "keep"
