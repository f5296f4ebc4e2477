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


def _copy_both(source: Path, target: Path) -> None:
    for ours, theirs in zip(_files(source), _files(target), strict=True):
        _copy(ours, theirs)


def _worth_keeping(model: Path, new: Path) -> bool:
    try:
        data, card = read_model(model)
    except ModelError:
        return False
    return (data, card) != read_model(new)


def install(new: Path, model: Path) -> Card:
    """Copy a model and its card to `model`; what was there stays as NAME.previous.onnx.

    A model that is there already, or that its card does not vouch for, is not kept: the one before it is worth more.

    Raises:
        ModelError: the new model has no card that vouches for it; nothing is changed.
    """
    _, card = read_model(new)
    if _worth_keeping(model, new):
        _copy_both(model, previous(model))
    model.parent.mkdir(parents=True, exist_ok=True)
    # Cut off between the two, the model has the other's card and is refused until `rollback` or `install`.
    _copy_both(new, model)
    return card


def rollback(model: Path) -> Card:
    """Change places with the model before; a second rollback undoes the first.

    One that was cut off leaves a model that loads, or the one before in its place for another rollback.

    Raises:
        ModelError: there is none, or its card does not vouch for it; nothing is changed.
    """
    before, aside = previous(model), model.with_suffix(".aside.onnx")
    if not before.is_file():
        raise ModelError(str(before), "there is no model before this one", "install another model")
    _, card = read_model(before)
    keeps = _worth_keeping(model, before)
    if keeps:
        _copy_both(model, aside)
    _copy_both(before, model)
    if keeps:
        for source, target in zip(_files(aside), _files(before), strict=True):
            os.replace(source, target)
    return card
