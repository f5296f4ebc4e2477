"""What a shelf camera sees: packs in rows, gaps where units were taken, somebody's arm, light that drifts."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from edge.sim.packs import Box, Frame, Look, draw_pack, look_of

SKIN, SLEEVE = (140, 170, 215), (110, 70, 50)
RAIL_SHARE = 0.075
"""Height of a board's price rail, as a share of its region."""


def bumped(frame: Frame, bump: Bump) -> Frame:
    """The frame as the pushed camera sees it; beyond the scene its edge goes on."""
    height, width = frame.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), bump.degrees, bump.zoom)
    matrix[:, 2] += bump.right * width, bump.down * width
    moved = cv2.warpAffine(frame, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


class SceneSlot(Protocol):
    """What the scene needs to know about a profile's slot."""

    @property
    def name(self) -> str: ...
    @property
    def sku(self) -> str: ...
    @property
    def product(self) -> str: ...
    @property
    def capacity(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def region(self) -> tuple[float, float, float, float] | None: ...


@dataclass(frozen=True, slots=True)
class Bump:
    """How a camera was pushed: sideways and down by shares of the width, turned by degrees, nearer by `zoom`."""

    right: float = 0.0
    down: float = 0.0
    degrees: float = 0.0
    zoom: float = 1.0


class Scene:
    """One camera's view of its slots. Not for use by two threads at once."""

    def __init__(self, slots: Sequence[SceneSlot], seed: int, size: tuple[int, int] = (960, 720),
                 untidy: bool = False) -> None:
        """`size` is (width, height) in pixels. Slots without a region are not in the picture.

        In an untidy shop packs stand crooked, and customers take them from anywhere in the row.
        """
        self._untidy = untidy
        self._slots = tuple(slot for slot in slots if slot.region is not None)
        self._seed, self.size = seed, size
        self._empty = self._draw_shelf()
        width, height = size
        x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(0, 1, height))
        self._light = (1.04 - 0.10 * x * x - 0.12 * y).astype(np.float32)[..., None]
        self._noise = np.random.default_rng(seed)
        self._levels: dict[str, int] = {}
        self._stocked: npt.NDArray[np.float32] | None = None

    def render(self, levels: Mapping[str, int], t: float, arm: str | None = None, light: float = 1.0,
               body: float | None = None) -> Frame:
        """The frame at event time `t`, BGR, (height, width, 3) uint8.

        `arm` names the slot somebody reaches into, `body` is where somebody stands before the shelf (0 left, 1 right),
        `light` multiplies what the lamps give.
        """
        if self._stocked is None or dict(levels) != self._levels:
            self._levels = dict(levels)
            self._stocked = self._draw_stock().astype(np.float32) * self._light
        picture = self._stocked * np.float32(light) * np.float32(1.0 + 0.05 * math.sin(2 * math.pi * t / 5400.0))
        picture += self._noise.standard_normal(picture.shape, dtype=np.float32) * np.float32(2.5)
        frame: Frame = np.clip(picture, 0, 255).astype(np.uint8)
        slot = next((slot for slot in self._slots if slot.name == arm), None)
        if body is not None:
            self._draw_body(frame, body, light)
        if slot is not None:
            self._draw_arm(frame, slot, t)
        return frame

    def _draw_shelf(self) -> Frame:
        width, height = self.size
        shelf = np.full((height, width, 3), (96, 100, 104), np.uint8)
        for x in range(0, width, 24):
            cv2.line(shelf, (x, 0), (x, height), (90, 94, 98), 1)
        for slot in self._slots:
            x0, y0, x1, y1 = self._pixels(slot)
            x0, x1 = max(0, x0 - 12), min(width, x1 + 12)
            shade = np.linspace(0.6, 1.0, 40, dtype=np.float32)[: y1 - y0, None, None]
            under = shelf[y0:y0 + 40, x0:x1]
            under[:] = (under * shade[: len(under)]).astype(np.uint8)
            board = y1 - round((y1 - y0) * RAIL_SHARE)
            cv2.rectangle(shelf, (x0, board), (x1, y1 + 6), (205, 208, 210), -1)
            cv2.line(shelf, (x0, board), (x1, board), (150, 152, 155), 2)
            tag = (x0 + 26, board + 4)
            cv2.rectangle(shelf, tag, (tag[0] + 62, y1 + 2), (245, 250, 250), -1)
            price = f"{random.Random(slot.sku).randint(99, 599) / 100:.2f}"
            cv2.putText(shelf, price, (tag[0] + 8, y1 - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (20, 20, 20), 1,
                        cv2.LINE_AA)
        return shelf

    def _draw_stock(self) -> Frame:
        frame = self._empty.copy()
        for slot in self._slots:
            facings = math.ceil(slot.capacity / slot.depth)
            present = math.ceil(self._levels.get(slot.name, 0) / slot.depth)
            look = look_of(slot.sku, slot.product)
            places = list(range(facings))
            if self._untidy:
                random.Random(f"{self._seed}/{slot.name}").shuffle(places)
            for place in places[:present]:
                self._draw_unit(frame, slot, look, place, facings)
        return frame

    def _draw_unit(self, frame: Frame, slot: SceneSlot, look: Look, place: int, facings: int) -> None:
        x0, y0, x1, y1 = self._pixels(slot)
        board = y1 - round((y1 - y0) * RAIL_SHARE)
        jitter = random.Random(f"{self._seed}/{slot.name}/{place}")
        pitch = (x1 - x0) / facings
        pack_w = min(pitch * 0.9, (board - y0) * look.width_to_height * 0.92)
        pack_h = min(pack_w / look.width_to_height, (board - y0) * 0.92)
        crooked = 0.05 if self._untidy else 0.02
        left = x0 + pitch * (place + 0.5) - pack_w / 2 + jitter.uniform(-crooked, crooked) * pitch
        box = Box(round(left), round(board - pack_h + jitter.uniform(0, 3)), round(pack_w), round(pack_h))
        cv2.ellipse(frame, (box.x + box.w // 2, board + 1), (box.w // 2 + 3, 4), 0, 0, 360, (60, 62, 64), -1)
        draw_pack(frame, box, look, jitter, jitter.uniform(-0.15, 0.15) if self._untidy else 0.0)

    def _draw_arm(self, frame: Frame, slot: SceneSlot, t: float) -> None:
        x0, y0, x1, y1 = self._pixels(slot)
        sway = random.Random(f"{slot.name}/{round(t)}")
        hand = (round(x0 + (x1 - x0) * sway.uniform(0.3, 0.8)), round((y0 + y1) / 2 + sway.uniform(-20, 20)))
        width, height = self.size
        shoulder = (min(width, hand[0] + 150), height + 60)
        cv2.line(frame, hand, shoulder, (70, 40, 25), 124, cv2.LINE_AA)
        cv2.line(frame, hand, shoulder, SLEEVE, 112, cv2.LINE_AA)
        cv2.ellipse(frame, hand, (48, 60), 0, 0, 360, SKIN, -1, cv2.LINE_AA)
        for finger in range(-2, 3):
            tip = (hand[0] + finger * 20, hand[1] - 86 + abs(finger) * 9)
            cv2.line(frame, (hand[0] + finger * 15, hand[1] - 30), tip, SKIN, 17, cv2.LINE_AA)
            cv2.line(frame, (hand[0] + finger * 15 + 8, hand[1] - 36), tip, (115, 145, 190), 1, cv2.LINE_AA)

    def _draw_body(self, frame: Frame, where: float, light: float) -> None:
        width, height = self.size
        x, shade = round(where * width), min(1.0, 0.3 + light * 0.7)
        coat = tuple(round(c * shade) for c in SLEEVE)
        skin = tuple(round(c * shade) for c in SKIN)
        cv2.ellipse(frame, (x, height), (width // 7, height // 2), 0, 180, 360, coat, -1, cv2.LINE_AA)
        cv2.ellipse(frame, (x, height * 2 // 5), (width // 18, height // 9), 0, 0, 360, skin, -1, cv2.LINE_AA)

    def _pixels(self, slot: SceneSlot) -> tuple[int, int, int, int]:
        assert slot.region is not None  # noqa: S101  # __init__ keeps only those
        width, height = self.size
        x0, y0, x1, y1 = slot.region
        return round(x0 * width), round(y0 * height), round(x1 * width), round(y1 * height)
