"""The locked door: who gets in with what, from a real server over real sockets."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cloud_ingest import tokens
from cloud_ingest.gate import ASSETS, FREE
from cloud_ingest.http import Server, create_app, start
from cloud_ingest.keeper import Door, Keeper
from cloud_ingest.limits import Limits
from edge.clock import SystemClock
from edge.errors import ConfigError
from tests.cloud_ingest.doors import bearer, client, connected, counted, now, rest, serving, token
from tests.cloud_ingest.feeding import COLA, T0, Cloud

FEED = ("/", "/v1/feed", "/v1/schema", "/v1/frames", "/v1/skus", "/v1/signals/uptake", "/openapi.json", "/web/app.js")
OPERATE = ("/v1/cells.geojson", "/v1/devices", "/v1/quarantine", "/v1/feed?scope=operator",
           "/v1/signals/slow?scope=operator", "/v1/changes?scope=operator", "/v1/forecast?scope=operator")
AROUND = ("/v1/nothing", "/web", "/web/", "//v1/feed", "/v1/feed/", "/login/", "/web/login.css/../app.js")


@pytest.fixture
def db(cloud: Cloud) -> Path:
    cloud.send("shop-a", COLA, T0, sold=3.0, in_stock=450.0, observed=900.0)
    return cloud.path


@pytest.fixture
def server(db: Path) -> Iterator[Server]:
    token(db, "first")
    with serving(db) as made:
        yield made


@pytest.fixture
def stranger(server: Server) -> Iterator[httpx.Client]:
    with client(server) as made:
        yield made


def routes(db: Path) -> list[str]:
    """Every path that the application has, filled in."""
    app = create_app(db, asyncio.Event(), Keeper(db, "operator", Door(), SystemClock()))
    paths = {*(getattr(route, "path", "") for route in app.routes), *app.openapi()["paths"]} - {""}
    return sorted(path.replace("{name}", "uptake") + ("/app.js" if path == "/web" else "") for path in paths)


def test_every_route_asks_a_stranger_for_a_token(stranger: httpx.Client, db: Path) -> None:
    closed = [path for path in routes(db) if path not in {*FREE, *ASSETS}]
    assert {"/v1/feed", "/v1/changes", "/v1/devices", "/openapi.json", "/web/app.js", "/"} <= set(closed)
    for path in (*closed, *AROUND):
        answer = stranger.get(path)
        if path == "/":
            assert (answer.status_code, answer.headers["location"]) == (303, "/login")
            continue
        assert (path, answer.status_code) == (path, 401)
        assert answer.headers["www-authenticate"] == 'Bearer realm="cornergrid"'
        assert "cornergrid-cloud token add" in answer.json()["detail"]
    for path in ASSETS | {"/login"}:
        assert stranger.get(path).status_code == 200


def test_a_stranger_learns_that_the_server_lives_and_nothing_else(stranger: httpx.Client, db: Path) -> None:
    assert stranger.get("/v1/health").json() == {"status": "ok"}
    db.rename(db.with_name("gone.db"))
    answer = stranger.get("/v1/health")
    assert (answer.status_code, str(db) in answer.text) == (503, False)


@pytest.mark.parametrize("scope", ["feed", "operate", "admin"])
def test_a_token_opens_what_its_scope_says(server: Server, db: Path, scope: tokens.TokenScope) -> None:
    with client(server, headers=bearer(token(db, scope, scope))) as reader:
        for path in FEED:
            assert (path, reader.get(path).status_code) == (path, 200)
        operator = scope != "feed"
        assert reader.get("/v1/feed").headers["cornergrid-scope"] == ("operator" if operator else "public")
        assert reader.get("/v1/frames").json()["scope"] == ("operator" if operator else "public")
        health = reader.get("/v1/health").json()
        assert (health["name"], health["scope"], "revision" in health) == (
            scope, "operator" if operator else "public", operator)
        for path in OPERATE:
            with reader.stream("GET", path) as answer:
                assert (path, answer.status_code) == (path, 200 if operator else 403)
                if not operator:
                    answer.read()
                    assert 'error="insufficient_scope", scope="operate"' in answer.headers["www-authenticate"]
                    assert "scope operate" in answer.json()["detail"]
    server.stop()
    assert counted(db)["other_scope"] == (0 if scope != "feed" else len(OPERATE))


def test_a_public_server_gives_the_operator_no_more_either(cloud: Cloud) -> None:
    secret = token(cloud.path, "boss", "admin")
    with serving(cloud.path, "public") as made, client(made, headers=bearer(secret)) as reader:
        assert reader.get("/v1/feed").headers["cornergrid-scope"] == "public"
        refused = reader.get("/v1/devices")
        assert (refused.status_code, "--scope operator" in refused.text) == (403, True)


def test_what_is_no_valid_token_is_refused_with_the_reason(stranger: httpx.Client, server: Server, db: Path) -> None:
    good = token(db, "gone", "admin")
    old = tokens.add(db, "old", "admin", 1.0, now() - 2 * 86_400)
    other = f"{good[:12]}_{'0' * 40}"
    tries = {
        "wrong_token": [f"Bearer {other}", "Bearer cgt_00000000_" + "0" * 40, "Bearer", f"Basic {good}", good,
                        f"Bearer {good}x", f"Bearer {good.upper()}", "Bearer \xff\xfe"],
        "expired_token": [f"Bearer {old}", f"bearer   {old}"],
    }
    assert stranger.get("/v1/feed", headers=bearer(good)).status_code == 200
    for kind, headers in tries.items():
        for header in headers:  # with those below ten: one more would be slowed
            answer = stranger.get("/v1/feed", headers={b"Authorization": header.encode("latin-1")})
            assert (kind, header, answer.status_code) == (kind, header, 401)
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    both = [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {old}")]
    assert stranger.get("/v1/feed", headers=both).status_code == 401
    assert stranger.get("/", headers=bearer(other)).status_code == 401  # a program is not led to the login
    tokens.revoke(db, "gone", now())
    answer = stranger.get("/v1/feed", headers=bearer(good))
    assert (answer.status_code, "was revoked" in answer.json()["detail"]) == (401, True)
    server.stop()
    found = {(each.kind, each.subject): each.n for each in tokens.refused(db, 0.0)}
    assert found == {("wrong_token", "?"): 10, ("expired_token", "old"): 2, ("revoked_token", "gone"): 1}


def test_a_token_in_an_address_is_refused_and_said(stranger: httpx.Client, server: Server, db: Path) -> None:
    secret = token(db)
    places = [f"/v1/feed?token={secret}", f"/v1/feed?access_token={secret}", f"/v1/feed?sku={secret}", f"/v1/{secret}",
              f"/login?next={secret}", f"/v1/feed?x=%63gt%5F{secret.removeprefix('cgt_')}", "/v1/health?API_KEY=some"]
    for place in places:
        answer = stranger.get(place)
        assert (place, answer.status_code, "Authorization: Bearer" in answer.json()["detail"]) == (place, 400, True)
        assert secret not in answer.text
    server.stop()
    assert counted(db) == {"token_in_address": len(places)}


def test_a_thousand_guesses_are_slowed_counted_and_lock_nobody_out(db: Path) -> None:
    secret = token(db)
    with serving(db) as made, client(made) as guesser:
        answers = [guesser.get("/v1/feed", headers=bearer(f"cgt_{number:08x}_{number:040x}")) for number in range(1000)]
        statuses = [answer.status_code for answer in answers]
        assert statuses[:10] == [401] * 10
        assert statuses.count(429) > 900
        assert {answer.headers["retry-after"].isdigit() for answer in answers if answer.status_code == 429} == {True}
        assert guesser.get("/v1/feed", headers=bearer(secret)).status_code == 200
    found = counted(db)
    assert found["wrong_token"] + found["too_many_guesses"] == 1000


def test_another_page_can_read_nothing_of_an_open_server(cloud: Cloud) -> None:
    with serving(cloud.path) as made, client(made) as browser:
        for host in ("localhost", "localhost:18832", "127.0.0.1:9", "[::1]:80", "LOCALHOST"):
            assert (host, browser.get("/v1/devices", headers={"Host": host}).status_code) == (host, 200)
        for host in ("evil.example", "evil.example:18832", "localhost.evil.example", "127.0.0.1.evil.example",
                     "192.168.1.2", "0.0.0.0", "[::ffff:10.0.0.1]", ""):
            for path in ("/v1/devices", "/", "/v1/health", "/login", "/openapi.json"):
                answer = browser.get(path, headers={"Host": host})
                assert (host, path, answer.status_code) == (host, path, 421)
        for name in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
            answer = browser.get("/v1/devices", headers={name: "203.0.113.9"})
            assert (answer.status_code, "--http-proxy" in answer.text) == (403, True)
        allowed = browser.options("/v1/devices", headers={"Origin": "http://evil.example",
                                                          "Access-Control-Request-Method": "GET"})
        assert not [name for name in allowed.headers if name.startswith("access-control")]
        with connected(made) as bare:
            bare.sendall(b"GET /v1/devices HTTP/1.0\r\n\r\n")
            assert rest(bare).startswith(b"HTTP/1.1 421 ")
    assert counted(cloud.path) == {"foreign_host": 41, "forwarded": 4}


def test_the_first_token_locks_an_open_server_for_good(cloud: Cloud) -> None:
    with serving(cloud.path) as made, client(made) as reader:
        opened, ended = threading.Event(), threading.Event()

        def listen() -> None:
            with client(made) as other, other.stream("GET", "/v1/changes") as stream:
                for _ in stream.iter_lines():
                    opened.set()
            ended.set()

        threading.Thread(target=listen, daemon=True).start()
        assert opened.wait(10)
        assert reader.get("/v1/devices").status_code == 200
        secret = token(cloud.path, "first", "operate")
        assert reader.get("/v1/devices").status_code == 401
        assert ended.wait(10)
        assert reader.get("/v1/devices", headers=bearer(secret)).status_code == 200
        tokens.revoke(cloud.path, "first", now())
    with serving(cloud.path) as made, client(made) as reader:
        assert reader.get("/v1/devices").status_code == 401


def test_a_stream_ends_with_its_token(server: Server, db: Path) -> None:
    secret = token(db)
    with client(server, headers=bearer(secret)) as reader, reader.stream("GET", "/v1/changes") as stream:
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("data: "))
        tokens.revoke(db, "reader", now())
        assert [line for line in lines if line.startswith("data: ")] == []
        assert reader.get("/v1/changes").status_code == 401


def test_one_token_cannot_take_it_all(db: Path) -> None:
    secret = token(db)
    limits = Limits(burst=4, per_s=0.001, streams=2)
    with serving(db, limits=limits) as made, client(made, headers=bearer(secret)) as reader, \
            reader.stream("GET", "/v1/changes"), reader.stream("GET", "/v1/changes"):
        more = reader.get("/v1/changes")
        assert (more.status_code, more.headers["retry-after"]) == (429, "5")
        assert reader.get("/v1/schema").status_code == 200
        fast = reader.get("/v1/schema")
        assert fast.status_code == 429
        assert 900 < int(fast.headers["retry-after"]) <= 1000
        assert [reader.get("/web/app.js").status_code for _ in range(6)] == [200] * 6
        with client(made, headers=bearer(token(db, "another"))) as another:
            assert another.get("/v1/schema").status_code == 200
    assert {(each.kind, each.subject): each.n for each in tokens.refused(db, 0.0)} == {
        ("too_many_together", "reader"): 1, ("too_fast", "reader"): 1}


def test_answers_are_kept_to_whom_they_are_for(server: Server, db: Path) -> None:
    feed, operate = bearer(token(db, "a")), bearer(token(db, "b", "operate"))
    with client(server) as reader:
        for path in ("/v1/feed", "/v1/frames", "/", "/web/app.js", "/openapi.json"):
            headers = reader.get(path, headers=feed).headers
            assert headers["cache-control"] == "private, no-cache"
            assert {"authorization", "cookie"} <= {part.strip().lower() for part in headers["vary"].split(",")}
            assert "form-action 'self'" in headers["content-security-policy"]
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert "server" not in headers
            assert "strict-transport-security" not in headers
        assert reader.get("/v1/feed").headers["cache-control"] == "no-store"
        mine, theirs = reader.get("/v1/feed", headers=feed), reader.get("/v1/feed", headers=operate)
        assert mine.headers["etag"] != theirs.headers["etag"]
        again = {"If-None-Match": theirs.headers["etag"]}
        assert reader.get("/v1/feed", headers=operate | again).status_code == 304
        assert reader.get("/v1/feed", headers=feed | again).status_code == 200
        assert reader.get("/v1/feed", headers=again).status_code == 401


def test_the_document_says_what_each_route_asks_for(server: Server, db: Path) -> None:
    with client(server, headers=bearer(token(db))) as reader:
        document = reader.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert (schemes["token"]["type"], schemes["token"]["scheme"]) == ("http", "bearer")
    security = {path: item["get"]["security"] for path, item in document["paths"].items()}
    assert security["/v1/feed"] == [{"token": ["feed"]}, {"session": ["feed"]}]
    assert security["/v1/devices"] == [{"token": ["operate"]}, {"session": ["operate"]}]
    assert {} in security["/v1/health"]
    assert {"401", "403", "429"} <= set(document["paths"]["/v1/feed"]["get"]["responses"])


def test_a_question_without_measure_is_refused(server: Server, db: Path) -> None:
    with client(server, headers=bearer(token(db))) as reader:
        for query in ("frames?start=" + "9" * 30, "frames?sku=" + "x" * 65, "feed?category=" + "x" * 201,
                      "feed?polygon=" + ";".join(["1.5,2.5"] * 9), "feed?cell=" + "8" * 33,
                      "feed?" + "&".join(["sku=1"] * 201), "forecast?" + "&".join(["sku=1"] * 201)):
            assert (query, reader.get(f"/v1/{query}").status_code) == (query, 422)


def test_any_last_event_id_can_be_said(server: Server, db: Path) -> None:
    secret = token(db, scope="operate")
    for last in ("9" * 30, "\xb2", "-1", ""):
        headers = {b"Authorization": f"Bearer {secret}".encode(), b"Last-Event-ID": last.encode("latin-1")}
        with client(server) as reader, reader.stream("GET", "/v1/changes", headers=headers) as stream:
            assert next(line for line in stream.iter_lines() if line.startswith("data: "))


def test_a_server_for_others_needs_a_token_and_tls(cloud: Cloud) -> None:
    with pytest.raises(ConfigError, match=r"(?s)cornergrid-cloud token add .*--http-cert") as both:
        start(cloud.path, "0.0.0.0", 0)
    assert len(both.value.problems) == 2
    tokens.add(cloud.path, "old", "feed", 1.0, now() - 2 * 86_400)
    with pytest.raises(ConfigError, match="nobody has a valid token"):
        start(cloud.path, "127.0.0.1", 0, door=Door(proxy="127.0.0.1"))
    token(cloud.path)
    with pytest.raises(ConfigError, match="without TLS") as one:
        start(cloud.path, "0.0.0.0", 0)
    assert len(one.value.problems) == 1
    with pytest.raises(ConfigError, match="is no address"):
        start(cloud.path, "0.0.0.0", 0, door=Door(proxy="*"))
    with pytest.raises(ConfigError, match="cannot be used"):
        start(cloud.path, "0.0.0.0", 0, door=Door(cert=cloud.path))
    with pytest.raises(ConfigError, match="--http-cert FILE"):
        start(cloud.path, "127.0.0.1", 0, door=Door(key=cloud.path))


def test_a_token_is_kept_as_its_hash_only(db: Path) -> None:
    secret = token(db)
    assert re.fullmatch(r"cgt_[0-9a-f]{8}_[0-9a-f]{40}", secret)
    (found,) = tokens.listed(db)
    session, _ = tokens.log_in(db, found, now())
    kept = b"".join(path.read_bytes() for path in db.parent.glob(f"{db.name}*"))
    assert found.id.encode() in kept
    assert secret[13:].encode() not in kept
    assert session.encode() not in kept
