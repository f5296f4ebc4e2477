"""`cornergrid-edge vision`: figures for people and scripts, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import structlog
from typer.testing import CliRunner

from edge.vision.card import card_path, encode_card, read_model
from edge.vision.onnx import DEFAULT_MODEL
from edge.vision_commands import vision_app

KEYS = {"ap50", "ap", "ap75", "count_mape", "photos", "boxes"}
run = CliRunner()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """One photo with two things labelled, in YOLO text with names."""
    folder = tmp_path / "shop"
    folder.mkdir()
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    cv2.imwrite(str(folder / "a.png"), image)
    (folder / "a.txt").write_text("0 0.3 0.5 0.2 0.4\n1 0.7 0.5 0.2 0.4\n")
    (folder / "classes.txt").write_text("can\nvoid\n")
    return folder


def test_json_has_both_classes_with_their_figures(shop: Path) -> None:
    done = run.invoke(vision_app, ["evaluate", str(shop), "--json"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert set(found) == {"product", "gap"}
    assert all(set(row) == KEYS and row["photos"] == row["boxes"] == 1 for row in found.values())


def test_a_class_without_labels_is_null(shop: Path) -> None:
    (shop / "classes.txt").write_text("can\nbottle\n")
    done = run.invoke(vision_app, ["evaluate", str(shop), "--json"])
    found = json.loads(done.stdout)
    assert found["gap"] is None
    assert found["product"]["boxes"] == 2


def test_people_get_a_table(shop: Path) -> None:
    done = run.invoke(vision_app, ["evaluate", str(shop)])
    assert done.exit_code == 0
    assert "AP50" in done.stdout
    assert "product" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "tells"),
    [
        (["evaluate", "{shop}", "--class", "shoe"], "no class"),
        (["evaluate", "{shop}/.."], "no photo with labels"),
        (["evaluate", "{shop}", "--model", "{shop}/no.onnx"], "no such model"),
        (["install", "{shop}/no.onnx"], "no such model"),
        (["rollback", "--model", "{shop}/no.onnx"], "no model before"),
    ],
)
def test_what_cannot_be_done_is_told_with_exit_code_2(shop: Path, arguments: list[str], tells: str) -> None:
    done = run.invoke(vision_app, [argument.format(shop=shop) for argument in arguments])
    assert done.exit_code == 2
    assert tells in done.stderr
    assert "Traceback" not in done.output


def test_a_model_is_installed_and_taken_back(tmp_path: Path) -> None:
    place, other = tmp_path / "box" / "shelf.onnx", tmp_path / "other.onnx"
    data, card = read_model(DEFAULT_MODEL)
    other.write_bytes(data)
    card_path(other).write_bytes(encode_card(msgspec.structs.replace(card, crops=1)))
    for model in (DEFAULT_MODEL, other):
        done = run.invoke(vision_app, ["install", str(model), "--model", str(place)])
        assert done.exit_code == 0
        assert "restart the agent" in done.stdout
    assert card_path(place).is_file()
    assert run.invoke(vision_app, ["rollback", "--model", str(place)]).exit_code == 0


def test_labels_whose_picture_is_gone_are_told_once(shop: Path) -> None:
    (shop / "gone.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    with structlog.testing.capture_logs() as said:
        done = run.invoke(vision_app, ["evaluate", str(shop), "--json"])
    assert json.loads(done.stdout)["product"]["photos"] == 1
    assert [each["files"] for each in said] == [["gone.txt"]]


def test_training_names_a_broken_photo_before_it_begins(shop: Path) -> None:
    pytest.importorskip("torch", reason="the extra `train` is not installed")
    (shop / "a.png").write_bytes((shop / "a.png").read_bytes()[:200])
    arguments = ["train", "--photos", str(shop), "--checkpoint", str(shop / "run.pt"), "--crops", "8"]
    done = run.invoke(vision_app, arguments)
    assert done.exit_code == 2
    assert f"undecodable: {shop / 'a.png'}" in done.stderr
    assert "Traceback" not in done.stderr


def test_training_needs_a_thread_and_a_crop(tmp_path: Path) -> None:
    for option in ("--threads", "--crops"):
        done = run.invoke(vision_app, ["train", option, "0", "--checkpoint", str(tmp_path / "run.pt")])
        assert done.exit_code == 2
        assert option in done.stderr


@pytest.mark.parametrize("command", ["evaluate", "card", "train", "export", "install", "rollback"])
def test_every_command_shows_an_example(command: str) -> None:
    done = run.invoke(vision_app, [command, "--help"])
    assert done.exit_code == 0
    assert "Example: " in done.stdout
