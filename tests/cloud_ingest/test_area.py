"""Areas choose the cells whose centre lies in them, on both sides of the date line and at a pentagon."""

from __future__ import annotations

import h3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_ingest.area import Area, parent, parse_area, within
from cloud_ingest.grid import cells_of, ring
from edge.errors import ConfigError

FIJI = [(-17.8, 178.5), (-17.8, -179.5), (-16.2, -179.5), (-16.2, 178.5)]
PENTAGON = next(cell for cell in h3.get_pentagons(5) if h3.cell_to_latlng(cell)[0] > 40)


def around(lat: float, lon: float, k: int = 12, resolution: int = 6) -> list[int]:
    return [h3.str_to_int(cell) for cell in h3.grid_disk(h3.latlng_to_cell(lat, lon, resolution), k)]


def text(points: list[tuple[float, float]]) -> str:
    return ";".join(f"{lon},{lat}" for lat, lon in points)


POINT = st.tuples(st.floats(51.6, 53.4), st.floats(12.4, 14.4))


@settings(max_examples=60)
@given(st.lists(POINT, min_size=3, max_size=7, unique=True))
def test_a_polygon_chooses_what_h3_chooses(points: list[tuple[float, float]]) -> None:
    cells = around(52.5, 13.4, 30)
    try:
        expected = {h3.str_to_int(cell) for cell in h3.polygon_to_cells(h3.LatLngPoly(points), 6)}
    except h3.H3BaseException:  # a bow tie of no area
        return
    found = set(within(parse_area(polygon=text(points)), cells, 6))
    close = {cell for cell in found ^ expected if _on_an_edge(cell, points)}
    assert found ^ expected == close


def _on_an_edge(cell: int, points: list[tuple[float, float]]) -> bool:
    """Whether a centre lies so close to an edge that rounding decides; H3 also crosses itself differently."""
    lat, lon = h3.cell_to_latlng(h3.int_to_str(cell))
    for (y0, x0), (y1, x1) in zip(points, [*points[1:], points[0]], strict=True):
        length = (x1 - x0) ** 2 + (y1 - y0) ** 2
        t = max(0.0, min(1.0, ((lon - x0) * (x1 - x0) + (lat - y0) * (y1 - y0)) / length)) if length else 0.0
        if abs(lon - x0 - t * (x1 - x0)) + abs(lat - y0 - t * (y1 - y0)) < 1e-6:
            return True
    return False


def test_a_polygon_across_the_date_line_is_the_short_way_round() -> None:
    cells = around(-17, 180, 40)
    expected = {h3.str_to_int(cell) for cell in h3.polygon_to_cells(h3.LatLngPoly(FIJI), 6)}
    assert len(expected) > 100
    assert set(within(parse_area(polygon=text(FIJI)), cells, 6)) == expected
    beyond = [(lat, lon + 360 if lon < 0 else lon) for lat, lon in FIJI]
    assert set(within(parse_area(polygon=text(beyond)), cells, 6)) == expected
    assert set(within(parse_area(bbox="178.5,-17.8,-179.5,-16.2"), cells, 6)) == expected
    sides = {h3.cell_to_latlng(h3.int_to_str(cell))[1] > 0 for cell in expected}
    assert sides == {True, False}


def test_a_box_of_the_whole_world_holds_everything() -> None:
    cells = around(-17, 180) + around(52, 13) + around(0, 0)
    assert within(parse_area(bbox="-180,-90,180,90"), cells, 6) == cells
    assert within(Area(), cells, 6) == cells


def test_a_hole_is_outside() -> None:
    outer = [[13.0, 52.2], [13.8, 52.2], [13.8, 52.8], [13.0, 52.8], [13.0, 52.2]]
    inner = [[13.3, 52.4], [13.5, 52.4], [13.5, 52.6], [13.3, 52.6], [13.3, 52.4]]
    cells = around(52.5, 13.4, 20)
    whole = within(parse_area(polygon=f'{{"type":"Polygon","coordinates":[{outer}]}}'), cells, 6)
    holed = within(parse_area(polygon=f'{{"type":"Polygon","coordinates":[{outer},{inner}]}}'), cells, 6)
    inside = f'{{"type":"Feature","geometry":{{"type":"MultiPolygon","coordinates":[[{inner}]]}}}}'
    hole = within(parse_area(polygon=inside), cells, 6)
    assert len(hole) > 3
    assert set(whole) == set(holed) | set(hole)
    assert not set(holed) & set(hole)


def test_a_cell_holds_its_children_and_is_found_by_one() -> None:
    fine = cells_of(52.5163, 13.3777)
    child, coarse = h3.str_to_int(fine[0]), h3.str_to_int(fine[3])
    assert within(parse_area(cell=fine[3]), [child, h3.str_to_int(cells_of(48.1, 11.5)[0])], 9) == [child]
    assert within(parse_area(cell=fine[0]), [coarse], 6) == [coarse]
    assert within(parse_area(cell=h3.cell_to_parent(fine[0], 2)), [child], 9) == [child]


@given(st.floats(-89, 89), st.floats(-180, 180), st.integers(0, 9))
def test_a_parent_is_h3s_parent(lat: float, lon: float, level: int) -> None:
    cell = h3.latlng_to_cell(lat, lon, 9)
    assert parent(h3.str_to_int(cell), level) == h3.str_to_int(h3.cell_to_parent(cell, level))


def test_a_cell_at_a_pentagon_is_a_cell_like_others() -> None:
    lat, lon = h3.cell_to_latlng(PENTAGON)
    cells = cells_of(lat, lon)
    assert cells[4] == PENTAGON
    assert all(h3.is_pentagon(cell) for cell in cells)
    assert ring(PENTAGON)[0] == ring(PENTAGON)[-1]
    children = [h3.str_to_int(child) for child in h3.cell_to_children(PENTAGON)]
    assert len(children) == 6
    assert within(parse_area(cell=PENTAGON), children, 6) == children
    assert {parent(child, 5) for child in children} == {h3.str_to_int(PENTAGON)}


@pytest.mark.parametrize(("given", "told"), [
    ({"cell": "' OR 1"}, "is no H3 cell"), ({"cell": "f" * 18}, "is no H3 cell"),
    ({"polygon": '{"type":"Polygon","coordinates":[]}'}, "Polygon is empty"),
    ({"polygon": '{"type":"MultiPolygon","coordinates":[]}'}, "MultiPolygon is empty"),
    ({"polygon": '{"type":"MultiPolygon","coordinates":[[]]}'}, "three points"),
    ({"cell": "881f1d4887ffff"}, "is no H3 cell"),
    ({"bbox": "1,2,3"}, "is not 4 numbers"), ({"bbox": "13,53,14,52"}, "south lies north"),
    ({"bbox": "52.5,13.4,north,3"}, "could not convert"), ({"polygon": "13,52;14,53"}, "three points"),
    ({"polygon": "13,52;14,95;13,53"}, "no longitude and latitude"), ({"polygon": '{"type":"Point"}'}, "GeoJSON"),
    ({"polygon": '{"type":"Point","coordinates":[1,2]}'}, "Point is no area"), ({"polygon": "{"}, "line 1"),
    ({"polygon": "0,80;120,80;-120,80"}, "around a pole"), ({"polygon": "nan,1;2,3;4,5"}, "nan,1 is no longitude"),
    ({"polygon": "1,1;2,2;1,3", "bbox": "1,1,2,2"}, "beside a polygon"),
])
def test_a_wrong_area_says_what_is_right(given: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match="area") as caught:
        parse_area(**given)
    assert told in str(caught.value)
