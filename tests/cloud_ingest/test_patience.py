"""Too much, too slow, too many: what the HTTP side cuts, over bare sockets."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections import Counter
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from cloud_ingest import tokens
from cloud_ingest.limits import KEYS, Limits, Places, Rate, source_of
from cloud_ingest.pki import folder as folders
from tests.cloud_ingest.devices import until
from tests.cloud_ingest.doors import bearer, certified, client, connected, counted, port_of, rest, serving, sign, token
from tests.cloud_ingest.feeding import COLA, T0, Cloud

HASTY = Limits(head_s=0.4, stall_s=0.4)


@pytest.fixture
def db(cloud: Cloud) -> Path:
    return cloud.path


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return certified(tmp_path)


TOO_MUCH = [
    (b"GET /v1/feed?polygon=" + b"1" * 16_400 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414, "too_long"),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 990) for i in range(20))
     + b"\r\n", 431, "too_long"),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4097\r\n\r\n", 413, "too_large"),
    (b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n", 413, "too_large"),
    (b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n", 411, "too_large"),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 200_000, 400, "malformed"),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400, "malformed"),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "malformed"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "malformed"),
]


def test_too_much_is_refused_and_the_connection_ends(db: Path) -> None:
    with serving(db) as made:
        for request, status, _ in TOO_MUCH:
            with connected(made) as bare:
                with contextlib.suppress(ConnectionError):
                    bare.sendall(request)
                    bare.shutdown(socket.SHUT_WR)
                assert rest(bare).startswith(b"HTTP/1.1 %d " % status), request[:80]
    assert counted(db) == Counter(kind for _, _, kind in TOO_MUCH)


def dribble(bare: socket.socket) -> None:
    """Send a byte now and then until the other side ends it."""
    bare.settimeout(0.05)
    with contextlib.suppress(ConnectionError):
        for _ in range(400):
            try:
                assert bare.recv(1) == b""
            except TimeoutError:
                bare.sendall(b"x")
            else:
                return
        pytest.fail("was never cut")


def test_who_sends_slowly_is_cut(db: Path) -> None:
    token(db)
    with serving(db, limits=HASTY) as made:
        for start in (b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
                      b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\ntoken="):
            with connected(made) as bare:
                bare.sendall(start)
                dribble(bare)
        with connected(made) as silent:
            assert rest(silent) == b""
    assert counted(db) == {"slow_sender": 3}  # browsers open connections that they never use


def test_the_next_request_of_a_connection_has_its_own_time(db: Path) -> None:
    with serving(db, limits=HASTY) as made, connected(made) as bare:
        request = b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for _ in range(3):
            bare.sendall(request)
            answer = b""
            while not answer.endswith(b"}"):
                answer += bare.recv(65_536)
        bare.sendall(request[:20])
        rest(bare)
    assert dict(counted(db)) == {"slow_sender": 1}


def test_a_stream_outlives_the_time_for_its_request(db: Path, cloud: Cloud) -> None:
    with serving(db, limits=HASTY) as made, client(made) as reader, reader.stream("GET", "/v1/changes") as stream:
        lines = (line for line in stream.iter_lines() if line.startswith("id: "))
        first = next(lines)
        for _ in range(3):  # a poll is half a second
            cloud.send("shop-a", COLA, T0, sold=1.0)
            assert next(lines) != first
    assert dict(counted(db)) == {}


def test_who_does_not_take_what_was_asked_for_is_cut(db: Path) -> None:
    with serving(db, limits=replace(HASTY, flush_s=0.1)) as made, connected(made) as bare:
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(8):
            bare.sendall(b"GET /web/vendor/maplibre-gl.mjs HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: counted(db)["slow_reader"] == 1, "the reader is cut")
        assert len(rest(bare)) < 1_000_000


def test_one_address_cannot_have_every_connection(db: Path) -> None:
    with serving(db, limits=Limits(per_address=3)) as made, contextlib.ExitStack() as stack:
        request = b"GET /v1/schema HTTP/1.1\r\nHost: localhost\r\n\r\n"
        crowd = [stack.enter_context(connected(made, "127.0.0.2")) for _ in range(3)]
        for each in crowd:
            each.sendall(request)
            assert each.recv(100)
        with contextlib.suppress(ConnectionError), connected(made, "127.0.0.2") as fourth:
            assert rest(fourth) == b""
        other = stack.enter_context(connected(made, "127.0.0.3"))
        other.sendall(request)
        assert other.recv(100).startswith(b"HTTP/1.1 200 ")
        crowd[0].close()

        def let_in() -> bool:
            with contextlib.suppress(ConnectionError), connected(made, "127.0.0.2") as again:
                again.sendall(request)
                return again.recv(100).startswith(b"HTTP/1.1 200 ")
            return False

        until(let_in, "a place is free again")
    assert dict(counted(db)).keys() == {"too_many_connections"}


def test_a_full_server_says_come_again(db: Path) -> None:
    with serving(db, limits=Limits(connections=3)) as made, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connected(made))
        with client(made) as reader:
            assert reader.get("/v1/schema").status_code == 503


def test_tls_is_new_enough_and_said_to_browsers(db: Path, certificate: Path) -> None:
    secret = token(db)
    trusted = ssl.create_default_context(cafile=str(certificate.with_name("root.pem")))
    with serving(db, cert=certificate, host="0.0.0.0") as made:
        assert made.address.startswith("https://")
        address = f"https://127.0.0.1:{port_of(made)}"
        with httpx.Client(base_url=address, verify=trusted, trust_env=False) as reader:
            answer = reader.get("/v1/schema", headers=bearer(secret))
            assert answer.status_code == 200
            assert "max-age=" in answer.headers["strict-transport-security"]
            cookie = reader.post("/login", data={"token": secret}).headers["set-cookie"]
            assert cookie.startswith("__Host-cornergrid=")
            assert {"httponly", "secure", "samesite=strict", "path=/"} <= set(cookie.lower().split("; "))
            assert reader.get("/v1/health").json()["name"] == "reader"
        with connected(made) as bare:
            bare.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"HTTP/1.1" not in rest(bare)
        old = ssl.create_default_context(cafile=str(certificate.with_name("root.pem")))
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with connected(made) as bare, pytest.raises(ssl.SSLError):
            old.wrap_socket(bare, server_hostname="127.0.0.1")


def test_a_certificate_that_was_renewed_is_taken_up_and_a_broken_one_is_not(
        db: Path, certificate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def shown() -> str:
        return ssl.get_server_certificate(("127.0.0.1", port_of(made)))

    with serving(db, cert=certificate, limits=Limits(flush_s=0.05)) as made:
        first = shown()
        sign(folders.load(certificate.with_name("ca")), certificate)
        until(lambda: shown() != first, "the new one is shown")
        second = shown()
        certificate.write_text(first)
        until(lambda: "certificate_not_taken" in capsys.readouterr().out, "the broken one is noticed")
        assert shown() == second


def test_a_proxy_is_believed_and_nobody_passes_it_by(db: Path) -> None:
    token(db)
    with serving(db, proxy="127.0.0.2", host="0.0.0.0") as made:
        head = b"GET /v1/feed HTTP/1.1\r\nHost: feed.example\r\nConnection: close\r\n"
        with connected(made, "127.0.0.2") as proxy:
            proxy.sendall(head + b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\r\n")
            answer = rest(proxy)
            assert answer.startswith(b"HTTP/1.1 401 ")
            assert b"strict-transport-security: max-age=" in answer.lower()
        with contextlib.suppress(ConnectionError), connected(made, "127.0.0.3") as other:
            other.sendall(head + b"\r\n")
            assert rest(other) == b""
    assert {(each.kind, each.source) for each in tokens.refused(db, 0.0)} == {
        ("no_token", "203.0.113.9"), ("past_proxy", "127.0.0.3")}


def test_nobody_names_an_address_for_himself(db: Path) -> None:
    token(db)
    with serving(db) as made, client(made) as reader:
        assert reader.get("/v1/feed", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 401
    assert {each.source for each in tokens.refused(db, 0.0)} == {"127.0.0.1"}


def test_a_rate_gives_back_with_time_and_forgets_the_oldest() -> None:
    rate = Rate(2, 0.5)
    assert [rate.take("a", 0.0) for _ in range(3)] == [0.0, 0.0, 2.0]
    assert rate.take("b", 0.0) == 0.0
    assert rate.take("a", 1.0) == 1.0
    assert rate.take("a", 2.0) == 0.0
    assert [rate.take("a", 1000.0) for _ in range(3)] == [0.0, 0.0, 2.0]
    for number in range(KEYS):
        rate.take(str(number), 1000.0)
    assert rate.take("a", 1000.0) == 0.0


def test_places_come_back_when_they_are_left() -> None:
    places = Places(1)
    assert [places.enter("a"), places.enter("a"), places.enter("b")] == [True, False, True]
    places.leave("a")
    assert places.enter("a")


@pytest.mark.parametrize(("address", "who"), [
    ("203.0.113.9", "203.0.113.9"), ("::ffff:203.0.113.9", "203.0.113.9"), ("2001:db8::1%eth0", "2001:db8::/64")])
def test_a_customer_is_one_source(address: str, who: str) -> None:
    assert source_of(address) == who
