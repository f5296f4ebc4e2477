"""Whether a public answer is still the one a client has: it follows the catalogue, and no shop that is hidden."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h3
import httpx
import pytest

from cloud_ingest.release import release
from cloud_ingest.store.protocol import Item
from tests.cloud_ingest.doors import client, serving
from tests.cloud_ingest.town import DAY, MIDNIGHT, REGION, Town, quarters

COLA, WATER = "4000417025005", "4000417025012"
PLACES = quarters(2, [6, 7])
WEST = h3.cell_to_parent(PLACES[0], 7)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path / "cloud.db", PLACES)
    made.store.put_items([Item(COLA, "Cola", "drinks"), Item(WATER, "Water", "drinks")])
    made.send((f"s{shop}", sku, MIDNIGHT + 8 * 3600, {"sold": 2.0, "in_stock": 900.0, "observed": 900.0})
              for shop in range(13) for sku in (COLA, WATER))
    release(made.path, MIDNIGHT + 3 * DAY)
    yield made
    made.store.close()


@pytest.fixture
def reader(town: Town) -> Iterator[httpx.Client]:
    with serving(town.path, "public") as server, client(server) as made:
        yield made


def known(answer: httpx.Response) -> dict[str, str]:
    return {"If-None-Match": answer.headers["etag"]}


def skus(answer: httpx.Response) -> set[str]:
    return {row["sku"] for row in answer.json()}


def test_a_rename_is_told_without_a_release(town: Town, reader: httpx.Client) -> None:
    first = reader.get("/v1/feed?resolution=5&window=1d")
    assert reader.get("/v1/feed?resolution=5&window=1d", headers=known(first)).status_code == 304
    town.store.put_items([Item("new-cola", "Cola", "drinks", replaces=(COLA,))])
    again = reader.get("/v1/feed?resolution=5&window=1d", headers=known(first))
    assert (again.status_code, skus(first), skus(again)) == (200, {COLA, WATER}, {"new-cola", WATER})
    assert again.headers["cornergrid-revision"] == first.headers["cornergrid-revision"]


def test_another_category_is_told_to_whom_asks_for_it(town: Town, reader: httpx.Client) -> None:
    asked, plain = "/v1/feed?resolution=5&window=1d&category=drinks", "/v1/feed?resolution=5&window=1d"
    first, other = reader.get(asked), reader.get(plain)
    town.store.put_items([Item(WATER, "Water", "wellness")])
    again = reader.get(asked, headers=known(first))
    assert (again.status_code, skus(first), skus(again)) == (200, {COLA, WATER}, {COLA})
    assert reader.get(plain, headers=known(other)).status_code == 304


@pytest.mark.parametrize("asked", ["/v1/feed?resolution=7&window=1d", f"/v1/feed?resolution=7&window=1d&cell={WEST}"])
def test_what_is_published_of_a_place_stays_when_the_registry_moves_its_shops(
        town: Town, reader: httpx.Client, asked: str) -> None:
    first = reader.get(asked)
    assert WEST in {row["cell"] for row in first.json()}
    for shop in range(6):
        town.add(f"s{shop}", PLACES[-1])
    again = reader.get(asked)
    assert (again.json(), again.headers["etag"]) == (first.json(), first.headers["etag"])
    assert reader.get(asked, headers=known(first)).status_code == 304


def test_a_shop_that_is_not_published_is_seen_in_no_tag(town: Town, reader: httpx.Client) -> None:
    asked = f"/v1/feed?resolution=7&window=1d&cell={h3.int_to_str(int(REGION, 16))}"
    first = reader.get(asked)
    assert first.json()
    town.add("alone", h3.cell_to_center_child(sorted(h3.cell_to_children(REGION, 7))[-1], 9))
    assert reader.get(asked, headers=known(first)).status_code == 304
