"""A model's card: what it was made from, how good it was measured to be, and which bytes it speaks for."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge.errors import ModelError

MAKE = "make one with `cornergrid-edge vision card`"
PRODUCT, GAP = "product", "gap"
SCHEMA: Literal["cornergrid.model/4"] = "cornergrid.model/4"
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Size = Annotated[int, msgspec.Meta(ge=32, le=4096, multiple_of=32)]
Stride = Annotated[int, msgspec.Meta(ge=1, le=128)]
Reach = Annotated[float, msgspec.Meta(ge=0, le=4096)]
Scale = Annotated[float, msgspec.Meta(gt=1, le=8)]
Root = Annotated[float, msgspec.Meta(gt=0)]


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where pictures or weights came from, under which licence, and what they were used for."""

    name: str
    licence: str
    use: str


class Accuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """COCO-style figures over some photos; `count_mape` is the mean |found - there| / there."""

    ap50: Share
    ap75: Share
    ap: Share
    count_mape: Annotated[float, msgspec.Meta(ge=0)]
    photos: int
    boxes: int


class Closer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a picture is looked at again where its packs are small (`closer.py`); pixels are the input's.

    Attributes:
        scales: how much larger than at the first look the picture is, at each further one.
        small: the root of a pack's area, where the first look's median is below this, packs are small.
        sure: score from which a find of the first look says how large packs are.
        least: score that a find of any look needs to be joined with the others'.
        like: overlap from which finds of two looks are one thing.
        unseen: share of a find's score that a look without it says.
        sizes: the root of a pack's area between which a look is fully trusted.
        steady, usual: goods count from their threshold times (v / usual) ** steady on, within bounds and where many
            were found (`closer._bar`); v is the score that parts goods from what resembles them in this frame. What
            is hard to see everywhere in it is told sooner, what is easy later. 0 is never.
    """

    # Their number and size bound the inferences of a frame.
    scales: Annotated[tuple[Scale, ...], msgspec.Meta(max_length=8)] = (1.5, 1.9, 2.4)
    small: Root = 45.0
    sure: Share = 0.35
    # At 0 each cell of the maps would be a find, at 1 none.
    least: Annotated[float, msgspec.Meta(ge=0.01, lt=1)] = 0.08
    # At 1 a find would not be like itself.
    like: Annotated[float, msgspec.Meta(ge=0, le=0.95)] = 0.55
    unseen: Share = 0.5
    sizes: tuple[Root, Root] = (24.0, 90.0)
    steady: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    usual: Annotated[float, msgspec.Meta(ge=0.01, le=1)] = 0.28

    def __post_init__(self) -> None:
        if self.sizes[0] >= self.sizes[1]:
            raise ValueError(f"sizes are from {self.sizes[0]:g} to {self.sizes[1]:g}: the smaller comes first")


class Speed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Median milliseconds of one inference, without letterbox and decoding."""

    ms: float
    threads: int
    cpu: str


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The JSON beside a model, `NAME.card.json` beside `NAME.onnx`.

    Attributes:
        kind: fp32, or int8 made after training.
        crops: rendered crops seen in training.
        input: width and height of the input in pixels.
        distances: where a box side may lie, in strides from its cell's middle (`boxes.decode`).
        thresholds: the score that counts, per class.
        chosen_on: what the thresholds were chosen on, per class; never on what judges.
        max_detections: how many a frame tells at most, per class.
        closer: how small packs are looked at again; None is never.
        looks: inferences that a photo took on average, per source of those that choose or judge.
        figures: per source of photos and class.
        speed: per number of threads.
    """

    card: Literal["cornergrid.model/3", "cornergrid.model/4"] = SCHEMA
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    kind: Literal["fp32", "int8"]
    licence: str
    data: tuple[Source, ...]
    seed: int
    crops: int
    input: tuple[Size, Size]
    strides: Annotated[tuple[Stride, ...], msgspec.Meta(min_length=1)]
    distances: Annotated[tuple[Reach, ...], msgspec.Meta(min_length=2)]
    classes: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    thresholds: dict[str, Share]
    chosen_on: dict[str, str] = {}
    nms_iou: Share
    max_detections: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    closer: Closer | None = None
    looks: dict[str, float] = {}
    figures: dict[str, dict[str, Accuracy]] = {}
    speed: tuple[Speed, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.classes)) < len(self.classes) or not {PRODUCT, GAP} <= set(self.classes):
            raise ValueError(f"classes are {list(self.classes)}: {PRODUCT} and {GAP}, each once, are needed")
        if set(self.thresholds) != set(self.classes):
            raise ValueError(f"thresholds are for {sorted(self.thresholds)}, classes are {sorted(self.classes)}")


def _current(card: Card) -> Card:
    """A card of version 3 as one of today: its bar was another, and is left out, its thresholds stay."""
    if card.card == SCHEMA:
        return card
    closer = card.closer and msgspec.structs.replace(card.closer, steady=0.0)
    return msgspec.structs.replace(card, card=SCHEMA, closer=closer)


def card_path(model: Path) -> Path:
    """Where a model's card lies."""
    return model.with_suffix(".card.json")


def encode_card(card: Card) -> bytes:
    """The card as it is written, for people and scripts."""
    return msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n"


def read_model(model: Path) -> tuple[bytes, Card]:
    """A model's bytes and its card, once the card has vouched for exactly these bytes.

    Raises:
        ModelError: no model, no card, a card of another schema, or bytes that the card does not know.
    """
    if not model.is_file():
        raise ModelError(str(model), "there is no such model", "install the package again, or " + MAKE)
    path = card_path(model)
    if not path.is_file():
        raise ModelError(str(path), "the model has no card", MAKE)
    try:
        card = msgspec.json.decode(path.read_bytes(), type=Card)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ModelError(str(path), f"not a model card of this version: {error}", MAKE) from error
    card = _current(card)
    data = model.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != card.sha256:
        wrong = f"its SHA-256 is {found[:12]}..., its card says {card.sha256[:12]}..."
        raise ModelError(str(model), wrong, "the file was altered or cut off: install the package again")
    return data, card
