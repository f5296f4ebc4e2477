"""From the label to the commit over a closed broker, by the real processes; and no secret leaks on the way."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.wire.enrol import parse_label
from tests.cloud_ingest.pki.world import HOST, WAIT_S, running, until
from tests.conftest import free_port, wait_for_port

PROFILE = """
[device]
id = "shop-1"
data = "box"

[uplink]
host = "127.0.0.1"
port = {port}
tls = true
"""
ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": ""}


class Place:
    """A folder in which commands run, with every line that they said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []

    def run(self, program: str, *args: str) -> str:
        """One command to its end; what it wrote to standard output."""
        ran = subprocess.run([sys.executable, "-m", program, *args], cwd=self.folder, capture_output=True, text=True,
                             check=False, timeout=50, env=ENVIRONMENT)
        assert ran.returncode in {0, 1}, ran.stderr
        self.said.append(ran.stderr)
        return ran.stdout

    def start(self, name: str, program: str, *args: str) -> subprocess.Popen[bytes]:
        """One command that goes on, its output in NAME.log."""
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen([sys.executable, "-m", program, *args], cwd=self.folder, stdout=log, stderr=log,
                                    env=ENVIRONMENT)


def stop(*processes: subprocess.Popen[bytes]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(WAIT_S)


@pytest.fixture(scope="module")
def place(mosquitto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """An authority, a closed broker and the ingest, all by commands, with two labels in labels.json."""
    place = Place(tmp_path_factory.mktemp("closed"))
    device_port, service_port, enrol_port = free_port(), free_port(), free_port()
    place.run("cloud_ingest", "ca", "init")
    place.run("cloud_ingest", "site", "add", "berlin-042")
    place.run("cloud_ingest", "broker", "config", "--listen", f"{HOST}:{device_port}", "--services",
              f"{HOST}:{service_port}", "--user", "root")
    labels = place.run("cloud_ingest", "device", "invite", "shop-1", "shop-2", "--site", "berlin-042", "--server",
                       f"{HOST}:{enrol_port}", "--json")
    (place.folder / "labels.json").write_text(labels)
    place.run("cloud_ingest", "store", "add", "store-1", "--device", "shop-1", "--lat", "52.5", "--lon", "13.4")
    (place.folder / "shop.toml").write_text(PROFILE.format(port=device_port))
    with running(mosquitto, place.folder / "broker", device_port):
        authority = place.start("authority", "cloud_ingest", "ca", "serve", "--listen", f"{HOST}:{enrol_port}")
        ingest = place.start("ingest", "cloud_ingest", "run", "--broker", f"{HOST}:{service_port}", "--tls", "broker",
                             "--http", "")
        try:
            wait_for_port(enrol_port)
            yield place
        finally:
            stop(ingest, authority)


def label_of(place: Place, device: str) -> str:
    return next(str(each["label"]) for each in json.loads((place.folder / "labels.json").read_text())
                if each["device"] == device)


def test_a_box_enrols_and_its_readings_are_committed_over_the_closed_broker(place: Place) -> None:
    enrolled = json.loads(place.run("edge", "enroll", label_of(place, "shop-1"), "--profile", "shop.toml", "--json"))
    assert enrolled["enrolled"], enrolled
    told = json.loads(place.run("edge", "check", "shop.toml", "--json", "--patience", "30"))
    uplink = next(row for row in told["rows"] if row["part"] == "uplink")
    assert uplink["ok"], uplink


def test_the_running_agent_is_not_disturbed_by_a_check(place: Place) -> None:
    agent = place.start("agent", "edge", "run", "shop.toml")
    log = place.folder / "agent.log"
    until(lambda: '"connected"' in log.read_text(), "the agent is connected", 30)
    told = json.loads(place.run("edge", "check", "shop.toml", "--json"))
    assert next(row for row in told["rows"] if row["part"] == "uplink")["ok"]
    stop(agent)
    assert "taken over" not in log.read_text()


def test_no_label_is_to_be_seen_among_the_arguments_of_processes(place: Place) -> None:
    label = parse_label(label_of(place, "shop-2"))
    with socket.create_server((HOST, 0)) as silent:
        address = f"{HOST}:{silent.getsockname()[1]}"
        enrolling = place.start("enroll", "edge", "enroll", str(label), "--data", "box2", "--server", address)
        silent.settimeout(30)
        connection, _ = silent.accept()  # it now waits for an answer that does not come
        with connection:
            seen = Path(f"/proc/{enrolling.pid}/cmdline").read_bytes() + Path(
                f"/proc/{enrolling.pid}/environ").read_bytes()
        enrolling.wait(30)
    assert b"enroll" in seen
    assert found([("code", label.code)], seen.decode(errors="replace")) == []


def secrets_of(place: Place) -> list[tuple[str, str]]:
    """Every secret of this place, with the name of where it is kept."""
    secrets = [(each["device"], parse_label(each["label"]).code)
               for each in json.loads((place.folder / "labels.json").read_text())]
    for file in sorted(place.folder.rglob("*")):
        if file.is_file() and file.suffix in {".key", ".pem", ".json"}:
            key = re.search(r"-----BEGIN PRIVATE KEY-----(.+?)-----END", file.read_text(), re.DOTALL)
            if key:
                secrets.append((file.name, key[1]))
    return secrets


def found(secrets: list[tuple[str, str]], text: str) -> list[str]:
    plain = re.sub(r"\\n|[\s\\-]", "", text)
    return [name for name, secret in secrets if re.sub(r"[\s-]", "", secret) in plain]


def test_no_log_no_message_no_bundle_and_no_ledger_holds_a_secret(place: Place) -> None:
    stick = place.folder / "stick"
    stick.mkdir()
    place.run("edge", "enroll", label_of(place, "shop-2"), "--data", "box2", "--usb", "stick")
    place.run("cloud_ingest", "device", "sign", "stick/shop-2.request.json")
    place.run("edge", "enroll", "--data", "box2", "--usb", "stick")
    secrets = secrets_of(place)
    assert {name for name, _ in secrets} >= {"shop-1", "shop-2", "root.key", "issuing.key", "services.key",
                                             "server.key", "cg_backend.pem", "current.pem", "enrol.pem"}
    places = [*place.folder.glob("*.log"), *(place.folder / "broker" / "log").iterdir(), *stick.iterdir(),
              *place.folder.glob("ca/authority.db*"), *place.folder.glob("ca/*.crt"), *place.folder.glob("cloud.db*"),
              place.folder / "broker" / "mosquitto.conf", place.folder / "broker" / "acl",
              *(place.folder / "broker" / "state").iterdir(), *place.folder.glob("box/*.*")]
    assert len(places) >= 12
    leaks = {str(file.relative_to(place.folder)): names for file in places
             if file.is_file() and (names := found(secrets, file.read_bytes().decode(errors="replace")))}
    assert leaks == {}
    assert found(secrets, "\n".join(place.said)) == []
    group = (place.folder / "broker" / "share-group").read_text()
    assert not any(group in file.read_text() for file in place.folder.glob("*.log"))


def test_the_search_for_secrets_finds_one_that_is_planted(place: Place) -> None:
    secrets = secrets_of(place)
    label = label_of(place, "shop-1")
    key = (place.folder / "ca" / "issuing.key").read_text()
    assert found(secrets, f'{{"event": "enrolling {label}"}}') == ["shop-1"]
    assert "issuing.key" in found(secrets, json.dumps({"key": key}))
