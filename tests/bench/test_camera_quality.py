"""How often the quality checks find what is wrong, and cry for nothing: rendered shelves, and photos where they are."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.profile import load_profile
from edge.sim.scene import Scene
from edge.vision.camera import load_picture
from edge.vision.detector import Image
from edge.vision.quality import EDGE_WIDTH, assess, baseline_of, edge_px
from tests.edge.vision.conftest import SHARED
from tests.edge.vision.test_quality import blurred, half_covered, noisy, sent, warped

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]
DEMO = Path(__file__).parents[2] / "firmware_configs" / "shops" / "demo.toml"
SLOTS = [slot for slot in load_profile(DEMO).slots if slot.camera]
SPOIL: dict[str, tuple[str, Callable[[Image], Image]]] = {
    "off by 2%": ("moved", lambda image: noisy(warped(image, 0.02))),
    "off by 3%": ("moved", lambda image: noisy(warped(image, -0.03))),
    "off by 4% and 3%": ("moved", lambda image: noisy(warped(image, 0.04, -0.03))),
    "off by 25%": ("moved", lambda image: noisy(warped(image, 0.25))),
    "turned by 5 degrees": ("moved", lambda image: noisy(turned(image, 5))),
    "nearer by 10%": ("moved", lambda image: noisy(warped(image, zoom=1.1))),
    "blur of 1.5 px": ("defocused", lambda image: blurred(image, 1.5)),
    "blur of 2 px": ("defocused", lambda image: blurred(image, 2)),
    "blur of 3 px": ("defocused", lambda image: blurred(image, 3)),
    "half covered": ("covered", half_covered),
}


def turned(image: Image, degrees: float) -> Image:
    height, width = image.shape[:2]
    to = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return np.asarray(cv2.warpAffine(image, to, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)


def rendered(rng: random.Random, scene: Scene, arm: bool = False) -> Image:
    """Any stock, in any light, as a camera's JPEG."""
    picture = scene.render({slot.name: rng.randint(0, slot.capacity) for slot in SLOTS}, rng.uniform(0, 1e5),
                           rng.choice(SLOTS).name if arm else None)
    return sent(np.clip(picture * rng.uniform(0.5, 1.15), 0, 255).astype(np.uint8))


def photos() -> list[Image]:
    found = [load_picture(path) for path in sorted((SHARED / "eval" / "val").glob("*.jpg"))]
    sizes = [(EDGE_WIDTH, round(EDGE_WIDTH * photo.shape[0] / photo.shape[1])) for photo in found]
    return [np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)
            for photo, size in zip(found, sizes, strict=True)]


def test_what_is_found_and_what_is_not() -> None:
    rng = random.Random(3)
    scenes = [Scene(SLOTS, seed) for seed in range(1, 5)]
    for arm in (False, True):
        looks = [assess(rendered(rng, scene, arm), baseline_of(rendered(rng, scene))).reason
                 for scene in scenes for _ in range(75)]
        print(f"\nother stock and light{' and an arm' if arm else ''}: {dict(Counter(looks))}")
    pairs = [(rendered(rng, scene), rendered(rng, scene)) for scene in scenes for _ in range(8)]
    own = photos()
    print(f"found of {len(pairs)} shelves with other stock than at the commissioning, and of {len(own)} photos:")
    for name, (reason, spoil) in SPOIL.items():
        other = sum(assess(spoil(now), baseline_of(was)).reason == reason for was, now in pairs)
        same = sum(assess(spoil(photo), baseline_of(photo)).reason == reason for photo in own)
        print(f"  {name}: {reason} {other} and {same}")
    widths = [edge_px(look) for look, _ in pairs] + [edge_px(noisy(photo)) for photo in own]
    print(f"edges of sharp pictures are {min(widths):.1f} to {max(widths):.1f} px wide")
