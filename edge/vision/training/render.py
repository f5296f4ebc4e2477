"""Shelf scenes with known boxes, as a shop's camera sees them: a pure function of a NumPy Generator.

A scene is fixtures in a room, then the camera's place (`view`); what lens, sensor and encoder do is
in `lens.py`. What shops have and detectors take for goods is drawn without boxes (`surroundings.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from edge.vision.detector import Floats, Image
from edge.vision.training.bank import Bank
from edge.vision.training.canvas import Canvas
from edge.vision.training.fixtures import rail, unit
from edge.vision.training.surroundings import glass_doors, in_front, room

Classes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture (h, w, 3) BGR uint8, its boxes (n, 4) x0 y0 x1 y1 in pixels inside it, their classes (n,).

    Class 0 is a product, 1 is a gap.
    """

    image: Image
    boxes: Floats
    classes: Classes


def clip(boxes: Floats, width: int, height: int, keep: float = 0.4) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Boxes cut to the picture, and which of them keep more than `keep` of their area and 3 px."""
    inside = boxes.copy()
    inside[:, 0::2] = inside[:, 0::2].clip(0, width)
    inside[:, 1::2] = inside[:, 1::2].clip(0, height)
    size, before = inside[:, 2:] - inside[:, :2], boxes[:, 2:] - boxes[:, :2]
    left = size.clip(0).prod(1) / np.maximum(before.prod(1), 1e-6)
    return np.asarray(inside, np.float32), (left > keep) & (size > 3).all(1)


def _angles(rng: np.random.Generator) -> tuple[float, float, float]:
    """Yaw, pitch and roll of the camera in radians: mostly nearly straight, at times along the aisle or the ceiling."""
    yaw = rng.normal(0, 7) if rng.random() < 0.55 else rng.uniform(-48, 48)
    if rng.random() < 0.15:
        yaw = rng.choice((-1, 1)) * rng.uniform(40, 64)
    pitch = rng.normal(0, 6) if rng.random() < 0.85 else rng.uniform(8, 38)
    yaw, pitch, roll = np.radians((yaw, pitch, rng.normal(0, 2.5)))
    return float(yaw), float(pitch), float(roll)


def _homography(rng: np.random.Generator, width: int, height: int) -> npt.NDArray[np.float64]:
    """The plane of the shelf seen from another place; its middle keeps place and size."""
    yaw, pitch, roll = _angles(rng)
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    turn = (
        np.array(((cr, -sr, 0), (sr, cr, 0), (0, 0, 1)))
        @ np.array(((1, 0, 0), (0, cp, -sp), (0, sp, cp)))
        @ np.array(((cy, 0, sy), (0, 1, 0), (-sy, 0, cy)))
    )
    far = float(rng.uniform(1.0, 2.2)) * max(width, height)
    to_middle = np.array(((1, 0, -width / 2), (0, 1, -height / 2), (0, 0, 1)))
    plane = np.column_stack((turn[:, :2], (0, 0, far)))
    lens = np.array(((far, 0, width / 2), (0, far, height / 2), (0, 0, 1)))
    return np.asarray(lens @ plane @ to_middle)


def view(rng: np.random.Generator, scene: Scene) -> Scene:
    """The scene from another place, with the room where the fixtures end."""
    height, width = scene.image.shape[:2]
    matrix = _homography(rng, width, height)
    behind = room(rng, height, width)
    warped = cv2.warpPerspective(
        scene.image, matrix, (width, height), dst=behind, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
    )
    if not len(scene.boxes):
        return Scene(np.asarray(warped, np.uint8), scene.boxes, scene.classes)
    x0, y0, x1, y1 = scene.boxes.T
    xm, ym = (x0 + x1) / 2, (y0 + y1) / 2
    # A box round the corners of a pack that leans or recedes is larger than people draw it: they follow its sides.
    corners = _seen(np.stack((x0, y0, x1, y0, x1, y1, x0, y1), 1), matrix)
    middles = _seen(np.stack((x0, ym, x1, ym, xm, y0, xm, y1), 1), matrix)
    boxes, kept = clip((0.15 * corners + 0.85 * middles).astype(np.float32), width, height)
    return Scene(np.asarray(warped, np.uint8), boxes[kept], scene.classes[kept])


def _seen(points: Floats, matrix: npt.NDArray[np.float64]) -> Floats:
    """Boxes (n, 4) round four mapped points a row (n, 8)."""
    mapped = cv2.perspectiveTransform(points.reshape(-1, 4, 2).astype(np.float32), matrix)
    return np.asarray(np.concatenate((mapped.min(1), mapped.max(1)), 1), np.float32)


def render_shelf(rng: np.random.Generator, bank: Bank, side: int, pitch: float) -> Scene:
    """A square scene before the lens; boards are some `pitch` pixels apart."""
    canvas = Canvas(room(rng, side, side))
    # So that a fixture holds about eight facings or more, whatever its scale.
    units = max(1, int(side / (pitch * rng.uniform(3, 14))))
    left, right = rng.uniform(-0.1, 0.06), rng.uniform(0.94, 1.1)
    if rng.random() < 0.25:
        # A fixture that stands free, with the room beside it.
        left, right = rng.uniform(0, 0.35), rng.uniform(0.65, 1.0)
    edges = [int(x * side) for x in np.linspace(left, right, min(units, 5) + 1)]
    for x0, x1 in pairwise(edges):
        unit(rng, canvas, x0, x1, pitch * rng.uniform(0.9, 1.1), bank)
        if rng.random() < 0.4:
            post = int(rng.integers(2, 14))
            grey = int(rng.integers(20, 230))
            cv2.rectangle(canvas.image, (x0, 0), (x0 + post, side), (grey, grey, grey), -1)
            canvas.hide(x0, 0, x0 + post, side)
    if rng.random() < 0.12:
        glass_doors(rng, canvas, edges)
    in_front(rng, canvas, bank, pitch)
    boxes, classes = canvas.labels()
    boxes, kept = clip(boxes, side, side)
    return view(rng, Scene(canvas.image, boxes[kept], classes[kept]))


def render_empty(rng: np.random.Generator, bank: Bank, side: int, pitch: float) -> Scene:
    """A place without goods: room, signs, bare boards."""
    canvas = Canvas(room(rng, side, side))
    for _ in range(int(rng.integers(0, 7))):
        y = int(rng.integers(0, side))
        rail(rng, canvas, int(rng.integers(-50, side // 2)), side, y, int(rng.integers(4, 40)))
    in_front(rng, canvas, bank, pitch)
    return Scene(canvas.image, np.empty((0, 4), np.float32), np.empty(0, np.int64))
