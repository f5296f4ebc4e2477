"""`cornergrid-edge sim-bus`: Modbus devices that are not there, on a line of their own, to write a driver against."""

from __future__ import annotations

import math
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from edge.clock import Clock, SystemClock
from edge.sim.faults import Fault
from edge.sim.fridge import Fridge
from edge.sim.modbus_devices import IN_A_ROOM
from edge.sim.rs485 import BusFault, Rs485Line, SimModbus

out = Console(highlight=False, soft_wrap=True)
FAULTS = (*Fault, *BusFault)


@dataclass(frozen=True, slots=True)
class Due:
    """A fault that a device has from `after_s` on."""

    after_s: float
    address: int
    fault: Fault | BusFault


@dataclass(slots=True)
class ColdRoom:
    """A fridge that lives; its door is open for the last minute of every ten."""

    clock: Clock
    fridge: Fridge = field(default_factory=Fridge)

    def climate(self) -> tuple[float, float]:
        now = self.clock.now()
        if self.fridge.open != self.door_open:
            self.fridge = self.fridge.door(now, self.door_open)
        return self.fridge.temperature(now), self.fridge.humidity(now)

    @property
    def door_open(self) -> bool:
        return self.clock.now() % 600 > 540


def register(app: typer.Typer) -> None:
    """Add the command `sim-bus`."""
    app.command("sim-bus")(sim_bus)


def sim_bus(
    devices: Annotated[list[str], typer.Argument(metavar="DEVICE@ADDRESS...", help=f"Of: {', '.join(IN_A_ROOM)}.")],
    port: Annotated[Path, typer.Option(help="Where the line's port appears.")] = Path("rs485"),
    fault: Annotated[list[str] | None, typer.Option(
        help=f"SECONDS:ADDRESS:FAULT, again and again; of: {', '.join(FAULTS)}.")] = None,
    echo: Annotated[bool, typer.Option(help="The adapter hears what it sends.")] = False,
) -> None:
    """Put simulated Modbus devices on a virtual RS-485 line, until Ctrl-C.

    Example: `cornergrid-edge sim-bus xy-md02@1 r4dcb08@2 --port /tmp/rs485 --fault 30:2:silent --fault 60:2:none`
    """
    room = ColdRoom(SystemClock())
    made = [_device(text, room) for text in devices]
    script = sorted((_due(text) for text in fault or ()), key=lambda due: due.after_s)
    for due in script:
        if due.address not in {device.address for device in made}:
            raise typer.BadParameter(f"no device is at address {due.address}", param_hint="--fault")
    stop = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: stop.set())
    try:
        line = Rs485Line(port, made, echo=echo, paced=True)
    except OSError as error:
        out.print(f"{port}: cannot be had: {error}", style="red")
        raise typer.Exit(1) from error
    out.print(f"{', '.join(devices)} on {port}; Ctrl-C stops")
    try:
        play(line, script, stop, room.clock)
    finally:
        line.close()


def play(line: Rs485Line, script: list[Due], stop: threading.Event, clock: Clock) -> None:
    """Give each device its faults as they fall due, then wait for `stop`."""
    began = clock.monotonic()
    for due in script:
        if stop.wait(max(0.0, began + due.after_s - clock.monotonic())):
            return
        line.devices[due.address].fault = due.fault
        out.print(f"{due.after_s:g} s: address {due.address} is {due.fault}")
    stop.wait()


def _device(text: str, room: ColdRoom) -> SimModbus:
    name, _, address = text.partition("@")
    if name not in IN_A_ROOM or not address.isdigit() or not 1 <= int(address) <= 247:
        raise typer.BadParameter(f"{text!r} is no DEVICE@ADDRESS, like xy-md02@1", param_hint="DEVICE@ADDRESS")
    return SimModbus(int(address), IN_A_ROOM[name](room))


def _due(text: str) -> Due:
    try:
        after, address, name = text.split(":")
        (fault,) = (each for each in FAULTS if each.value == name)
        due = Due(float(after), int(address), fault)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no SECONDS:ADDRESS:FAULT, like 30:2:silent",
                                 param_hint="--fault") from None
    if not math.isfinite(due.after_s):
        raise typer.BadParameter(f"{text!r}: seconds are a number", param_hint="--fault")
    return due
