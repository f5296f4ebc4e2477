"""Every secret that is planted on a box is looked for in logs, messages, bundles and the arguments of its processes."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge.clock import SystemClock
from edge.identity import enrol
from edge.identity.files import Store
from edge.sim.scale import SimScale
from edge.sim.scales.toledo_8217 import Toledo8217
from edge.wire.enrol import Label
from tests.conftest import Broker, free_port

CAMERA, BROKER, CODE = "Q9z@h/u#n?te:r", "br0ker-Pa55", "9K3M2QXW7TBD"
DEVICE = "shop-secrets"
PROFILE = """
[device]
id = "{device}"
data = "{data}"
[uplink]
host = "{host}"
port = {port}
[[sensors]]
name = "scale-1"
driver = "toledo-8217"
port = "{data}/scale"
unit = "kg"
period_s = 0.1
report_s = 0.2
[[cameras]]
name = "cam-1"
source = "rtsp://gatekeeper:{password}@127.0.0.1:{dead}/shelf"
[[cameras]]
name = "cam-2"
source = "http://127.0.0.1:{dead}/shelf?user=gatekeeper&pwd={password}"
"""
PAUSE = threading.Event()


def until(true: Callable[[], bool], what: str) -> None:
    clock = SystemClock()
    end = clock.monotonic() + 40
    while not true():
        assert clock.monotonic() < end, what
        PAUSE.wait(0.05)


@contextmanager
def listener(broker: Broker) -> Iterator[list[bytes]]:
    """All messages of this device, as bytes."""
    heard: list[bytes] = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: heard.append(message.topic.encode() + message.payload)
    subscribed = threading.Event()
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect(broker.host, broker.port)
    client.subscribe(f"cg/v1/{DEVICE}/#", 1)
    client.loop_start()
    assert subscribed.wait(10)
    yield heard
    client.disconnect()
    client.loop_stop()


def arguments(process: subprocess.Popen[bytes]) -> bytes:
    return Path(f"/proc/{process.pid}/cmdline").read_bytes() + Path(f"/proc/{process.pid}/environ").read_bytes()


def plant(data: Path) -> tuple[str, ...]:
    """An enrolment under way, made of a label; every form of what must not be told."""
    label = Label(DEVICE, CODE, "4F7HK9M2QXWTBD13RSVA")
    pending = enrol.begin(Store(data / "identity"), label)
    key = [line for line in pending.key.splitlines() if not line.startswith("-")]
    return (CAMERA, quote(CAMERA, safe=""), "Q9z", "te:r", "gatekeeper", BROKER, CODE, "9K3M-2QXW-7TBD", str(label),
            *key)


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "edge", *(str(word) for word in words)]


def looked_for(secrets: Iterable[str], outside: dict[str, bytes]) -> set[tuple[str, str]]:
    return {(where, secret) for where, content in outside.items() for secret in secrets
            if secret.encode() in content or json.dumps(secret)[1:-1].encode() in content}


def unpacked(bundle: Path) -> dict[str, bytes]:
    with tarfile.open(bundle) as archive:
        return {info.name: file.read() for info in archive if (file := archive.extractfile(info)) is not None}


def test_no_planted_secret_is_in_what_a_commissioning_says_keeps_and_sends(broker: Broker, tmp_path: Path) -> None:
    """The label and the camera's password come in by files; the enrolment server holds its answer back meanwhile."""
    code, print_ = "7TBD9K3M2QXW", "4F7HK9M2QXWTBD13RSVA"
    with listener(broker) as heard, socket.create_server(("127.0.0.1", 0)) as server:
        label = Label(DEVICE, code, print_, f"127.0.0.1:{server.getsockname()[1]}")
        for name, content in (("label.txt", str(label)), (
                "camera.txt", f"rtsp://gatekeeper:{CAMERA}@127.0.0.1:{free_port()}/shelf")):
            (tmp_path / name).write_text(content)
            (tmp_path / name).chmod(0o600)
        with subprocess.Popen(
                command("commission", "shop.toml", "--unattended", "--by", "A. Fitter", "--label-file", "label.txt",
                        "--camera-file", "camera.txt", "--broker", f"{broker.host}:{broker.port}", "--data", "data",
                        "--no-other-ports", "--patience", "1", "--skip", "drill", "--json"),
                cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            server.settimeout(40)
            connection, _ = server.accept()
            outside = {"arguments": arguments(process)}
            connection.close()
            outside["answer"], outside["said"] = process.communicate(timeout=40)
        assert process.returncode == 1, outside
        outside["messages"] = b"\n".join(heard)
    bundled = subprocess.run(command("support-bundle", "shop.toml", "--out", "b.tar.gz", "--log", "label.txt"),
                             cwd=tmp_path, capture_output=True, check=True, timeout=40)
    outside |= {"bundling": bundled.stdout + bundled.stderr} | unpacked(tmp_path / "b.tar.gz")
    outside |= {str(path): path.read_bytes() for path in (tmp_path / "data").rglob("*")
                if path.is_file() and path.parent.name != "identity"}
    assert sum(name.endswith(("report.html", "report.json", "documents.json")) for name in outside) >= 4
    pending = json.loads((tmp_path / "data" / "identity" / "pending.json").read_text())
    secrets = (CAMERA, quote(CAMERA, safe=""), "Q9z", "te:r", "gatekeeper", code, "7TBD-9K3M-2QXW", str(label),
               *[line for line in pending["key"].splitlines() if not line.startswith("-")])
    assert looked_for(secrets, outside) == set()
    kept = (tmp_path / "shop.toml").read_text() + (tmp_path / "data" / "identity" / "pending.json").read_text()
    assert "Q9z" in kept
    assert code not in kept


def test_no_planted_secret_leaves_the_box(broker: Broker, tmp_path: Path) -> None:
    data, shop, log = tmp_path / "data", tmp_path / "shop.toml", tmp_path / "agent.log"
    data.mkdir()
    secrets = plant(data)
    shop.write_text(PROFILE.format(device=DEVICE, data=data, host=broker.host, port=broker.port, password=CAMERA,
                                   dead=free_port()))
    older = tmp_path / "older.log"
    older.write_text(f"refused mqtts://box:{BROKER}@broker:8883\nenroll {secrets[8]}\n"
                     f'<3>{json.dumps({"event": "odd", "detail": (data / "identity/pending.json").read_text()})}\n'
                     f"label CG1:{DEVICE}:9K3M-2QXW-7TBD-R:4F7HK\n")
    scale = SimScale(data / "scale", Toledo8217(), "kg", SystemClock(), random.Random(1), baudrate=9600)
    scale.put(Decimal("1.250"))
    outside: dict[str, bytes] = {}
    with listener(broker) as heard, log.open("wb") as file, subprocess.Popen(
            command("run", shop), stdout=file, stderr=file) as agent:
        try:
            until(lambda: log.read_text().count("sensor_lost") >= 2 and "sensor_ok" in log.read_text(), log.read_text())
            until(lambda: any(b"scale-1" in message for message in heard), "no message")
            with subprocess.Popen(command("support-bundle", shop, "--out", tmp_path / "b.tar.gz", "--log", log, "--log",
                                          older), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as bundling:
                outside["arguments"] = arguments(agent) + arguments(bundling)
                out, err = bundling.communicate(timeout=40)
            assert bundling.returncode == 0, err
            outside["said"] = out + err
        finally:
            agent.send_signal(signal.SIGTERM)
    scale.close()
    assert agent.returncode == 0
    outside |= {"log": log.read_bytes(), "messages": b"\n".join(heard)}
    outside |= unpacked(tmp_path / "b.tar.gz")
    assert {"cornergrid/raw/scale-1.rec", "cornergrid/logs/2-older.log", "cornergrid/status.json"} <= set(outside)
    assert looked_for(secrets, outside) == set()
    assert all(any(secret in path.read_text() for path in (shop, older, data / "identity" / "pending.json"))
               for secret in (CAMERA, BROKER, "9K3M-2QXW-7TBD", *secrets[9:]))
