"""MQTT's packets and one client's connection, as the stand-in broker needs them.

Section numbers are those of MQTT 5.0 (OASIS 2019); 3.1.1 (OASIS 2014) differs where `level`, the protocol level of
the CONNECT, is 4 instead of 5.
"""

from __future__ import annotations

import math
import selectors
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

log = structlog.get_logger(__name__)
MAX_PACKET = 1024 * 1024  # bytes that one packet from a client may have
MAX_UNSENT = 64 * 1024 * 1024  # bytes
CONNECT_S = 10.0  # for a new connection to say CONNECT (3.1.4)
CHUNK = 256 * 1024  # bytes
NO_LOCAL, AS_PUBLISHED = 0x04, 0x08  # subscription options (3.8.3.1)

# Reason codes (2.4).
NO_SUBSCRIBERS, NO_SUBSCRIPTION = 0x10, 0x11
MALFORMED, PROTOCOL_ERROR, OWN_ERROR, WRONG_VERSION, WRONG_ID, TIMED_OUT = 0x81, 0x82, 0x83, 0x84, 0x85, 0x8D
TAKEN_OVER, BAD_FILTER, BAD_TOPIC, TOO_LARGE, NO_QOS_2, NO_SHARED = 0x8E, 0x8F, 0x90, 0x95, 0x9B, 0x9E
REFUSED = 0x80  # what a 3.1.1 SUBACK can say
OLD_CODES = {WRONG_VERSION: 1, WRONG_ID: 2}  # what 3.1.1 can say in a CONNACK (its section 3.2.2.3)
# CONNACK properties (3.2.2.3): session expiry 0 s, maximum QoS 1, maximum packet size, neither subscription
# identifiers nor shared subscriptions.
ABILITIES = b"\x11\0\0\0\0\x24\x01\x27" + MAX_PACKET.to_bytes(4, "big") + b"\x29\0\x2a\0"


