"""The virtual RS-485 line, asked through its pseudo-terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from pymodbus.client import ModbusSerialClient

from edge.clock import SystemClock
from edge.sensors import modbus
from edge.sim.fridge import SET_POINT_C, SWING_C, WARM_C, Fridge
from edge.sim.modbus_devices import waveshare_io_8ch, xy_md02
from edge.sim.rs485 import Rs485Line, SimModbus


@dataclass
class Shop:
    """What the devices measure, and where."""

    link: Path
    climate: tuple[float, float] = (4.2, 63.5)
    door: bool = False


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "pty" / "rs485")
    line = Rs485Line(shop.link, [SimModbus(1, xy_md02(lambda: shop.climate)),
                                 SimModbus(2, waveshare_io_8ch(lambda: [shop.door]))])
    assert line.wait_ready(10)
    yield shop
    line.close()
    line.close()
    assert not shop.link.is_symlink()


def test_both_devices_answer_what_is_so_now(shop: Shop) -> None:
    client = ModbusSerialClient(str(shop.link), baudrate=9600, timeout=5, retries=0)
    assert client.connect()
    try:
        assert client.read_input_registers(1, count=2, device_id=1).registers == [42, 635]
        shop.climate, shop.door = (-1.5, 70.0), True
        assert client.read_input_registers(1, count=2, device_id=1).registers == [0x10000 - 15, 700]
        assert client.read_discrete_inputs(0, count=1, device_id=2).bits[0] is True
        assert client.read_discrete_inputs(0, count=8, device_id=2).bits == [True, *[False] * 7]
        shop.door = False
        assert client.read_discrete_inputs(0, count=8, device_id=2).bits == [False] * 8
    finally:
        client.close()  # type: ignore[no-untyped-call]


def test_the_agents_driver_reads_every_point_of_both(shop: Shop) -> None:
    shop.door = True
    seen: dict[str, Decimal | bool | str | None] = {}
    for device, address in (("xy-md02", 1), ("waveshare-io-8ch", 2)):
        settings = modbus.Settings.model_validate(
            {"name": device, "driver": "modbus", "port": str(shop.link), "device": device, "address": address,
             "timeout_s": 5})
        driver = modbus.open_driver(settings, SystemClock())
        try:
            seen |= {reading.quantity: reading.value for reading in driver.read()}
        finally:
            driver.close()
    assert seen == {"temperature": Decimal("4.2"), "humidity": Decimal("63.5"), "input-1": True,
                    **{f"input-{n}": False for n in range(2, 9)}}


def test_a_fridge_swings_about_its_set_point_and_warms_through_the_open_door() -> None:
    shut = Fridge()
    assert all(abs(shut.temperature(float(t)) - SET_POINT_C) <= SWING_C for t in range(0, 7200, 60))
    opened = shut.door(1200.0, is_open=True)
    assert opened.temperature(1200.0) == pytest.approx(shut.temperature(1200.0))
    assert opened.temperature(1260.0) > shut.temperature(1260.0) + 1.0
    assert opened.temperature(1e6) == pytest.approx(shut.temperature(1e6) + WARM_C)
    closed = opened.door(1320.0, is_open=False)
    assert closed.temperature(1320.0) == pytest.approx(opened.temperature(1320.0))
    assert closed.temperature(1e5) == pytest.approx(shut.temperature(1e5))
    assert opened.humidity(1320.0) > shut.humidity(1320.0)
