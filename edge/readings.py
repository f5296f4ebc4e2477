"""The value that flows from every sensor: a reading, good or without a value and with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

OK = "ok"


@dataclass(frozen=True, slots=True)
class Reading:
    """One quantity of one sensor at one event time.

    `value` is None exactly where `quality` is not `ok`: a scale that answers nothing weighs nothing,
    and a shelf that weighs 0 is a false stock-out.

    Attributes:
        sensor: the profile's name of the sensor or camera, `scale-1`.
        quantity: what was measured, `weight`, `temperature`, `open`, `facings/A1`.
        t: event time, Unix seconds.
        value: Decimal at the device's own increment, bool for a contact, words for a sensor's health.
        unit: IANA SenML unit, `kg`, `Cel`, `%RH`, `count`; empty for a bool or words.
        quality: `ok`, `unstable` or `bad:<reason>`.
        net: a weight from which the scale itself has taken a tare.
        sd: standard deviation of a number, in its unit, where the sensor knows it.
    """

    sensor: str
    quantity: str
    t: float
    value: Decimal | bool | str | None
    unit: str = ""
    quality: str = OK
    net: bool = False
    sd: float | None = None

    def __post_init__(self) -> None:
        if (self.value is None) == (self.quality == OK):
            raise ValueError(f"a reading has a value exactly when its quality is ok: {self}")

    @property
    def name(self) -> str:
        """The reading's name on the wire, `scale-1/weight`."""
        return f"{self.sensor}/{self.quantity}"


def no_value(sensor: str, quantity: str, t: float, reason: str, unit: str = "") -> Reading:
    """The reading of a device that gave none, with the reason."""
    return Reading(sensor, quantity, t, None, unit, f"bad:{reason}")
