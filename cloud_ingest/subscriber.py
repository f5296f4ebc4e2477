"""MQTT in, watermarks and credit out; the cloud's only importer of paho.

QoS 1 with manual acknowledgement: the broker hands out no more than WINDOW messages that are not committed. The
session is clean: what a broker still held of it is sent again by the devices, which keep each record until they hear
that it is committed, whereas a shared subscription would go on handing messages to a worker that is gone.
"""

from __future__ import annotations

import queue
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from cloud_ingest.properties import apart, user_properties
from edge import wire
from edge.errors import WireError

log = structlog.get_logger(__name__)
KEEPALIVE_S = 30
WINDOW = 200
END_S = 1.0
GROUP = "ingest"
KEPT_UNREAD = 1000
"""Bytes of a payload that is refused unread."""
TAKEN_OVER = 0x8E  # reason codes: MQTT 5.0 section 2.4
WRONG_VERSION = 0x84
FIXES = {
    0x80: "none needed where the broker went away; where it repeats, give each worker a --client-id of its own",
    0x85: "choose another --client-id",
    0x86: "check the broker's user and password for the ingest",
    0x87: "allow the ingest's --client-id in the broker's access list",
    0x88: "none needed: the broker is busy or stopping, and is tried again",
    0x89: "none needed: the broker is busy or stopping, and is tried again",
    0x8A: "lift the broker's ban of the ingest's --client-id",
    TAKEN_OVER: "give each worker a --client-id of its own",
    0x9E: "use a broker with shared subscriptions, or a single worker over MQTT 3.1.1",
}
READ_FIX = f"allow the ingest to read {wire.ALL_UP}# in the broker's access list, then restart it"


@dataclass(frozen=True, slots=True)
class Message:
    """One publish as it came; `session` tells to which connection its `mid` belongs.

    `claim` are the sequences that its user properties name (MQTT 5), for a payload that cannot be read. `fault` is
    why it is refused unread.
    """

    topic: str
    payload: bytes
    qos: int
    mid: int
    session: int
    claim: wire.Identity | None = None
    fault: str = ""


def claim_of(told: dict[str, str]) -> wire.Identity | None:
    """The sequences in the user properties `id` (`<stream>/<seq>`) and `n`, or None."""
    st, _, seq = told.get("id", "").partition("/")
    try:
        claim = msgspec.convert({"st": st, "seq": seq, "n": told.get("n", "1")}, wire.Identity, strict=False)
    except msgspec.ValidationError:
        return None
    return claim if claim.seq + claim.n - 1 <= wire.MAX_SEQ else None


def end_session(where: tuple[str, int], device: str, tls: ssl.SSLContext) -> None:
    """Take the session of a device that is revoked, and end it; its retained state says that it is offline.

    `where` is the listener on which a client may choose its id, `tls` the guard's. OSError where it is not reached.
    """
    done, topic = threading.Event(), wire.up(device, "state")
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=device, protocol=MQTTProtocolVersion.MQTTv311,
                         reconnect_on_failure=False)
    client.tls_set_context(tls)

    def ask(*_: object) -> None:
        client.subscribe(topic, 1)

    client.on_connect = ask
    client.on_message = lambda _client, _data, message: _put_offline(client, message)
    client.on_publish = lambda *_: done.set()
    client.connect(*where, keepalive=KEEPALIVE_S)
    client.loop_start()
    done.wait(END_S)  # without a retained state there is nothing to put right
    client.disconnect()
    client.loop_stop()


