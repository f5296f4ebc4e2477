"""The catalogue: what a SKU is, and which deliveries have a date. CSV files in, one table out.

    sku,name,category,amount,unit,launched,most_celsius,replaces
    4006381333931,Cola 0.5 l,drinks,500,ml,2026-03-01,,4006381333000

Only `sku` must be there. `amount` of `unit` (g, ml or piece) is what one piece holds; `launched` is the day a new
product came; `most_celsius` the warmest it may be kept; `replaces` the SKUs it had before, by blanks. A GTIN is
checked by its last digit (GS1 General Specifications, section 7.9).

    store,sku,best_before,received,units
    store-42,4006381333931,2026-03-09,2026-03-01T06:30,24
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from cloud_ingest.facts import reading
from cloud_ingest.store.protocol import Delivery, Item
from edge.errors import ConfigError, Problem

UNITS = ("g", "ml", "piece")
SCHEMA = pa.schema([("sku", pa.string()), ("name", pa.string()), ("category", pa.string()), ("amount", pa.float64()),
                    ("unit", pa.string()), ("launched", pa.int64()), ("most_celsius", pa.float64())])
MOST_PROBLEMS = 20
T = TypeVar("T")


def load_items(path: Path) -> list[Item]:
    """The SKUs in a CSV file; ConfigError with the line of every fault."""
    return _load(path, _item, {"sku"}, {"sku", "name", "category", "amount", "unit", "launched", "most_celsius",
                                        "replaces"})


def load_deliveries(path: Path) -> list[Delivery]:
    """The deliveries in a CSV file; ConfigError with the line of every fault."""
    columns = {"store", "sku", "best_before", "received", "units"}
    return _load(path, _delivery, columns, columns)


def read_catalogue(db: Path) -> pa.Table:
    """The catalogue of a database as a table."""
    with reading(db) as source:
        rows = source.execute("SELECT id, name, category, amount, unit, launched, most_celsius FROM sku ORDER BY id"
                              ).fetchall()
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, SCHEMA.types, strict=True)],
                    schema=SCHEMA)


def is_gtin(sku: str) -> bool:
    """Whether a number of 8, 12, 13 or 14 digits has the right last one; other SKUs are no GTIN."""
    if not re.fullmatch(r"\d{8}|\d{12,14}", sku):
        return False
    digits = [int(digit) for digit in reversed(sku)]
    return sum(digit * (3 if place % 2 else 1) for place, digit in enumerate(digits)) % 10 == 0


def _load(path: Path, convert: Callable[[Mapping[str, str]], T], needed: set[str], known: set[str]) -> list[T]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = set(reader.fieldnames or ())
            if (missing := needed - names) or (foreign := names - known):
                wrong = f"has no column {', '.join(sorted(missing))}" if missing else \
                    f"has the unknown column {', '.join(map(str, sorted(foreign)))}"
                raise ConfigError(str(path), (Problem("line 1", wrong, f"columns are {', '.join(sorted(known))}"),))
            found, problems = _convert(reader, convert)
    except OSError as error:
        raise ConfigError(str(path), (Problem("file", error.strerror or "cannot be read"),)) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(str(path), (Problem("file", f"is no CSV in UTF-8: {error}"),)) from error
    if problems:
        raise ConfigError(str(path), tuple(problems[:MOST_PROBLEMS]))
    return found


def _convert(reader: csv.DictReader[str], convert: Callable[[Mapping[str, str]], T]) -> tuple[list[T], list[Problem]]:
    found, problems = [], []
    for row in _cleaned(reader):
        try:
            found.append(convert(row))
        except ValueError as error:
            problems.append(Problem(f"line {reader.line_num}", str(error)))
    return found, problems


def _cleaned(reader: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    for row in reader:
        yield {name: (value or "").strip() for name, value in row.items() if isinstance(value, str | None)}


def _item(row: Mapping[str, str]) -> Item:
    unit = row.get("unit") or "piece"
    if unit not in UNITS:
        raise ValueError(f"unit {unit!r} is none of {', '.join(UNITS)}")
    replaces = tuple(_sku(old) for old in row.get("replaces", "").split())
    sku = _sku(row["sku"])
    if sku in replaces:
        raise ValueError(f"{sku} replaces itself")
    return Item(sku, row.get("name") or sku, row.get("category", ""), _number(row, "amount"), unit,
                _time(row, "launched"), _number(row, "most_celsius"), replaces)


def _delivery(row: Mapping[str, str]) -> Delivery:
    best_before, received, units = _time(row, "best_before"), _time(row, "received"), _number(row, "units")
    if not row["store"] or best_before is None or received is None or units is None or units < 0:
        raise ValueError("store, best_before, received and units (not below 0) must be there")
    return Delivery(row["store"], _sku(row["sku"]), best_before, received, units)


def _sku(text: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z_-]{1,32}", text):
        raise ValueError(f"{text!r} is no SKU: up to 32 letters, digits, - and _")
    if re.fullmatch(r"\d{13}", text) and not is_gtin(text):
        raise ValueError(f"{text} is no GTIN: its last digit is wrong, so a digit was mistyped")
    return text


def _number(row: Mapping[str, str], name: str) -> float | None:
    text = row.get(name, "")
    try:
        return float(text) if text else None
    except ValueError as error:
        raise ValueError(f"{name} {text!r} is no number") from error


def _time(row: Mapping[str, str], name: str) -> int | None:
    text = row.get(name, "")
    if not text:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{name} {text!r} is no date, like 2026-03-09") from error
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
