"""A camera's password comes by a file, the environment or the keyboard: never as an argument, and it is never shown."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.__main__ import app
from edge.commission_commands import _answers
from edge.commissioning.person import Answers
from edge.errors import ConfigError
from edge.profile import load_profile
from edge.vision.cameras.address import Address

PASSWORD = "Q9z@h/u#n?te:r"
CAMERA = f"rtsp://gatekeeper:{PASSWORD}@10.0.0.7/shelf"
WORDS = ("shop.toml", "--device", "shop-7", "--broker", "b:1883", "--data", "data", "--scale-port", "", "--probe-port",
         "", "--camera-sku", "4006381333931")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def init(*words: str, given: str = "", camera: str | None = None) -> tuple[int, str]:
    """`cornergrid-edge init`: its exit code, and all that it said."""
    ran = CliRunner().invoke(app, ["init", *WORDS, *words], input=given, env={"CORNERGRID_CAMERA": camera})
    if isinstance(ran.exception, ConfigError):
        return 2, ran.output + str(ran.exception)
    assert ran.exception is None, ran.exception
    return ran.exit_code, ran.output


def login(folder: Path) -> tuple[str, str, str]:
    """The kept camera's host, user and password; the file is its owner's alone."""
    assert (folder / "shop.toml").stat().st_mode & 0o777 == 0o600
    address = Address.parse(load_profile(folder / "shop.toml").cameras[0].source)
    return address.host, address.user, address.password


@pytest.mark.parametrize("address", [CAMERA, f"http://10.0.0.7/shelf?user=gatekeeper&pwd={PASSWORD}"])
@pytest.mark.parametrize("command", ["init", "commission"])
def test_a_password_on_the_command_line_is_refused_with_what_to_do_and_not_repeated(
        tmp_path: Path, command: str, address: str) -> None:
    words = WORDS if command == "init" else ("shop.toml", "--unattended")
    done = subprocess.run([sys.executable, "-m", "edge", command, *words, "--camera", address], cwd=tmp_path, text=True,
                          capture_output=True, timeout=50, check=False)
    assert done.returncode == 2
    assert "--camera-file" in done.stderr
    assert "CORNERGRID_CAMERA" in done.stderr
    assert "Q9z" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_others_can_read_is_refused_and_one_of_its_owner_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "camera.txt"
    file.write_text(f"{CAMERA}\n")
    file.chmod(0o640)
    code, said = init("--camera-file", "camera.txt")
    assert (code, "chmod 600 camera.txt" in said) == (2, True)
    assert not (tmp_path / "shop.toml").exists()
    file.chmod(0o600)
    code, said = init("--camera-file", "camera.txt")
    assert code == 0, said
    assert login(tmp_path) == ("10.0.0.7", "gatekeeper", PASSWORD)
    assert "Q9z" not in said


@pytest.mark.parametrize("how", ["pipe", "environment"])
def test_a_pipe_and_the_environment_hand_it_over_too(tmp_path: Path, how: str) -> None:
    code, said = init("--camera-file", "-", given=f"{CAMERA}\n") if how == "pipe" else init(camera=CAMERA)
    assert code == 0, said
    assert login(tmp_path) == ("10.0.0.7", "gatekeeper", PASSWORD)
    assert "Q9z" not in said


def test_a_password_that_is_typed_does_not_show(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    keys = [("address", "rtsp://10.0.0.7/shelf\n"), ("user", "gatekeeper\n"), ("is not shown: ", f"{PASSWORD}\n")]
    with subprocess.Popen([sys.executable, "-m", "edge", "init", *WORDS], stdin=slave, stdout=slave, stderr=slave,
                          cwd=tmp_path, start_new_session=True) as process:
        os.close(slave)
        shown = ""
        while True:
            try:
                shown += os.read(master, 4096).decode()
            except OSError:  # Linux says EIO once nobody has the other end
                break
            if keys and keys[0][0] in shown:
                os.write(master, keys.pop(0)[1].encode())
    os.close(master)
    assert process.returncode == 0, shown
    assert "gatekeeper" in shown
    assert "Q9z" not in shown
    assert login(tmp_path) == ("10.0.0.7", "gatekeeper", PASSWORD)


@pytest.mark.parametrize("text", [f'[[cameras]]\nname = "cam-1"\nsource = "{CAMERA}"\n', 'label = "CG1:shop-7:x"\n'])
def test_an_answers_file_with_a_label_or_a_password_is_its_owners_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "answers.toml"
    file.write_text(text)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match=r"chmod 600 .*answers\.toml") as told:
        _answers(file, Answers())
    assert "Q9z" not in str(told.value)
    file.chmod(0o600)
    assert _answers(file, Answers(by="x")).by == "x"
