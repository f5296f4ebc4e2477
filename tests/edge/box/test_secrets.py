"""Every secret that is planted on a box is looked for in logs, messages, bundles and the arguments of its processes."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
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
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        for info in archive:
            content = archive.extractfile(info)
            assert content is not None
            outside[info.name] = content.read()
    assert {"cornergrid/raw/scale-1.rec", "cornergrid/logs/2-older.log", "cornergrid/status.json"} <= set(outside)
    found = {(where, secret) for where, content in outside.items() for secret in secrets
             if secret.encode() in content or json.dumps(secret)[1:-1].encode() in content}
    assert found == set()
    assert all(any(secret in path.read_text() for path in (shop, older, data / "identity" / "pending.json"))
               for secret in (CAMERA, BROKER, "9K3M-2QXW-7TBD", *secrets[9:]))
