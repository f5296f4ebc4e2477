"""The training commands: `python -m edge.vision.training train | export | evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import rich
import rich.table
import typer

from edge.clock import SystemClock
from edge.vision.training import evaluate as judging
from edge.vision.training import export as exporting
from edge.vision.training import train as training

app = typer.Typer(no_args_is_help=True, help="Train, export and judge the shelf detector.")
CHECKPOINT = Path("build/shelf.pt")
MODEL = Path(__file__).parents[1] / "models" / "shelf.onnx"


@app.callback()
def _commands() -> None:
    """Train, export and judge the shelf detector."""


Checkpoint = Annotated[Path, typer.Option(help="Where the run is kept; an existing one is resumed.")]


@app.command(epilog="Example: python -m edge.vision.training train --crops 12000")
def train(
    crops: Annotated[int, typer.Option(help="Crops of 416 px to see in all.")] = 12000,
    seed: Annotated[int, typer.Option(help="Seed of scenes and weights.")] = 0,
    batch: Annotated[int, typer.Option(help="Crops a step.")] = 16,
    threads: Annotated[int, typer.Option(help="CPU threads for PyTorch.")] = 2,
    checkpoint: Checkpoint = CHECKPOINT,
) -> None:
    """Train on rendered shelves; stop with Ctrl-C and run again to go on."""

    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    training.train(training.Plan(crops, seed, batch, threads=threads), checkpoint, SystemClock())


@app.command(epilog="Example: python -m edge.vision.training export --model edge/vision/models/shelf.onnx")
def export(
    checkpoint: Checkpoint = CHECKPOINT,
    model: Annotated[Path, typer.Option(help="The ONNX file to write.")] = MODEL,
) -> None:
    """Write a checkpoint's averaged network as ONNX; then `evaluate` makes its card."""

    made = exporting.export(checkpoint, model)
    rich.print(f"{model}: {model.stat().st_size / 1e6:.1f} MB, seed {made.seed}, {made.crops} crops")


@app.command(epilog="Example: python -m edge.vision.training evaluate --val eval/val --test eval/test")
def evaluate(
    val: Annotated[Path, typer.Option(help="Photos that choose the threshold.", exists=True, file_okay=False)],
    test: Annotated[Path, typer.Option(help="Photos that judge.", exists=True, file_okay=False)],
    model: Annotated[Path, typer.Option(help="The ONNX file to judge.", exists=True)] = MODEL,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
) -> None:
    """Judge a model on labelled photos (NAME.jpg with NAME.json: {w, h, boxes}) and write its card."""

    card = judging.evaluate(model, val, test, SystemClock())
    if as_json:
        typer.echo(msgspec.json.encode(card))
        return
    title = f"{model}, threshold {card.threshold}"
    table = rich.table.Table("photos", "AP50", "AP75", "AP", "count error", title=title)
    for name, row in (("val", card.val), ("test", card.test)):
        if row is not None:
            figures = (row.ap50, row.ap75, row.ap, row.count_mape)
            table.add_row(f"{name} ({row.photos})", *(f"{figure:.3f}" for figure in figures))
    rich.print(table)


if __name__ == "__main__":
    app()
