"""A trained network's weights as a small file that can be trained further: NumPy's npz, no pickle."""

# PyTorch's classes are Any where the extra is not installed.
# mypy: warn-return-any=false

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge.errors import ModelError


def save_weights(state: dict[str, Any], path: Path) -> None:
    """Write a state dict, convolutions in half precision, whole or not at all."""
    arrays = {}
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
    fix = "name a file that `export` wrote beside a model, NAME.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            floats = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError) as error:
        raise ModelError(str(path), f"no weights to start from: {error}", fix) from error
    return {
        name: torch.from_numpy(array.astype(np.float32) if array.dtype == np.float16 else array)
        for name, array in floats.items()
    }
