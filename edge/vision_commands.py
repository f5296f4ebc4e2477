"""`cornergrid-edge vision`: judge the detector, train it on a shop's own photos, install it, roll back."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

from edge.clock import SystemClock
from edge.consoles import err
from edge.errors import ConfigError, CornergridError, Problem

vision_app = typer.Typer(no_args_is_help=True, help="The shelf detector: judge it, train it, install it, roll back.")
MODEL = Path(__file__).parent / "vision" / "models" / "shelf.onnx"
CHECKPOINT, EXPORTED = Path("build/shelf.pt"), Path("build/shelf.onnx")
EXTRA = "install the extra: pip install 'cornergrid[train]'"
EXIT_BAD, EXIT_STOPPED = 2, 130
out = Console(highlight=False, soft_wrap=True)

Model = Annotated[Path, typer.Option(help="The ONNX model, its card beside it.")]
Checkpoint = Annotated[Path, typer.Option(help="Where the run is kept; an existing one is resumed.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]
Folder = Annotated[Path | None, typer.Option(exists=True, file_okay=False)]


def _give_up(error: CornergridError) -> typer.Exit:
    err.print(str(error), markup=False)
    return typer.Exit(EXIT_BAD)


def _watched(photos: Iterable[Any], total: int, what: str) -> Iterable[Any]:
    """The same pictures, with a bar on a terminal."""
    return track(photos, what, total, console=err, transient=True, disable=not sys.stderr.isatty())


def _table(title: str, rows: list[tuple[str, Any]]) -> Table:
    table = Table("photos of", "AP50", "AP", "AP75", "count error", "photos", "boxes", title=title)
    for name, row in rows:
        if row is None:
            table.add_row(name, *("-",) * 6)
            continue
        shares = (f"{share:.3f}" for share in (row.ap50, row.ap, row.ap75, row.count_mape))
        table.add_row(name, *shares, str(row.photos), str(row.boxes))
    return table


@vision_app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Labelled photos, or a folder with val/, test/ and gap/.")],
    model: Model = MODEL,
    unnamed: Annotated[
        str | None, typer.Option("--class", help="What YOLO labels without names mean: product or gap.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge the model on labelled photos: JSON beside each photo, YOLO text, or COCO.

    Products are judged in test/ (or val/), gaps in gap/; in one plain folder both, as the labels name them.
    Counts use the card's threshold. Exit code 2: no such photos, or a model that its card does not vouch for.

    Example: `cornergrid-edge vision evaluate photos --json`
    """
    from edge.vision.onnx import OnnxDetector  # noqa: PLC0415  # loads the vision libraries
    from edge.vision.training.judge import CLASSES, LOWEST, figures  # noqa: PLC0415

    try:
        if unnamed is not None and unnamed not in CLASSES:
            raise ConfigError("--class", (Problem("--class", f"{unnamed!r} is no class", "product or gap"),))
        detector = OnnxDetector.load(model, threshold=LOWEST)
        rows = figures(detector, detector.card.thresholds, folder, unnamed, _watched)
    except CornergridError as error:
        raise _give_up(error) from error
    if as_json:
        typer.echo(msgspec.json.encode(rows))
        return
    shown = ", ".join(f"{name} >= {detector.card.thresholds[name]}" for name in CLASSES)
    title = f"{model.name} on {folder}, counted where {shown}; {detector.inferences} inferences"
    out.print(_table(title, list(rows.items())))


