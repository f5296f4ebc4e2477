"""A power cut at any step of a commissioning: the next start completes it, and its report is whole and signed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.documents import Documents
from edge.identity.sign import verify
from tests.cloud_ingest.pki.world import World, world_in
from tests.conftest import free_port
from tests.edge.commissioning.cutter import commission

CUTTER = "tests.edge.commissioning.cutter"
MOST = 120
PROFILE = """
[device]
id = "{device}"
data = "{data}"

[uplink]
port = {port}
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An authority without a broker."""
    with world_in(tmp_path, None) as world:
        yield world


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_a_commissioning_that_is_cut_anywhere_goes_on_and_ends_in_a_signed_report(torn: bool, world: World) -> None:
    port = free_port()
    profiles = []
    for i in range(MOST):
        device = f"shop-{i}"
        profiles.append(world.path / f"{device}.toml")
        profiles[-1].write_text(PROFILE.format(device=device, data=world.path / device, port=port))
        world.given(device)
    ran = subprocess.run([sys.executable, "-m", CUTTER], capture_output=True, text=True, check=True, timeout=100,
                         input=json.dumps({"torn": torn, "cases": [str(each) for each in profiles]}),
                         cwd=Path(__file__).parents[3])
    lines = ran.stdout.split()
    assert lines[-1] == "done", ran.stdout + ran.stderr
    cuts = len(lines) - 1
    assert cuts >= 30
    resumed = 0
    for i, profile in enumerate(profiles[:cuts]):
        told = commission(profile)
        resumed += told["resumed"]
        names = [each["step"] for each in told["steps"]]
        assert names == ["identity", "clock", "disk", "ports", "foreign", "committed", "drill"]
        folder = Path(told["folder"])
        signed = json.loads((folder / "report.jws").read_text())
        assert verify(signed, world.folder.root) == (f"shop-{i}", (folder / "report.json").read_bytes())
        assert f"Commissioning of shop-{i}" in (folder / "report.html").read_text()
        assert not list(folder.glob("*.part"))
        kept = Documents(world.path / f"shop-{i}").kept("commissionings", "present")
        assert kept is not None
        assert kept["run"]["reported"] is not None
    assert resumed >= cuts / 2  # the rest were cut before the run was kept, or after it was closed
