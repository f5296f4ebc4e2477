"""A trained network's weights as a small file that can be trained further: NumPy's npz, no pickle."""

# PyTorch's classes are Any where the extra is not installed.
# mypy: warn-return-any=false

from __future__ import annotations

import os
import zlib
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import msgspec
import numpy as np
import torch

from edge.errors import ModelError
from edge.vision.card import Source

SOURCES = "sources"
AGAIN = "name another --checkpoint, or remove it to begin again"
_FIX = "name a file that `export` wrote beside a model, NAME.npz"


def save_weights(state: dict[str, Any], path: Path, sources: str = "[]") -> None:
    """Write a state dict, convolutions in half precision, whole or not at all.

    `sources` is JSON as a card has it: what they came from goes with the weights.
    """
    arrays: dict[str, Any] = {SOURCES: np.frombuffer(sources.encode(), np.uint8)}
    for name, tensor in state.items():
        array = tensor.numpy()
        arrays[name] = array.astype(np.float16) if array.ndim == 4 else array
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, **arrays)
    os.replace(part, path)


def load_weights(path: Path) -> dict[str, Any]:
    """The state dict of such a file.

    Raises:
        ModelError: the file is missing or no such file.
    """
    arrays = {name: array for name, array in _arrays(path).items() if name != SOURCES}
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise ModelError(str(path), f"no weights to start from: {name} holds what is no number", _FIX)
    return {
        name: torch.from_numpy(array.astype(np.float32) if array.dtype == np.float16 else array)
        for name, array in arrays.items()
    }


def load_sources(path: Path) -> tuple[Source, ...]:
    """What such a file's weights came from, or that it does not say.

    Raises:
        ModelError: the file is missing or no such file.
    """
    told = _arrays(path).get(SOURCES)
    if told is None:
        return (Source(f"{path.name}: it does not say what it came from", "not known", "part of the weights"),)
    try:
        return msgspec.json.decode(told.tobytes(), type=tuple[Source, ...])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(str(path), f"it does not say what it came from: {error}", _FIX) from error


def _arrays(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, BadZipFile, NotImplementedError, zlib.error) as error:
        raise ModelError(str(path), f"no weights to start from: {error}", _FIX) from error


def load_checkpoint(path: Path, device: Any = "cpu", fix: str = AGAIN) -> dict[str, Any]:
    """What a run has stored of itself.

    Raises:
        ModelError: there is no such file, or it is none; `fix` says what to do then.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, LookupError, ValueError, EOFError, UnpicklingError) as error:
        wrong = error.strerror if isinstance(error, OSError) else "its bytes are none"
        raise ModelError(str(path), f"no checkpoint of this network: {wrong}", fix) from error
    if not isinstance(state, dict) or not {"plan", "seen", "sources", "net", "average", "optimiser"} <= set(state):
        raise ModelError(str(path), "no checkpoint of this network: parts are missing", fix)
    return state


def widened(state: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """A state dict of a narrower network at the sizes of `wanted`, the same function of a picture.

    New channels come with `wanted`'s own weights; what takes them in has zeros there, so that they begin silent.
    """
    made = dict(state)
    for name, ours in state.items():
        theirs = wanted.get(name)
        if theirs is None or ours.shape == theirs.shape:
            continue
        grown = theirs.clone()
        if grown.ndim == 4 and ours.shape[1] < grown.shape[1]:
            grown[:, ours.shape[1] :] = 0
        grown[tuple(slice(n) for n in ours.shape)] = ours
        made[name] = grown
    return made
