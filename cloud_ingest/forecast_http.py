"""The production feed over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query

from cloud_ingest import forecast
from cloud_ingest.area import parse_area
from cloud_ingest.feed_http import ScopeAsked, Served
from cloud_ingest.forecast_reading import Asked, Production, read_production
from edge.clock import SystemClock

Region = Annotated[int, Query(ge=5, le=9, description="H3 resolution of the regions")]
Days = Annotated[int, Query(ge=1, le=forecast.HORIZON, description="Days ahead")]


def add(app: FastAPI, served: Served) -> None:
    """Add the route."""

    @app.get("/v1/forecast")
    def production(
        resolution: Region = 6, days: Days = forecast.HORIZON, sku: Annotated[list[str] | None, Query()] = None,
        category: str | None = None, cell: str | None = None, bbox: str | None = None, polygon: str | None = None,
        scope: ScopeAsked = None,
    ) -> Production:
        """Units expected per SKU and region on each of the next days, with 80% intervals, by seasonal-naive.

        `cornergrid-cloud demand forecast` compares it with exponential smoothing, which takes minutes.
        """
        return read_production(Asked(
            served.db, SystemClock().now(), served.allowed(scope), resolution, days, parse_area(cell, bbox, polygon),
            tuple(sku) if sku else None, category, (forecast.SIMPLE,)))
