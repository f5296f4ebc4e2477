"""cornergrid-edge as the installer types it."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import pytest

from edge.documents import Documents
from edge.profile import load_profile

DEMO = Path(__file__).parents[2] / "firmware_configs" / "shops" / "demo.toml"


def edge(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "edge", *words], input=given, capture_output=True, text=True,
                          timeout=50, check=False)


@pytest.mark.parametrize("command", [
    "init", "check", "run", "look", "schema", "sim", "install", "uninstall", "support-bundle"])
def test_every_command_helps_with_an_example(command: str) -> None:
    done = edge(command, "--help")
    assert done.returncode == 0
    assert f"cornergrid-edge {command}" in done.stdout


def test_init_writes_a_profile_that_loads_and_keeps_one_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    words = ["init", str(path), "--device", "shop-7", "--broker", "127.0.0.1:1883", "--data", str(tmp_path / "data"),
             "--scale-port", "/dev/ttyUSB0", "--scale-sku", "4006381333931", "--item-weight", "0.250 kg",
             "--probe-port", "", "--camera", ""]
    assert edge(*words).returncode == 0
    assert load_profile(path).device.id == "shop-7"
    again = edge(*words)
    assert again.returncode == 2
    assert "--force" in again.stderr


def test_init_asks_what_no_flag_says(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    done = edge("init", str(path), given="shop-8\nbroker:1883\n/data\n\n\n\n")
    assert done.returncode == 0, done.stderr
    assert load_profile(path).device.id == "shop-8"


def test_a_wrong_answer_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    done = edge("init", str(path), given="Shop 8\nbroker:1883\n/data\n\n\n\n")
    assert done.returncode == 2
    assert "device.id" in done.stderr
    assert "Traceback" not in done.stderr
    assert not path.exists()


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_profile_that_cannot_be_used_ends_with_2_and_no_trace(tmp_path: Path, command: str) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(DEMO.read_text().replace("item_weight", "item_wieght"))
    done = edge(command, str(path))
    assert done.returncode == 2
    assert "did you mean item_weight?" in done.stderr
    assert "Traceback" not in done.stderr


def test_run_names_a_model_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(DEMO.read_text().replace(".demo/edge", str(tmp_path)).replace(
        "[[cameras]]", f'[[cameras]]\nmodel = "{tmp_path}/none.onnx"'))
    done = edge("run", str(path))
    assert done.returncode == 2
    assert "none.onnx" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_agent_that_is_stopped_while_its_libraries_load_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(f'[device]\nid = "shop-1"\ndata = "{tmp_path / "data"}"\n')
    with subprocess.Popen([sys.executable, "-X", "importtime", "-m", "edge", "run", str(path)], text=True,
                          stderr=subprocess.PIPE) as agent:
        assert agent.stderr is not None
        assert next(line for line in agent.stderr if line.endswith(" typer\n"))
        agent.send_signal(number)
        said = [line for line in agent.stderr if not line.startswith("import time:")]
        assert agent.wait(50) == 0, said
    assert [json.loads(line)["event"] for line in said] == ["stopped"]
    assert not (tmp_path / "data").exists()


def test_an_agent_that_is_stopped_while_it_reads_its_profile_ends_cleanly(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    os.mkfifo(path)
    with subprocess.Popen([sys.executable, "-m", "edge", "run", str(path)], text=True, stderr=subprocess.PIPE) as agent:
        with path.open("w") as profile:  # opens once the agent reads
            agent.send_signal(signal.SIGTERM)
            profile.write(f'[device]\nid = "shop-1"\ndata = "{tmp_path / "data"}"\n')
        assert agent.stderr is not None
        said = agent.stderr.readlines()
        assert agent.wait(50) == 0, said
    assert [json.loads(line)["event"] for line in said] == ["stopped"]


def test_check_of_a_shop_where_nothing_answers_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(DEMO.read_text().replace(".demo/edge", str(tmp_path / "data")).replace("18831", "1")
                    .replace("port = 18830", "port = 1"))
    done = edge("check", str(path), "--json", "--patience", "1")
    assert done.returncode == 1, done.stderr
    rows = {row["part"]: row for row in json.loads(done.stdout)["rows"]}
    assert set(rows) == {"clock", "disk", "scale-1", "fridge-1", "door-1", "cam-1", "uplink"}
    failed = {name for name, row in rows.items() if not row["ok"]}
    assert failed == {"scale-1", "fridge-1", "door-1", "cam-1", "uplink"}
    assert all(rows[name]["fix"] for name in failed)
    last = Documents(tmp_path / "data").last_check()
    assert last is not None
    assert last["ok"] is False


def test_look_draws_what_it_found(tmp_path: Path) -> None:
    photo = tmp_path / "shelf.png"
    assert edge("sim", str(DEMO), "--frame", str(photo)).returncode == 0
    done = edge("look", str(photo), "--json", "--out", str(tmp_path / "found.jpg"))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["quality"] == "ok"
    assert told["found"], "the virtual shop's packs are packs to the shipped detector"
    assert cv2.imread(str(tmp_path / "found.jpg")) is not None


def test_look_at_no_picture_is_one_clear_line(tmp_path: Path) -> None:
    done = edge("look", str(tmp_path / "none.jpg"))
    assert done.returncode == 2
    assert "none.jpg" in done.stderr
    assert "Traceback" not in done.stderr


def test_look_at_a_picture_that_claims_to_be_enormous_is_one_clear_line(tmp_path: Path) -> None:
    photo = tmp_path / "huge.png"
    edge("sim", str(DEMO), "--frame", str(photo))
    head = bytearray(photo.read_bytes())
    chunk = b"IHDR" + struct.pack(">II", 60_000, 60_000) + bytes(head[24:29])
    head[12:33] = chunk + struct.pack(">I", zlib.crc32(chunk))
    photo.write_bytes(bytes(head))
    done = edge("look", str(photo))
    assert done.returncode == 2
    assert "huge.png" in done.stderr
    assert "Traceback" not in done.stderr
