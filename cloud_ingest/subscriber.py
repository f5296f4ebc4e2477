"""MQTT in, watermarks out; the cloud's only importer of paho.

QoS 1 with manual acknowledgement: the broker keeps a message until the service says that it is committed.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge import wire

log = structlog.get_logger(__name__)
KEEPALIVE_S = 30
SESSION_S = 86_400


@dataclass(frozen=True, slots=True)
class Message:
    """One publish as it came; `session` tells to which connection its `mid` belongs."""

    topic: str
    payload: bytes
    qos: int
    mid: int
    session: int


class Subscriber:
    """One connection to the broker, kept up by paho, which hands every message to a bounded queue."""

    def __init__(self, host: str, port: int, client_id: str, waiting: int = 2000) -> None:
        """`waiting`: messages in memory at most; more stay with the broker."""
        self._host, self._port, self._client_id = host, port, client_id
        self._queue: queue.Queue[Message] = queue.Queue(waiting)
        self._lock = threading.Lock()
        self._session = 0
        self._stopping = False
        self.connected = False
        self._client = self._new_client(MQTTProtocolVersion.MQTTv5)

    def start(self) -> None:
        """Begin connecting; a broker that is not there yet is tried again until it is."""
        self._open()

    def stop(self) -> None:
        """Say that the ingest is gone, and disconnect; what was not acknowledged stays with the broker."""
        self._stopping = True
        if self.connected:
            self._announce(online=False)
        self._client.disconnect()
        while not self._queue.empty():  # the network thread may be waiting for a place
            self._queue.get_nowait()
        self._client.loop_stop()

    def take(self, most: int, wait_s: float) -> list[Message]:
        """Up to `most` messages that wait, or none after `wait_s` without any."""
        messages: list[Message] = []
        try:
            messages.append(self._queue.get(timeout=wait_s))
            while len(messages) < most:
                messages.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return messages

    def acknowledge(self, message: Message) -> None:
        """Tell the broker that a message is committed; one of an earlier connection was sent again already."""
        if message.qos and message.session == self._session:
            self._client.ack(message.mid, message.qos)

    def tell_committed(self, device: str, committed: wire.Committed) -> None:
        """Publish a stream's watermark, retained."""
        self._client.publish(wire.committed_topic(device), wire.encode(committed), 1, True)

    def _new_client(self, protocol: MQTTProtocolVersion) -> mqtt.Client:
        options: dict[str, Any] = {} if protocol == MQTTProtocolVersion.MQTTv5 else {"clean_session": False}
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self._client_id, protocol=protocol,
                             manual_ack=True, **options)
        client.reconnect_delay_set(1, 15)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.will_set(wire.INGEST_STATE, wire.encode(wire.IngestState(online=False)), 1, True)
        return client

    def _open(self) -> None:
        if self._client.protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's is untyped
            properties.SessionExpiryInterval = SESSION_S
            self._client.connect_async(self._host, self._port, KEEPALIVE_S, clean_start=False, properties=properties)
        else:
            self._client.connect_async(self._host, self._port, KEEPALIVE_S)
        self._client.loop_start()

    def _announce(self, *, online: bool) -> None:
        told = self._client.publish(wire.INGEST_STATE, wire.encode(wire.IngestState(online=online)), 1, True)
        if not online:
            try:
                told.wait_for_publish(timeout=1)
            except (RuntimeError, ValueError) as error:
                log.info("goodbye_not_sent", error=str(error))

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: mqtt.ConnectFlags, reason: ReasonCode,
                    _properties: Properties | None) -> None:
        if reason.is_failure:
            log.warning("broker_refused", reason=str(reason))
            if reason == "Unsupported protocol version":
                threading.Thread(target=self._fall_back, name="mqtt-fallback", daemon=True).start()
            return
        with self._lock:
            self._session += 1
        client.subscribe(wire.ALL_UP, qos=1)
        self.connected = True
        self._announce(online=True)
        log.info("subscribed", broker=f"{self._host}:{self._port}", topic=wire.ALL_UP)

    def _fall_back(self) -> None:
        """The broker has no MQTT 5; a new client, since a session cannot change its protocol."""
        log.warning("mqtt_5_refused", fallback="3.1.1")
        self._client.disconnect()
        self._client.loop_stop()
        if not self._stopping:
            self._client = self._new_client(MQTTProtocolVersion.MQTTv311)
            self._open()

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: mqtt.DisconnectFlags, reason: ReasonCode,
                       _properties: Properties | None) -> None:
        self.connected = False
        with self._lock:
            self._session += 1  # what came over it can no longer be acknowledged: the broker sends it again
        log.info("disconnected", reason=str(reason))

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self._queue.put(Message(message.topic, bytes(message.payload), message.qos, message.mid, self._session))
