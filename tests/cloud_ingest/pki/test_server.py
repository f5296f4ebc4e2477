"""The enrolment server against clients that take their time, bring too much, or come in crowds."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_ingest.pki import server
from edge.errors import ConfigError
from tests.cloud_ingest.pki.world import HOST, World, until, world_in

ROOT = b"GET /v1/ca HTTP/1.1\r\nHost: enrol\r\n\r\n"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path, None) as made:
        yield made


@contextlib.contextmanager
def knocking(world: World, source: str = HOST) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cadata=world.folder.anchors)
    with socket.create_connection((HOST, world.server.port), 20, (source, 0)) as plain, \
            context.wrap_socket(plain, server_hostname=HOST) as made:
        yield made


def answer(connection: ssl.SSLSocket) -> bytes:
    found = b""
    with contextlib.suppress(OSError):
        while part := connection.recv(65_536):
            found += part
    return found


@pytest.mark.parametrize("start", [b"GET /v1/ca HTTP/1.1\r\nX: ",
                                   b"POST /v1/enrol HTTP/1.1\r\nContent-Length: 1000\r\n\r\n{"])
def test_who_sends_a_byte_now_and_then_is_cut_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch,
                                                          start: bytes) -> None:
    monkeypatch.setattr(server, "LONGEST_S", 0.5)
    ended = threading.Event()
    with knocking(world) as slow:
        slow.sendall(start)

        def listen() -> None:
            answer(slow)
            ended.set()

        threading.Thread(target=listen, daemon=True).start()
        for _ in range(200):
            with contextlib.suppress(OSError):
                slow.sendall(b"x")
            if ended.wait(0.05):
                break
        assert ended.is_set()


def test_any_length_is_answered(world: World) -> None:
    lengths = ("\xb2", "9" * 5000, "-1", "+1", "65537", "1_0")
    for length in lengths:
        with knocking(world) as one:
            one.sendall(f"POST /v1/enrol HTTP/1.1\r\nContent-Length: {length}\r\n\r\n".encode("latin-1"))
            assert (length, answer(one)[:13]) == (length, b"HTTP/1.0 413 ")
    until(lambda: world.count("too_large") == len(lengths), "they are counted")


def test_every_answer_is_for_this_client_only(world: World) -> None:
    for request in (ROOT, b"GET /nothing HTTP/1.1\r\n\r\n", b"BREW /v1/ca HTTP/1.1\r\n\r\n",
                    b"POST /v1/enrol HTTP/1.1\r\nContent-Length: 1\r\n\r\n{"):
        with knocking(world) as one:
            one.sendall(request)
            head = answer(one).partition(b"\r\n\r\n")[0].lower()
        assert b"cache-control: no-store" in head
        assert b"x-content-type-options: nosniff" in head
        assert b"python" not in head


def test_one_address_cannot_have_every_place(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.server._http.places, "most", 2)
    with knocking(world, "127.0.0.2"), knocking(world, "127.0.0.2"):
        with pytest.raises(OSError), knocking(world, "127.0.0.2"):  # noqa: PT011  # reset or ended, as it comes
            pass
        with knocking(world, "127.0.0.3") as other:
            other.sendall(ROOT)
            assert b" 200 " in answer(other)

    def let_in() -> bool:
        with contextlib.suppress(OSError), knocking(world, "127.0.0.2") as again:
            again.sendall(ROOT)
            return b" 200 " in answer(again)
        return False

    until(let_in, "a place is free again")


def test_who_leaves_before_the_handshake_leaves_no_trace_but_a_count(
        world: World, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(8):
        with socket.create_connection((HOST, world.server.port)) as gone:
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: world.count("enrol_tls") == 8, "each is counted")
    assert "Traceback" not in capfd.readouterr().err


def test_a_full_disk_on_one_day_does_not_end_the_renewal_of_the_servers_certificate(
        world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tried, stop = list[int](), threading.Event()

    def renew() -> None:
        tried.append(1)
        if len(tried) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        stop.set()

    monkeypatch.setattr(world.server, "renew", renew)
    monkeypatch.setattr(world.server, "start", lambda: None)
    server.keep_serving(world.server, stop, every_s=0.01)
    assert len(tried) == 2


def test_a_second_server_on_the_same_port_says_so_and_leaves_the_firsts_certificate(world: World) -> None:
    file = world.folder.path / "enrol.pem"
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="already in use"):
        server.EnrolServer(world.folder, world.ledger, world.clock, world.desk, (HOST, world.server.port), ("other",))
    assert file.read_bytes() == before
