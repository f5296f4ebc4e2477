"""The production feed over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, Query

from cloud_ingest import forecast
from cloud_ingest.area import parse_area
from cloud_ingest.feed_http import Box, Category, Cell, Polygon, ScopeAsked, Skus
from cloud_ingest.forecast_reading import Asked, Production, read_production
from cloud_ingest.gate import Asking
from edge.clock import SystemClock

Region = Annotated[int, Query(ge=5, le=9, description="H3 resolution of the regions")]
Days = Annotated[int, Query(ge=1, le=forecast.HORIZON, description="Days ahead")]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which SKUs, and where, as the query string has it."""

    sku: Skus = None
    category: Category = None
    cell: Cell = None
    bbox: Box = None
    polygon: Polygon = None


def add(app: FastAPI, db: Path) -> None:
    """Add the route."""

    @app.get("/v1/forecast")
    def production(asking: Asking, only: Annotated[Filters, Depends()], resolution: Region = 6,
                   days: Days = forecast.HORIZON, scope: ScopeAsked = None) -> Production:
        """Units expected per SKU and region on each of the next days, with 80% intervals, by seasonal-naive.

        `cornergrid-cloud demand forecast` compares it with exponential smoothing, which takes minutes.
        """
        return read_production(Asked(
            db, SystemClock().now(), asking.allowed(scope), resolution, days,
            parse_area(only.cell, only.bbox, only.polygon), tuple(only.sku) if only.sku else None, only.category,
            (forecast.SIMPLE,)))
