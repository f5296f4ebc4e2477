"""probe, read and record, as the installer types them, against a simulated scale on a real pseudo-terminal."""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer

from edge.clock import SystemClock
from edge.errors import ConfigError
from edge.sensor_commands import probe
from edge.sim.faults import Fault
from edge.sim.onewire import OneWire
from edge.sim.scale import SETTLE_S, SimScale
from edge.sim.scales.toledo_8217 import Toledo8217
from tests.edge.test_cli import edge


@pytest.fixture
def scale(tmp_path: Path) -> Iterator[SimScale]:
    scale = SimScale(tmp_path / "scale", Toledo8217(), "kg", SystemClock(), random.Random(1), baudrate=9600)
    scale.put(Decimal("1.250"))
    yield scale
    scale.close()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.toml"
    path.write_text(f'[device]\nid = "shop-1"\ndata = "{tmp_path}/data"\n[[sensors]]\nname = "scale-1"\n'
                    f'driver = "toledo-8217"\nport = "{tmp_path}/scale"\nunit = "kg"\nperiod_s = 0.1\n')
    return path


def test_probe_names_the_scale_and_its_lines_make_a_profile(scale: SimScale, tmp_path: Path) -> None:
    done = edge("probe", str(scale.port.link))

    assert done.returncode == 0, done.stderr
    assert "Toledo / Mettler 8217, 9600" in done.stdout
    lines = done.stdout.partition("For the profile:")[2]
    (sensor,) = tomllib.loads(lines)["sensors"]
    assert {"name": "scale-1", "driver": "toledo-8217", "port": str(tmp_path / "scale"), "unit": "kg"} == {
        key: value for key, value in sensor.items() if key not in ("bytesize", "parity")}


