"""Drains the outbox to the broker and deletes what the cloud has committed; the device's only importer of paho.

    outbox ─▶ batch ─▶ PUBLISH, QoS 1 ─▶ broker ─▶ ingest commits ─▶ `down/committed` ─▶ outbox.drop

A PUBACK says that a broker heard it, which is not durable: only the committed watermark deletes. What stays
uncommitted for `resend_s` is sent again; the cloud counts every sequence once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge import wire
from edge.clock import Clock
from edge.errors import WireError
from edge.uplink.outbox import Outbox

log = structlog.get_logger(__name__)

HISTORICAL_S = 60.0
STATE_S = 10.0
KEEPALIVE_S = 30


@dataclass(frozen=True, slots=True)
class Link:
    """Where the broker is, and how many messages may be on their way at once."""

    device: str
    host: str
    port: int
    batch: int = 200
    window: int = 8
    resend_s: float = 10.0


@dataclass(frozen=True, slots=True)
class _Sent:
    last: int
    at: float


class Publisher:
    """One connection to the broker, kept up by paho; one thread that sends what the outbox holds."""

    def __init__(self, link: Link, outbox: Outbox, clock: Clock, birth: wire.Birth | None = None,
                 state: Callable[[], dict[str, str]] = dict) -> None:
        """`state` tells each sensor's status for the retained state message.

        Without a `birth` it only sends: a visitor beside the running agent leaves no presence and takes no session.
        """
        self._link, self._outbox, self._clock = link, outbox, clock
        self._birth, self._sensor_state = birth, state
        self._changed = threading.Condition()
        self._stopping = False
        self._connected = False
        self._old_protocol = False
        self._sent: deque[_Sent] = deque()
        self._cursor = 0
        self._resend_after = link.resend_s
        self.committed = outbox.held().lo - 1
        self.refused = 0
        self._client = self._new_client(MQTTProtocolVersion.MQTTv5)
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin connecting and sending; a broker that is not there yet is tried again until it is."""
        self._thread.start()

    def stop(self) -> None:
        """Say goodbye (retained `online` false) and end; what was not committed stays in the outbox."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout=5)
        if self._connected and self._birth:
            goodbye = self._client.publish(wire.up(self._link.device, "state"), self._state(online=False), 1, True)
            try:
                goodbye.wait_for_publish(timeout=1)
            except (RuntimeError, ValueError) as error:
                log.info("goodbye_not_sent", error=str(error))
        self._client.disconnect()
        self._client.loop_stop()

    def wake(self) -> None:
        """Something was put: send it now."""
        with self._changed:
            self._changed.notify_all()

    def wait_committed(self, seq: int, timeout_s: float) -> bool:
        """Whether the cloud has committed everything up to `seq` within `timeout_s` real seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self.committed >= seq, timeout_s)

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted this device's session."""
        return self._connected

    def _new_client(self, protocol: MQTTProtocolVersion) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=protocol,
                             client_id=self._link.device if self._birth else f"{self._link.device}-check")
        client.reconnect_delay_set(1, 30)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        if self._birth:
            client.will_set(wire.up(self._link.device, "state"), self._state(online=False), 1, True)
        return client

    def _run(self) -> None:
        self._open()
        due_state = self._clock.monotonic()
        while not self._stopping:
            if self._old_protocol:
                self._reopen()
            if self._connected and self._birth and self._clock.monotonic() >= due_state:
                self._client.publish(wire.up(self._link.device, "state"), self._state(online=True), 1, True)
                due_state = self._clock.monotonic() + STATE_S
            self._rewind_if_silent()
            if not self._send_next():
                with self._changed:
                    if not self._stopping:
                        self._changed.wait(timeout=1.0)

    def _open(self) -> None:
        self._client.connect_async(self._link.host, self._link.port, KEEPALIVE_S)
        self._client.loop_start()

    def _reopen(self) -> None:
        """The broker has no MQTT 5: go on with 3.1.1, which has no reason codes and no user properties."""
        log.warning("mqtt_5_refused", broker=f"{self._link.host}:{self._link.port}", fallback="3.1.1")
        self._client.disconnect()
        self._client.loop_stop()
        self._old_protocol = False
        self._client = self._new_client(MQTTProtocolVersion.MQTTv311)
        self._open()

    def _send_next(self) -> bool:
        if not self._connected or len(self._sent) >= self._link.window:
            return False
        records = self._outbox.peek(self._cursor, self._link.batch)
        if not records:
            return False
        seq, facts = records[0][0], [fact for _, fact in records]
        historical = self._clock.now() - facts[0].t > HISTORICAL_S
        payload = wire.encode_batch(
            self._link.device, facts, st=self._outbox.stream, seq=seq, lo=self._outbox.held().lo,
            boot=self._outbox.boot, historical=historical)
        topic = wire.up(self._link.device, "backlog" if historical else "data")
        info = self._client.publish(topic, payload, 1, False, self._properties(seq))
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return False
        self._cursor = records[-1][0]
        self._sent.append(_Sent(self._cursor, self._clock.monotonic()))
        return True

    def _properties(self, seq: int) -> Properties | None:
        """CloudEvents attributes (MQTT binding 1.0.2, binary mode) for routers that know nothing of us."""
        if self._client.protocol != MQTTProtocolVersion.MQTTv5:
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's is untyped
        properties.ContentType = wire.CONTENT_TYPE
        properties.UserProperty = [
            ("specversion", "1.0"), ("id", f"{self._outbox.stream}/{seq}"),
            ("source", f"/{self._link.device}"), ("type", "cornergrid.telemetry.v1"),
        ]
        return properties

    def _rewind_if_silent(self) -> None:
        """Send again from the watermark when the oldest message has not been committed in time.

        The patience doubles each time, up to a minute, so that a slow cloud is not buried under repeats.
        """
        if self._sent and self._clock.monotonic() - self._sent[0].at > self._resend_after:
            log.info("resend", after=self.committed, waited_s=self._resend_after)
            self._resend_after = min(self._resend_after * 2, max(60.0, self._link.resend_s))
            self._rewind()

    def _rewind(self) -> None:
        self._sent.clear()
        self._cursor = self._outbox.held().lo - 1

    def _state(self, *, online: bool) -> bytes:
        held = self._outbox.held()
        return wire.encode(wire.State(
            online=online, boot=self._outbox.boot, t=self._clock.now(), buffered=held.records,
            committed=self.committed, sensors=self._sensor_state() if online else {}))

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: mqtt.ConnectFlags, reason: ReasonCode,
                    _properties: Properties | None) -> None:
        if reason.is_failure:
            log.warning("broker_refused", reason=str(reason))
            self._old_protocol = reason == "Unsupported protocol version"
            self.wake()
            return
        log.info("connected", broker=f"{self._link.host}:{self._link.port}")
        client.subscribe(wire.committed_topic(self._link.device), qos=1)
        if self._birth:
            client.publish(wire.up(self._link.device, "birth"), wire.encode(self._birth), 1, True)
            client.publish(wire.up(self._link.device, "state"), self._state(online=True), 1, True)
        with self._changed:
            self._rewind()
            self._connected = True
            self._changed.notify_all()

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: mqtt.DisconnectFlags, reason: ReasonCode,
                       _properties: Properties | None) -> None:
        self._connected = False
        log.info("disconnected", reason=str(reason))

    def _on_publish(self, _client: mqtt.Client, _data: Any, mid: int, reason: ReasonCode,
                    _properties: Properties | None) -> None:
        if reason.is_failure:
            log.warning("publish_refused", mid=mid, reason=str(reason),
                        fix="the broker's ACL must let this device write its own topics")

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            committed = wire.decode(bytes(message.payload), wire.Committed)
        except WireError as error:
            log.warning("committed_not_understood", error=str(error))
            return
        held = self._outbox.held()
        if committed.st != self._outbox.stream or committed.committed > held.hi:
            log.warning("committed_of_another_stream", **msgspec.structs.asdict(committed))
            return
        if committed.refused > self.refused:
            log.warning("records_in_quarantine", refused=committed.refused, see="cornergrid-cloud watch")
        self.refused = max(self.refused, committed.refused)
        if committed.committed >= held.lo:
            self._outbox.drop(committed.committed)
        with self._changed:
            self.committed = max(self.committed, committed.committed)
            self._resend_after = self._link.resend_s
            while self._sent and self._sent[0].last <= self.committed:
                self._sent.popleft()
            self._cursor = max(self._cursor, self.committed)
            self._changed.notify_all()
