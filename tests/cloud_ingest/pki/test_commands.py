"""The operator's and the installer's commands, one after the other, as they are typed."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import typer
from typer.testing import CliRunner, Result

from cloud_ingest import __main__ as program
from cloud_ingest import pki_commands
from cloud_ingest.pki.ledger import Ledger
from edge import identity_commands
from edge.clock import SystemClock
from edge.errors import ConfigError, StoreError
from edge.wire.enrol import parse_label

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Both programs' commands in a fresh folder with an authority; an error on purpose is raised."""
    app = typer.Typer()
    pki_commands.register(app)
    identity_commands.register(app)
    monkeypatch.chdir(tmp_path)

    def run(*args: str, stdin: str = "") -> Result:
        result = CliRunner().invoke(app, list(args), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    assert run("ca", "init").exit_code == 0
    assert run("site", "add", "berlin-042", "--name", "Corner shop").exit_code == 0
    yield run
    structlog.reset_defaults()


def invite(run: Run, device: str = "shop-1", *more: str) -> str:
    result = run("device", "invite", device, "--site", "berlin-042", "--json", *more)
    return str(json.loads(result.stdout)[0]["label"])


def states(run: Run) -> dict[str, str]:
    return {row["device"]: row["state"] for row in json.loads(run("device", "list", "--json").stdout)}


def enrol_by_stick(run: Run, label: str, stick: Path) -> Result:
    stick.mkdir(exist_ok=True)
    run("enroll", label, "--data", "box", "--usb", str(stick))
    return run("device", "sign", str(stick / "shop-1.request.json"))


def test_a_label_is_shown_as_text_and_as_a_code(run: Run) -> None:
    shown = run("device", "invite", "shop-1", "--site", "berlin-042", "--server", "enrol.example.org:8443").stdout
    line = next(each for each in shown.splitlines() if each.startswith("CG1:"))
    assert parse_label(line).server == "enrol.example.org:8443"
    assert "█" in shown


def test_many_labels_go_on_a_sheet_and_not_on_the_terminal(run: Run) -> None:
    where = ("--site", "berlin-042", "--sheet", "labels.html", "--png", "png")
    result = run("device", "invite", "shop-1", "shop-2", *where)
    assert "CG1:" not in result.stdout
    assert Path("labels.html").read_text().count("<svg") == 2
    assert {file.name for file in Path("png").iterdir()} == {"shop-1.png", "shop-2.png"}


def test_a_device_enrols_by_usb_stick_and_the_stick_holds_no_secret(run: Run, tmp_path: Path) -> None:
    label, stick = invite(run), tmp_path / "stick"
    assert enrol_by_stick(run, label, stick).exit_code == 0
    assert "is enrolled" in run("enroll", "--data", "box", "--usb", str(stick)).stdout
    assert states(run) == {"shop-1": "enrolled"}
    code = parse_label(label).code
    for file in stick.iterdir():
        text = file.read_text()
        assert "PRIVATE" not in text
        assert code not in text.replace("-", "")
    key = Path("box/identity/current.pem")
    assert key.stat().st_mode & 0o077 == 0


def test_a_stick_that_is_signed_twice_gives_the_same_bundle(run: Run, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    enrol_by_stick(run, invite(run), stick)
    first = json.loads((stick / "shop-1.bundle.json").read_text())["certificate"]
    run("device", "sign", str(stick / "shop-1.request.json"))
    assert json.loads((stick / "shop-1.bundle.json").read_text())["certificate"] == first


def test_an_altered_request_on_a_stick_is_refused_and_says_what_to_do(run: Run, tmp_path: Path) -> None:
    label, stick = invite(run), tmp_path / "stick"
    stick.mkdir()
    run("enroll", label, "--data", "box", "--usb", str(stick))
    file = stick / "shop-1.request.json"
    request = json.loads(file.read_text())
    file.write_text(json.dumps({**request, "proof": "0" * 128}))
    result = run("device", "sign", str(file), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["kind"] == "wrong_label"
    file.write_text("{")
    with pytest.raises(ConfigError, match="enroll LABEL --usb"):
        run("device", "sign", str(file))


def test_a_bundle_of_another_box_is_refused(run: Run, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    enrol_by_stick(run, invite(run), stick)
    other = invite(run, "shop-2")
    run("enroll", other, "--data", "box2", "--usb", str(stick))
    (stick / "shop-2.bundle.json").write_bytes((stick / "shop-1.bundle.json").read_bytes())
    result = run("enroll", "--data", "box2", "--usb", str(stick))
    assert result.exit_code == 1
    assert "another box" in result.stderr
    assert not Path("box2/identity/current.pem").exists()


def test_a_label_of_another_device_than_the_profiles_is_refused(run: Run) -> None:
    Path("shop.toml").write_text('[device]\nid = "shop-9"\ndata = "box"\n')
    with pytest.raises(ConfigError, match=r"shop-1.*shop-9"):
        run("enroll", invite(run), "--profile", "shop.toml")


@pytest.mark.parametrize(("label", "told"), [("", "is missing"), ("hello", "is not a label")])
def test_a_bad_label_is_said_to_be_one(label: str, told: str, run: Run) -> None:
    with pytest.raises(ConfigError, match=told):
        run("enroll", label, "--data", "box")


def test_a_server_that_does_not_answer_has_an_exit_code_of_its_own(run: Run) -> None:
    result = run("enroll", invite(run), "--data", "box", "--server", "127.0.0.1:1", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["retry_s"] > 0


def test_the_label_may_come_on_standard_input(run: Run, tmp_path: Path) -> None:
    result = run("enroll", "-", "--data", "box", "--usb", str(tmp_path), stdin=invite(run) + "\n")
    assert "device sign" in result.stdout


def test_revoking_without_a_broker_here_is_done_and_says_so(run: Run, tmp_path: Path) -> None:
    enrol_by_stick(run, invite(run), tmp_path / "stick")
    result = run("device", "revoke", "shop-1", "--why", "stolen", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"device": "shop-1", "certificates": 1, "told": False, "session_ended": False}
    assert states(run) == {"shop-1": "revoked"}


def test_configuring_a_broker_says_that_it_is_closed_and_what_comes_next(run: Run) -> None:
    result = run("broker", "config", "--out", "broker", "--name", "mqtt.example.org", "--user", "root")
    assert "closed to everybody without a certificate" in result.stdout
    assert "mosquitto -c broker/mosquitto.conf" in result.stdout
    with pytest.raises(ConfigError, match="--name"):
        run("broker", "config", "--out", "broker")


@pytest.mark.parametrize("command", [("broker", "status"), ("ca", "status")])
def test_status_lists_troubles_each_with_what_to_do(command: tuple[str, str], run: Run) -> None:
    run("broker", "config", "--out", "broker", "--name", "mqtt.example.org", "--user", "root")
    result = run(*command, "--json")
    found: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == 1
    assert {each["what"] for each in found["troubles"]} == {
        "the broker does not run", "the root's key is on this machine"}
    assert all(each["fix"] for each in found["troubles"])
    assert "the broker does not run" in run(*command).stdout


def test_sites_are_listed_with_their_devices(run: Run) -> None:
    invite(run)
    assert json.loads(run("site", "list", "--json").stdout) == [
        {"site": "berlin-042", "name": "Corner shop", "devices": 1}]
    assert "berlin-042" in run("site", "list").stdout


def test_without_an_authority_every_command_says_how_to_make_one(run: Run) -> None:
    os.rename("ca", "elsewhere")
    for command in (("device", "list"), ("site", "list"), ("broker", "status"), ("ca", "status")):
        with pytest.raises(StoreError, match="ca init"):
            run(*command)


@pytest.mark.parametrize("command", [
    ("ca", "init"), ("ca", "serve"), ("ca", "status"), ("site", "add"), ("site", "list"), ("device", "invite"),
    ("device", "list"), ("device", "revoke"), ("device", "sign"), ("broker", "config"), ("broker", "status"),
    ("enroll",)])
def test_every_command_has_an_example_in_its_help(command: tuple[str, ...], run: Run) -> None:
    assert "Example" in run(*command, "--help").stdout


def test_of_many_labels_all_are_made_or_none(run: Run, tmp_path: Path) -> None:
    label, stick = invite(run), tmp_path / "stick"
    with pytest.raises(ConfigError):
        invite(run, "shop-1", "NOT-ONE")
    with pytest.raises(OSError, match="nowhere"):
        run("device", "invite", "shop-1", "--site", "berlin-042", "--sheet", "nowhere/labels.html")
    assert enrol_by_stick(run, label, stick).exit_code == 0


@pytest.mark.parametrize("name", ["", "x" * 60])
def test_a_name_that_no_certificate_can_have_makes_no_authority(name: str, run: Run) -> None:
    with pytest.raises(ConfigError, match="--name"):
        run("ca", "init", "--ca", "other", "--name", name)
    assert not Path("other").exists()


@pytest.mark.parametrize("name", ["two words", "mqtt.example.org:8883", "*.example.org", "m\u00fcnchen.example"])
def test_a_broker_is_not_given_a_name_that_no_device_can_reach(name: str, run: Run) -> None:
    with pytest.raises(ConfigError, match="--name"):
        run("broker", "config", "--name", name)
    assert not Path("broker").exists()


def test_the_same_label_again_finds_the_box_enrolled_and_alarms_nobody(run: Run, tmp_path: Path) -> None:
    label, stick = invite(run), tmp_path / "stick"
    enrol_by_stick(run, label, stick)
    run("enroll", "--data", "box", "--usb", str(stick))
    again = json.loads(run("enroll", label, "--data", "box", "--server", "127.0.0.1:1", "--json").stdout)
    assert (again["enrolled"], again["device"]) == (True, "shop-1")
    anew = run("enroll", invite(run), "--data", "box", "--server", "127.0.0.1:1", "--json")
    assert anew.exit_code == identity_commands.EXIT_UNREACHABLE, "another label is another enrolment"


def test_a_device_that_has_a_site_is_invited_again_as_every_refusal_says(run: Run) -> None:
    invite(run)
    assert run("device", "invite", "shop-1").exit_code == 0
    with pytest.raises(ConfigError, match="--site"):
        run("device", "invite", "shop-new")


def test_what_the_system_refuses_is_one_line_and_no_trace(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = subprocess.run([sys.executable, "-m", "cloud_ingest", "ca", "init", "--ca", "file"], cwd=tmp_path,
                         capture_output=True, text=True, check=False, timeout=50)
    assert (ran.returncode, ran.stderr) == (2, "file: File exists\n")


def test_a_topic_that_is_written_from_right_to_left_turns_no_line_of_the_status(run: Run) -> None:
    ledger = Ledger(Path("ca/authority.db"))
    ledger.refuse("foreign_publish", "shop-1", "192.0.2.1", SystemClock().now(), "cg/\u202elist [red]\x1b[2J")
    ledger.close()
    told = run("broker", "status").stdout
    assert "foreign_publish" in told
    assert {"\u202e", "\x1b"} & set(told) == set()


def test_a_database_that_fails_under_a_command_is_one_line_and_no_trace(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(program, "app", full)
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 2
    assert "database or disk is full" in capsys.readouterr().err


def test_the_line_that_comes_next_is_right_as_it_is_printed_and_may_be_run_twice(run: Run, tmp_path: Path) -> None:
    stick = tmp_path / "my stick"
    stick.mkdir()
    said = run("enroll", invite(run), "--data", "box", "--usb", str(stick), "--json").stdout
    here = json.loads(said)["next"][1]
    run("device", "sign", str(stick / "shop-1.request.json"))
    for _ in range(2):
        assert "is enrolled" in run(*shlex.split(here)[1:]).stdout