def test_probe_lists_the_thermometers_that_the_kernel_knows(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("edge.sensor_commands.found_ports", lambda: ())
    bus = OneWire(tmp_path / "w1")
    well, ill = bus.put("28-0316a2794bff", 4.125), bus.put("28-0316a2794c00", 4.0, "shorted")
    (tmp_path / "w1" / "w1_bus_master1").mkdir()

    with pytest.raises(typer.Exit) as ended:
        probe(one_wire=tmp_path / "w1")

    assert ended.value.exit_code == 0
    shown = capsys.readouterr().out
    assert "4.125 Cel" in shown
    assert "short_circuit" in shown
    assert tomllib.loads(shown.partition("For the profile:")[2])["sensors"] == [
        {"name": f"thermometer-{i}", "driver": "ds18b20", "port": str(each)} for i, each in enumerate((well, ill), 1)]


def test_probe_reads_a_thermometer_that_is_named(tmp_path: Path) -> None:
    done = edge("probe", str(OneWire(tmp_path).put("28-0316a2794bff", -18.0)), "--json")

    assert done.returncode == 0, done.stderr
    (port,) = json.loads(done.stdout)["ports"]
    assert [each["says"] for each in port["choices"]] == ["-18.000 Cel"]


def test_probe_of_a_box_without_1_wire_and_ports_says_so(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("edge.sensor_commands.found_ports", lambda: ())

    with pytest.raises(typer.Exit) as ended:
        probe(one_wire=tmp_path / "none")

    assert ended.value.exit_code == 1
    assert "no 1-wire thermometer" in capsys.readouterr().out


def test_probe_as_json_of_a_port_that_is_not_there(tmp_path: Path) -> None:
    done = edge("probe", str(tmp_path / "none"), "--json")

    assert done.returncode == 1
    (missing,) = json.loads(done.stdout)["ports"]
    assert (missing["choices"], missing["nothing"]) == ([], "is not there")


def test_probe_refuses_a_wrong_address() -> None:
    done = edge("probe", "--addresses", "0-3")

    assert done.returncode == 2
    assert "1 to 247" in done.stderr


@pytest.mark.parametrize("addresses", ["1-99999999999", "1-", "-3", "4-2", "1,,2", ""])
def test_probe_refuses_what_is_no_list_of_addresses_at_once(addresses: str) -> None:
    with pytest.raises(ConfigError, match="1 to 247"):
        probe(ports=[], addresses=addresses)


def test_probe_names_a_port_as_a_profile_anywhere_can(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(typer.Exit):
        probe(ports=["adapter"], as_json=True)

    (port,) = json.loads(capsys.readouterr().out)["ports"]
    assert port["place"]["name"] == str(tmp_path / "adapter")


def test_probe_shows_a_port_by_its_whole_name(tmp_path: Path) -> None:
    names = [str(tmp_path / "[red]x"), str(tmp_path / "a[/b]")]

    done = edge("probe", *names)

    assert done.returncode == 1, done.stderr
    assert "[red]x" in done.stdout
    assert "a[/b]" in done.stdout


def test_read_shows_values_beside_their_bytes(scale: SimScale, shop: Path) -> None:
    assert scale.fault is Fault.NONE
    done = edge("read", "scale-1", "--profile", str(shop))

    assert done.returncode == 0, done.stderr
    assert "weight 1.250 kg" in done.stdout or "unstable" in done.stdout
    assert "    > 57" in done.stdout
    assert "    < 02 3" in done.stdout


def test_read_says_what_is_wrong_beside_what_came(scale: SimScale, shop: Path) -> None:
    scale.fault = Fault.HALF
    done = edge("read", "scale-1", "--profile", str(shop), "--json")

    assert done.returncode == 1
    row = json.loads(done.stdout)
    assert row["readings"] == []
    assert "truncated" in row["why"]
    assert [way for way, _ in row["raw"]] == [">", "<"]


def test_read_names_the_sensors_that_there_are(shop: Path) -> None:
    done = edge("read", "scale-9", "--profile", str(shop))

    assert done.returncode == 2
    assert "known: scale-1" in done.stderr


def test_a_recording_is_a_sensor_again(scale: SimScale, shop: Path, tmp_path: Path) -> None:
    scale.put(Decimal("2.000"))
    file = tmp_path / "scale.rec"
    done = edge("record", "scale-1", str(file), "--profile", str(shop), "--seconds", str(SETTLE_S + 1.0))
    assert done.returncode == 0, done.stderr
    assert "wrote" in done.stdout
    shop.write_text(shop.read_text().replace(f"{tmp_path}/scale", f"replay:{file}"))

    played = edge("read", "scale-1", "--profile", str(shop), "--json")

    assert played.returncode == 0
    assert json.loads(played.stdout)["readings"]
    again = edge("record", "scale-1", str(file), "--profile", str(shop), "--seconds", "1")
    assert again.returncode == 2
    assert "exists" in again.stderr


def test_a_recording_ends_when_it_was_told_to_and_not_a_period_later(
        scale: SimScale, shop: Path, tmp_path: Path) -> None:
    assert scale.fault is Fault.NONE
    shop.write_text(shop.read_text().replace("period_s = 0.1", "period_s = 600"))

    done = edge("record", "scale-1", str(tmp_path / "x.rec"), "--profile", str(shop), "--seconds", "0.5")

    assert "1 reads" in done.stdout, done.stderr


def test_a_recording_of_nothing_says_why(shop: Path, tmp_path: Path) -> None:
    done = edge("record", "scale-1", str(tmp_path / "[x].rec"), "--profile", str(shop), "--seconds", "0.3")

    assert done.returncode == 1
    assert "no_port" in done.stdout
    assert "[x].rec" in done.stdout


def test_read_of_a_missing_port_says_it_once(shop: Path) -> None:
    done = edge("read", "scale-1", "--profile", str(shop))

    assert done.returncode == 1
    assert "no_port" in done.stdout
    assert done.stdout.count("/scale") == 1


def test_read_shows_the_begin_of_a_babble_and_its_length(scale: SimScale, shop: Path) -> None:
    scale.fault = Fault.BABBLE
    done = edge("read", "scale-1", "--profile", str(shop))

    assert done.returncode == 1
    assert max(map(len, done.stdout.splitlines())) < 300
    assert "bytes)" in done.stdout


@pytest.mark.parametrize("command", ["probe", "read", "record"])
def test_every_command_helps_with_an_example(command: str) -> None:
    done = edge(command, "--help")

    assert done.returncode == 0
    assert f"cornergrid-edge {command}" in done.stdout


def test_a_camera_is_read_recorded_and_replayed(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for n in range(4):
        noise = np.random.default_rng(n).integers(0, 255, (240, 320, 3), np.uint8)
        assert cv2.imwrite(str(pictures / f"{n}.png"), noise)
    shop, file = tmp_path / "shop.toml", tmp_path / "cam.rec"
    text = (f'[device]\nid = "shop-1"\ndata = "{tmp_path}/data"\n[[cameras]]\nname = "cam-1"\nsource = "SOURCE"\n'
            '[[slots]]\nname = "B1"\nsku = "4006381333931"\ncapacity = 6\ncamera = "cam-1"\nregion = [0, 0, 1, 1]\n')
    shop.write_text(text.replace("SOURCE", str(pictures)))

    done = edge("record", "cam-1", str(file), "--profile", str(shop))
    assert done.returncode == 0, done.stderr
    assert "4 frames" in done.stdout
    shop.write_text(text.replace("SOURCE", f"replay:{file}"))
    read = edge("read", "cam-1", "--profile", str(shop), "--json")

    assert [each["quantity"] for each in json.loads(read.stdout)["readings"]][:1] == ["facings/B1"], read.stderr