class MqttError(Exception):
    """The client broke the protocol or asked for what is not here: its connection ends with `reason`."""

    def __init__(self, reason: int = MALFORMED) -> None:
        super().__init__(f"0x{reason:02x}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Message:
    """What is routed; `properties` are version 5's as they came, without their length."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: bytes = b""


class Body:
    """A packet behind its fixed header, read field by field (1.5); MqttError where a field is not there."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def left(self) -> int:
        return len(self._data) - self.at

    def take(self, size: int) -> bytes:
        if size > self.left():
            raise MqttError
        self.at += size
        return self._data[self.at - size:self.at]

    def rest(self) -> bytes:
        return self.take(self.left())

    def number(self, size: int = 1) -> int:
        return int.from_bytes(self.take(size), "big")

    def varint(self) -> int:
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.number()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise MqttError

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def text(self) -> str:
        try:
            text = self.binary().decode()
        except UnicodeDecodeError:
            raise MqttError from None
        if "\0" in text:
            raise MqttError
        return text

    def topic(self) -> str:
        if not is_topic(topic := self.text()):
            raise MqttError(BAD_TOPIC)
        return topic

    def packet_id(self) -> bytes:
        if not any(packet_id := self.take(2)):
            raise MqttError(PROTOCOL_ERROR)
        return packet_id

    def block(self, level: int) -> Body:
        """The properties (2.2.2), which only version 5 has."""
        return Body(self.take(self.varint()) if level == 5 else b"")

    def properties(self) -> Iterator[tuple[int, Any, bytes]]:
        """A message's properties (3.3.2.3): identifier, value, and the bytes of both."""
        seen = set()
        while self.left():
            begin, kind = self.at, self.varint()
            if kind not in _PROPERTIES or kind in seen:
                raise MqttError(PROTOCOL_ERROR)
            seen |= {kind} - {USER_PROPERTY}
            value = _PROPERTIES[kind](self)
            yield kind, value, self._data[begin:self.at]


CONTENT_TYPE, WILL_DELAY, USER_PROPERTY = 0x03, 0x18, 0x26
# The rest: payload format, expiry, response topic, correlation data. No topic alias, since CONNACK allows for none.
_PROPERTIES: dict[int, Callable[[Body], object]] = {
    CONTENT_TYPE: Body.text, WILL_DELAY: lambda body: body.number(4),
    USER_PROPERTY: lambda body: (body.text(), body.text()),
    0x01: Body.number, 0x02: lambda body: body.number(4), 0x08: Body.text, 0x09: Body.binary,
}


def packet(first: int, *parts: bytes) -> bytes:
    """A whole packet: its first byte, its length, and the parts."""
    body = b"".join(parts)
    return bytes([first]) + varint(len(body)) + body


def varint(value: int) -> bytes:
    """A variable byte integer (1.5.5)."""
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def text(value: str) -> bytes:
    """A string behind its length (1.5.4)."""
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


def frame(data: bytearray) -> tuple[int, int] | None:
    """Where the first packet's body begins and ends (2.1.4); None while it is not all here."""
    length = 0
    for at, byte in enumerate(data[1:5], 1):
        length |= (byte & 0x7F) << 7 * (at - 1)
        if length > MAX_PACKET:
            raise MqttError(TOO_LARGE)
        if byte < 0x80:
            return (at + 1, at + 1 + length) if len(data) > at + length else None
    if len(data) >= 5:
        raise MqttError
    return None


def is_topic(name: str) -> bool:
    """Whether one may publish to `name` (4.7)."""
    return 0 < len(name.encode()) <= 0xFFFF and not set(name) & set("+#\0")


def is_filter(name: str) -> bool:
    """Whether one may subscribe to `name` (4.7.1)."""
    levels = name.split("/")
    return bool(name) and "#" not in levels[:-1] and all(x in {"+", "#"} or not set(x) & set("+#") for x in levels)


def matches(levels: Sequence[str], topic: Sequence[str]) -> bool:
    """Whether a filter's levels match a topic's; a wildcard in front never matches `$` (4.7.2)."""
    if topic[0].startswith("$") and levels[0] in {"+", "#"}:
        return False
    for at, level in enumerate(levels):
        if level == "#":
            return True
        if at >= len(topic) or level not in {"+", topic[at]}:
            return False
    return len(levels) == len(topic)


def grant(level: int, name: str, options: int) -> int:
    """The QoS that a subscription gets, or why it gets none (3.9.3)."""
    if options & 3 == 3 or options >> 4 > 2 or (level == 4 and options > 2):
        raise MqttError
    if not is_filter(name):
        return BAD_FILTER if level == 5 else REFUSED
    return NO_SHARED if level == 5 and name.startswith("$share/") else min(options & 3, 1)


class Connection:
    """One client: its socket, the bytes in both directions, and what its CONNECT and SUBSCRIBEs said."""

    def __init__(self, sock: socket.socket, now: float) -> None:
        """`now`, as every time here, is in seconds of the monotonic clock."""
        self.sock, self.heard = sock, now
        self.received, self.unsent = bytearray(), bytearray()
        self.client, self.level, self.keepalive_s = "", 0, 0
        self.will: Message | None = None
        self.filters: dict[str, tuple[list[str], int]] = {}
        self.over = False
        self._watched = self._last_id = 0

    def due(self) -> float:
        """When it has been silent for too long (3.1.2.10)."""
        return self.heard + (CONNECT_S if not self.client else 1.5 * self.keepalive_s or math.inf)

    def receive(self, now: float) -> int:
        """Take what has come, without waiting: how many bytes, -1 where the client has gone."""
        try:
            data = self.sock.recv(CHUNK)
        except BlockingIOError:
            return 0
        except OSError:
            return -1
        self.received += data
        self.heard = now
        return len(data) or -1

    def packets(self) -> Iterator[tuple[int, Body]]:
        """The first byte and the body of each packet that is here as a whole."""
        while not self.over and (found := frame(self.received)):
            first, body = self.received[0], bytes(self.received[found[0]:found[1]])
            del self.received[:found[1]]
            yield first, Body(body)

    def send(self, data: bytes) -> None:
        """Keep bytes for the next `flush`; a client that takes none is over."""
        self.unsent += data
        self.over |= len(self.unsent) > MAX_UNSENT

    def flush(self) -> None:
        """Write what the socket takes now."""
        try:
            while self.unsent:
                del self.unsent[:self.sock.send(self.unsent)]
        except BlockingIOError:
            return
        except OSError:
            self.over = True

    def watch(self, selector: selectors.BaseSelector, events: int) -> None:
        """Have `selector` tell of these events alone."""
        if events and not self._watched:
            selector.register(self.sock, events, self)
        elif events and events != self._watched:
            selector.modify(self.sock, events, self)
        elif self._watched and not events:
            selector.unregister(self.sock)
        self._watched = events

    def close(self, selector: selectors.BaseSelector) -> None:
        """Close the socket at once."""
        self.watch(selector, 0)
        self.sock.close()

    def end(self, reason: int) -> None:
        """Close it at the next turn, having said why where the protocol can: DISCONNECT (3.14) or CONNACK (3.2)."""
        log.info("mqtt_client_ended", client=self.client, reason=f"0x{reason:02x}")
        if self.level >= 5:
            self.send(packet(0xE0, bytes([reason])) if self.client else packet(0x20, bytes([0, reason, 0])))
        elif self.level and not self.client and reason in OLD_CODES:
            self.send(packet(0x20, bytes([0, OLD_CODES[reason]])))
        self.over = True

    def introduce(self, body: Body, protocols: frozenset[int]) -> bytes:
        """Take from the CONNECT (3.1) who this is; the CONNACK (3.2) that welcomes it."""
        name, level = body.text(), body.number()
        if name not in {"MQTT", "MQIsdp"}:
            raise MqttError
        self.level = level if name == "MQTT" else 3
        if self.level not in protocols:
            raise MqttError(WRONG_VERSION)
        flags, self.keepalive_s = body.number(), body.number(2)
        body.block(level)
        client, will = body.text(), self._will(flags, body)
        if flags & 0x80:
            body.text()  # the user's name
        if flags & 0x40:
            body.binary()  # the password
        if flags & 0x01 or body.left():
            raise MqttError
        if level == 4 and not client and not flags & 0x02:
            raise MqttError(WRONG_ID)
        self.client, self.will = client or uuid.uuid4().hex, will
        if level == 4:
            return packet(0x20, b"\0\0")
        told = ABILITIES + (b"" if client else b"\x12" + text(self.client))
        return packet(0x20, b"\0\0", varint(len(told)), told)

    def _will(self, flags: int, body: Body) -> Message | None:
        if not flags & 0x04:
            if flags & 0x38:
                raise MqttError
            return None
        # The delay is no property of the message; the session ends with its connection, so it delays nothing.
        raw = b"".join(raw for kind, _, raw in body.block(self.level).properties() if kind != WILL_DELAY)
        topic, payload, qos = body.topic(), body.binary(), flags >> 3 & 3
        if qos > 1:
            raise MqttError(NO_QOS_2 if qos == 2 else MALFORMED)
        return Message(topic, payload, qos, bool(flags & 0x20), raw)

    def subscribe(self, body: Body) -> tuple[bytes, list[tuple[str, int]]]:
        """Take a SUBSCRIBE (3.8); its SUBACK, and the filters with their QoS that ask for what is retained."""
        packet_id, codes, wanted = body.packet_id(), bytearray(), list[tuple[str, int]]()
        body.block(self.level)
        while body.left():
            name, options = body.text(), body.number()
            codes.append(grant(self.level, name, options))
            if codes[-1] > 1:
                continue
            # Retain handling (3.8.3.1): always, only for a new subscription, never.
            if options >> 4 == 0 or (options >> 4 == 1 and name not in self.filters):
                wanted.append((name, codes[-1]))
            self.filters[name] = (name.split("/"), options & (NO_LOCAL | AS_PUBLISHED) | codes[-1])
        if not codes:
            raise MqttError(PROTOCOL_ERROR)
        return packet(0x90, packet_id, b"\0" if self.level == 5 else b"", bytes(codes)), wanted

    def unsubscribe(self, body: Body) -> bytes:
        """Take an UNSUBSCRIBE (3.10); its UNSUBACK."""
        packet_id, codes = body.packet_id(), bytearray()
        body.block(self.level)
        while body.left():
            codes.append(0 if self.filters.pop(body.text(), None) else NO_SUBSCRIPTION)
        if not codes:
            raise MqttError(PROTOCOL_ERROR)
        return packet(0xB0, packet_id, b"\0" + codes if self.level == 5 else b"")

    def wants(self, topic: Sequence[str], *, own: bool) -> int | None:
        """QoS and AS_PUBLISHED of the subscriptions that `topic` meets, joined; None where there is none."""
        found = [options for levels, options in self.filters.values()
                 if matches(levels, topic) and not (own and options & NO_LOCAL)]
        return max(x & 3 for x in found) | max(x & AS_PUBLISHED for x in found) if found else None

    def deliver(self, message: Message, qos: int, *, retain: bool) -> None:
        """Send a PUBLISH (3.3)."""
        self._last_id = self._last_id % 0xFFFF + 1
        self.send(packet(0x30 | qos << 1 | retain, text(message.topic),
                         self._last_id.to_bytes(2, "big") if qos else b"",
                         varint(len(message.properties)) + message.properties if self.level == 5 else b"",
                         message.payload))
