"""The properties of a PUBLISH (MQTT 5.0, section 3.3.2.3), read in linear time. Pure.

paho 2.2 reads them in quadratic time, 10 s for a packet full of them, and ends the connection where one has a U+FEFF,
which mosquitto lets through: either lets one device keep the ingest from everybody. So it never sees them.
"""

from __future__ import annotations

from edge.errors import WireError

MOST_BYTES = 4096
USER = 0x26
_FIXED = {0x01: 1, 0x02: 4, 0x23: 2}
_LENGTHY = frozenset({0x03, 0x08, 0x09})


def apart(packet: bytes | bytearray, qos: int) -> tuple[bytes, bytes]:
    """A PUBLISH behind its fixed header, with an empty list of properties; and the list's bytes, without its length.

    A packet that ends too early comes back as it is.
    """
    packet = bytes(packet)
    start = 2 + int.from_bytes(packet[:2]) + (2 if qos else 0)
    length, begin = _number(packet, start)
    if begin == start or begin + length > len(packet):
        return packet, b""
    return packet[:start] + b"\0" + packet[begin + length:], packet[begin:begin + length]


def user_properties(told: bytes) -> dict[str, str]:
    """Names and values of the user properties among properties; of a name that is repeated, the last.

    WireError where they are more than MOST_BYTES, or are no properties of a PUBLISH.
    """
    if len(told) > MOST_BYTES:
        raise WireError("bad_properties", f"{len(told)} bytes, at most {MOST_BYTES}")
    found, at = dict[str, str](), 0
    while at < len(told):
        kind, at = told[at], at + 1
        if kind == USER:
            name, at = _text(told, at)
            value, at = _text(told, at)
            found[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        elif kind in _LENGTHY:
            _, at = _text(told, at)
        elif kind in _FIXED:
            at += _FIXED[kind]
        elif kind == 0x0B:
            _, at = _number(told, at)
        else:
            raise WireError("bad_properties", f"{kind:#04x} is none of a PUBLISH")
    return found


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 2 + int.from_bytes(data[at:at + 2])
    return data[at + 2:end], end


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A variable byte integer (section 1.5.5) and the place behind it, the same place where there is none."""
    value = 0
    for i, byte in enumerate(data[at:at + 4]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value, at + i + 1
    return 0, at
