"""An area of the map as a choice of cells: an H3 cell, a bounding box or a polygon, in degrees (WGS 84).

A cell belongs to a box or polygon that its centre lies in, as H3's own `polygon_to_cells` has it. Lines run straight
on the map of longitude and latitude, the short way round: an edge of more than 180 degrees crosses the antimeridian,
as does a box whose west lies east of its east (RFC 7946, section 5.2).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import h3
import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError, Problem

Floats = NDArray[np.float64]
Ring = tuple[tuple[float, float], ...]
POINTS = 10_000


@dataclass(frozen=True, slots=True)
class Area:
    """Cells within all that is given: within `cell` or around it, within one of `polygons` (rings, the first outside).

    An area that gives nothing is the whole world.
    """

    cell: str | None = None
    polygons: tuple[tuple[Ring, ...], ...] = ()


EVERYWHERE = Area()


def parse_area(cell: str | None = None, bbox: str | None = None, polygon: str | None = None) -> Area:
    """The area; ConfigError with every fault. `bbox` is west,south,east,north; for `polygon` see `_polygons`."""
    problems: list[Problem] = []
    polygons: list[tuple[Ring, ...]] = []
    if cell is not None and not (re.fullmatch(r"[0-9a-fA-F]{15}", cell) and h3.is_valid_cell(cell)):
        problems.append(Problem("cell", f"{cell!r} is no H3 cell", "15 hexadecimal digits, like 881f1d4887fffff"))
    try:
        polygons = ([_box(bbox)] if bbox is not None else []) + ([] if polygon is None else _polygons(polygon))
    except ValueError as error:
        problems.append(Problem("bbox or polygon", str(error), "bbox=west,south,east,north; polygon=lon,lat;lon,lat;..."
                                                               " or a GeoJSON Polygon or MultiPolygon; in degrees"))
    if bbox is not None and polygon is not None:
        problems.append(Problem("bbox", "stands beside a polygon", "give one of them"))
    if problems:
        raise ConfigError("area", tuple(problems))
    return Area(cell, tuple(polygons))


def within(area: Area, cells: list[int], resolution: int) -> list[int]:
    """Those of `cells`, all of `resolution`, that belong to the area."""
    if area.cell is not None:
        wanted, level = h3.str_to_int(area.cell), h3.get_resolution(area.cell)
        if level > resolution:
            wanted, level = h3.str_to_int(h3.cell_to_parent(area.cell, resolution)), resolution
        cells = [cell for cell in cells if parent(cell, level) == wanted]
    if area.polygons and cells:
        places = np.array([h3.cell_to_latlng(h3.int_to_str(cell)) for cell in cells])
        inside = np.any([_inside(rings, places[:, 1], places[:, 0]) for rings in area.polygons], axis=0)
        cells = [cell for cell, there in zip(cells, inside, strict=True) if there]
    return cells


def parent(cell: int, resolution: int) -> int:
    """The cell's parent: its digits below `resolution` become 7, its own resolution's field becomes that."""
    low = (1 << 3 * (15 - resolution)) - 1
    return cell & ~(0xF << 52) | resolution << 52 | low


def _box(text: str) -> tuple[Ring, ...]:
    west, south, east, north = _numbers(text, 4)
    _check(((west, south), (east, north)))
    if south > north:
        raise ValueError("the south lies north of the north")
    if west > east:
        east += 360
    middle = (west + east) / 2  # a box of over 180 degrees would else be taken the short way round
    return (((west, south), (middle, south), (east, south), (east, north), (middle, north), (west, north)),)


def _polygons(text: str) -> list[tuple[Ring, ...]]:
    """From `lon,lat;lon,lat;...`, or from a GeoJSON geometry or feature."""
    if not text.lstrip().startswith("{"):
        return [_rings([[_numbers(point, 2) for point in text.strip().strip(";").split(";")]])]
    try:
        found = json.loads(text)
        geometry = found.get("geometry", found)
        kind, places = geometry["type"], geometry["coordinates"]
        if kind not in {"Polygon", "MultiPolygon"}:
            raise ValueError(f"{kind} is no area")
        if not places:
            raise ValueError(f"the {kind} is empty")
        return [_rings(rings) for rings in ([places] if kind == "Polygon" else places)]
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError("is no GeoJSON Polygon or MultiPolygon") from error


def _rings(given: list[list[Any]]) -> tuple[Ring, ...]:
    rings = tuple(tuple((float(point[0]), float(point[1])) for point in ring) for ring in given)
    if sum(map(len, rings)) > POINTS:
        raise ValueError(f"more than {POINTS} points")
    for ring in rings or ((),):
        if len(set(ring)) < 3:
            raise ValueError("a polygon needs three points")
        _check(ring)
        if abs(_unwrap(np.array([*ring, ring[0]])[:, 0])[-1] - ring[0][0]) > 1:
            raise ValueError("a polygon around a pole cannot be drawn; cut it along a meridian")
    return rings


def _check(points: Ring) -> None:
    for lon, lat in points:
        if not (-180 <= lon <= 360 and -90 <= lat <= 90):  # longitudes past 180 are usual at the antimeridian
            raise ValueError(f"{lon:g},{lat:g} is no longitude and latitude")


def _numbers(text: str, count: int) -> tuple[float, ...]:
    parts = text.split(",")
    if len(parts) != count:
        raise ValueError(f"{text[:80]!r} is not {count} numbers")
    return tuple(float(part) for part in parts)


def _unwrap(lon: Floats) -> Floats:
    """The same longitudes without jumps: each the short way on from the one before."""
    unwrapped: Floats = np.rad2deg(np.unwrap(np.deg2rad(lon)))
    return unwrapped


def _inside(rings: tuple[Ring, ...], lon: Floats, lat: Floats) -> NDArray[np.bool_]:
    """Whether points lie inside: a ray to the east crosses the rings an odd number of times."""
    odd = np.zeros(lon.shape, dtype=bool)
    start = rings[0][0][0]
    for ring in rings:
        points = np.array([*ring, ring[0]])
        east, north = _unwrap(points[:, 0]), points[:, 1]
        east += 360 * np.round((start - east[0]) / 360)
        for turn in (-360.0, 0.0, 360.0):
            for (x0, y0), (x1, y1) in zip(np.stack([east, north], 1)[:-1], np.stack([east, north], 1)[1:], strict=True):
                if y0 != y1:
                    crosses = (np.minimum(y0, y1) <= lat) & (lat < np.maximum(y0, y1))
                    odd ^= crosses & (lon + turn < x0 + (lat - y0) / (y1 - y0) * (x1 - x0))
    return odd
