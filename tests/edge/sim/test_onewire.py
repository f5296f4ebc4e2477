"""The simulated 1-wire tree, read by the agent's driver."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from edge.clock import SystemClock
from edge.errors import SensorError
from edge.sensors import ds18b20
from edge.sim.onewire import SimThermometer


def test_a_thermometer_lives_fails_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.sim.onewire.REFRESH_S", 0.005)
    air = [4.0]
    sim = SimThermometer(tmp_path / "w1" / "28-000000000001", lambda: air[0])
    driver = ds18b20.open_driver(ds18b20.Settings.model_validate({
        "name": "cold-1", "driver": "ds18b20", "port": str(tmp_path / "w1" / "28-000000000001")}), SystemClock())

    def read() -> object:
        try:
            return driver.read()[0].value
        except SensorError as error:
            return error.reason

    assert read() == Decimal("4.000")
    air[0] = -18.5
    while read() != Decimal("-18.500"):
        assert read() in (Decimal("4.000"), Decimal("-18.500"))
    sim.fault = "power-on"
    while read() != "power_on":
        assert read() in (Decimal("-18.500"), "power_on")
    sim.close()
    assert read() == "unplugged"
