"""Addresses are taken apart whatever the password holds, and shown without it."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.vision.cameras.address import Address, redact


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://admin:pw@10.0.0.9:554/s1", "rtsp://***@10.0.0.9:554/s1"),
        ("rtsp://admin:p@ss/w@10.0.0.9/s1", "rtsp://***@10.0.0.9/s1"),
        ("rtsp:/admin:pw@10.0.0.9/s1", "rtsp:/***@10.0.0.9/s1"),
        ("http://10.0.0.9/snap?user=a&pwd=b&ch=1", "http://10.0.0.9/snap?user=***&pwd=***&ch=1"),
        ("http://10.0.0.9/snap?access_token=a", "http://10.0.0.9/snap?access_token=***"),
        ("rtsp://10.0.0.9/user=a&password=b&channel=1", "rtsp://10.0.0.9/user=***&password=***&channel=1"),
        ("http://10.0.0.9/shelf", "http://10.0.0.9/shelf"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_redact(url: str, shown: str) -> None:
    assert redact(url) == shown


_SECRET = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1).map(lambda s: "Q9z" + s)


@given(_SECRET)
def test_no_password_of_any_shape_is_shown(secret: str) -> None:
    url = f"rtsp://admin:{secret}@camera.example/stream"
    address = Address.parse(url)
    for told in (redact(url), address.shown, address.bare, repr(address), f"{address}"):
        assert "Q9z" not in told


@given(_SECRET.filter(lambda secret: "&" not in secret), st.sampled_from(["pwd", "password", "TOKEN"]))
def test_no_password_of_any_shape_in_a_query_is_shown(secret: str, key: str) -> None:
    url = f"http://camera.example:8080/stream?user=a&{key}={secret}&ch=1"
    for told in (redact(url), Address.parse(url).shown, repr(Address.parse(url))):
        assert secret[1:] not in told
        assert "Q9z" not in told
    assert Address.parse(url).bare == url


@given(st.text(st.characters(min_codepoint=33, max_codepoint=0x17F), min_size=1).filter(lambda s: "%" not in s))
def test_any_password_is_read_as_it_was_typed_and_as_it_was_encoded(secret: str) -> None:
    typed = Address.parse(f"rtsp://admin:{secret}@10.0.0.9:554/s1?ch=1")
    encoded = Address.parse(f"rtsp://admin:{quote(secret, safe='')}@10.0.0.9:554/s1?ch=1")
    assert typed == encoded
    assert (typed.user, typed.password) == ("admin", secret)
    assert (typed.host, typed.port, typed.path) == ("10.0.0.9", 554, "/s1?ch=1")
    assert Address.parse(typed.full) == typed


@pytest.mark.parametrize("text", ["", "shelf.avi", "rtsp://host:port/x", "http//10.0.0.9", "rtsp:/a:b@c"])
def test_what_is_no_address_has_no_parts(text: str) -> None:
    address = Address.parse(text)
    assert (address.scheme, address.host, address.port) == ("", "", None)
    assert address.shown == redact(text)
