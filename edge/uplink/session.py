"""Connections to the broker, one after the other, with birth and last will; the device's only importer of paho.

This thread alone reconnects. Each connection is a new client, so that nothing of an earlier one is sent twice by it:
what is to be sent again, the sender decides.
"""

from __future__ import annotations

import random
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge import wire
from edge.backoff import Backoff
from edge.clock import Clock
from edge.errors import CornergridError

log = structlog.get_logger(__name__)
CONNECT_S = 10.0
TAKEN_OVER_S = 60.0
NO_SUBSCRIBERS = 0x10
TAKEN_OVER = 0x8E
UNSUPPORTED_VERSION = 0x84


class Credentials(Protocol):
    """This device's identity as TLS, looked after by somebody else."""

    def open(self, renewed: Callable[[], None]) -> None:
        """Begin; `renewed` is called, from any thread, where a connection should be made anew."""

    def close(self) -> None:
        """End."""

    def context(self) -> ssl.SSLContext:
        """TLS for the next connection; CornergridError where there is no identity."""

    def check(self, shown: bytes | None) -> None:
        """Judge the certificate (DER) that the broker showed; ssl.SSLError where it cannot be trusted."""

    def accepted(self) -> None:
        """The broker took the session."""

    def refused(self) -> str:
        """The broker did not; what more is known, or nothing."""


@dataclass(frozen=True, slots=True)
class Address:
    """Who connects where: a visitor beside the running agent has another client id, and no presence.

    Without `tls` the connection is open: right on loopback only.
    """

    device: str
    host: str
    port: int
    keepalive_s: int = 20
    visitor: bool = False
    tls: Credentials | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether nothing of it leaves this machine."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")


@dataclass(frozen=True, slots=True)
class Ears:
    """What the session calls, from its own thread; all must be quick.

    `refused(mid, reason)`: the broker said no to a message. `trouble(text)`: something that a person must know.
    `taken(mid)`: the broker took a message; in MQTT 3.1.1 that is also what it says where it drops one.
    """

    up: Callable[[], None]
    heard: Callable[[str, bytes], None]
    refused: Callable[[int, str], None]
    trouble: Callable[[str], None]
    taken: Callable[[int], None] = lambda _mid: None


