"""The feed over HTTP: real server, real sockets."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from cloud_ingest import http
from cloud_ingest.http import Server
from cloud_ingest.release import release
from cloud_ingest.store.protocol import Item
from edge.errors import ConfigError
from tests.cloud_ingest.feeding import CELL, COLA, FAR, MILK, NOW, T0, Cloud


@pytest.fixture
def server(cloud: Cloud) -> Iterator[Server]:
    cloud.send("shop-a", COLA, T0, sold=3.0, in_stock=450.0, observed=900.0)
    cloud.send("shop-a", MILK, T0, sold=0.0, in_stock=0.0, observed=900.0)
    made = http.start(cloud.path, "127.0.0.1", 0, "operator")
    yield made
    made.stop()


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.address, timeout=10, trust_env=False) as made:
        yield made


def test_the_feed_comes_in_every_format(client: httpx.Client) -> None:
    rows = client.get("/v1/feed", params={"sku": COLA}).json()
    assert [(row["cell"], row["sold"], row["demand"]) for row in rows] == [(CELL, 3.0, 6.0)]
    assert client.get("/v1/feed", params={"sku": MILK}).json()[0]["demand"] is None
    text = client.get("/v1/feed", params={"format": "csv"})
    assert text.headers["content-type"].startswith("text/csv")
    assert text.text.startswith("cell,sku,start,")
    data = client.get("/v1/feed", params={"format": "parquet", "window": "1h", "resolution": 9}).content
    assert pq.read_table(io.BytesIO(data)).num_rows == 2
    assert client.get("/v1/feed", params={"since": "2026-03-03"}).json() == []


def test_pages_follow_each_other_and_hold_each_row_once(client: httpx.Client, cloud: Cloud) -> None:
    for quarter in range(1, 5):
        cloud.send("shop-c", COLA, T0 + 900 * quarter, sold=1.0)
    asked = {"limit": "2", "resolution": "9"}
    whole = client.get("/v1/feed", params={"resolution": 9}).json()
    answer = client.get("/v1/feed", params=asked)
    pages = [answer.json()]
    while "next" in answer.links:
        answer = client.get(answer.links["next"]["url"])
        pages.append(answer.json())
    assert [len(page) for page in pages] == [2, 2, 2, 0]
    assert [row for page in pages for row in page] == whole
    wrong = client.get("/v1/feed", params={"after": "x", **asked})
    assert "is no cursor" in wrong.json()["detail"]
    cursor = httpx.URL(client.get("/v1/feed", params=asked).links["next"]["url"]).params["after"]
    other = client.get("/v1/feed", params={"after": cursor, "resolution": "8"})
    assert (other.status_code, "another question" in other.json()["detail"]) == (422, True)


def test_an_answer_that_has_not_changed_is_not_sent_again(client: httpx.Client, cloud: Cloud) -> None:
    first = client.get("/v1/feed")
    again = client.get("/v1/feed", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/v1/feed?window=1h", headers={"If-None-Match": first.headers["etag"]}).status_code == 200
    cloud.send("shop-c", COLA, T0, sold=1.0)
    assert client.get("/v1/feed", headers={"If-None-Match": first.headers["etag"]}).status_code == 200


def test_an_answer_by_a_new_model_is_sent_again(client: httpx.Client, cloud: Cloud) -> None:
    first = client.get("/v1/feed")
    release(cloud.path, NOW)
    again = client.get("/v1/feed", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.headers["cornergrid-revision"]) == (200, first.headers["cornergrid-revision"])
    assert again.json() != first.json()


def test_filters_by_area_sku_and_category(client: httpx.Client, cloud: Cloud) -> None:
    cloud.send("shop-c", COLA, T0, sold=1.0)
    cloud.store.put_items([Item(MILK, "Milk 1 l", "dairy", 1000, "ml", replaces=("old-milk",))])
    cloud.send("shop-c", "old-milk", T0, sold=7.0)

    def found(**params: object) -> set[tuple[str, str]]:
        return {(row["cell"], row["sku"]) for row in client.get("/v1/feed", params=params).json()}  # type: ignore[arg-type]

    assert found(bbox="13.41,52.53,13.43,52.55") == {(FAR, COLA), (FAR, MILK)}
    assert found(polygon="13.37,52.51;13.39,52.51;13.38,52.53", sku=COLA) == {(CELL, COLA)}
    assert found(cell=FAR, sku=[COLA, MILK]) == {(FAR, COLA), (FAR, MILK)}
    assert found(category="dairy") == {(CELL, MILK), (FAR, MILK)}
    assert found(sku="old-milk") == {(CELL, MILK), (FAR, MILK)}
    assert found(cell="881f1d4881fffff") == set()
    assert "no SKU in the catalogue" in client.get("/v1/feed", params={"category": "bread"}).text
    assert [row["sold"] for row in client.get("/v1/feed", params={"store": "store-c", "sku": COLA}).json()] == [1.0]


def test_a_public_server_gives_nothing_that_tells_of_a_shop(cloud: Cloud) -> None:
    cloud.send("shop-a", COLA, T0, sold=3.0)
    made = http.start(cloud.path, "127.0.0.1", 0)
    try:
        with httpx.Client(base_url=made.address, timeout=10, trust_env=False) as reader:
            answer = reader.get("/v1/feed")
            assert (answer.json(), answer.headers["cornergrid-scope"]) == ([], "public")
            for path in ("/v1/feed?scope=operator", "/v1/changes?scope=operator", "/v1/cells.geojson",
                         "/v1/devices", "/v1/quarantine"):
                refused = reader.get(path)
                assert (path, refused.status_code, "--scope operator" in refused.text) == (path, 403, True)
            assert reader.get("/v1/feed?store=store-a").status_code == 422
            assert reader.get("/v1/health").json()["scope"] == "public"
    finally:
        made.stop()


def test_the_schema_tells_meaning_and_units(client: httpx.Client) -> None:
    told = client.get("/openapi.json").json()["components"]["schemas"]["FeedRow"]["properties"]
    assert set(told) == set(client.get("/v1/schema").json())
    assert "seconds" in told["window_s"]["description"]
    assert all(each["description"] for each in told.values())


@pytest.mark.parametrize("params", [{"window": "7m"}, {"resolution": "12"}, {"since": "x"}, {"format": "xml"}])
def test_a_wrong_question_is_answered_with_what_is_wrong(client: httpx.Client, params: dict[str, str]) -> None:
    answer = client.get("/v1/feed", params=params)
    assert answer.status_code == 422
    assert next(iter(params)) in answer.text


def test_the_cells_tell_the_latest_window(client: httpx.Client) -> None:
    found = client.get("/v1/cells.geojson", params={"resolution": 8})
    assert found.headers["content-type"] == "application/geo+json"
    collection = found.json()
    assert collection["latest"] == T0
    own = {each["id"]: each["properties"] for each in collection["features"] if each["properties"]["stores"]}
    assert own[CELL] == {"cell": CELL, "stores": 2, "stores_reporting": 1, "complete_to": None, "sold": 3.0,
                         "demand": 6.0, "in_stock_share": 0.25, "skus": 2, "unknown": 1}
    assert len(own) == 2
    assert [props["demand"] for cell, props in own.items() if cell != CELL] == [None]
    assert len(collection["features"]) > 8
    for each in collection["features"]:
        outline = each["geometry"]["coordinates"][0]
        assert outline[0] == outline[-1]


def test_the_registry_and_the_health_can_be_read(client: httpx.Client, cloud: Cloud) -> None:
    cloud.tell_state("shop-a")
    devices = {each["id"]: each for each in client.get("/v1/devices").json()}
    assert devices["shop-a"]["online"] is True
    assert devices["shop-a"]["state"]["sensors"] == {"scale-1": "ok"}
    assert devices["shop-b"]["state"] is None
    assert client.get("/v1/quarantine").json() == []
    cloud.send("shop-unknown", COLA, T0, sold=1.0)
    assert "unregistered" in client.get("/v1/quarantine").json()[0]["reason"]
    health = client.get("/v1/health").json()
    assert health["status"] == "ok"
    assert health["revision"] > 0


def test_a_change_is_told_while_the_stream_is_open(client: httpx.Client, cloud: Cloud) -> None:
    with client.stream("GET", "/v1/changes") as stream:
        lines = (line for line in stream.iter_lines() if line.startswith("data: "))
        first = int(next(lines).removeprefix("data: "))
        cloud.send("shop-b", COLA, T0, sold=1.0)
        assert int(next(lines).removeprefix("data: ")) == first + 1


def test_a_client_that_comes_back_hears_what_it_missed(client: httpx.Client, cloud: Cloud) -> None:
    before = client.get("/v1/health").json()["revision"]
    cloud.send("shop-c", COLA, T0 - 900, sold=1.0)
    cloud.send("shop-c", COLA, T0, sold=1.0)
    with client.stream("GET", "/v1/changes", headers={"Last-Event-ID": str(before)}) as stream:
        lines = iter(stream.iter_lines())
        assert next(line for line in lines if line.startswith("id: ")) == f"id: {before + 2}"
        assert next(line for line in lines if line == "event: change")
        change = json.loads(next(lines).removeprefix("data: "))
    assert change == {"revision": before + 2, "first": T0 - 900, "last": T0, "cells": [FAR]}


def test_stop_ends_open_streams_and_frees_the_port(cloud: Cloud) -> None:
    made = http.start(cloud.path, "127.0.0.1", 0, "operator")
    port = int(made.address.rpartition(":")[2])
    ended, opened = threading.Event(), threading.Event()

    def listen() -> None:
        with httpx.Client(trust_env=False) as reader, reader.stream("GET", f"{made.address}/v1/changes") as stream:
            for _ in stream.iter_lines():
                opened.set()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    assert opened.wait(10)
    made.stop()
    assert ended.wait(10)
    made.stop()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def test_a_taken_address_is_an_error_with_a_fix(server: Server, cloud: Cloud) -> None:
    with pytest.raises(ConfigError, match="--http"):
        http.start(cloud.path, "127.0.0.1", int(server.address.rpartition(":")[2]))


def test_a_lost_database_is_told_as_such(tmp_path: Path) -> None:
    made = http.start(tmp_path / "none.db", "127.0.0.1", 0)
    try:
        answer = httpx.get(f"{made.address}/v1/health", trust_env=False)
        assert answer.status_code == 503
        assert "no such database" in answer.json()["detail"]
    finally:
        made.stop()


def test_nothing_leads_outside(client: httpx.Client) -> None:
    for path in ("/", "/web/app.js", "/web/style.css", "/web/icon.svg", "/openapi.json", "/v1/feed"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        outside = answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in outside
        assert "https://" not in outside
    assert client.get("/docs").status_code == 404
    assert client.get("/web/../http.py").status_code == 404
    assert "/v1/feed" in json.loads(client.get("/openapi.json").text)["paths"]
