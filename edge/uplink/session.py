"""One connection to the broker, with birth and last will; the device's only importer of paho."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge import wire

log = structlog.get_logger(__name__)
KEEPALIVE_S = 30


@dataclass(frozen=True, slots=True)
class Presence:
    """What the device tells of itself, retained: `birth` at every connection, `state(online)` now and then."""

    birth: bytes
    state: Callable[[bool], bytes]


class Session:
    """Connected whenever it can be: paho alone reconnects. Falls back to MQTT 3.1.1 where a broker has no 5."""

    def __init__(self, device: str, host: str, port: int, presence: Presence | None,
                 on_up: Callable[[], None], on_committed: Callable[[bytes], None]) -> None:
        """`on_up` is called at every connection, `on_committed` with each watermark's payload; both must be quick."""
        self._device, self._host, self._port, self._presence = device, host, port, presence
        self._on_up, self._on_committed = on_up, on_committed
        self._stopping = False
        self.connected = False
        self._client = self._new_client(MQTTProtocolVersion.MQTTv5)

    def open(self) -> None:
        """Begin connecting; a broker that is not there yet is tried again until it is."""
        self._client.connect_async(self._host, self._port, KEEPALIVE_S)
        self._client.loop_start()

    def close(self) -> None:
        """Say goodbye (retained `online` false) and disconnect."""
        self._stopping = True
        if self.connected and self._presence:
            goodbye = self._client.publish(wire.up(self._device, "state"), self._presence.state(False), 1, True)
            try:
                goodbye.wait_for_publish(timeout=1)
            except (RuntimeError, ValueError) as error:
                log.info("goodbye_not_sent", error=str(error))
        self._client.disconnect()
        self._client.loop_stop()

    def tell_state(self) -> None:
        """Publish the retained state, where there is a presence and a connection."""
        if self.connected and self._presence:
            self._client.publish(wire.up(self._device, "state"), self._presence.state(True), 1, True)

    def publish(self, topic: str, payload: bytes, event_id: str) -> bool:
        """Send one batch, QoS 1; False where it could not even be queued.

        CloudEvents attributes (MQTT binding 1.0.2, binary mode) go with it, for routers that know nothing of us.
        """
        properties: Properties | None = None
        if self._client.protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's is untyped
            properties.ContentType = wire.CONTENT_TYPE
            properties.UserProperty = [("specversion", "1.0"), ("id", event_id), ("source", f"/{self._device}"),
                                       ("type", "cornergrid.telemetry.v1")]
        info = self._client.publish(topic, payload, 1, False, properties)
        return info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS

    def _new_client(self, protocol: MQTTProtocolVersion) -> mqtt.Client:
        """A visitor beside the running agent has no presence, and must not take the agent's session."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=protocol,
                             client_id=self._device if self._presence else f"{self._device}-check")
        client.reconnect_delay_set(1, 30)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = lambda _client, _data, message: self._on_committed(bytes(message.payload))
        client.on_publish = self._published
        if self._presence:
            client.will_set(wire.up(self._device, "state"), self._presence.state(False), 1, True)
        return client

    def _connected(self, client: mqtt.Client, _data: Any, _flags: mqtt.ConnectFlags, reason: ReasonCode,
                   _properties: Properties | None) -> None:
        if reason.is_failure:
            log.warning("broker_refused", reason=str(reason))
            if reason == "Unsupported protocol version":
                threading.Thread(target=self._fall_back, name="mqtt-fallback", daemon=True).start()
            return
        log.info("connected", broker=f"{self._host}:{self._port}")
        client.subscribe(wire.committed_topic(self._device), qos=1)
        self.connected = True
        if self._presence:
            client.publish(wire.up(self._device, "birth"), self._presence.birth, 1, True)
            self.tell_state()
        self._on_up()

    def _fall_back(self) -> None:
        """The broker has no MQTT 5: go on with 3.1.1, which has no reason codes and no user properties."""
        log.warning("mqtt_5_refused", broker=f"{self._host}:{self._port}", fallback="3.1.1")
        self._client.disconnect()
        self._client.loop_stop()
        if not self._stopping:
            self._client = self._new_client(MQTTProtocolVersion.MQTTv311)
            self.open()

    def _disconnected(self, _client: mqtt.Client, _data: Any, _flags: mqtt.DisconnectFlags, reason: ReasonCode,
                      _properties: Properties | None) -> None:
        self.connected = False
        log.info("disconnected", reason=str(reason))

    def _published(self, _client: mqtt.Client, _data: Any, mid: int, reason: ReasonCode,
                   _properties: Properties | None) -> None:
        if reason.is_failure:
            log.warning("publish_refused", mid=mid, reason=str(reason),
                        fix="the broker's ACL must let this device write its own topics")
