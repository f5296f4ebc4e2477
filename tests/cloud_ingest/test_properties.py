"""Properties of a PUBLISH against paho's own packing; and those that would stop paho."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cloud_ingest.properties import MOST_BYTES, apart, user_properties
from edge.errors import WireError

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=20)


def packed(pairs: list[tuple[str, str]], expiry: int | None = None, response: str | None = None) -> bytes:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's is untyped
    if expiry is not None:
        properties.MessageExpiryInterval = expiry
    if response is not None:
        properties.ResponseTopic, properties.CorrelationData = response, response.encode()
        properties.PayloadFormatIndicator, properties.ContentType = 1, "application/x-unknown"
    if pairs:
        properties.UserProperty = pairs
    return bytes(properties.pack())  # type: ignore[no-untyped-call]


@given(TEXT, st.sampled_from([0, 1, 2]), st.lists(st.tuples(TEXT, TEXT), max_size=20), st.none() | st.integers(0, 9),
       st.none() | TEXT, st.binary(max_size=40))
def test_a_packet_loses_its_properties_and_nothing_else(topic: str, qos: int, pairs: list[tuple[str, str]],
                                                        expiry: int | None, response: str | None,
                                                        payload: bytes) -> None:
    name = topic.encode()
    head = len(name).to_bytes(2) + name + (b"\x12\x34" if qos else b"")
    bare, told = apart(bytearray(head + packed(pairs, expiry, response) + payload), qos)
    assert bare == head + b"\0" + payload
    assert user_properties(told) == dict(pairs)


@given(st.binary(max_size=60), st.sampled_from([0, 1]))
def test_any_bytes_are_taken_apart_or_left_as_they_are(noise: bytes, qos: int) -> None:
    bare, told = apart(noise, qos)
    assert len(bare) <= len(noise)
    with contextlib.suppress(WireError):
        user_properties(told)


def test_what_paho_ends_its_connection_for_is_text_like_any_other() -> None:
    assert user_properties(b"\x26\0\x03\xef\xbb\xbf\0\x02\xff\xff") == {"\ufeff": "\ufffd\ufffd"}


def test_thousands_of_properties_are_refused_unread() -> None:
    with pytest.raises(WireError, match="bad_properties"):
        user_properties(b"\x26\0\0\0\0" * (MOST_BYTES // 5 + 1))
