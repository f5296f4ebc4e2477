"""What can go wrong, each as a function of the world and one device; a seed has some of them only."""

from __future__ import annotations

from typing import Protocol

from edge.clock import ManualClock
from tests.simulation.cloud import Worker
from tests.simulation.device import Device, trouble
from tests.simulation.ledger import Image, owed, owed_by_disk
from tests.simulation.network import Broker
from tests.simulation.power import copy

JUMPS_S = (-3600.0, -40.0, 25.0, 90_000.0, 40_000_000.0)
NO_TIME_S = -100_000_000.0


class Stage(Protocol):
    """As much of the world as a fault needs."""

    clock: ManualClock
    broker: Broker
    workers: list[Worker]
    images: dict[str, Image]


def loses_connection(world: Stage, device: Device) -> None:
    world.broker.disconnect(device.name)


def is_killed(_: Stage, device: Device) -> None:
    device.end(copy(device.folder, device.new_folder()))


def reboots_without_time(world: Stage, device: Device) -> None:
    device.box.origin, device.box.synced = world.clock.at - 5.0, False
    device.box.offset = device.rng.choice((*JUMPS_S, NO_TIME_S, NO_TIME_S))
    is_killed(world, device)


def clock_jumps(_: Stage, device: Device) -> None:
    device.box.offset, device.box.synced = device.box.offset + device.rng.choice(JUMPS_S), False


def clock_is_set(_: Stage, device: Device) -> None:
    device.box.offset, device.box.synced = 0.0, True


def ntp_errs(_: Stage, device: Device) -> None:
    device.box.offset, device.box.synced = device.rng.choice((-3600.0, 25.0)), True


def disk_is_imaged(world: Stage, device: Device) -> None:
    world.images[device.name] = Image(copy(device.folder, device.new_folder()), len(device.ledger.made),
                                      frozenset(device.ledger.volatile))


def image_is_put_back(world: Stage, device: Device) -> None:
    image = world.images.get(device.name)
    if image is not None:
        device.ledger.put_back(image, owed_by_disk(device.buffer))
        device.end(copy(image.folder, device.new_folder()))


def disk_is_new(_: Stage, device: Device) -> None:
    if device.rng.random() < 0.3:
        device.ledger.put_back(None, owed_by_disk(device.buffer))
        device.end(device.new_folder())


def disk_is_full(_: Stage, device: Device) -> None:
    trouble(device, "full")


def disk_is_broken(_: Stage, device: Device) -> None:
    trouble(device, "broken")


def disk_takes_again(_: Stage, device: Device) -> None:
    trouble(device, "")


def bit_flips(_: Stage, device: Device) -> None:
    """In the body of one record; its checksum tells."""
    disk, ledger = device.buffer.refuge.disk, device.ledger
    rows = disk.disk.db.execute("SELECT seq, body FROM record").fetchall() if disk else []
    if disk is not None and rows and not device.trouble:
        seq, body = device.rng.choice(rows)
        ledger.flipped, ledger.exact, ledger.forgiven = ledger.flipped + 1, False, ledger.forgiven + owed(body)
        at = device.rng.randrange(len(body))
        turned = body[:at] + bytes([body[at] ^ 1 << device.rng.randrange(8)]) + body[at + 1:]
        disk.disk.db.execute("UPDATE record SET body = ? WHERE seq = ?", (turned, seq))


def broker_restarts(world: Stage, _: Device) -> None:
    world.broker.restart()


def worker_dies_before_commit(world: Stage, device: Device) -> None:
    device.rng.choice(world.workers).serve("before")


def worker_dies_after_commit(world: Stage, device: Device) -> None:
    device.rng.choice(world.workers).serve("after")


def worker_loses_connection(world: Stage, device: Device) -> None:
    world.broker.disconnect(device.rng.choice(world.workers).name)


FAULTS = (loses_connection, is_killed, reboots_without_time, clock_jumps, clock_is_set, ntp_errs, disk_is_imaged,
          image_is_put_back, disk_is_new, disk_is_full, disk_is_broken, disk_takes_again, bit_flips, broker_restarts,
          worker_dies_before_commit, worker_dies_after_commit, worker_loses_connection)
