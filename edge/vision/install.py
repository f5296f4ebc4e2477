"""Puts a new model where the agent loads it, keeps the one before, and takes that back."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from edge.errors import ModelError
from edge.vision.card import Card, card_path, read_model


def previous(model: Path) -> Path:
    """Where the model before lies: NAME.previous.onnx."""
    return model.with_suffix(".previous.onnx")


def _files(model: Path) -> tuple[Path, Path]:
    return model, card_path(model)


def _copy(source: Path, target: Path) -> None:
    part = target.with_name(target.name + ".part")
    shutil.copyfile(source, part)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(part, target)


def install(new: Path, model: Path) -> Card:
    """Copy a model and its card to `model`; what was there stays as NAME.previous.onnx.

    Raises:
        ModelError: the new model has no card that vouches for it; nothing is changed.
    """
    _, card = read_model(new)
    if model.is_file() and card_path(model).is_file():
        for source, target in zip(_files(model), _files(previous(model)), strict=True):
            _copy(source, target)
    model.parent.mkdir(parents=True, exist_ok=True)
    # Cut off between the two, the model has the other's card and is refused until `rollback` or `install`.
    for source, target in zip(_files(new), _files(model), strict=True):
        _copy(source, target)
    return card


def rollback(model: Path) -> Card:
    """Change places with the model before; a second rollback undoes the first.

    Raises:
        ModelError: there is none, or its card does not vouch for it; nothing is changed.
    """
    before = previous(model)
    if not before.is_file():
        raise ModelError(str(before), "there is no model before this one", "install another model")
    _, card = read_model(before)
    for here, kept in zip(_files(model), _files(before), strict=True):
        aside = here.with_name(here.name + ".aside")
        if here.exists():
            os.replace(here, aside)
        os.replace(kept, here)
        if aside.exists():
            os.replace(aside, kept)
    return card
