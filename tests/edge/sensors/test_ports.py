from __future__ import annotations

from pathlib import Path

from edge.sensors.ports import Adapter, Port, found_ports, identity, stable_names
from tests.edge.sensors.serial_bench import Adapter as Pty

FTDI = Adapter("/dev/ttyUSB0", "FT232R", 0x0403, 0x6001, "A50285BI")
CH340, CH340_TOO = (Adapter(f"/dev/ttyUSB{n}", "USB Serial", 0x1A86, 0x7523, None) for n in (1, 2))
BY_ID = {"/dev/ttyUSB0": "/dev/serial/by-id/usb-FTDI_FT232R_A50285BI-if00-port0",
         "/dev/ttyUSB2": "/dev/serial/by-id/usb-1a86_USB_Serial-if00-port0"}
BY_PATH = {f"/dev/ttyUSB{n}": f"/dev/serial/by-path/platform-3f980000.usb-usb-0:1.{n}:1.0-port0" for n in range(3)}


def test_an_adapter_with_a_number_of_its_own_is_named_by_it() -> None:
    assert stable_names([FTDI], BY_ID, BY_PATH) == (Port(BY_ID["/dev/ttyUSB0"], "/dev/ttyUSB0", "FT232R"),)


def test_adapters_that_share_an_id_are_named_by_their_sockets() -> None:
    ports = stable_names([CH340_TOO, FTDI, CH340], BY_ID, BY_PATH)

    assert [port.name for port in ports] == [BY_ID["/dev/ttyUSB0"], BY_PATH["/dev/ttyUSB1"], BY_PATH["/dev/ttyUSB2"]]
    assert [bool(port.note) for port in ports] == [False, True, True]


def test_clones_with_one_serial_number_are_twins_too() -> None:
    clones = [Adapter(f"/dev/ttyUSB{n}", "CP2102", 0x10C4, 0xEA60, "0001") for n in (0, 1)]

    assert {port.name for port in stable_names(clones, BY_ID, BY_PATH)} == set(list(BY_PATH.values())[:2])


def test_a_lone_ch340_has_its_id() -> None:
    assert stable_names([CH340_TOO], BY_ID, BY_PATH)[0].name == BY_ID["/dev/ttyUSB2"]


def test_without_links_the_device_is_named_with_a_warning() -> None:
    (port,) = stable_names([CH340], {}, {})

    assert port.name == "/dev/ttyUSB1"
    assert "no stable name" in port.note


def test_a_built_in_port_keeps_its_name() -> None:
    assert stable_names([Adapter("/dev/ttyAMA0")], {}, {}) == (Port("/dev/ttyAMA0", "/dev/ttyAMA0"),)


def test_this_machines_ports_can_be_listed() -> None:
    assert all(Path(port.device).exists() for port in found_ports())


def test_a_replugged_adapter_is_another_one(tmp_path: Path) -> None:
    adapter = Pty(tmp_path / "port")
    first = identity(str(adapter.path))
    assert first == identity(str(adapter.path))
    adapter.unplug()
    assert identity(str(adapter.path)) is None
    adapter.plug()
    assert identity(str(adapter.path)) not in (None, first)
    adapter.unplug()