def put_retained(where: tuple[str, int], below: str, messages: dict[str, bytes], tls: ssl.SSLContext | None = None,
                 wait_s: float = 30.0) -> int:
    """Make `messages` (topic: payload) the retained ones below the topic `below`, and take away all others there.

    Returns how many were taken away. OSError where the broker is not reached or does not take them within `wait_s`.
    """
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="", protocol=MQTTProtocolVersion.MQTTv311,
                         reconnect_on_failure=False)
    if tls is not None:
        client.tls_set_context(tls)
    there: set[str] = set()
    marker, marked = f"{below}/end", threading.Event()

    def heard(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        if message.topic == marker:
            marked.set()
        elif message.retain and message.payload:
            there.add(message.topic)

    def connected(*_: object) -> None:
        client.subscribe(f"{below}/#", 1)

    def subscribed(*_: object) -> None:
        client.publish(marker, b".", 1)  # comes back behind what is retained

    client.on_message, client.on_connect, client.on_subscribe = heard, connected, subscribed
    client.connect(*where, keepalive=KEEPALIVE_S)
    client.loop_start()
    try:
        if not marked.wait(wait_s):
            raise TimeoutError("the broker does not answer: it refused the connection or the topic")
        gone = there - messages.keys()
        sent = [client.publish(topic, payload, 1, True) for topic, payload in messages.items()]
        sent += [client.publish(topic, b"", 1, True) for topic in gone]
        for each in sent:
            each.wait_for_publish(wait_s)
            if not each.is_published():
                raise TimeoutError("the broker did not take every message")
        return len(gone)
    finally:
        client.disconnect()
        client.loop_stop()


def _put_offline(client: mqtt.Client, message: mqtt.MQTTMessage) -> None:
    try:
        state = wire.decode(bytes(message.payload), wire.State)
    except WireError:
        state = wire.State(online=True, boot=0)
    if state.online:
        gone = wire.State(online=False, boot=state.boot, t=state.t)
        client.publish(message.topic, wire.encode(gone), 1, True)


def _connect(client: mqtt.Client, host: str, port: int) -> None:
    if client.protocol == MQTTProtocolVersion.MQTTv5:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's is untyped
        properties.SessionExpiryInterval = 0
        properties.ReceiveMaximum = WINDOW
        client.connect_async(host, port, KEEPALIVE_S, clean_start=True, properties=properties)
    else:
        client.connect_async(host, port, KEEPALIVE_S)
    client.loop_start()


@dataclass(frozen=True, slots=True)
class Secured:
    """A connection by certificate, and the name of the workers' share.

    Any client may join a share whose name it knows; it then takes messages from the others, though the access list
    lets it read none (mosquitto 2.0.11: half of them were gone). So the name is drawn, and no device hears it.
    `certificate` is the file that `tls` shows, read again before each connection: the guard renews it.
    """

    tls: ssl.SSLContext
    certificate: Path
    group: str = GROUP

    def renew(self) -> None:
        """Show what the file now holds."""
        try:
            self.tls.load_cert_chain(self.certificate)
        except (OSError, ssl.SSLError) as error:
            log.error("certificate_not_read", file=str(self.certificate), error=str(error),
                      fix="write it again with `cornergrid-cloud broker config`")


class _Client(mqtt.Client):
    """paho's client, which keeps the properties of the PUBLISH at hand as bytes and reads none: see `properties`."""

    told = b""

    def _handle_publish(self) -> MQTTErrorCode:
        self.told = b""
        if self.protocol == MQTTProtocolVersion.MQTTv5:
            whole, qos = self._in_packet["packet"], (self._in_packet["command"] & 0x06) >> 1
            bare, self.told = apart(whole, qos)
            self._in_packet["packet"] = bytearray(bare)
        return super()._handle_publish()


class Subscriber:
    """One connection to the broker, kept up by paho, which hands every message to a bounded queue."""

    def __init__(self, host: str, port: int, client_id: str, waiting: int = 2000,
                 secured: Secured | None = None) -> None:
        """`client_id` is this worker's name, of which no other may be; `waiting`: messages in memory at most."""
        self._host, self._port, self._client_id, self._secured = host, port, client_id, secured
        self._queue: queue.Queue[Message] = queue.Queue(waiting)
        self._lock = threading.Lock()
        self._session = 0
        self._stopping = False
        self.connected = False
        self._client = self._new_client(MQTTProtocolVersion.MQTTv5)

    @property
    def waiting(self) -> int:
        """Messages in memory that nobody has taken yet."""
        return self._queue.qsize()

    def start(self) -> None:
        """Begin connecting; a broker that is not there yet is tried again until it is."""
        _connect(self._client, self._host, self._port)

    def stop(self) -> None:
        """Say that this worker is gone, and disconnect; the devices send again what was not committed."""
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
        """Tell the broker that a message is committed; one of an earlier connection is none of its business."""
        with self._lock:  # a new connection counts its ids anew: none may begin between the question and the call
            if message.qos and message.session == self._session:
                self._client.ack(message.mid, message.qos)

    def tell_committed(self, device: str, committed: wire.Committed) -> None:
        """Publish a stream's watermark, retained."""
        self._client.publish(wire.committed_topic(device), wire.encode(committed), 1, True)

    def tell_credit(self, device: str, n: int) -> None:
        """Publish that `device` may send `n` more records of its backlog."""
        self._client.publish(wire.credit_topic(device), wire.encode(wire.Credit(n=n)), 1)

    def _new_client(self, protocol: MQTTProtocolVersion) -> _Client:
        options: dict[str, Any] = {} if protocol == MQTTProtocolVersion.MQTTv5 else {"clean_session": True}
        client = _Client(CallbackAPIVersion.VERSION2, client_id=self._client_id, protocol=protocol, manual_ack=True,
                         **options)
        if self._secured is not None:
            client.tls_set_context(self._secured.tls)
            client.on_pre_connect = lambda *_, secured=self._secured: secured.renew()
        client.reconnect_delay_set(1, 15)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.will_set(wire.ingest_topic(self._client_id), wire.encode(wire.IngestState(online=False)), 1, True)
        return client

    def _announce(self, *, online: bool) -> None:
        told = self._client.publish(wire.ingest_topic(self._client_id), wire.encode(wire.IngestState(online=online)),
                                    1, True)
        if not online:
            try:
                told.wait_for_publish(timeout=1)
            except (RuntimeError, ValueError) as error:
                log.info("goodbye_not_sent", error=str(error))

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: mqtt.ConnectFlags, reason: ReasonCode,
                    properties: Properties | None) -> None:
        if reason.is_failure:
            if reason.value == WRONG_VERSION and client.protocol == MQTTProtocolVersion.MQTTv5:
                threading.Thread(target=self._fall_back, name="mqtt-fallback", daemon=True).start()
            else:
                log.error("broker_refused", reason=str(reason), fix=FIXES.get(reason.value, "see the broker's log"))
            return
        with self._lock:
            self._session += 1
        shared = client.protocol == MQTTProtocolVersion.MQTTv5 and getattr(
            properties, "SharedSubscriptionAvailable", 1) == 1
        if not shared:
            log.warning("one_worker_only", why="the broker has no shared subscriptions",
                        fix="run no second worker, or use a broker with MQTT 5 and shared subscriptions")
        share = f"$share/{self._secured.group if self._secured else GROUP}/" if shared else ""
        # A retained message is not sent on a shared subscription (MQTT 5.0 section 4.8.2).
        client.subscribe([(f"{share}{wire.ALL_UP}data", 1), (f"{share}{wire.ALL_UP}backlog", 1),
                          (f"{wire.ALL_UP}birth", 1), (f"{wire.ALL_UP}state", 1)])

    def _on_subscribe(self, _client: mqtt.Client, _data: Any, _mid: int, reasons: list[ReasonCode],
                      _properties: Properties | None) -> None:
        refused = [reason for reason in reasons if reason.is_failure]
        if refused:
            log.error("subscription_refused", reasons=[str(reason) for reason in reasons],
                      fix=FIXES[0x9E] if any(reason.value == 0x9E for reason in refused) else READ_FIX)
            return
        self.connected = True
        self._announce(online=True)
        log.info("subscribed", broker=f"{self._host}:{self._port}", worker=self._client_id)

    def _fall_back(self) -> None:
        """The broker has no MQTT 5; a new client, since a session cannot change its protocol."""
        log.warning("mqtt_5_refused", fallback="3.1.1")
        self._client.disconnect()
        self._client.loop_stop()
        if not self._stopping:
            self._client = self._new_client(MQTTProtocolVersion.MQTTv311)
            _connect(self._client, self._host, self._port)

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: mqtt.DisconnectFlags, reason: ReasonCode,
                       _properties: Properties | None) -> None:
        self.connected = False
        with self._lock:
            self._session += 1  # what came over it can no longer be acknowledged: the devices send it again
        fix = {"fix": FIXES[reason.value]} if reason.value in FIXES else {}
        (log.warning if fix else log.info)("disconnected", reason=str(reason), **fix)

    def _on_message(self, client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:  # a broker should not pass it on; here it would end the network thread
            topic = "not UTF-8"
        payload, claim, fault = bytes(message.payload), None, ""
        try:
            claim = claim_of(user_properties(client.told if isinstance(client, _Client) else b""))
        except WireError as error:
            fault = str(error)
        if message.qos == 0:  # the broker's window does not hold it back: many large ones would fill the memory
            payload, fault = payload[:KEPT_UNREAD], "bad_qos: 0, and only what is acknowledged is counted"
        self._queue.put(Message(topic, payload, message.qos, message.mid, self._session, claim, fault))
