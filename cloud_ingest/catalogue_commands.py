"""The catalogue from a terminal: what a SKU is, and deliveries with a date."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

Database = Annotated[Path, typer.Option("--db", help="The ingest's database file.")]


def register(app: typer.Typer) -> None:
    """Add the commands `catalogue load`, `catalogue deliveries` and `catalogue list`."""
    catalogue = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="What the SKUs are.")
    catalogue.command("load")(_load)
    catalogue.command("deliveries")(_deliveries)
    catalogue.command("list")(_list)
    app.add_typer(catalogue, name="catalogue")


def _load(file: Annotated[Path, typer.Argument(metavar="FILE.csv")], db: Database = Path("cloud.db")) -> None:
    """Put SKUs into the catalogue, or change them.

    Columns: sku, and as known name, category, amount, unit (g, ml or piece: what one piece holds), launched (the day
    a new product came), most_celsius (the warmest it may be kept), replaces (SKUs it had before, by blanks: their
    facts count for it).

    Example: `cornergrid-cloud catalogue load skus.csv --db cloud.db`
    """
    from cloud_ingest.catalogue import load_items  # noqa: PLC0415  # Arrow is slow to load
    from cloud_ingest.store import STORES  # noqa: PLC0415

    items = load_items(file)
    store = STORES["sqlite"](db)
    store.put_items(items)
    store.close()
    typer.echo(f"{len(items)} SKUs are in the catalogue")


def _deliveries(file: Annotated[Path, typer.Argument(metavar="FILE.csv")], db: Database = Path("cloud.db")) -> None:
    """Note deliveries whose date is known: store, sku, best_before, received, units.

    Example: `cornergrid-cloud catalogue deliveries delivered.csv --db cloud.db`
    """
    from cloud_ingest.catalogue import load_deliveries  # noqa: PLC0415
    from cloud_ingest.store import STORES  # noqa: PLC0415

    deliveries = load_deliveries(file)
    store = STORES["sqlite"](db)
    store.put_deliveries(deliveries)
    store.close()
    typer.echo(f"{len(deliveries)} deliveries are noted")


def _list(db: Database = Path("cloud.db")) -> None:
    """The catalogue as CSV.

    Example: `cornergrid-cloud catalogue list --db cloud.db`
    """
    import pyarrow.csv as pa_csv  # noqa: PLC0415

    from cloud_ingest.catalogue import read_catalogue  # noqa: PLC0415

    pa_csv.write_csv(read_catalogue(db), sys.stdout.buffer, pa_csv.WriteOptions(quoting_style="needed"))
