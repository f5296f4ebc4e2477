"""A camera's password goes to the camera and nowhere else: no output, log, file, message, argument or error has it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from edge.errors import CameraError
from edge.sim.camera import sim_camera
from edge.sim.feed import ServedCamera
from edge.vision.camera import open_camera
from tests.conftest import free_port
from tests.edge.vision.clock_camera import clock_picture

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
PASSWORD = "Q9z@h/u#n?te:r"
TRACES = ("Q9z", "te:r", quote(PASSWORD, safe=""), "gatekeeper")
PROFILE = """
[device]
id = "shop-0001"
data = "{data}"

[uplink]
port = {dead}

[[cameras]]
name = "cam-1"
source = "http://gatekeeper:{password}@127.0.0.1:{http}/shelf"

[[cameras]]
name = "cam-2"
source = "rtsp://gatekeeper:{password}@127.0.0.1:{rtsp}/shelf"

[[cameras]]
name = "cam-3"
source = "rtsp://gatekeeper:not-{password}@127.0.0.1:{rtsp}/shelf"

[[cameras]]
name = "cam-4"
source = "http://gatekeeper:not-{password}@127.0.0.1:{http}/shelf"

[[cameras]]
name = "cam-5"
source = "http://127.0.0.1:{dead}/shelf?user=gatekeeper&pwd={password}"

[[cameras]]
name = "cam-6"
source = "rtsp://gatekeeper:{password}@127.0.0.1:port/shelf"

[[cameras]]
name = "cam-7"
source = "rtsp:/gatekeeper:{password}@127.0.0.1/shelf"
"""


@contextmanager
def guarded(scheme: str) -> Iterator[str]:
    """A camera that wants the password, and its address with it."""
    url = f"{scheme}://gatekeeper:{PASSWORD}@127.0.0.1:{free_port()}/shelf"
    camera: ServedCamera = sim_camera(url, lambda: clock_picture(1.0))
    try:
        yield url
    finally:
        camera.close()


def told(text: str) -> set[str]:
    return {trace for trace in TRACES if trace in text}


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_the_password_opens_the_camera_and_a_wrong_one_is_refused(
        scheme: str, capfd: pytest.CaptureFixture[str]) -> None:
    with guarded(scheme) as url:
        camera = open_camera(url)
        assert camera.read().image.shape == (240, 320, 3)
        camera.close()
        camera = open_camera(url.replace(":Q9z", ":not-Q9z"))
        with pytest.raises(CameraError) as caught:
            camera.read()
        camera.close()
    assert caught.value.reason == ("no_login" if scheme == "http" else "no_camera")
    out, err = capfd.readouterr()
    assert told(str(caught.value) + repr(caught.value) + out + err) == set()


def in_files(folder: Path) -> dict[str, set[str]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = {path.name: told(path.read_bytes().decode("latin-1")) for path in files}
    return {name: traces for name, traces in found.items() if traces}


def command(profile: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "edge", *words, str(profile)]


def test_check_and_run_tell_no_password(tmp_path: Path) -> None:
    data, profile, pause = tmp_path / "data", tmp_path / "shop.toml", threading.Event()
    with guarded("http") as http, guarded("rtsp") as rtsp:
        ports = {name: url.rpartition(":")[2].partition("/")[0] for name, url in (("http", http), ("rtsp", rtsp))}
        profile.write_text(PROFILE.format(data=data, password=PASSWORD, dead=free_port(), **ports))
        checked = subprocess.run(command(profile, "check", "--json", "--patience", "1"), capture_output=True, text=True,
                                 check=False)
        assert '"cam-1", "ok": true' in checked.stdout, checked.stdout + checked.stderr
        assert '"cam-2", "ok": true' in checked.stdout
        assert told(checked.stdout + checked.stderr) == set()
        log = tmp_path / "log"
        with log.open("wb") as file, subprocess.Popen(command(profile, "run"), stdout=file, stderr=file) as agent:
            while log.read_text().count("camera_lost") < 4 and agent.poll() is None:
                pause.wait(0.05)
            with_it = Path(f"/proc/{agent.pid}/cmdline").read_text() + Path(f"/proc/{agent.pid}/environ").read_text()
            agent.send_signal(signal.SIGTERM)
    assert agent.returncode == 0, log.read_text()
    assert told(log.read_text() + with_it) == set()
    assert in_files(data) == {}
