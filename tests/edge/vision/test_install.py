"""A new model takes the old one's place only with a card, and the old one comes back."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import msgspec
import pytest

from edge.errors import ModelError
from edge.vision.card import card_path, encode_card, read_model
from edge.vision.install import install, previous, rollback
from edge.vision.onnx import DEFAULT_MODEL


def _model(folder: Path, crops: int) -> Path:
    """A model of other bytes for each number of `crops`, with its card."""
    folder.mkdir()
    model = folder / "shelf.onnx"
    data, card = read_model(DEFAULT_MODEL)
    data += b"%d" % crops
    model.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    card_path(model).write_bytes(encode_card(msgspec.structs.replace(card, crops=crops, sha256=digest)))
    return model


def test_the_model_before_comes_back_and_the_new_one_again(tmp_path: Path) -> None:
    place = tmp_path / "shop" / "shelf.onnx"
    assert install(_model(tmp_path / "first", 1), place).crops == 1
    assert not previous(place).exists()
    assert install(_model(tmp_path / "second", 2), place).crops == 2
    assert [read_model(path)[1].crops for path in (place, previous(place))] == [2, 1]
    assert rollback(place).crops == 1
    assert [read_model(path)[1].crops for path in (place, previous(place))] == [1, 2]
    assert rollback(place).crops == 2
    assert sorted(path.name for path in place.parent.iterdir()) == [
        "shelf.card.json", "shelf.onnx", "shelf.previous.card.json", "shelf.previous.onnx"
    ]  # fmt: skip


def test_a_model_without_a_card_that_vouches_for_it_changes_nothing(tmp_path: Path) -> None:
    place = tmp_path / "shop" / "shelf.onnx"
    install(_model(tmp_path / "first", 1), place)
    bad = _model(tmp_path / "second", 2)
    bad.write_bytes(bad.read_bytes()[:-1])
    with pytest.raises(ModelError, match="SHA-256"):
        install(bad, place)
    assert read_model(place)[1].crops == 1
    assert not previous(place).exists()


def test_there_is_nothing_to_go_back_to_at_first(tmp_path: Path) -> None:
    place = tmp_path / "shop" / "shelf.onnx"
    install(_model(tmp_path / "first", 1), place)
    with pytest.raises(ModelError, match="no model before"):
        rollback(place)


def test_going_back_mends_an_install_that_was_cut_off(tmp_path: Path) -> None:
    place = tmp_path / "shop" / "shelf.onnx"
    install(_model(tmp_path / "first", 1), place)
    install(_model(tmp_path / "second", 2), place)
    place.write_bytes(b"half")
    assert rollback(place).crops == 1
    assert read_model(place)[1].crops == 1


def test_installing_the_same_model_again_keeps_the_one_before_it(tmp_path: Path) -> None:
    place = tmp_path / "shop" / "shelf.onnx"
    install(_model(tmp_path / "first", 1), place)
    second = _model(tmp_path / "second", 2)
    install(second, place)
    install(second, place)
    assert rollback(place).crops == 1


def test_a_model_that_was_damaged_is_not_kept_in_place_of_the_one_before(tmp_path: Path) -> None:
    place = tmp_path / "shop" / "shelf.onnx"
    install(_model(tmp_path / "first", 1), place)
    install(_model(tmp_path / "second", 2), place)
    place.write_bytes(b"half of an install that was cut off")
    install(_model(tmp_path / "third", 3), place)
    assert rollback(place).crops == 1


@pytest.mark.parametrize("cut", range(6))
def test_going_back_that_was_cut_off_leaves_a_model_or_is_done_again(
    tmp_path: Path, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "shop" / "shelf.onnx"
    install(_model(tmp_path / "first", 1), place)
    install(_model(tmp_path / "second", 2), place)
    done, replace = 0, os.replace

    def cut_off(source: Path, target: Path) -> None:
        nonlocal done
        if done == cut:
            raise InterruptedError
        done += 1
        replace(source, target)

    monkeypatch.setattr(os, "replace", cut_off)
    with contextlib.suppress(InterruptedError):
        rollback(place)
    monkeypatch.undo()
    try:
        read_model(place)
    except ModelError:
        assert rollback(place).crops == 1
    assert read_model(place)[1].crops in {1, 2}
