"""What the page's map is drawn from: columns per window, where what is not known is None and never 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloud_ingest import frames
from cloud_ingest.frames import Asked, read_catalogue, read_frames
from cloud_ingest.release import release
from cloud_ingest.store.protocol import Item
from tests.cloud_ingest.feeding import CELL, COLA, FAR, MILK, NOW, T0, Cloud
from tests.cloud_ingest.town import DAY, MIDNIGHT, Town, quarters


def at(answer: dict[str, Any], cell: str, number: int = 0) -> dict[str, Any]:
    """The columns of one cell in one window."""
    place = answer["cells"].index(cell)
    return {name: values[place] for name, values in answer["frames"][number]["columns"].items()}


def test_a_frame_adds_up_the_skus_that_are_known(cloud: Cloud) -> None:
    cloud.send("shop-a", COLA, T0, sold=3.0, in_stock=450.0, observed=900.0)
    cloud.send("shop-b", MILK, T0, sold=0.0, in_stock=0.0, observed=900.0)
    answer = read_frames(cloud.path, "operator", Asked(), NOW)
    assert (answer["first"], answer["latest"], answer["frames"][0]["start"]) == (T0, T0, T0)
    found = at(answer, CELL)
    assert (found["demand"], found["skus"], found["unknown"], found["stores"], found["reporting"]) == (6, 2, 1, 2, 2)
    silent = at(answer, FAR)
    assert (silent["stores"], silent["reporting"]) == (1, 0)
    assert {silent[name] for name in frames.COLUMNS} - {1, 0} == {None}
    alone = at(read_frames(cloud.path, "operator", Asked(sku=MILK), NOW), CELL)
    assert (alone["sold"], alone["demand"], alone["skus"]) == (0, None, 1)


def test_many_windows_come_in_order_as_far_as_they_fit(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for quarter in (0, 2):
        cloud.send("shop-a", COLA, T0 + 900 * quarter, sold=1.0 + quarter, in_stock=900.0, observed=900.0)
    asked = Asked(start=T0 + 60, count=5)
    answer = read_frames(cloud.path, "operator", asked, NOW)
    assert [each["start"] for each in answer["frames"]] == [T0 + 900 * number for number in range(5)]
    assert [at(answer, CELL, number)["sold"] for number in range(5)] == [1, None, 3, None, None]
    monkeypatch.setattr(frames, "MOST", 7)
    assert len(read_frames(cloud.path, "operator", asked, NOW)["frames"]) == 3  # two cells each
    monkeypatch.setattr(frames, "MOST", 1)
    assert len(read_frames(cloud.path, "operator", asked, NOW)["frames"]) == 1


def test_before_the_first_fact_there_is_no_window(cloud: Cloud) -> None:
    answer = read_frames(cloud.path, "operator", Asked(), NOW)
    assert (answer["latest"], answer["frames"][0]["start"]) == (None, None)
    assert at(answer, CELL)["demand"] is None


def test_a_public_frame_has_only_published_cells(tmp_path: Path) -> None:
    town = Town(tmp_path / "town.db", quarters(2, [6, 2]))
    town.send((f"s{shop}", COLA, start, {"sold": 1.0, "in_stock": 900.0, "observed": 900.0})
              for shop in range(8) for start in range(MIDNIGHT, MIDNIGHT + DAY, 3600))
    asked = Asked(resolution=7, window_s=DAY, count=3, start=MIDNIGHT)
    assert read_frames(town.path, "public", asked, NOW)["cells"] == []
    release(town.path, MIDNIGHT + 2 * DAY)
    assert read_frames(town.path, "public", asked, NOW)["cells"] == []  # two shops would tell of themselves
    whole = read_frames(town.path, "public", Asked(resolution=5, window_s=DAY), NOW)
    assert whole["frames"][0]["columns"]["sold"] == [8 * 24]
    assert len(read_frames(town.path, "operator", asked, NOW)["cells"]) == 2


def test_the_catalogue_names_what_it_can_and_keeps_the_rest_from_the_public(cloud: Cloud) -> None:
    cloud.send("shop-a", COLA, T0, sold=1.0)
    cloud.send("shop-a", MILK, T0, sold=1.0)
    cloud.store.put_items([Item(COLA, "Cola 0.5 l", "drinks")])
    cola = {"sku": COLA, "name": "Cola 0.5 l", "category": "drinks"}
    assert read_catalogue(cloud.path, "public") == [cola]
    assert read_catalogue(cloud.path, "operator") == [{"sku": MILK, "name": MILK, "category": ""}, cola]
