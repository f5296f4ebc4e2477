"""Products by their barcode or name: a catalogue file, and how somebody at the box picks one of it."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from edge.commissioning.place import Place
from edge.errors import ConfigError, Problem
from edge.profile import check_sku

MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Product:
    """One line of the catalogue."""

    sku: str
    name: str


def read_catalogue(path: Path) -> tuple[Product, ...]:
    """The products of a CSV file with the columns `gtin` and `name`; ConfigError with every line that is wrong."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(str(path), (Problem("file", f"cannot be read: {error}", "CSV in UTF-8"),)) from error
    products, problems = [], []
    for number, row in enumerate(rows, 2):
        try:
            products.append(Product(check_sku((row["gtin"] or "").strip()), (row["name"] or "").strip()))
        except KeyError as error:
            raise ConfigError(str(path), (Problem("columns", f"{error} is missing", "gtin,name"),)) from error
        except ValueError as error:
            problems.append(Problem(f"line {number}", str(error)))
    if problems:
        raise ConfigError(str(path), tuple(problems))
    return tuple(products)


def search(catalogue: tuple[Product, ...], words: str) -> tuple[Product, ...]:
    """The products meant: by barcode (UPC or EAN, with or without leading zeros), else by all words of a name."""
    digits = words.replace(" ", "")
    if digits.isdigit():
        whole = tuple(each for each in catalogue if each.sku.lstrip("0") == digits.lstrip("0"))
        return whole or tuple(each for each in catalogue if each.sku.endswith(digits))
    wanted = words.lower().split()
    return tuple(each for each in catalogue if all(word in each.name.lower() for word in wanted))


def named(what: str, words: str, place: Place) -> Product | None:
    """The product at a place that is told as `what`, found by `words` or asked for; None where it is left out."""
    catalogue = read_catalogue(Path(place.answers.catalogue)) if place.answers.catalogue else ()
    while True:
        words = words or place.person.ask(f"{what}: barcode or name (Enter: leave it out)")
        if not words:
            return None
        found = search(catalogue, words)
        if len(found) == 1:
            place.person.tell(f"  that is {found[0].sku} {found[0].name}")
            return found[0]
        wrong = ""
        if not found and words.isdigit():
            try:
                return Product(check_sku(words), "")  # a whole barcode that no catalogue knows is a SKU too
            except ValueError as error:
                wrong = f"  {error}\n"
        place.person.tell("".join(f"  {hit.sku}  {hit.name}\n" for hit in found[:MOST_SHOWN])
                          + f"{wrong}  {len(found)} products: scan the barcode, or type more of the name")
        if not place.person.there:
            return None
        words = ""
