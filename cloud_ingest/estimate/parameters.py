"""The estimator's few numbers: what each means, and the shipped table of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edge.errors import ConfigError, Problem

SHIPPED = Path(__file__).with_name("parameters.toml")
SOURCE = "# Chosen by `cornergrid-cloud demand fit` on half of the shops of a file and judged on the others.\n"


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is pooled, how far the past counts, how wide the intervals are. `units` are units sold."""

    category_units: Annotated[float, Meta(gt=0, description=(
        "A category's shares of the day move from those of all sales once it has sold about this many units"))]
    sku_units: Annotated[float, Meta(gt=0, description="The same for a SKU's shares, from its category's")]
    weekday_units: Annotated[float, Meta(gt=0, description="The same for a category's weekday factors")]
    memory_days: Annotated[float, Meta(gt=0, description=(
        "A past day counts 1/e after this many days in the level of a series"))]
    level_days: Annotated[float, Meta(gt=0, description=(
        "A series' level moves from its SKU's once it was seen for about this many days; SKU from category alike"))]
    today_all_units: Annotated[float, Meta(gt=0, description=(
        "How today runs, for all series: believed once about this many units were expected in the time seen"))]
    today_region_units: Annotated[float, Meta(gt=0, description="The same within a region")]
    today_sku_units: Annotated[float, Meta(gt=0, description="The same for a SKU")]
    today_both_units: Annotated[float, Meta(gt=0, description="The same for a SKU within a region")]
    today_store_units: Annotated[float, Meta(gt=0, description="The same within a store")]
    prior_units: Annotated[float, Meta(gt=0, description=(
        "Shape of the gamma prior of a day's rate, constant part: a series' own sales of the day weigh against it"))]
    prior_share: Annotated[float, Meta(ge=0, description=(
        "The same shape, part per unit expected: one part of a day tells only so much about the rest"))]
    noise: Annotated[float, Meta(gt=0, description="Variance of what was lost, per unit: 1 would be Poisson")]
    spread: Annotated[float, Meta(ge=0, description="Variance of what was lost, per unit squared")]
    common: Annotated[float, Meta(ge=0, description=(
        "Variance of a cell's loss per unit squared that its series share, so that it does not average out"))]
    whole: Annotated[float, Meta(ge=0, description=(
        "Units by which each end of an interval lies further out, since what is lost comes in whole units"))] = 0.0


def read_parameters(file: Path = SHIPPED) -> Parameters:
    """The parameters in a TOML file; ConfigError where it cannot be read or says something else."""
    try:
        return msgspec.toml.decode(file.read_bytes(), type=Parameters)
    except OSError as error:
        raise ConfigError(str(file), (Problem("file", f"cannot be read: {error.strerror}"),)) from error
    except (msgspec.DecodeError, ValueError) as error:
        fix = "write it with `cornergrid-cloud demand fit FILE.parquet --out parameters.toml`"
        raise ConfigError(str(file), (Problem("parameters", str(error), fix),)) from error


def to_toml(parameters: Parameters) -> str:
    """The parameters as a TOML file, each with its meaning."""
    kinds = {field.name: field.type for field in msgspec.inspect.type_info(Parameters).fields}  # type: ignore[attr-defined]  # a Struct's info has fields
    lines = []
    for name, value in msgspec.structs.asdict(parameters).items():
        told = kinds[name].extra_json_schema["description"]
        lines.append(f"\n# {told}.\n{name} = {value:.6g}\n")
    return SOURCE + "".join(lines)
