"""The sensors of a shop: one file for each protocol, one line here to register it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from edge.clock import Clock
from edge.sensors import (
    and_standard,
    cas_22,
    cas_ecr12,
    cas_os2,
    dibal,
    digi_781,
    ds18b20,
    epelsa,
    magellan,
    modbus,
    mt_sics,
    nci_scp01,
    sartorius_sbi,
    scale,
    toledo_8217,
    toledo_continuous,
    toledo_prix,
    yaohua_a9,
)
from edge.sensors.driver import Driver, SensorSettings
from edge.sensors.scale import Scale, ScaleProtocol

AnySettings = Annotated[
    and_standard.Settings
    | cas_22.Settings
    | cas_ecr12.Settings
    | cas_os2.Settings
    | cas_os2.StreamSettings
    | dibal.Settings
    | digi_781.Settings
    | epelsa.Settings
    | magellan.Settings
    | mt_sics.Settings
    | nci_scp01.Settings
    | sartorius_sbi.Settings
    | toledo_8217.Settings
    | toledo_continuous.Settings
    | toledo_continuous.PlainSettings
    | toledo_prix.Settings
    | yaohua_a9.Settings
    | modbus.Settings
    | ds18b20.Settings,
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
    "and-standard": _scale(and_standard.PROTOCOL, and_standard.Settings),
    "cas-22": _scale(cas_22.PROTOCOL, cas_22.Settings),
    "cas-ecr12": _scale(cas_ecr12.PROTOCOL, cas_ecr12.Settings),
    "cas-os2": _scale(cas_os2.PROTOCOL, cas_os2.Settings),
    "cas-os2-stream": _scale(cas_os2.STREAM, cas_os2.StreamSettings),
    "dibal": _scale(dibal.PROTOCOL, dibal.Settings),
    "digi-781": _scale(digi_781.PROTOCOL, digi_781.Settings),
    "epelsa": _scale(epelsa.PROTOCOL, epelsa.Settings),
    "magellan": _scale(magellan.PROTOCOL, magellan.Settings),
    "mt-sics": _scale(mt_sics.PROTOCOL, mt_sics.Settings),
    "nci-scp01": _scale(nci_scp01.PROTOCOL, nci_scp01.Settings),
    "sartorius-sbi": _scale(sartorius_sbi.PROTOCOL, sartorius_sbi.Settings),
    "toledo-8217": _scale(toledo_8217.PROTOCOL, toledo_8217.Settings),
    "toledo-continuous": _scale(toledo_continuous.PROTOCOL, toledo_continuous.Settings),
    "toledo-continuous-plain": _scale(toledo_continuous.PLAIN, toledo_continuous.PlainSettings),
    "toledo-prix": _scale(toledo_prix.PROTOCOL, toledo_prix.Settings),
    "yaohua-a9": _scale(yaohua_a9.PROTOCOL, yaohua_a9.Settings),
    "modbus": DriverKind(modbus.Settings, modbus.open_driver, modbus.quantities),
    "ds18b20": DriverKind(ds18b20.Settings, ds18b20.open_driver, ds18b20.quantities),
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
