"""`planogram propose` and `planogram keep` as they are typed."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from edge import planogram_commands
from edge.commission import kept_picture
from edge.errors import CameraError
from edge.sim.shelves import shelf_of
from edge.vision.onnx import OnnxDetector
from tests.edge.vision.goods import Goods, packs, render

SHELF = shelf_of(31)
FULL = {slot.name: slot.capacity for slot in SHELF}
app = typer.Typer()
planogram_commands.register(app)
PROFILE = """
[device]
id = "shop-0001"
data = "{data}"

[[cameras]]
name = "cam-1"
source = "{source}"

[[slots]]
name = "A1"
sku = "4006381333931"
capacity = 6
camera = "cam-1"
region = [0.1, 0.1, 0.9, 0.9]
"""


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture of a full shelf, and a detector that finds its packs."""
    goods = Goods(np.concatenate(list(packs(SHELF).values())))
    monkeypatch.setattr(OnnxDetector, "load", lambda *_, **__: goods)
    path = tmp_path / "shelf.png"
    cv2.imwrite(str(path), render(SHELF, FULL))
    return path


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["planogram", *words])
    assert result.exit_code == code, result.output
    return result.output


def test_propose_draws_the_slots_and_writes_all_of_them_but_the_skus(photo: Path, tmp_path: Path) -> None:
    toml = tmp_path / "slots.toml"
    found = json.loads(run("propose", str(photo), "--depth", "2", "--toml", str(toml), "--json"))
    assert [(slot["name"], slot["facings"], slot["capacity"]) for slot in found["slots"]] == [
        (slot.name, slot.facings, 2 * slot.facings) for slot in SHELF]
    slots = tomllib.loads(toml.read_text())["slots"]
    assert [slot["region"] for slot in slots] == [slot["region"] for slot in found["slots"]]
    assert {slot["sku"] for slot in slots} == {""}
    drawn = cv2.imread(found["out"])
    assert drawn is not None
    assert drawn.shape[:2] == (750, 1000)


def test_propose_tells_people_what_to_do_next(photo: Path) -> None:
    told = run("propose", str(photo))
    assert "slots" in told
    assert "look at it before you use them" in told
    assert photo.with_name("shelf.slots.jpg").exists()


def test_propose_on_a_picture_without_goods_says_so_by_its_exit_code(
        photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Goods(np.zeros((0, 4), np.float32))
    monkeypatch.setattr(OnnxDetector, "load", lambda *_, **__: nothing)
    assert json.loads(run("propose", str(photo), "--json", code=1))["slots"] == []


def test_propose_says_which_picture_cannot_be_read_or_written(photo: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["planogram", "propose", str(tmp_path / "none.jpg")])
    assert isinstance(result.exception, CameraError)
    run("propose", str(photo), "--out", str(tmp_path / "no" / "folder.jpg"), code=2)


def test_keep_takes_a_picture_of_each_camera(photo: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "0.png").write_bytes(photo.read_bytes())
    profile = tmp_path / "shop.toml"
    profile.write_text(PROFILE.format(data=tmp_path / "data", source=pictures))
    assert "cam-1: kept" in run("keep", str(profile))
    kept = kept_picture(tmp_path / "data", "cam-1")
    np.testing.assert_array_equal(kept, cv2.imread(str(photo)))


def test_keep_takes_a_given_picture_and_refuses_a_dark_one(photo: Path, tmp_path: Path) -> None:
    profile = tmp_path / "shop.toml"
    profile.write_text(PROFILE.format(data=tmp_path / "data", source="http://127.0.0.1:9/none"))
    told = json.loads(run("keep", str(profile), "--camera", "cam-1", "--photo", str(photo), "--json"))
    assert [each["camera"] for each in told["kept"]] == ["cam-1"]
    cv2.imwrite(str(photo), np.zeros((72, 96, 3), np.uint8))
    run("keep", str(profile), "--camera", "cam-1", "--photo", str(photo), code=2)
    run("keep", str(profile), "--photo", str(photo), code=2)
    run("keep", str(profile), "--camera", "cam-9", code=2)


def test_slots_of_a_camera_of_any_name_are_toml() -> None:
    row = {"name": "A1", "camera": 'the "left" \\ one', "facings": 2, "depth": 1, "capacity": 2, "region": [0, 0, 1, 1]}
    (slot,) = tomllib.loads(planogram_commands.slot_block(row))["slots"]
    assert slot["camera"] == row["camera"]
