"""`cornergrid-edge sim-bus` as a developer types it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from edge.clock import ManualClock, SystemClock
from edge.sim import bus_command
from edge.sim.bus_command import ColdRoom, Due, play
from edge.sim.faults import Fault
from edge.sim.modbus_devices import IN_A_ROOM
from edge.sim.rs485 import BusFault, Rs485Line, SimModbus


def typed(*words: str) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    bus_command.register(app)
    return CliRunner().invoke(app, ["sim-bus", *words])


@pytest.mark.parametrize(("words", "says"), [
    (["xy-md02"], "no DEVICE@ADDRESS"), (["xy-md20@1"], "no DEVICE@ADDRESS"), (["xy-md02@248"], "no DEVICE@ADDRESS"),
    (["xy-md02@1", "--fault", "3:1:sad"], "no SECONDS:ADDRESS:FAULT"),
    (["xy-md02@1", "--fault", "3:2:silent"], "no device is at address 2"),
    (["xy-md02@1", "--fault", "nan:1:silent"], "seconds are a number"),
])
def test_what_cannot_be_is_told_before_anything_opens(words: list[str], says: str) -> None:
    done = typed(*words)

    assert done.exit_code == 2
    assert says in " ".join(done.output.replace("│", " ").split())


def test_a_script_gives_and_takes_faults(tmp_path: Path) -> None:
    line = Rs485Line(tmp_path / "rs485", [SimModbus(1, IN_A_ROOM["xy-md02"](ColdRoom(ManualClock(0.0))))])
    stop = threading.Event()
    script = [Due(0.0, 1, Fault.SILENT), Due(0.0, 1, BusFault.BUSY)]
    player = threading.Thread(target=play, args=(line, script, stop, SystemClock()))
    player.start()
    while line.devices[1].fault is not BusFault.BUSY:
        assert player.is_alive()
    stop.set()
    player.join()
    line.close()


def test_the_rooms_door_warms_it() -> None:
    clock = ManualClock(500.0)
    room = ColdRoom(clock)
    before = room.climate()[0]
    clock.advance(45.0)
    room.climate()
    clock.advance(50.0)

    assert room.door_open
    assert room.climate()[0] > before + 0.5
