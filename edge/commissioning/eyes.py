"""Cameras: aimed by a score in words, a picture of the full shelf kept, and its slots proposed and named."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from edge.agent import load_detector
from edge.box.steps import write_whole
from edge.clock import SystemClock
from edge.commission import keep_baseline, kept_picture, regions_of
from edge.commissioning.place import Place, Skip, extend, skipped, warning
from edge.commissioning.products import named
from edge.commissioning.state import Outcome, Picture
from edge.errors import SensorError
from edge.planogram_commands import slot_block
from edge.profile import CameraSettings
from edge.vision.annotate import annotate_proposals
from edge.vision.camera import open_camera
from edge.vision.detector import Image
from edge.vision.observe import count_facings
from edge.vision.propose import Proposal, propose
from edge.vision.quality import Verdict, assess, baseline_of
from edge.vision.tiles import look

SHARP_PX = 5.5
"""Edges of a sharp picture are 3.3 to 4.6 px wide, of one blurred by 2 px 5.3 and more (`edge.vision.quality`)."""
GOOD_IN_A_ROW = 3
PAUSE_S = 0.3
PICTURE_PX = 900
JPEG = (cv2.IMWRITE_JPEG_QUALITY, 80)


@dataclass(frozen=True, slots=True)
class Score:
    """How well a picture is aimed: edges in pixels, brightness of 255, the least detail of its quarters, a verdict."""

    edge_px: float
    brightness: float
    detail: float
    verdict: Verdict

    def __str__(self) -> str:
        word = "good" if self.verdict.ok else f"{self.verdict.reason}: {self.verdict.detail}"
        return (f"{word}; focus {self.edge_px:.1f} px (sharp: under {SHARP_PX}), brightness {self.brightness:.0f} of "
                f"255, least detail of a quarter {self.detail:.0f}")


def score(image: Image) -> Score:
    """The score of one BGR picture; pure."""
    seen, verdict = baseline_of(image), assess(image)
    if verdict.ok and seen.edge_px > SHARP_PX:
        verdict = Verdict("defocused", "clean and focus the lens")
    return Score(seen.edge_px, seen.mean, min(seen.quarters), verdict)


def aim(camera: CameraSettings, place: Place) -> Outcome:
    """Score the picture while the camera is aimed, then keep one of the full shelf as what it must see."""
    place.person.tell(f"{camera.name}: aim it at the full shelf, and step aside; then Enter (s: skip)")
    image, seen = _aimed(camera, place)
    if not seen.verdict.ok:
        return warning(str(seen), "light, lens and aim; then commission this camera again")
    keep_baseline(place.data, camera.name, image, regions_of(camera.name, place.profile), place.clock.now())
    return Outcome("ok", f"{image.shape[1]}x{image.shape[0]}; {seen}", learned={
        "edge_px": round(seen.edge_px, 2), "brightness": round(seen.brightness, 1)},
        pictures=(_keep(place, camera.name, image),))


def _aimed(camera: CameraSettings, place: Place) -> tuple[Image, Score]:
    """A picture once some were good in a row, or the last one when nobody waits any longer."""
    pause, clock, good = threading.Event(), SystemClock(), 0
    end = clock.monotonic() + place.patience_s
    source = open_camera(camera.source, place.clock)
    try:
        while True:
            image = source.read().image
            seen = score(image)
            place.person.live(f"  {seen}")
            good = good + 1 if seen.verdict.ok else 0
            typed = place.person.pressed()
            if typed is not None and typed.lower() == "s":
                raise Skip
            # With somebody there, the moment is theirs: the picture may be sharp, and of the wrong shelf.
            chosen = typed is not None or (good >= GOOD_IN_A_ROW and not place.person.there)
            if chosen or clock.monotonic() > end:
                return image, seen
            pause.wait(PAUSE_S)
    finally:
        source.close()


def slots(camera: CameraSettings, place: Place) -> Outcome:
    """Propose the slots of the kept picture; name them where the profile has none, else see that each shows goods."""
    image = kept_picture(place.data, camera.name)
    if image is None:
        return skipped("no picture of the full shelf was kept")
    found = look(load_detector(camera), image)
    proposals = propose(image, found)
    drawn = _keep(place, f"{camera.name}-slots", annotate_proposals(image, proposals))
    shown = f"the picture shows {len(proposals)} slots with {sum(each.facings for each in proposals)} facings"
    stands = regions_of(camera.name, place.profile)
    if not stands:
        return _name_all(camera, place, proposals, shown, drawn)
    facings = count_facings(found, image.shape, stands)
    empty = [name for name, n in facings.items() if not n]
    told = f"{shown}; in the profile's slots: {', '.join(f'{name} {n}' for name, n in facings.items())}"
    if empty:
        return Outcome("warning", told, f"nothing is seen in {', '.join(empty)}: fill the slot, or move its region",
                       pictures=(drawn,))
    return Outcome("ok", told, learned={"facings": facings}, pictures=(drawn,))


def _name_all(camera: CameraSettings, place: Place, proposals: tuple[Proposal, ...], shown: str,
              drawn: Picture) -> Outcome:
    place.person.tell(f"{camera.name}: {shown}; they are drawn in {place.data / drawn.file}")
    blocks, unnamed = [], []
    for each in proposals:
        slot = each.region.slot
        product = named(f"{slot}, {each.facings} facings", place.answers.skus.get(slot, ""), place)
        if product is None:
            unnamed.append(slot)
            continue
        blocks.append(slot_block(_row(camera, each), product.sku, product.name))
    if blocks:
        extend(place, blocks)
    told = f"{shown}; {len(blocks)} were named and added to {place.path.name}"
    if unnamed or not proposals:
        return Outcome("warning", told, f"name {', '.join(unnamed)} in the profile, or leave them out" if unnamed else
                       "fill the shelf and commission again, or write the slots by hand", pictures=(drawn,))
    return Outcome("ok", told, pictures=(drawn,))


def _row(camera: CameraSettings, each: Proposal) -> dict[str, object]:
    region = each.region
    return {"name": f"{camera.name}-{region.slot}", "camera": camera.name, "facings": each.facings, "depth": 1,
            "capacity": each.facings, "region": [region.x0, region.y0, region.x1, region.y1]}


def _keep(place: Place, name: str, image: Image) -> Picture:
    """A picture for the report, no wider than a page."""
    scale = min(1.0, PICTURE_PX / image.shape[1])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    done, jpeg = cv2.imencode(".jpg", small, JPEG)
    if not done:
        raise SensorError("undecodable", "the picture cannot be encoded")
    place.folder.mkdir(parents=True, exist_ok=True)
    file = place.folder / f"{name}.jpg"
    write_whole(file, jpeg.tobytes(), 0o640)
    return Picture(name, os.path.relpath(file, place.data), hashlib.sha256(jpeg.tobytes()).hexdigest())


def shown(pictures: tuple[Picture, ...], data: Path) -> Iterator[tuple[Picture, bytes]]:
    """The pictures that are still what they were, with their JPEG."""
    for each in pictures:
        content = (data / each.file).read_bytes() if (data / each.file).is_file() else b""
        if hashlib.sha256(content).hexdigest() == each.sha256:
            yield each, content
