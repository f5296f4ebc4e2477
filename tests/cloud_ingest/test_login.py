"""The page's login: a token for a session, in a real browser and over bare HTTP."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cloud_ingest import tokens
from cloud_ingest.http import Server
from cloud_ingest.limits import Limits
from tests.cloud_ingest.browsing import DESKTOP, NO_WEBGL, PHONE, chromium, driver, sync_api
from tests.cloud_ingest.doors import certified, client, counted, now, port_of, serving, token
from tests.cloud_ingest.feeding import COLA, T0, Cloud

expect = sync_api.expect


@pytest.fixture
def db(cloud: Cloud) -> Path:
    cloud.send("shop-a", COLA, T0, sold=3.0, in_stock=450.0, observed=900.0)
    return cloud.path


@pytest.fixture
def secret(db: Path) -> str:
    return token(db, "planner", "operate")


@pytest.fixture
def server(db: Path, secret: str) -> Iterator[Server]:
    assert secret
    with serving(db) as made:
        yield made


@pytest.fixture
def visitor(server: Server) -> Iterator[httpx.Client]:
    with client(server) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with driver() as playwright, chromium(playwright, *NO_WEBGL) as made:
        yield made


def test_a_login_opens_a_session_that_is_not_the_token(visitor: httpx.Client, server: Server, secret: str) -> None:
    answer = visitor.post("/login", data={"token": f" {secret}\n"})
    assert (answer.status_code, answer.headers["location"], answer.headers["cache-control"]) == (303, "/", "no-store")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("cornergrid=")
    assert {"httponly", "samesite=strict", "path=/"} <= set(cookie.lower().split("; "))
    assert "secure" not in cookie.lower()
    assert secret[13:] not in cookie
    assert visitor.get("/").status_code == 200
    assert visitor.get("/v1/devices").status_code == 200
    assert "planner" in visitor.get("/login").text
    kept = dict(visitor.cookies)
    out = visitor.post("/logout")
    assert (out.status_code, out.headers["location"]) == (303, "/login")
    with client(server, cookies=kept) as thief:
        assert thief.get("/v1/devices").status_code == 401
        assert thief.get("/").headers["location"] == "/login"
        assert thief.get("/login").status_code == 200


def test_a_session_ends_with_its_token_and_its_time(visitor: httpx.Client, db: Path, secret: str) -> None:
    (found,) = tokens.listed(db)
    early, until = tokens.log_in(db, found, now() - tokens.SESSION_S - 1)
    assert until < now()
    assert visitor.get("/v1/schema", headers={"Cookie": f"cornergrid={early}"}).status_code == 401
    assert tokens.log_in(db, found, found.ends - 60)[1] == found.ends
    visitor.post("/login", data={"token": secret})
    assert visitor.get("/v1/schema").status_code == 200
    tokens.revoke(db, "planner", now())
    for _ in range(20):  # a page that goes on asking is no guesser
        refused = visitor.get("/v1/schema")
        assert (refused.status_code, "log in again" in refused.text) == (401, True)
    assert visitor.get("/").headers["location"] == "/login"


def test_the_oldest_of_too_many_sessions_makes_room(db: Path, secret: str) -> None:
    assert secret
    (found,) = tokens.listed(db)
    made = [tokens.log_in(db, found, now() + number)[0] for number in range(tokens.SESSIONS + 2)]
    assert [tokens.session(db, each, now()) is not None for each in made] == [False] * 2 + [True] * tokens.SESSIONS


def test_a_wrong_login_says_so_and_is_counted(db: Path, secret: str) -> None:
    with serving(db, limits=Limits(guesses=2)) as made, client(made) as visitor:
        answers = [visitor.post("/login", data={"token": text}) for text in ("<b>x</b>", "", "cgt_1", "cgt_2")]
        assert [answer.status_code for answer in answers] == [401, 401, 429, 429]
        assert int(answers[-1].headers["retry-after"]) > 0
        assert all("set-cookie" not in answer.headers for answer in answers)
        assert "no token of this server" in answers[0].text
        assert "<b>x" not in answers[0].text
        assert visitor.post("/login", json={"token": secret}).status_code == 429
        assert visitor.get("/login", params={"token": secret}).status_code == 400
        assert visitor.post("/login", content=b"a=1&" * 100).status_code == 429
        assert visitor.post("/login", data={"token": "x" * 5000}).status_code == 413
        assert visitor.post("/login", data={"token": secret}).status_code == 303
    assert counted(db) == {"wrong_token": 2, "too_many_guesses": 4, "token_in_address": 1, "too_large": 1}


def test_another_sites_form_is_refused(server: Server, db: Path, secret: str) -> None:
    origins = ("http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1.evil.example")
    with client(server) as visitor:
        visitor.post("/login", data={"token": secret}, headers={"Origin": server.address})
        for origin, path in itertools.product(origins, ("/login", "/logout")):
            answer = visitor.post(path, data={"token": secret}, headers={"Origin": origin})
            assert (origin, path, answer.status_code, "set-cookie" in answer.headers) == (origin, path, 403, False)
            assert visitor.get("/v1/schema").status_code == 200
    server.stop()
    assert counted(db) == {"foreign_form": 8}


def test_an_open_server_has_no_login(cloud: Cloud) -> None:
    with serving(cloud.path) as made, client(made) as visitor:
        for answer in (visitor.get("/login"), visitor.post("/login", data={"token": "cgt_1"})):
            assert (answer.status_code, answer.headers["location"], "set-cookie" in answer.headers) == (303, "/", False)


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_a_visitor_logs_in_and_out(browser: sync_api.Browser, server: Server, secret: str,
                                   size: sync_api.ViewportSize, scheme: str, tmp_path: Path) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]  # a literal
    page = context.new_page()
    urls: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None)
    page.goto(f"{server.address}/#r=7")
    expect(page).to_have_url(f"{server.address}/login#r=7")
    expect(page.get_by_label("Your token")).to_be_focused()
    page.keyboard.type("cgt_00000000_wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("no token of this server")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.locator("form").bounding_box()["width"] >= 300  # type: ignore[index]  # it is there
    page.screenshot(path=tmp_path / f"login-{scheme}.png")
    page.get_by_label("Your token").fill(secret)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("body[data-revision]")).to_have_count(1)
    expect(page).to_have_url(f"{server.address}/#r=7")
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("link", name="Account").click()
    expect(page.locator("#who")).to_contain_text("planner (scope operate)")
    page.screenshot(path=tmp_path / f"account-{scheme}.png")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Your token")).to_be_visible()
    page.go_back()
    page.goto(server.address)
    expect(page.get_by_label("Your token")).to_be_visible()
    context.close()
    assert wrong == []
    assert not [url for url in urls if secret in url or "cgt_" in url]


def test_a_page_whose_token_ends_asks_for_another(browser: sync_api.Browser, server: Server, db: Path,
                                                  secret: str) -> None:
    context = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]  # a dict of two
    page = context.new_page()
    page.goto(server.address)
    page.get_by_label("Your token").fill(secret)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("body[data-revision]")).to_have_count(1)
    tokens.revoke(db, "planner", now())
    expect(page.get_by_label("Your token")).to_be_visible()
    context.close()


def test_a_link_from_elsewhere_finds_the_login_that_is_there(browser: sync_api.Browser, server: Server,
                                                             secret: str) -> None:
    context = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]  # a dict of two
    page = context.new_page()
    page.goto(f"{server.address}/login")
    page.get_by_label("Your token").fill(secret)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("body[data-revision]")).to_have_count(1)
    elsewhere = f"http://localhost:{port_of(server)}/mail"
    page.route(elsewhere, lambda route: route.fulfill(content_type="text/html", body=(
        f'<a href="{server.address}/#r=6">the map</a>'
        f'<form method="post" action="{server.address}/logout"><button>Win</button></form>')))
    page.goto(elsewhere)
    page.get_by_role("link").click()
    expect(page.locator("body[data-revision]")).to_have_count(1)
    expect(page).to_have_url(f"{server.address}/#r=6")
    page.goto(elsewhere)
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text("another site")
    page.goto(server.address)
    expect(page.locator("body[data-revision]")).to_have_count(1)
    context.close()


def test_over_tls_a_form_of_the_same_host_without_tls_is_foreign(db: Path, secret: str, tmp_path: Path) -> None:
    """Who sits on the line can make such a page, and log a browser in as somebody else."""
    with serving(db, cert=certified(tmp_path)) as server, \
            client(server, verify=ssl.create_default_context(cafile=tmp_path / "root.pem")) as visitor:
        for origin, status in ((server.address.replace("https:", "http:"), 403), (server.address, 303)):
            answer = visitor.post("/login", data={"token": secret}, headers={"Origin": origin})
            assert (origin, answer.status_code) == (origin, status)
