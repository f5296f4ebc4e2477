"""A power cut at any step of a commissioning: the next start completes it, and its report is whole and signed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from cloud_ingest.pki.signed import verify
from edge.documents import Documents
from edge.profile import load_profile
from edge.sim.shelves import shelf_of
from tests.cloud_ingest.pki.world import World, world_in
from tests.conftest import free_port
from tests.edge.commissioning import cutter
from tests.edge.vision.goods import render

CUTTER = "tests.edge.commissioning.cutter"
MOST, MOST_INSIDE = 120, 36
PROFILE = """
[device]
id = "{device}"
data = "{data}"

[uplink]
port = {port}
"""


@pytest.fixture
def world() -> Iterator[World]:
    """An authority without a broker, in memory: hundreds of syncs, which a disk takes its time for."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder, world_in(
            Path(folder), None) as world:
        yield world


def cut_everywhere(cases: list[dict[str, str]], *, torn: bool) -> int:
    """Cut case n at step n, until one comes through; how many were cut."""
    ran = subprocess.run([sys.executable, "-m", CUTTER], capture_output=True, text=True, check=True, timeout=100,
                         input=json.dumps({"torn": torn, "cases": cases}), cwd=Path(__file__).parents[3])
    lines = ran.stdout.split()
    assert lines[-1] == "done", ran.stdout + ran.stderr
    return len(lines) - 1


def signed_by(told: dict[str, object], device: str, world: World) -> None:
    """The report is whole, and this device's."""
    folder = Path(str(told["folder"]))
    proved = verify(json.loads((folder / "report.jws").read_text()), world.folder.root)
    assert (proved.device, proved.payload) == (device, (folder / "report.json").read_bytes())
    assert f"Commissioning of {device}" in (folder / "report.html").read_text()
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_a_commissioning_that_is_cut_anywhere_goes_on_and_ends_in_a_signed_report(torn: bool, world: World) -> None:
    port, cases = free_port(), []
    for i in range(MOST):
        device = f"shop-{i}"
        profile = world.path / f"{device}.toml"
        profile.write_text(PROFILE.format(device=device, data=world.path / device, port=port))
        cases.append({"profile": str(profile), "label": ""})
        world.given(device)
    cuts = cut_everywhere(cases, torn=torn)
    assert cuts >= 30
    resumed = 0
    for i, case in enumerate(cases[:cuts]):
        told = cutter.commission(Path(case["profile"]))
        resumed += told["resumed"]
        names = [each["step"] for each in told["steps"]]
        assert names == ["identity", "clock", "disk", "ports", "profile", "foreign", "committed", "drill"]
        signed_by(told, f"shop-{i}", world)
        kept = Documents(world.path / f"shop-{i}").kept("commissionings", "present")
        assert kept is not None
        assert kept["run"]["reported"] is not None
    assert resumed >= cuts / 2  # the rest were cut before the run was kept, or after it was closed


def test_from_a_label_on_with_devices_inside_each_cut_is_completed_by_the_same_command(
        world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = shelf_of(31)
    full = cv2.resize(render(shelf, {slot.name: slot.capacity for slot in shelf}), (480, 360))
    (world.path / "frames").mkdir()
    for n in "1234":
        cv2.imwrite(str(world.path / "frames" / f"{n}.png"), full)
    cases = [{"profile": str(world.path / f"shop-{i}.toml"), "label": str(world.invite(f"shop-{i}"))}
             for i in range(MOST_INSIDE)]
    cuts = cut_everywhere(cases, torn=True)
    assert cuts >= 20
    cutter.furnish(monkeypatch.setattr)
    for i, case in enumerate(cases[:cuts]):
        told = cutter.commission(Path(case["profile"]), case["label"])
        signed_by(told, f"shop-{i}", world)
        profile = load_profile(Path(case["profile"]))
        assert [each.name for each in (*profile.sensors, *profile.cameras, *profile.slots)] == [
            "scale-1", "door-1", "cam-1", "A1", "B1"]
        assert not Path(f"{case['profile']}.part").exists()
        states = {each["step"]: each["state"] for each in told["steps"]}
        assert (states["identity"], states["profile"], states["scale-1/zero"], states["cam-1/aim"]) == (
            "ok", "ok", "ok", "ok"), told
        living = world.ledger.certificates("device = ? AND revoked IS NULL", profile.device.id)
        assert len(living) == 1
        baseline = Documents(profile.device.data).baseline("cam-1")
        assert baseline is not None
        picture = profile.device.data / str(baseline["file"])
        assert hashlib.sha256(picture.read_bytes()).hexdigest() == baseline["sha256"]
