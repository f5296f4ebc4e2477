"""The unit, the rules and the rest as systemd's own tools judge them; skipped where there are none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge.box import plan
from edge.box.plan import Wanted, install_steps
from edge.box.steps import File

WORST = 2.5
"""`systemd-analyze security`: 0 is locked in, 10 is open; an unhardened service has 9.6."""


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(name) is None:
        pytest.skip(f"needs {name}: sudo apt install systemd udev")
    return subprocess.run([name, *arguments], capture_output=True, text=True, check=False, timeout=50)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The files of an install below a folder; a program that is there stands for the agent."""
    wanted = Wanted(("/bin/true",), "", Path("/var/lib/cornergrid"), "1", systemd=_version())
    for step in install_steps(wanted):
        if isinstance(step, File):
            place = tmp_path / step.path[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(step.content)
    return tmp_path


def _version() -> int:
    if shutil.which("systemctl") is None:
        return 0
    done = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False)
    return int(done.stdout.split()[1])


def test_systemd_has_nothing_to_say_against_the_units(installed: Path) -> None:
    done = tool("systemd-analyze", "verify", str(installed / plan.UNIT[1:]), str(installed / plan.FINISH[1:]))
    assert (done.returncode, done.stderr + done.stdout) == (0, "")


def test_systemd_names_a_key_that_it_does_not_know(installed: Path) -> None:
    unit = installed / plan.UNIT[1:]
    unit.write_text(unit.read_text().replace("WatchdogSec", "WatchdocSec"))
    assert "WatchdocSec" in tool("systemd-analyze", "verify", str(unit)).stderr


def test_the_service_is_locked_in(installed: Path) -> None:
    done = tool("systemd-analyze", "security", "--offline=true", "--no-pager", str(installed / plan.UNIT[1:]))
    level = re.search(r"Overall exposure level for cornergrid.service: ([\d.]+)", done.stdout)
    assert level, done.stdout + done.stderr
    assert float(level[1]) <= WORST


def test_only_serial_lines_and_cameras_are_open_to_the_service(installed: Path) -> None:
    text = (installed / plan.UNIT[1:]).read_text()
    assert "\nDevicePolicy=closed\n" in text
    assert set(re.findall(r"^DeviceAllow=(.*) rw$", text, re.MULTILINE)) == {
        "char-ttyUSB", "char-ttyACM", "char-ttyAMA", "char-ttyS", "char-video4linux"}
    assert re.findall(r"^ReadWritePaths=(.*)$", text, re.MULTILINE) == ["/var/lib/cornergrid"]


def test_the_service_may_ask_whether_the_clock_is_synchronised(installed: Path) -> None:
    """ProtectClock= would forbid adjtimex, with which `edge/clock.py` asks."""
    lines = re.findall(r"^SystemCallFilter=(.*)$", (installed / plan.UNIT[1:]).read_text(), re.MULTILINE)
    assert set(lines[-1].split()) == {"adjtimex", "clock_adjtime", "clock_adjtime64"}
    assert "\nProtectClock=" not in (installed / plan.UNIT[1:]).read_text()


def test_udev_reads_the_rules(installed: Path) -> None:
    done = tool("udevadm", "verify", str(installed / plan.RULES[1:]))
    if "unknown command" in done.stderr.lower():
        pytest.skip("this udevadm is older than 254 and cannot verify")
    assert done.returncode == 0, done.stdout + done.stderr


def test_systemd_reads_the_user(installed: Path) -> None:
    done = tool("systemd-sysusers", f"--root={installed}", "--dry-run", "cornergrid.conf")
    assert done.returncode == 0, done.stderr
    assert "cornergrid" in done.stdout + done.stderr


def test_systemd_reads_the_folders(installed: Path) -> None:
    """A real run in a folder: with this machine's own users, since an image has none yet."""
    if os.geteuid() != 0:
        pytest.skip("only root may give a folder to somebody")
    rules = installed / plan.TMPFILES[1:]
    rules.write_text(rules.read_text().replace(" cornergrid cornergrid", " nobody nogroup").replace(
        "root cornergrid", "root nogroup"))
    shutil.copy("/etc/passwd", installed / "etc")
    shutil.copy("/etc/group", installed / "etc")
    profile = installed / plan.PROFILE[1:]
    profile.chmod(0o600)
    done = tool("systemd-tmpfiles", f"--root={installed}", "--create", "cornergrid.conf")
    assert done.returncode == 0, done.stderr
    data = installed / "var/lib/cornergrid"
    assert (data.stat().st_mode & 0o777, data.owner(), data.group()) == (0o750, "nobody", "nogroup")
    assert (profile.stat().st_mode & 0o777, profile.owner(), profile.group()) == (0o640, "root", "nogroup")