class Session:
    """Connected whenever it can be. Falls back to MQTT 3.1.1 where a broker has no 5."""

    def __init__(self, address: Address, clock: Clock, will: bytes | None, ears: Ears,
                 backoff: Backoff | None = None) -> None:
        """`will` is the retained state that the broker tells when this device is gone; None for a visitor."""
        self._address, self._clock, self._will, self._ears = address, clock, will, ears
        self._backoff = backoff or Backoff()
        self._stop = threading.Event()
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._end: ReasonCode | None = None
        self._answered = False
        self.connected = False
        self.most_bytes = wire.MAX_PAYLOAD
        self._client = self._new_client()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def open(self) -> None:
        """Begin connecting; a broker that is not there yet is tried again until it is."""
        if self._address.tls is not None and not self._address.visitor:
            self._address.tls.open(self._anew)
        if self._address.tls is None and not self._address.is_loopback:
            log.warning("open_connection", broker=self._address.host, why="the profile says `tls = false`",
                        fix="anybody on the way reads and writes along: remove that line and enrol the device")
        self._thread.start()

    def close(self, goodbye: bytes | None = None) -> None:
        """Say goodbye (the retained state, where given) and disconnect."""
        self._stop.set()
        if self._address.tls is not None and not self._address.visitor:
            self._address.tls.close()
        if self.connected and goodbye is not None:
            told = self._client.publish(wire.up(self._address.device, "state"), goodbye, 1, True)
            try:
                told.wait_for_publish(timeout=1)
            except (RuntimeError, ValueError) as error:
                log.info("goodbye_not_sent", error=str(error))
        self._client.disconnect()
        self._thread.join(timeout=CONNECT_S)

    def tell(self, topic: str, payload: bytes) -> None:
        """Publish something retained: the birth or the state."""
        if self.connected:
            self._client.publish(topic, payload, 1, True)

    def publish(self, topic: str, payload: bytes, event_id: str, n: int) -> int | None:
        """As `Transport.publish`."""
        mqtt_5 = self._protocol == MQTTProtocolVersion.MQTTv5
        properties = properties_of(self._address.device, payload, event_id, n) if mqtt_5 else None
        info = self._client.publish(topic, payload, 1, False, properties)
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def _run(self) -> None:
        while not self._stop.is_set():
            began = self._clock.monotonic()
            self._end, self._answered, refusal = None, False, ""
            try:
                if self._address.tls is not None:
                    self._client.tls_set_context(self._address.tls.context())
                self._client.connect(self._address.host, self._address.port, self._address.keepalive_s)
                # Not `loop_forever`: only `loop` makes the pair of sockets by which `publish` wakes it.
                while self._client.loop() == MQTTErrorCode.MQTT_ERR_SUCCESS:
                    pass
            except (OSError, ValueError) as error:
                log.info("no_broker", broker=f"{self._address.host}:{self._address.port}", error=str(error))
                refusal = str(error) if isinstance(error, ssl.SSLError) else ""
            except CornergridError as error:
                self._ears.trouble(str(error))
            except Exception:  # the connection is supervised here: the outbox keeps what was not committed
                log.exception("connection_failed")
            else:
                refusal = "" if self._answered else "it hangs up at once"
            self._tell_refusal(refusal)
            self.connected = False
            lasted = self._clock.monotonic() - began
            _let_go(self._client)
            self._client = self._new_client()
            self._stop.wait(self._wait_s(lasted))
        _let_go(self._client)

    def _tell_refusal(self, why: str) -> None:
        """In TLS 1.3 (RFC 8446) a client hears after the handshake, by hanging up, that its certificate is refused."""
        if why and self._address.tls is not None and not self._stop.is_set():
            more = self._address.tls.refused()
            self._ears.trouble(f"no trust between broker and device: {why}" + (f"; {more}" if more else ""))

    def _anew(self) -> None:
        if self.connected:
            log.info("connecting_anew", why="the device has a new certificate")
            self._client.disconnect()

    def _wait_s(self, lasted_s: float) -> float:
        end = self._end.value if self._end is not None else 0
        if end == UNSUPPORTED_VERSION and self._protocol == MQTTProtocolVersion.MQTTv5:
            log.warning("mqtt_5_refused", fallback="3.1.1")
            self._protocol = MQTTProtocolVersion.MQTTv311
            _let_go(self._client)
            self._client = self._new_client()
            return 0.0
        wait = self._backoff.after(lasted_s, random.Random())
        if end == TAKEN_OVER:
            self._ears.trouble(f"taken over: another device connects as {self._address.device}; each needs its own id")
            return TAKEN_OVER_S + wait
        return wait

    def _new_client(self) -> mqtt.Client:
        address = self._address
        client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=self._protocol, reconnect_on_failure=False,
                             client_id=f"{address.device}-check" if address.visitor else address.device)
        client.connect_timeout = CONNECT_S
        client.on_socket_open = self._socket_opened
        # Where somebody says that they watch for writes, paho leaves them to its loop. Otherwise `publish` writes from
        # the caller's thread while the loop reads, which breaks a TLS connection now and then.
        client.on_socket_register_write = lambda *_: None
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = lambda _client, _data, message: self._ears.heard(message.topic, bytes(message.payload))
        client.on_publish = self._published
        client.on_subscribe = self._subscribed
        if self._will is not None:
            client.will_set(wire.up(address.device, "state"), self._will, 1, True)
        return client

    def _socket_opened(self, _client: mqtt.Client, _data: Any, sock: Any) -> None:
        """Small packets go at once; written bytes that nobody acknowledges end the connection (tcp(7)).

        Without the first, Nagle's algorithm and delayed acknowledgements cost 40 ms for each answer.
        """
        if isinstance(sock, ssl.SSLSocket) and self._address.tls is not None:
            self._address.tls.check(sock.getpeercert(binary_form=True))
        if isinstance(sock, socket.socket):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._address.keepalive_s * 1500)

    def _connected(self, client: mqtt.Client, _data: Any, _flags: mqtt.ConnectFlags, reason: ReasonCode,
                   properties: Properties | None) -> None:
        self._answered = True
        if reason.is_failure:
            self._end = reason
            if reason.value != UNSUPPORTED_VERSION:
                self._ears.trouble(f"the broker refuses this device: {reason}")
            client.disconnect()
            return
        most = getattr(properties, "MaximumPacketSize", None)
        self.most_bytes = min(wire.MAX_PAYLOAD, most - 1024) if most else wire.MAX_PAYLOAD
        device = self._address.device
        client.subscribe([(topic, 1) for topic in (
            wire.committed_topic(device), wire.credit_topic(device), wire.ALL_INGEST)])

    def _subscribed(self, _client: mqtt.Client, _data: Any, _mid: int, reasons: list[ReasonCode],
                    _properties: Properties | None) -> None:
        """Only now is anything sent: a commit told before would not be heard."""
        if any(reason.is_failure for reason in reasons):
            self._ears.trouble(f"the broker refuses a subscription: {', '.join(map(str, reasons))}; its ACL must let "
                               "this device read its own `down` topics")
        log.info("connected", broker=f"{self._address.host}:{self._address.port}",
                 mqtt="5" if self._protocol == MQTTProtocolVersion.MQTTv5 else "3.1.1")
        self.connected = True
        if self._address.tls is not None:
            self._address.tls.accepted()
        self._ears.up()

    def _disconnected(self, _client: mqtt.Client, _data: Any, _flags: mqtt.DisconnectFlags, reason: ReasonCode,
                      _properties: Properties | None) -> None:
        self.connected = False
        self._end = self._end or reason
        log.info("disconnected", reason=str(reason))

    def _published(self, _client: mqtt.Client, _data: Any, mid: int, reason: ReasonCode,
                   _properties: Properties | None) -> None:
        if reason.is_failure:
            self._ears.refused(mid, str(reason))
            return
        self._ears.taken(mid)
        if reason.value == NO_SUBSCRIBERS:
            log.info("nobody_listens", mid=mid, effect="it stays in the outbox")


def properties_of(device: str, payload: bytes, event_id: str, n: int) -> Properties:
    """What goes with a batch of `n` sequences in MQTT 5: its content type, and how to name it where it is unreadable.

    The rest are CloudEvents attributes (MQTT binding 1.0.2, binary mode), for routers that know nothing of us.
    """
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's is untyped
    properties.ContentType = wire.CONTENT_TYPE if payload.startswith(b"{") else wire.PACKED
    properties.UserProperty = [("specversion", "1.0"), ("id", event_id), ("source", f"/{device}"),
                               ("type", "cornergrid.telemetry.v1"), ("n", str(n))]
    return properties


def _let_go(client: mqtt.Client) -> None:
    """Break the cycle of client and callbacks: paho closes its wake-up sockets only when the client is freed."""
    for name in ("on_socket_open", "on_connect", "on_disconnect", "on_message", "on_publish", "on_subscribe"):
        setattr(client, name, None)
