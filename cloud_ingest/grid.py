"""The map grid: H3 cells of a place, their outlines and their neighbours.

H3 (h3geo.org) is a grid of hexagons on the globe; a resolution 8 cell covers about 0.7 km2 and holds roughly
seven of resolution 9. A coarser cell is always taken as a cell's *parent*, never from the coordinates again:
hexagons do not nest exactly, and a store near an edge would else belong to one cell here and another there.
"""

from __future__ import annotations

from collections.abc import Iterable

import h3

FINEST = 9
RESOLUTIONS = (9, 8, 7, 6, 5)
"""The resolutions that are stored per store, in the order of `cells_of`."""


def cells_of(lat: float, lon: float) -> tuple[str, str, str, str, str]:
    """The cells at resolutions 9, 8, 7, 6 and 5 of a place in degrees (WGS 84)."""
    finest = str(h3.latlng_to_cell(lat, lon, FINEST))
    r8, r7, r6, r5 = (str(h3.cell_to_parent(finest, resolution)) for resolution in RESOLUTIONS[1:])
    return finest, r8, r7, r6, r5


def ring(cell: str) -> list[list[float]]:
    """The cell's outline as a closed GeoJSON ring: [longitude, latitude] in degrees (RFC 7946).

    A ring over the antimeridian continues beyond 180 degrees instead of crossing the whole map.
    """
    points = [[float(lon), float(lat)] for lat, lon in h3.cell_to_boundary(cell)]
    first = points[0][0]
    for point in points:
        point[0] += 360 * ((first - point[0] > 180) - (point[0] - first > 180))
    return [*points, list(points[0])]


def neighbours(cells: Iterable[str], k: int) -> set[str]:
    """The cells within `k` steps of any of `cells`, without these."""
    own = set(cells)
    return {str(near) for cell in own for near in h3.grid_disk(cell, k)} - own
