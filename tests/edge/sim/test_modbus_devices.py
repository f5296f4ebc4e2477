"""Simulated devices against the agent's profiles: written apart, they must agree; and against pymodbus's own client."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pymodbus.client import ModbusSerialClient

from edge.clock import SystemClock
from edge.errors import SensorError
from edge.sensors import modbus
from edge.sensors.modbus_profile import PROFILES
from edge.sim import modbus_devices as make
from edge.sim.faults import Fault
from edge.sim.rs485 import Bank, BusFault, Rs485Line, SimModbus

D = Decimal
PROBES = [4.2, -18.5, None, 25.0]
CASES: dict[str, tuple[Bank, dict[str, Any]]] = {
    "xy-md02": (make.xy_md02(lambda: (-18.5, 61.2)), {"temperature": D("-18.5"), "humidity": D("61.2")}),
    "md02-hundredths": (make.md02_hundredths(lambda: (-18.5, 61.2)), {
        "temperature": D("-18.5"), "humidity": D("61.2")}),
    "shtc3-fc03": (make.shtc3_fc03(lambda: (-18.5, 61.2)), {"temperature": D("-18.5"), "humidity": D("61.2")}),
    "rs485-th": (make.rs485_th(lambda: (-18.5, 61.2)), {"temperature": D("-18.5"), "humidity": D("61.2")}),
    "r4dcb08": (make.r4dcb08(lambda: PROBES), {
        "temperature-1": D("4.2"), "temperature-2": D("-18.5"), "temperature-3": "bad:no_probe",
        "temperature-4": D("25.0"), "temperature-8": "bad:no_probe"}),
    "comwintop-pt1000": (make.comwintop_pt1000(lambda: PROBES, shorted=[3]), {
        "temperature-1": D("4.2"), "temperature-2": D("-18.5"), "temperature-3": "bad:open_circuit",
        "temperature-4": "bad:short_circuit"}),
    "dixell-xjp60d": (make.dixell_xjp60d(lambda: PROBES, low=-10, high=20), {
        "temperature-1": D("4.2"), "temperature-2": D("-18.5"), "temperature-3": "bad:probe_error",
        "temperature-4": D("25.0"), "temperature-6": "bad:probe_error"}),
    "dixell-xr75cx": (make.dixell_xr75cx(lambda: [-18.5, -22.0, 4.2], lambda: True), {
        "temperature-1": D("-18.5"), "temperature-2": D("-22.0"), "temperature-3": D("4.2"), "door-open-alarm": True}),
    "danfoss-ak-cc55": (make.danfoss_ak_cc55(lambda: [1.0, 2.0, 3.0, -18.5, 5.0, None], alarm=True), {
        "thermostat-air-temperature": D("-18.5"), "s3-air-temperature": D("2.0"), "alarm": True,
        "food-temperature": "bad:out_of_range"}),
    "carel-ir33": (make.carel_ir33(lambda: [-22.0, None, -18.5, 4.2]), {
        "defrost-probe-1": D("-22.0"), "defrost-probe-2": "bad:out_of_range", "virtual-probe": D("-18.5"),
        "probe-1": D("4.2"), "set-point": D("-20.0")}),
    "waveshare-io-8ch": (make.waveshare_io_8ch(lambda: [True, False, True]), {
        "input-1": True, "input-2": False, "input-3": True, "input-8": False}),
}


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Rs485Line]:
    line = Rs485Line(tmp_path / "rs485", [])
    yield line
    line.close()


@pytest.fixture
def client(line: Rs485Line) -> Iterator[ModbusSerialClient]:
    client = ModbusSerialClient(str(line.port.link), baudrate=9600, timeout=2, retries=0)
    assert client.connect()
    yield client
    client.close()  # type: ignore[no-untyped-call]


def test_there_is_a_simulated_device_for_every_shipped_profile() -> None:
    shipped = {path.stem for path in PROFILES.glob("*.toml")}

    assert shipped == set(CASES) == set(make.IN_A_ROOM)


@pytest.mark.parametrize("device", sorted(CASES))
def test_the_agent_reads_from_each_what_it_measures(line: Rs485Line, device: str) -> None:
    bank, expected = CASES[device]
    line.devices = {7: SimModbus(7, bank)}
    settings = modbus.Settings.model_validate({
        "name": "s", "driver": "modbus", "port": str(line.port.link), "device": device, "address": 7, "timeout_s": 2})
    driver = modbus.open_driver(settings, SystemClock())
    read = {each.quantity: each.quality if each.value is None else each.value for each in driver.read()}
    driver.close()

    assert {name: read[name] for name in expected} == expected


def test_pymodbuss_client_understands_the_answers_and_the_refusals(line: Rs485Line, client: ModbusSerialClient) -> None:
    line.devices = {1: SimModbus(1, make.waveshare_io_8ch(lambda: [True])), 2: SimModbus(2, make.rs485_th(
        lambda: (-1.5, 50.0)))}

    assert client.read_discrete_inputs(0, count=8, device_id=1).bits == [True, *[False] * 7]
    assert client.read_holding_registers(0, count=2, device_id=2).registers == [0x10000 - 15, 500]
    assert client.read_holding_registers(1, count=2, device_id=2).exception_code == 2
    assert client.read_input_registers(0, count=1, device_id=2).exception_code == 2
    assert client.write_register(0, 1, device_id=2).exception_code == 1  # a simulated device too is only read
    line.devices[2].fault = BusFault.BUSY
    assert client.read_holding_registers(0, count=2, device_id=2).exception_code == 6


def test_a_device_at_another_baud_rate_hears_nothing(line: Rs485Line) -> None:
    line.devices = {1: SimModbus(1, make.rs485_th(lambda: (4.0, 50.0)), baudrate=19200)}

    def read(**more: Any) -> bool:
        driver = modbus.open_driver(modbus.Settings.model_validate({
            "name": "s", "driver": "modbus", "port": str(line.port.link), "device": "rs485-th", "address": 1,
            "timeout_s": 0.5} | more), SystemClock())
        try:
            return bool(driver.read())
        except SensorError:
            return False
        finally:
            driver.close()

    assert (read(), read(baudrate=19200)) == (False, True)


def test_a_fault_comes_and_goes_while_the_line_lives(line: Rs485Line) -> None:
    sim = SimModbus(1, make.rs485_th(lambda: (4.0, 50.0)))
    line.devices = {1: sim}
    driver = modbus.open_driver(modbus.Settings.model_validate({
        "name": "s", "driver": "modbus", "port": str(line.port.link), "device": "rs485-th", "address": 1,
        "timeout_s": 0.5}), SystemClock())
    for fault in (Fault.SILENT, Fault.HALF, BusFault.WRONG_CRC):
        sim.fault = fault
        with pytest.raises(SensorError):
            driver.read()
        sim.fault = Fault.NONE
        assert driver.read()[0].value == Decimal("4.0")
    driver.close()
