"""Which readings are worth keeping: every change of value or quality, and one now and then to say all is well."""

from __future__ import annotations

from decimal import Decimal

from edge.readings import Reading
from edge.wire import Fact


class Reporter:
    """Remembers what was last reported of each reading, by name.

    Levels and movements are made from every reading; only the record of the readings themselves is thinned.
    """

    def __init__(self, report_s: dict[str, float]) -> None:
        """`report_s`: seconds of event time after which an unchanged reading is reported again, by sensor."""
        self._report_s = report_s
        self._last: dict[str, Reading] = {}

    def worth(self, reading: Reading) -> bool:
        """Whether this reading says something that the last reported one did not."""
        last = self._last.get(reading.name)
        if last is not None and (last.value, last.quality) == (reading.value, reading.quality):
            age = reading.t - last.t
            if 0 <= age < self._report_s.get(reading.sensor, 60.0):
                return False
        self._last[reading.name] = reading
        return True


def to_fact(reading: Reading) -> Fact:
    """The reading as the outbox keeps it."""
    value = reading.value
    return Fact(reading.name, reading.t, reading.unit,
                float(value) if isinstance(value, Decimal) else value, reading.quality, sd=reading.sd)
