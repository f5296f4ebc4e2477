"""The grid: coarser cells are parents, rings are closed, neighbours surround."""

from __future__ import annotations

import itertools

import h3
from hypothesis import given
from hypothesis import strategies as st

from cloud_ingest.grid import RESOLUTIONS, cells_of, neighbours, ring

LAT = st.floats(-89, 89)
LON = st.floats(-180, 180)


@given(LAT, LON)
def test_each_coarser_cell_is_the_parent_of_the_one_before(lat: float, lon: float) -> None:
    cells = cells_of(lat, lon)
    assert [h3.get_resolution(cell) for cell in cells] == list(RESOLUTIONS)
    for fine, coarse in itertools.pairwise(cells):
        assert fine in h3.cell_to_children(coarse)


@given(st.floats(-80, 80), LON)
def test_a_ring_is_closed_and_never_crosses_the_map(lat: float, lon: float) -> None:
    outline = ring(cells_of(lat, lon)[1])
    assert outline[0] == outline[-1]
    assert len(outline) >= 6
    assert max(p[0] for p in outline) - min(p[0] for p in outline) < 10
    assert abs(outline[0][1] - lat) < 1


def test_neighbours_surround_without_the_cells_themselves() -> None:
    cell = cells_of(52.52, 13.405)[1]
    assert len(neighbours([cell], 1)) == 6
    assert len(neighbours([cell], 2)) == 18
    both = {cell, next(iter(neighbours([cell], 1)))}
    assert not neighbours(both, 1) & both
