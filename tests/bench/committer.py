"""Acknowledges every batch as committed, without keeping it: what is left is the device's own speed.

    python -m tests.bench.committer PORT
"""

from __future__ import annotations

import socket
import sys
from typing import Any

import paho.mqtt.client as mqtt
from msgspec import UNSET
from paho.mqtt.enums import CallbackAPIVersion

from edge import wire
from edge.wire.batch import unpack
from edge.wire.messages import RawEnvelope


def main() -> None:
    """Answer until killed."""
    marks: dict[str, int] = {}
    ahead: dict[str, dict[int, int]] = {}

    def answer(client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        device, channel = wire.parse_up(message.topic)
        if channel == "state":
            client.publish(wire.credit_topic(device), wire.encode(wire.Credit(n=1_000_000)), 1)
        if channel in ("data", "backlog"):
            head = wire.decode(unpack(bytes(message.payload)), RawEnvelope)
            waiting = ahead.setdefault(head.st, {})
            waiting[head.seq] = head.seq + len(head.e) - 1
            while (end := waiting.pop(marks.get(head.st, 0) + 1, None)) is not None:
                marks[head.st] = end
            told = wire.Committed(st=head.st, committed=marks.get(head.st, 0), ahead=list(waiting.items()) or UNSET)
            client.publish(wire.committed_topic(device), wire.encode(told), 1)

    def opened(_client: mqtt.Client, _data: Any, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_message = answer
    client.on_socket_open = opened
    client.will_set(wire.ingest_topic("bench"), b"", 1, True)  # killed, it must not be taken for one that listens
    client.connect("127.0.0.1", int(sys.argv[1]))
    client.subscribe(wire.ALL_UP + "+", 1)
    client.publish(wire.ingest_topic("bench"), wire.encode(wire.IngestState(online=True)), 1, True)
    client.loop_forever()


if __name__ == "__main__":
    main()
