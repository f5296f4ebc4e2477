"""What mosquitto lacks and its surroundings give: the unit as systemd judges it, the rules as the kernel obeys them."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cloud_ingest.pki import folder as folders
from cloud_ingest.pki.broker import RULES, SPARE_FILES, UNIT, Limits, Listeners, configure
from cloud_ingest.pki.ledger import Ledger
from edge.errors import ConfigError

NOW, PORT, BURST = 1_800_000_000.0, 18_883, 40
WORST = 3.5
"""`systemd-analyze security`: 0 is locked in, 10 is open."""
KNOCK = f"""
import select, socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
for _ in range(2):
    subprocess.run(["nft", "-f", sys.argv[1]], check=True)
server = socket.create_server(("127.0.0.1", {PORT}), backlog=1000)

def opened(source, n):
    tries = []
    for _ in range(n):
        one = socket.socket()
        one.setblocking(False)
        one.bind((source, 0))
        one.connect_ex(("127.0.0.1", {PORT}))
        tries.append(one)
    return len(select.select([], tries, [], 0.2)[1])

print(opened("127.0.0.2", {5 * BURST}), opened("127.0.0.3", {BURST // 2}))
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A broker's folder as `broker config` writes it."""
    path = tmp_path_factory.mktemp("surroundings")
    folder = folders.create(path / "ca", "Test", NOW)
    ledger = Ledger(folder.ledger)
    configure(folder, ledger, path / "broker", Listeners(("127.0.0.1",), PORT, 18_884, "127.0.0.1", "127.0.0.1"),
              Limits(connections=50_000, address_rate=1, address_burst=BURST), NOW, "root")
    ledger.close()
    return path / "broker"


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"needs {name}: sudo apt install systemd nftables iproute2")
    return subprocess.run([found, *arguments], capture_output=True, text=True, check=False, timeout=50)


def test_the_unit_has_a_file_for_each_connection_and_those_the_guard_keeps_free(broker: Path) -> None:
    limit = re.search(r"^LimitNOFILE=(\d+)$", (broker / UNIT).read_text(), re.MULTILINE)
    assert limit
    assert int(limit[1]) >= 50_000 + Limits().service_connections + SPARE_FILES
    assert not re.search(r"\{\w+\}", (broker / UNIT).read_text() + (broker / RULES).read_text())


def test_systemd_has_nothing_to_say_against_the_unit_and_finds_it_locked_in(broker: Path, mosquitto: str) -> None:
    assert f"ExecStart={mosquitto} " in (broker / UNIT).read_text()
    done = tool("systemd-analyze", "verify", str(broker / UNIT))
    assert (done.returncode, done.stderr + done.stdout) == (0, "")
    judged = tool("systemd-analyze", "security", "--offline=true", "--no-pager", str(broker / UNIT))
    level = re.search(r"Overall exposure level for cornergrid-broker.service: ([\d.]+)", judged.stdout)
    assert level, judged.stdout + judged.stderr
    assert float(level[1]) <= WORST


def test_the_rules_let_each_address_open_its_burst_and_no_more(broker: Path) -> None:
    if os.geteuid() != 0 or tool("unshare", "--net", "true").returncode:
        pytest.skip("needs root, for a network of its own")
    tool("nft", "--version")
    done = tool("unshare", "--net", "env", "PATH=/usr/sbin:/sbin:/usr/bin:/bin", sys.executable, "-c", KNOCK,
                str(broker / RULES))
    assert done.returncode == 0, done.stderr
    flooding, neighbour = map(int, done.stdout.split())
    assert BURST <= flooding < 2 * BURST
    assert neighbour == BURST // 2, "one address closes the door to another"


def configured(path: Path, user: str) -> Path:
    if not (path / "ca").exists():
        folders.create(path / "ca", "Test", NOW)
    folder = folders.load(path / "ca")
    ledger = Ledger(folder.ledger)
    try:
        configure(folder, ledger, path / "broker", Listeners(("127.0.0.1",)), Limits(), NOW, user)
    finally:
        ledger.close()
    return path / "broker"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands a broker over")
def test_who_takes_over_the_broker_writes_neither_its_unit_nor_its_lists(tmp_path: Path) -> None:
    os.chown(configured(tmp_path, "root"), pwd.getpwnam("nobody").pw_uid, -1)
    made = configured(tmp_path, "nobody")
    owned = {each.name for each in made.iterdir() if each.owner() == "nobody"}
    assert owned == {"server.key", "state", "log"}
    assert (made.owner(), made.stat().st_gid) == ("root", pwd.getpwnam("nobody").pw_gid)
    assert "pid_file " + str(made / "state") in (made / "mosquitto.conf").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands a broker over")
def test_a_user_that_this_machine_does_not_have_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nobody-at-all"):
        configured(tmp_path, "nobody-at-all")
    assert not (tmp_path / "broker").exists()


def test_nobody_else_may_write_what_systemd_and_the_packet_filter_run(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = configured(tmp_path, "root")
    finally:
        os.umask(before)
    assert [each.name for each in made.iterdir() if each.stat().st_mode & 0o022] == []
