"""Serial ports by names that stay: an adapter keeps its name over a restart, and when it is plugged in again.

`/dev/ttyUSB0` is whichever adapter came first. `/dev/serial/by-id/...` names the adapter, as long as it has a serial
number of its own: cheap ones (CH340, PL2303) have none, two of them share one name, and the link points at whichever
came last. Those are named by the socket that they are in, `/dev/serial/by-path/...`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serial.tools import list_ports

SERIAL = Path("/dev/serial")


@dataclass(frozen=True, slots=True)
class Adapter:
    """What the system says of one serial device; `serial_number` is None where it has none."""

    device: str
    description: str = ""
    vid: int | None = None
    pid: int | None = None
    serial_number: str | None = None


@dataclass(frozen=True, slots=True)
class Port:
    """One port: the name to write into a profile, the device behind it now, what it is, and a word of warning."""

    name: str
    device: str
    description: str = ""
    note: str = ""


def stable_names(adapters: Sequence[Adapter], by_id: Mapping[str, str], by_path: Mapping[str, str]) -> tuple[Port, ...]:
    """The ports by stable names; `by_id` and `by_path` map devices to links."""
    twins = Counter((each.vid or 0, each.pid, each.serial_number) for each in adapters)

    def name(each: Adapter) -> Port:
        alone = each.vid is None or twins[each.vid, each.pid, each.serial_number] < 2
        if alone and each.device in by_id:
            return Port(by_id[each.device], each.device, each.description)
        if each.device in by_path:
            note = "" if alone else "several adapters share one id: named by its socket, so keep it in this one"
            return Port(by_path[each.device], each.device, each.description, note)
        note = "has no stable name: it may be another adapter's after a restart" if each.vid is not None else ""
        return Port(each.device, each.device, each.description, note)

    return tuple(name(each) for each in sorted(adapters, key=lambda each: each.device))


def found_ports() -> tuple[Port, ...]:
    """The serial ports of this machine; those that are not there (ttyS without hardware) are left out."""
    adapters = [Adapter(each.device, each.description or "", each.vid, each.pid, each.serial_number)
                for each in list_ports.comports()]
    return stable_names(adapters, _links(SERIAL / "by-id"), _links(SERIAL / "by-path"))


def _links(folder: Path) -> dict[str, str]:
    """Device to link; where several links point at one device, the first by name."""
    links = sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []
    return {str(link.resolve()): str(link) for link in links}


def identity(port: str) -> Hashable | None:
    """What stands behind a port's name now: changes when another adapter, or the same one again, is plugged in."""
    path = Path(port)
    try:
        found = path.stat()
    except OSError:
        return None
    return str(path.resolve()), found.st_ino, found.st_ctime_ns
