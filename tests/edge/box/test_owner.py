"""What root leaves in the data folder is the agent's: a commissioning with sudo must not lock the agent out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.box.owner import hand_over
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
