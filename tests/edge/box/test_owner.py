"""What root leaves in the data folder is the agent's: a commissioning with sudo must not lock the agent out."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from random import Random

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from edge import outbox_commands, planogram_commands
from edge.box.owner import hand_over
from edge.drill import command as drill
from edge.drill.cases import Case
from edge.drill.ground import Counts
from edge.uplink.outbox import Outbox
from edge.wire import Fact
from tests.conftest import free_port
from tests.edge.commissioning.cutter import commission

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which alone can leave files to another user")
AGENT = 4242


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in (folder, *folder.rglob("*"))}


def test_all_that_a_commissioning_by_root_leaves_is_the_folders_owners(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    os.chown(tmp_path / "box", AGENT, AGENT)
    profile = tmp_path / "shop.toml"
    profile.write_text(f'[device]\nid = "shop-1"\ndata = "{tmp_path}/box"\n[uplink]\nport = {free_port()}\n')
    commission(profile)
    assert (tmp_path / "box" / "outbox.db").exists()
    assert owners(tmp_path / "box") == {AGENT}
    assert profile.stat().st_uid == 0


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A profile whose data folder, and the outbox in it, are the agent's."""
    data = tmp_path / "box"
    outbox = Outbox(data / "outbox.db")
    outbox.put([Fact("scale-1/weight", 1.79e9, "kg", 1.0)])
    outbox.close()
    for path in (data, *data.iterdir()):
        os.chown(path, AGENT, AGENT)
    profile = tmp_path / "shop.toml"
    profile.write_text(f'[device]\nid = "shop-1"\ndata = "{data}"\n[[cameras]]\nname = "cam-1"\n'
                       f'source = "{tmp_path}"\n')
    return profile


def made(shop: Path, *words: str, code: int = 0) -> set[Path]:
    """The files that a command of root's leaves in the folder; every one must be the agent's."""
    data = shop.parent / "box"
    before = set(data.rglob("*"))
    command = typer.Typer()
    for part in (planogram_commands, outbox_commands, drill):
        part.register(command)
    done = CliRunner().invoke(command, [*words])
    assert done.exit_code == code, done.output
    assert owners(data) == {AGENT}
    return set(data.rglob("*")) - before


def test_the_full_shelfs_picture_is_the_agents(shop: Path) -> None:
    photo = shop.parent / "full.png"
    cv2.imwrite(str(photo), np.random.default_rng(1).integers(60, 200, (72, 96, 3), np.uint8))
    assert made(shop, "planogram", "keep", str(shop), "--camera", "cam-1", "--photo", str(photo))


def test_a_repaired_outbox_is_the_agents(shop: Path) -> None:
    with sqlite3.connect(shop.parent / "box" / "outbox.db") as db:
        db.execute("UPDATE record SET body = x'00'")
    db.close()
    assert made(shop, "buffer", "repair", str(shop))


def test_what_a_failed_drill_keeps_is_the_agents(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_case: Case, folder: Path, _rng: Random) -> tuple[bool, str, Counts]:
        folder.mkdir()
        (folder / "worker.log").write_text("it went wrong")
        return False, "it went wrong", Counts(1, 0, 0, 0)

    monkeypatch.setattr(drill, "_one", fails)
    assert made(shop, "drill", str(shop), "--only", "kill", code=1)


def test_no_link_and_no_second_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    outside, data = tmp_path / "outside", tmp_path / "box"
    outside.mkdir()
    (outside / "shadow").write_text("root's")
    data.mkdir()
    (data / "link").symlink_to(outside)
    (data / "file").symlink_to(outside / "shadow")
    os.link(outside / "shadow", data / "name")
    (data / "own").write_text("")
    os.chown(data, AGENT, AGENT)
    hand_over(data)
    assert owners(outside) == {0}
    assert (data / "own").stat().st_uid == AGENT


def test_a_folder_of_roots_stays_roots(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("")
    hand_over(tmp_path)
    assert owners(tmp_path) == {0}
