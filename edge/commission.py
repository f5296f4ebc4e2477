"""A camera's commissioning: one picture of its full shelf, kept on the device, by which later frames are judged.

The picture lies in `<data>/baseline/<camera>.png`; the document beside it says when it was taken, which bytes it has,
and where the slots lay.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import structlog

from edge.documents import Documents
from edge.errors import CameraError, StoreError
from edge.profile import Profile
from edge.vision.camera import load_picture
from edge.vision.detector import Detector, Image
from edge.vision.fullshelf import FullShelf
from edge.vision.observe import Stand

log = structlog.get_logger(__name__)


def regions_of(camera: str, profile: Profile) -> tuple[Stand, ...]:
    """The slots' places in one camera's picture."""
    return tuple(Stand(slot.name, *slot.region, slot.facings, slot.depth)
                 for slot in profile.slots if slot.camera == camera and slot.region)


def keep_baseline(data: Path, camera: str, picture: Image, stands: Sequence[Stand], at: float) -> Path:
    """Keep the picture (BGR uint8) as the camera's commissioning; its file.

    StoreError where it cannot be written.
    """
    path = data / "baseline" / f"{camera}.png"
    encoded, png = cv2.imencode(".png", picture)
    if not encoded:
        raise StoreError(str(path), "the picture cannot be encoded", "take another one")
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(png.tobytes())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise StoreError(str(path), error.strerror or "cannot be written", "the data folder must be a writable disk") \
            from error
    Documents(data).keep_baseline(camera, {
        "at": at, "file": f"baseline/{camera}.png", "sha256": hashlib.sha256(png.tobytes()).hexdigest(),
        "height": picture.shape[0], "width": picture.shape[1],
        "slots": [{"slot": stand.slot, "region": [stand.x0, stand.y0, stand.x1, stand.y1], "facings": stand.facings,
                   "depth": stand.depth} for stand in stands]})
    return path


def load_baseline(data: Path, camera: str, stands: Sequence[Stand], detector: Detector) -> FullShelf | None:
    """What the camera's commissioning taught; None, with the reason in the log, where there is none to be used."""
    picture = kept_picture(data, camera)
    if picture is None or not stands:
        return None
    return FullShelf(picture, stands, detector)


def kept_picture(data: Path, camera: str) -> Image | None:
    """The camera's commissioning picture, BGR, or None, with the reason in the log."""
    if not (data / "documents.json").exists():
        return None
    try:
        known = Documents(data).baseline(camera)
        if known is None:
            return None
        path = data / str(known["file"])
        if hashlib.sha256(path.read_bytes()).hexdigest() != known["sha256"]:
            raise StoreError(str(path), "is not the picture that was kept", "commission the camera again")
        return load_picture(path)
    except (CameraError, StoreError, OSError) as error:
        log.error("baseline_unusable", camera=camera, error=str(error),
                  fix="`cornergrid-edge planogram keep` takes a new picture of the full shelf")
        return None
