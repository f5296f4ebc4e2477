"""A shop that stands alone, against every public way out: whatever it does changes no byte of any of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cloud_ingest import http
from cloud_ingest.grid import cells_of
from cloud_ingest.release import release
from cloud_ingest.store.protocol import Item
from tests.cloud_ingest.town import DAY, MIDNIGHT, Given, Town, quarters

COLA, RARE = "4000417025005", "4000417025012"
FAR = (48.137, 11.575)
NOW = MIDNIGHT + 3 * DAY
WAYS = ("/v1/feed?resolution=9&window=15m", "/v1/feed?resolution=5&window=1d&format=csv", f"/v1/feed?sku={RARE}",
        "/v1/feed?bbox=11,48,12,49", "/v1/feed?limit=1&window=1d&resolution=5", "/v1/frames?resolution=5&window=1d",
        f"/v1/frames?resolution=9&start={MIDNIGHT}&count=96", "/v1/skus", "/v1/signals/hot-spots?resolution=5",
        "/v1/signals/uptake?resolution=5", "/v1/signals/slow", "/v1/forecast?resolution=5&days=2", "/v1/health",
        "/v1/schema", "/v1/devices", "/v1/quarantine", "/v1/cells.geojson", "/v1/feed?store=alone", "/openapi.json",
        "/v1/feed?scope=operator", f"/v1/feed?cell={cells_of(*FAR)[0]}")


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path / "cloud.db", quarters(2, [6, 6]))
    made.add("alone", cells_of(*FAR)[0])
    made.store.put_items([Item(COLA, "Cola", "drinks", launched=MIDNIGHT), Item(RARE, "Rare", "drinks")])
    made.send((f"s{shop}", COLA, MIDNIGHT + day * DAY + hour * 3600, {"sold": 2.0, "in_stock": 900.0,
               "observed": 900.0}) for shop in range(12) for day in (0, 1) for hour in range(8, 12))
    made.send(alone(0, COLA))
    release(made.path, NOW)
    yield made
    made.store.close()


def alone(day: int, sku: str) -> list[Given]:
    return [("alone", sku, MIDNIGHT + day * DAY + hour * 3600, {"sold": 31337.0, "in_stock": 450.0, "observed": 900.0})
            for hour in range(24)]


def answers(address: str) -> dict[str, tuple[int, bytes, dict[str, str]]]:
    """Status, body and headers of every way, the time of the answer left out."""
    with httpx.Client(base_url=address, trust_env=False) as client:
        found = {way: client.get(way) for way in WAYS}
    return {way: (got.status_code, got.content, {name: value for name, value in got.headers.items() if name != "date"})
            for way, got in found.items()}


def test_what_a_shop_alone_does_changes_no_answer(town: Town) -> None:
    server = http.start(town.path, "127.0.0.1", 0, "public")
    before = answers(server.address)
    town.send([*alone(0, RARE), *alone(1, RARE), *alone(2, COLA)])
    release(town.path, NOW + DAY // 4)
    after = answers(server.address)
    server.stop()
    assert before["/v1/feed?resolution=5&window=1d&format=csv"][1].count(b"\n") == 3  # the head and two days
    assert {status for status, _, _ in after.values()} <= {200, 403, 422}
    assert [way for way, (_, body, _) in after.items() if b"31337" in body] == []
    # Who asks from the server's own machine, as here, is an insider and hears of the operator's revision, too.
    assert [way for way in WAYS if after[way] != before[way]] == ["/v1/health"]
    told = [json.loads(each["/v1/health"][1]) for each in (before, after)]
    assert [{**health, "revision": 0} for health in told] == [{**told[0], "revision": 0}] * 2
