"""`cornergrid-edge planogram`: the slots of a shelf from one picture, and the picture that a camera is judged by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.table import Table

from edge import profile as profiles
from edge.box.owner import for_the_agent
from edge.clock import Clock, SystemClock
from edge.consoles import err, out
from edge.wizard import toml

if TYPE_CHECKING:
    from edge.vision.detector import Image

EXIT_NOTHING, EXIT_BAD_INPUT = 1, 2
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands `planogram propose` and `planogram keep`."""
    planogram = typer.Typer(no_args_is_help=True, help="Where a shelf's slots are, and how it looks when full.")
    for command in (propose, keep):
        planogram.command()(command)
    app.add_typer(planogram, name="planogram")


def propose(
    photo: Annotated[Path, typer.Argument(help="A picture of the full shelf, as its camera sees it.")],
    camera: Annotated[str, typer.Option(help="The profile's name of the camera.")] = "cam-1",
    depth: Annotated[int, typer.Option(min=1, max=50, help="Units behind each facing, itself included.")] = 1,
    annotated: Annotated[Path | None, typer.Option("--out", help="Where the picture goes.")] = None,
    toml: Annotated[Path | None, typer.Option(help="Where the slots go, as a profile has them.")] = None,
    model: Annotated[Path | None, typer.Option(help="Another ONNX model, its card beside it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find rows and facings in a picture and propose the slots: a drawing, and TOML in which only the SKUs miss.

    Look at the drawing before you use the slots. Exit code 0: slots were found, 1: none, 2: the picture cannot be
    read.

    Example: `cornergrid-edge planogram propose shelf.jpg --camera cam-1 --toml slots.toml`
    """
    import cv2  # noqa: PLC0415  # heavy

    from edge.vision.annotate import annotate_proposals  # noqa: PLC0415
    from edge.vision.camera import load_picture  # noqa: PLC0415
    from edge.vision.onnx import DEFAULT_MODEL, OnnxDetector  # noqa: PLC0415
    from edge.vision.propose import propose as proposed  # noqa: PLC0415
    from edge.vision.tiles import look  # noqa: PLC0415

    image = load_picture(photo)
    slots = proposed(image, look(OnnxDetector.load(model or DEFAULT_MODEL), image))
    target = annotated or photo.with_name(f"{photo.stem}.slots.jpg")
    if not cv2.haveImageWriter(str(target)) or not cv2.imwrite(str(target), annotate_proposals(image, slots)):
        _give_up(f"{target}: cannot be written (name a .jpg or .png in a folder that is there)")
    rows = [{"name": slot.region.slot, "camera": camera, "facings": slot.facings, "depth": depth,
             "capacity": slot.facings * depth,
             "region": [slot.region.x0, slot.region.y0, slot.region.x1, slot.region.y1]} for slot in slots]
    if toml is not None:
        toml.write_text("\n".join(slot_block(row) for row in rows), encoding="utf-8")
    if as_json:
        typer.echo(json.dumps({"photo": str(photo), "out": str(target), "slots": rows}))
    else:
        _show(photo, target, toml, rows)
    raise typer.Exit(0 if rows else EXIT_NOTHING)


def keep(
    path: Annotated[Path, typer.Argument(help="The device profile, TOML.")],
    camera: Annotated[str | None, typer.Option(help="Only this camera; all of the profile's where absent.")] = None,
    photo: Annotated[Path | None, typer.Option(help="A picture in place of the camera's own.")] = None,
    as_json: AsJson = False,
) -> None:
    """Keep a picture of the full shelf for each camera: later frames are laid over it and compared with it.

    Fill the shelf first, and step aside. A running agent takes the new picture when it starts again. Exit code 2:
    no picture could be had.

    Example: `cornergrid-edge planogram keep /etc/cornergrid/shop.toml`
    """
    from edge.commission import keep_baseline, regions_of  # noqa: PLC0415  # loads the vision libraries
    from edge.vision.quality import assess  # noqa: PLC0415

    profile, clock = profiles.load_profile(path), SystemClock()
    cameras = [each for each in profile.cameras if camera in (None, each.name)]
    if not cameras:
        known = ", ".join(each.name for each in profile.cameras) or "none"
        _give_up(f"{path}: no camera is named {camera} (known: {known})")
    if photo is not None and camera is None:
        _give_up("--photo needs --camera: whose picture is it?")
    kept = []
    for each in cameras:
        picture = _picture(photo, each.source, clock)
        if not (quality := assess(picture)).ok:
            _give_up(f"{each.name}: the picture is {quality.reason} ({quality.detail})")
        with for_the_agent(profile.device.data):
            file = keep_baseline(profile.device.data, each.name, picture, regions_of(each.name, profile), clock.now())
        kept.append({"camera": each.name, "file": str(file), "width": picture.shape[1], "height": picture.shape[0]})
        if not as_json:
            out.print(f"{each.name}: kept {file}, {picture.shape[1]}x{picture.shape[0]}")
    if as_json:
        typer.echo(json.dumps({"device": profile.device.id, "kept": kept}))


def _picture(photo: Path | None, source: str, clock: Clock) -> Image:
    """The given picture, or else the camera's next."""
    from edge.vision.camera import load_picture, open_camera  # noqa: PLC0415

    if photo is not None:
        return load_picture(photo)
    camera = open_camera(source, clock)
    try:
        return camera.read().image
    finally:
        camera.close()


def slot_block(row: dict[str, object], sku: str = "", product: str = "") -> str:
    """A slot as a profile has it; without its SKU, a remark says which."""
    name, camera, sold = map(toml, (row["name"], row["camera"], product))
    named = toml(sku) if sku else '""  # the GTIN on its price tag'
    return (f'[[slots]]\nname = {name}\nsku = {named}\nproduct = {sold}\n'
            f'capacity = {row["capacity"]}\ndepth = {row["depth"]}\ncamera = {camera}\n'
            f'region = {toml(row["region"])}\n')


def _show(photo: Path, target: Path, toml: Path | None, rows: list[dict[str, object]]) -> None:
    table = Table("slot", "facings", "capacity", "region", title=f"{photo.name}: {len(rows)} slots")
    for row in rows:
        table.add_row(str(row["name"]), str(row["facings"]), str(row["capacity"]), json.dumps(row["region"]))
    out.print(table)
    if toml is not None:
        out.print(f"slots for the profile: {toml}; write each SKU into it")
    out.print(f"drawn into {target}: look at it before you use them")


def _give_up(message: str) -> NoReturn:
    err.print(message, style="red", markup=False)
    raise typer.Exit(EXIT_BAD_INPUT)
