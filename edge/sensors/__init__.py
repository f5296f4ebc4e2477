"""The sensors of a shop: one file for each protocol, one line here to register it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from edge.clock import Clock
from edge.sensors import modbus, scale, toledo_8217
from edge.sensors.driver import Driver, SensorSettings
from edge.sensors.scale import Scale, ScaleProtocol

AnySettings = Annotated[
    toledo_8217.Settings
    | modbus.Settings,
    Field(discriminator="driver")]


@dataclass(frozen=True, slots=True)
class DriverKind:
    """How one kind of sensor is configured, opened, and what it measures.

    `quantities(settings)` gives (quantity, unit) of every reading, also where the device is dead.
    `scale` is the protocol of a scale, by which `probe` finds one.
    """

    settings: type[SensorSettings]
    open: Callable[[Any, Clock], Driver]
    quantities: Callable[[Any], tuple[tuple[str, str], ...]]
    scale: ScaleProtocol | None = None


def _scale(protocol: ScaleProtocol, settings: type[SensorSettings]) -> DriverKind:
    return DriverKind(settings, lambda given, clock: Scale(given, protocol, clock),
                      lambda _: scale.quantities(protocol), protocol)


DRIVERS: dict[str, DriverKind] = {
    "toledo-8217": _scale(toledo_8217.PROTOCOL, toledo_8217.Settings),
    "modbus": DriverKind(modbus.Settings, modbus.open_driver, modbus.quantities),
}


def open_driver(settings: AnySettings, clock: Clock) -> Driver:
    """The open device of one sensor; SensorError where it cannot be opened, ConfigError for a bad device profile."""
    return DRIVERS[settings.driver].open(settings, clock)


def quantities(settings: AnySettings) -> tuple[tuple[str, str], ...]:
    """(quantity, SenML unit) of everything that a sensor measures; ConfigError for a bad device profile."""
    return DRIVERS[settings.driver].quantities(settings)


def weighs(settings: AnySettings) -> bool:
    """Whether a sensor is a scale."""
    return DRIVERS[settings.driver].scale is not None
