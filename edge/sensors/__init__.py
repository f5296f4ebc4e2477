"""The sensors of a shop: one file for each protocol, one line here to register it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from edge.clock import Clock
from edge.sensors import modbus, toledo_8217
from edge.sensors.driver import Driver, SensorSettings

AnySettings = Annotated[toledo_8217.Settings | modbus.Settings, Field(discriminator="driver")]


@dataclass(frozen=True, slots=True)
class DriverKind:
    """How one kind of sensor is configured, opened, and what it measures.

    `quantities(settings)` gives (quantity, unit) of every reading, also where the device is dead.
    """

    settings: type[SensorSettings]
    open: Callable[[Any, Clock], Driver]
    quantities: Callable[[Any], tuple[tuple[str, str], ...]]


DRIVERS: dict[str, DriverKind] = {
    "toledo-8217": DriverKind(toledo_8217.Settings, toledo_8217.open_driver, lambda _: (("weight", "kg"),)),
    "modbus": DriverKind(modbus.Settings, modbus.open_driver, modbus.quantities),
}


def open_driver(settings: AnySettings, clock: Clock) -> Driver:
    """The open device of one sensor; SensorError where it cannot be opened, ConfigError for a bad device profile."""
    return DRIVERS[settings.driver].open(settings, clock)


def quantities(settings: AnySettings) -> tuple[tuple[str, str], ...]:
    """(quantity, SenML unit) of everything that a sensor measures; ConfigError for a bad device profile."""
    return DRIVERS[settings.driver].quantities(settings)
