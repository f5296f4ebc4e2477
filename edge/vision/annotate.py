"""What the detector saw, drawn for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.vision.camera import load_picture
from edge.vision.detector import Detections, Detector, Image
from edge.vision.observe import Region
from edge.vision.propose import Proposal
from edge.vision.quality import assess
from edge.vision.tiles import look as look_for_all

_LOOK_PX = 1000
_BOX, _GAP, _REGION = (60, 220, 60), (40, 90, 255), (255, 160, 40)
_INK, _PAPER = (255, 255, 255), (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, slots=True)
class Row:
    """One thing found: its number on the drawing, what it is, how sure, and where, in the photo's pixels."""

    number: int
    product: str
    score: float
    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One photo looked at: what was found, the drawing, the photo's quality, and the table's rows, best first."""

    detections: Detections
    image: Image
    quality: str
    rows: tuple[Row, ...]


def _tag(image: Image, text: str, x: int, y: int, scale: float) -> None:
    (w, h), _ = cv2.getTextSize(text, _FONT, scale, 1)
    x, y = min(max(x, 0), max(image.shape[1] - w, 0)), max(y, h + 2)
    cv2.rectangle(image, (x, y - h - 2), (x + w, y + 2), _PAPER, -1)
    cv2.putText(image, text, (x, y), _FONT, scale, _INK, 1, cv2.LINE_AA)


def annotate(image: Image, found: Detections, regions: Sequence[Region] = ()) -> Image:
    """A copy of the frame, at least 1000 px on its longest side, with numbered boxes, scores and regions."""
    drawn, zoom = _enlarged(image)
    for region in regions:
        _draw_region(drawn, region, region.slot)
    kinds = [found.labels[kind] for kind in found.classes]
    for number, (box, score, kind) in enumerate(zip(found.boxes * zoom, found.scores, kinds, strict=True), 1):
        x0, y0, x1, y1 = (int(v) for v in box.round())
        cv2.rectangle(drawn, (x0, y0), (x1, y1), _GAP if kind == "gap" else _BOX, 2)
        # The score only where there is room for it: on a full shelf it would hide the goods.
        text = f"{number} {score:.2f}" if x1 - x0 > 60 else str(number)
        _tag(drawn, text, x0 + 1, y0 + 12, 0.4)
    return drawn


def annotate_proposals(image: Image, proposals: Sequence[Proposal]) -> Image:
    """A copy of the frame, at least 1000 px on its longest side, with each proposed slot, its facings and packs."""
    drawn, zoom = _enlarged(image)
    for proposal in proposals:
        for box in proposal.boxes:
            x0, y0, x1, y1 = (round(v * zoom) for v in box)
            cv2.rectangle(drawn, (x0, y0), (x1, y1), _BOX, 1)
        _draw_region(drawn, proposal.region, f"{proposal.region.slot}: {proposal.facings}")
    return drawn


def _enlarged(image: Image) -> tuple[Image, float]:
    zoom = max(1.0, _LOOK_PX / max(image.shape[:2]))
    size = (round(image.shape[1] * zoom), round(image.shape[0] * zoom))
    drawn = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC) if zoom > 1 else image
    return np.array(drawn, np.uint8), zoom


def _draw_region(drawn: Image, region: Region, text: str) -> None:
    size = (drawn.shape[1], drawn.shape[0])
    corners = (np.array((region.x0, region.y0, region.x1, region.y1)) * (*size, *size)).round()
    x0, y0, x1, y1 = (int(v) for v in corners)
    cv2.rectangle(drawn, (x0, y0), (x1, y1), _REGION, 3)
    _tag(drawn, text, x0 + 4, y0 + 20, 0.7)


def look(photo: Path, detector: Detector) -> Look:
    """Run the detector on any photo.

    Raises:
        CameraError: `missing` or `undecodable`.
    """
    image = load_picture(photo)
    found = look_for_all(detector, image)
    rows = tuple(
        Row(number, found.labels[kind], round(float(score), 3), *(int(v) for v in box.round()))
        for number, (kind, score, box) in enumerate(zip(found.classes, found.scores, found.boxes, strict=True), 1)
    )
    return Look(found, annotate(image, found), assess(image).reason, rows)