@vision_app.command()
def card(
    model: Annotated[Path, typer.Argument(help="The ONNX file that `export` wrote.", exists=True)] = EXPORTED,
    val: Annotated[
        Path | None, typer.Option(help="Photos that choose the products' threshold; worse cameras are tried too.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="Photos that judge products.")] = None,
    gap: Annotated[Path | None, typer.Option(help="Photos that judge gaps.")] = None,
    licence: Annotated[str, typer.Option(help="The licence of --val and --test, for the card.")] = "none stated",
    gap_licence: Annotated[str, typer.Option(help="The licence of --gap, for the card.")] = "none stated",
    as_json: AsJson = False,
) -> None:
    """Choose thresholds, measure accuracy and speed, and write the model's card beside it.

    The products' threshold is chosen on --val, the gaps' on rendered shelves; what judges never chooses.

    Example: `cornergrid-edge vision card build/shelf.onnx --val photos/val --test photos/test`
    """
    from edge.vision.card import GAP, PRODUCT, Source  # noqa: PLC0415
    from edge.vision.training.evaluate import Judging, name_of  # noqa: PLC0415  # loads the vision libraries
    from edge.vision.training.evaluate import evaluate as judge_model  # noqa: PLC0415

    uses = ((val, licence, "choosing the threshold"), (test, licence, "judging"), (gap, gap_licence, "judging"))
    sources = tuple(Source(f"photos, {name_of(folder)}", terms, use) for folder, terms, use in uses if folder)
    judged = {name: folder for name, folder in ((PRODUCT, test), (GAP, gap)) if folder}
    try:
        judging = Judging({PRODUCT: val} if val else {}, judged, sources)
        made = judge_model(model, judging, SystemClock(), _watched)
    except CornergridError as error:
        raise _give_up(error) from error
    if as_json:
        typer.echo(msgspec.json.encode(made))
        return
    rows = [(f"{place}: {name}", row) for place, own in made.figures.items() for name, row in own.items()]
    speeds = ", ".join(f"{each.ms} ms on {each.threads}" for each in made.speed)
    out.print(_table(f"{model.name} ({made.kind}), thresholds {made.thresholds}, {speeds} threads", rows))
    out.print(f"inferences a photo: {', '.join(f'{place} {number}' for place, number in made.looks.items())}")


@vision_app.command()
def train(
    crops: Annotated[int, typer.Option(min=1, help="Crops of 416 px to see in all.")] = 40000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of scenes and weights.")] = 0,
    rate: Annotated[float | None, typer.Option(min=0, help="Learning rate; 0.0015, with --start 0.0003.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads for PyTorch.")] = 2,
    pictures: Annotated[Path | None, typer.Option(help="Folder with cutouts/ and packages/ to put on shelves.")] = None,
    photos: Annotated[
        list[Path] | None, typer.Option(help="Labelled photos (YOLO, COCO, JSON), or images/SPLIT; again for more.")
    ] = None,
    start: Annotated[Path | None, typer.Option(help="Weights to go on from: NAME.npz beside a model.")] = None,
    checkpoint: Checkpoint = CHECKPOINT,
) -> None:
    """Train on rendered shelves, and on a shop's own photos; stop with Ctrl-C and run again to go on.

    Needs the extra `train`. Uses a GPU where PyTorch sees one. Exit code 130: stopped by Ctrl-C.

    Example: `cornergrid-edge vision train --photos shop --start edge/vision/models/shelf.npz --crops 3000`
    """
    # Threads that spin while others compute are slow where a machine has other work too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from edge.vision.training import train as training  # noqa: PLC0415  # needs the extra
    except ImportError as error:
        raise _give_up(ConfigError("train", (Problem("PyTorch", str(error), EXTRA),))) from error
    from edge.vision.training.labels import labelled  # noqa: PLC0415
    from edge.vision.training.provenance import sources_of  # noqa: PLC0415

    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    plan = training.Plan(crops, seed, rate=rate or (0.0003 if start else 0.0015), threads=threads)
    try:
        own = {folder: labelled(folder) for folder in photos or ()}
        sources = sources_of(pictures, {folder: len(each) for folder, each in own.items()}, start)
        everything = tuple(photo for each in own.values() for photo in each)
        for photo in _watched(everything, len(everything), "photos"):
            photo.load()  # a broken one is told now, not after an hour
        material = training.Material(pictures, everything, start, sources)
        with Progress(console=err, transient=True, disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task("crops", total=crops)

            def report(seen: int, loss: float, pace: float) -> None:
                bar.update(task, completed=seen, description=f"loss {loss:.3f}, {pace:.1f} crops/s")

            done = training.train(plan, checkpoint, SystemClock(), material, report)
    except CornergridError as error:
        raise _give_up(error) from error
    except KeyboardInterrupt as error:
        err.print(f"{checkpoint}: stopped; the same command goes on")
        raise typer.Exit(EXIT_STOPPED) from error
    out.print(f"{checkpoint}: {done.seen} crops seen; next, cornergrid-edge vision export")


@vision_app.command()
def export(
    checkpoint: Checkpoint = CHECKPOINT,
    model: Annotated[Path, typer.Option(help="The ONNX file to write.")] = EXPORTED,
    int8: Annotated[bool, typer.Option(help="8-bit, calibrated on rendered shelves.")] = True,
    also: Annotated[list[Path] | None, typer.Option(help="Checkpoint or NAME.npz to take the mean with.")] = None,
    back: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the way back to ImageNet's weights: try 0.2, compare cards.")
    ] = 0.0,
) -> None:
    """Write a checkpoint's averaged network as ONNX, and NAME.npz to train on from.

    The mean of runs that began with the same weights sees strange shelves better than each of them.

    Example: `cornergrid-edge vision export --model build/shelf.onnx --also edge/vision/models/shelf.npz`
    """
    try:
        from edge.vision.training import export as exporting  # noqa: PLC0415  # needs the extra
    except ImportError as error:
        raise _give_up(ConfigError("export", (Problem("PyTorch", str(error), EXTRA),))) from error

    try:
        with err.status("exporting"):
            made = exporting.export(checkpoint, model, int8, also=also or (), back=back)
    except CornergridError as error:
        raise _give_up(error) from error
    out.print(f"{model}: {model.stat().st_size / 1e6:.1f} MB, seed {made.seed}, {made.crops} crops")
    out.print("next: cornergrid-edge vision card")


@vision_app.command()
def install(
    new: Annotated[Path, typer.Argument(help="The model to install, its card beside it.")] = EXPORTED,
    model: Model = MODEL,
) -> None:
    """Put a model where the agent loads it; the one before is kept for `rollback`.

    Example: `cornergrid-edge vision install build/shelf.onnx --model /etc/cornergrid/shelf.onnx`
    """
    from edge.vision import install as installing  # noqa: PLC0415

    try:
        made = installing.install(new, model)
    except CornergridError as error:
        raise _give_up(error) from error
    out.print(f"{model}: installed ({made.kind}, {made.crops} crops); restart the agent to use it")


@vision_app.command()
def rollback(model: Model = MODEL) -> None:
    """Go back to the model before the last `install`; again to undo that.

    Example: `cornergrid-edge vision rollback --model /etc/cornergrid/shelf.onnx`
    """
    from edge.vision import install as installing  # noqa: PLC0415

    try:
        made = installing.rollback(model)
    except CornergridError as error:
        raise _give_up(error) from error
    out.print(f"{model}: back to {made.sha256[:12]} ({made.kind}, {made.crops} crops); restart the agent to use it")
