"""A virtual shop with hands: what the commissioning asks for is done to its pan, its probe and its door."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

from edge.clock import SystemClock
from edge.profile import Profile, load_profile
from edge.sim.shop import VirtualShop
from edge.sim.story import Event
from tests.conftest import free_port

ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": ""}

PROFILE = """
[device]
id = "{device}"
data = "{data}"

[uplink]
host = "127.0.0.1"
port = {port}
tls = {tls}

[[sensors]]
name = "scale-1"
driver = "toledo-8217"
port = "pty/scale-1"
unit = "kg"

[[sensors]]
name = "fridge-1"
driver = "modbus"
port = "pty/rs485"
device = "xy-md02"
address = 1

[[sensors]]
name = "door-1"
driver = "modbus"
port = "pty/rs485"
device = "waveshare-io-8ch"
address = 2
contacts = {{ "input-1" = "normally-open" }}

[[cameras]]
name = "cam-1"
source = "http://127.0.0.1:{camera}/cam-1.mjpg"
threshold = 0.45

[[slots]]
name = "A1"
sku = "4006381333931"
product = "Oat biscuits 250 g"
capacity = 24
scale = "scale-1"
item_weight = "0.250 kg"

[[slots]]
name = "B1"
sku = "5000112637922"
product = "Cola 0.5 l"
capacity = 6
camera = "cam-1"
region = [0.02, 0.05, 0.49, 0.49]

[[slots]]
name = "B2"
sku = "5449000000996"
product = "Tomato soup"
capacity = 6
camera = "cam-1"
region = [0.51, 0.05, 0.98, 0.49]
"""


def write_profile(path: Path, data: Path, port: int, *, tls: bool, device: str = "shop-1") -> Profile:
    """A shop's profile in a file, with a free port for its camera."""
    path.write_text(PROFILE.format(device=device, data=data, port=port, tls=str(tls).lower(), camera=free_port()))
    return load_profile(path)


class HandledShop(VirtualShop):
    """The virtual shop, full, in which only hands move anything."""

    def __init__(self, profile: Profile, folder: Path) -> None:
        super().__init__(profile, 7, SystemClock(), folder / "truth.jsonl")
        self.pan: Decimal | None = None
        self.breath = False
        self.open = False

    def _weigh(self) -> None:
        if self.pan is None:
            super()._weigh()
        else:
            self.scales["scale-1"].put(self.pan)

    def _apply(self, event: Event) -> None:
        """No customer comes."""

    def climate(self) -> tuple[float, float]:
        return (9.0, 80.0) if self.breath else (4.0, 55.0)

    @property
    def door_open(self) -> bool:
        return self.open


class Hands:
    """Does what a line of the commissioning asks for; `told` keeps every line."""

    def __init__(self, shop: HandledShop) -> None:
        self.shop = shop
        self.told: list[str] = []
        self._timers: list[threading.Timer] = []

    def hear(self, line: str) -> None:
        """One line that was said."""
        self.told.append(line)
        for pattern, do in self.WHAT.items():
            if match := re.search(pattern, line):
                do(self, match)

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, do)
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    def _put(self, weight: str) -> None:
        self.shop.pan = Decimal(weight)

    def _breathe(self, _match: re.Match[str]) -> None:
        self._later(1.5, lambda: setattr(self.shop, "breath", True))

    def _door(self, _match: re.Match[str]) -> None:
        self._later(1.5, lambda: setattr(self.shop, "open", True))
        self._later(3.0, lambda: setattr(self.shop, "open", False))

    WHAT: ClassVar[dict[str, Callable[[Hands, re.Match[str]], None]]] = {
        r"empty the pan": lambda self, _: self._put("0"),
        r"put the known weight of (\S+) kg": lambda self, match: self._put(match[1]),
        r"put (\d+) units of": lambda self, match: self._put(str(int(match[1]) * Decimal("0.25"))),
        r"Breathe on the probe": _breathe,
        r"open the door": _door,
    }

    def close(self) -> None:
        """End."""
        for timer in self._timers:
            timer.cancel()


@contextmanager
def started(shop: HandledShop) -> Iterator[HandledShop]:
    """A virtual shop that answers, until the end."""
    shop.start()
    try:
        assert shop.wait_ready()
        yield shop
    finally:
        shop.stop()


def command(*words: str) -> list[str]:
    """`cornergrid-edge`, with these words."""
    return [sys.executable, "-m", "edge", *words]
