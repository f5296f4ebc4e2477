"""A stand-in MQTT broker in a thread, on loopback only: for drills and tests, never for production.

It speaks MQTT 3.1.1 and 5.0 (OASIS; sections below are 5.0's) as far as Cornergrid's clients do: QoS 0 and 1,
retained messages, wills, keep-alive, takeover of a client id. It has no persistent sessions (each ends with its
connection), no QoS 2, no authentication (a user name is read and ignored), no shared subscriptions, subscription
identifiers or topic aliases, and no expiry of messages. Flow is held back by TCP alone, not by Receive Maximum: a
subscriber that leaves mqtt.MAX_UNSENT bytes unread is cut off, and what it did not acknowledge is never sent again.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeAlias

import structlog

from edge.clock import SystemClock
from edge.sim import mqtt
from edge.sim.mqtt import Body, Connection, Message, MqttError

log = structlog.get_logger(__name__)
CALL_S = 30.0  # for the broker's thread to do what another one asked for
BOTH = frozenset({4, 5})  # the protocol levels of 3.1.1 and 5.0 (3.1.2.2)


@dataclass(frozen=True, slots=True)
class Arrived:
    """One PUBLISH from a client; MQTT 3.1.1 brings neither a content type nor user properties."""

    client: str
    topic: str
    payload: bytes
    content_type: str = ""
    user_properties: tuple[tuple[str, str], ...] = ()


OnPublish: TypeAlias = Callable[[Arrived], int | None]


class _Exchange:
    """The protocol apart from sockets: who is connected, what is retained, and the answer to each packet."""

    def __init__(self, protocols: frozenset[int], on_publish: OnPublish) -> None:
        self._protocols, self._on_publish = protocols, on_publish
        self.clients: dict[str, Connection] = {}
        self.retained: dict[str, Message] = {}
        # By packet type (2.1.2): the flags that it must have (2.1.3), and what answers it.
        self._answers: dict[int, tuple[int, Callable[[Connection, Body], None]]] = {
            1: (0, self._connect), 4: (0, lambda _connection, _body: None),
            8: (2, self._subscribe), 10: (2, lambda connection, body: connection.send(connection.unsubscribe(body))),
            12: (0, lambda connection, _body: connection.send(b"\xd0\0")), 14: (0, self._disconnect),
        }

    def handle(self, connection: Connection, first: int, body: Body) -> None:
        """Answer one packet; MqttError where it must end the connection."""
        kind, flags = first >> 4, first & 0x0F
        if (kind == 1) == bool(connection.client):
            raise MqttError(mqtt.PROTOCOL_ERROR)
        if kind == 3:
            self._publish(connection, flags, body)
            return
        if kind not in self._answers or flags != self._answers[kind][0]:
            raise MqttError
        self._answers[kind][1](connection, body)

    def route(self, message: Message, sender: str = "") -> int:
        """Retain a message if it says so, and hand it to every subscriber; how many there were."""
        if message.retain and message.payload:
            self.retained[message.topic] = message
        elif message.retain:
            self.retained.pop(message.topic, None)
        reached, levels = 0, message.topic.split("/")
        for connection in self.clients.values():
            options = connection.wants(levels, own=connection.client == sender)
            if options is not None:
                retain = message.retain and bool(options & mqtt.AS_PUBLISHED)
                connection.deliver(message, min(message.qos, options & 1), retain=retain)
                reached += 1
        return reached

    def leave(self, connection: Connection) -> None:
        """Forget a client, and publish its will unless a DISCONNECT took it back (3.1.2.5)."""
        if self.clients.get(connection.client) is connection:
            del self.clients[connection.client]
        will, connection.will = connection.will, None
        if will is not None:
            self.route(will, connection.client)

    def _connect(self, connection: Connection, body: Body) -> None:
        welcome = connection.introduce(body, self._protocols)
        if old := self.clients.get(connection.client):
            old.end(mqtt.TAKEN_OVER)
            self.leave(old)
        self.clients[connection.client] = connection
        connection.send(welcome)

    def _disconnect(self, connection: Connection, body: Body) -> None:
        # Only the reason 0 takes the will back (3.14.4), and 3.1.1 has no other.
        if connection.level == 4 or not body.left() or body.number() == 0:
            connection.will = None
        connection.over = True

    def _publish(self, connection: Connection, flags: int, body: Body) -> None:
        qos = flags >> 1 & 3
        if qos > 1 or (flags & 0x08 and not qos):
            raise MqttError(mqtt.NO_QOS_2 if qos == 2 else mqtt.MALFORMED)
        topic, packet_id = body.topic(), body.packet_id() if qos else b""
        properties = list(body.block(connection.level).properties())
        message = Message(topic, body.rest(), qos, bool(flags & 1), b"".join(raw for _, _, raw in properties))
        code = self._ask(connection.client, message, properties)
        if connection.over:  # the hook restarted the broker
            return
        if code is None or code < 0x80:
            reached = self.route(message, connection.client)
            code = code if code is not None else 0 if reached else mqtt.NO_SUBSCRIBERS
        if qos:
            told = code != 0 and connection.level == 5  # 3.1.1 cannot say it
            connection.send(mqtt.packet(0x40, packet_id, bytes([code]) if told else b""))

    def _ask(self, client: str, message: Message, properties: list[tuple[int, Any, bytes]]) -> int | None:
        content = next((value for kind, value, _ in properties if kind == mqtt.CONTENT_TYPE), "")
        user = tuple(value for kind, value, _ in properties if kind == mqtt.USER_PROPERTY)
        try:
            code = self._on_publish(Arrived(client, message.topic, message.payload, content, user))
            return code if code is None else bytes([code])[0]  # ValueError where it is no byte
        except Exception:  # a drill's mistake must not end the broker under its other clients
            log.exception("on_publish_failed", topic=message.topic)
            return mqtt.OWN_ERROR

    def _subscribe(self, connection: Connection, body: Body) -> None:
        acknowledgement, wanted = connection.subscribe(body)
        connection.send(acknowledgement)
        for name, qos in wanted:
            for message in self.retained.values():
                if mqtt.matches(name.split("/"), message.topic.split("/")):
                    connection.deliver(message, min(message.qos, qos), retain=True)


class _Loop:
    """The broker's thread: every socket and every timer; other threads hand it work."""

    def __init__(self, exchange: _Exchange, host: str, port: int, *, blackhole: bool) -> None:
        self._exchange, self._host, self.port, self._blackhole = exchange, host, port, blackhole
        self._clock, self._selector = SystemClock(), selectors.DefaultSelector()
        self._open: list[Connection] = []
        self._todo: deque[Callable[[], object]] = deque()
        self._stopping = False
        self._listen()
        self._wake, self._waker = socket.socketpair()
        for end in (self._wake, self._waker):
            end.setblocking(False)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name=f"broker {self.port}", daemon=True)
        self._thread.start()

    def post(self, work: Callable[[], object]) -> None:
        """Have `work` done in the broker's thread, after what it does now."""
        self._todo.append(work)
        with contextlib.suppress(OSError):  # full: it wakes anyway; closed: nobody is left to wake
            self._waker.send(b"x")

    def call(self, work: Callable[[], None]) -> None:
        """Have `work` done in the broker's thread, and return when it is."""
        if threading.current_thread() is self._thread:
            work()
            return
        done: Future[None] = Future()

        def run() -> None:
            try:
                work()
            except OSError as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self.post(run)
        done.result(CALL_S)

    def stop(self) -> None:
        """End the thread, and every connection without a word."""
        self._stopping = True
        self.post(lambda: None)
        self._thread.join()

    def restart(self, wiped: bool) -> None:
        """What a killed broker's clients see; no wills, since nobody is left to send them."""
        self._cut()
        if wiped:
            self._exchange.retained.clear()
        self._selector.unregister(self._listener)
        self._listener.close()
        self._listen()

    def set_blackhole(self, on: bool) -> None:
        """Go silent; or speak again, to those who have waited for it."""
        if on == self._blackhole:
            return
        self._blackhole = on
        for connection in list(self._open):
            if on:
                connection.watch(self._selector, 0)
            elif not self._blackhole:  # unless the hook made it so again meanwhile
                self._resume(connection, self._clock.monotonic())

    def _resume(self, connection: Connection, now: float) -> None:
        late, got = connection.client != "" and connection.due() < now, 1
        while got > 0:
            got = connection.receive(now)
        if late or got < 0:  # it has given up: what it sent into the hole has vanished
            connection.received.clear()
            connection.over = True
        else:
            self._digest(connection)

    def _listen(self) -> None:
        self._listener = socket.create_server((self._host, self.port))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._selector.register(self._listener, selectors.EVENT_READ)

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
        finally:
            self._cut()
            for sock in (self._listener, self._wake, self._waker):
                sock.close()
            self._selector.close()

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._tend()):
            if key.data is not None:
                self._serve(key.data)
            elif key.fileobj is self._wake:
                self._wake.recv(4096)
            else:
                self._accept()
        while self._todo:
            self._todo.popleft()()
        now = self._clock.monotonic()
        for connection in list(self._open):
            if connection.due() <= now:
                self._serve(connection)  # a slow hook may have kept it from being heard
                if connection.due() <= now and not connection.over and not self._blackhole:
                    connection.end(mqtt.TIMED_OUT)

    def _tend(self) -> float | None:
        """Close what is over and send what waits; the seconds until a client has been silent for too long."""
        if self._blackhole:
            return None
        while over := [connection for connection in self._open if connection.over]:
            for connection in over:
                connection.flush()
                connection.close(self._selector)
                self._open.remove(connection)
                self._exchange.leave(connection)  # its will may be too much for another one
        for connection in self._open:
            connection.flush()
            writes = selectors.EVENT_WRITE if connection.unsent else 0
            connection.watch(self._selector, selectors.EVENT_READ | writes)
        if any(connection.over for connection in self._open):
            return 0
        due = min((connection.due() for connection in self._open), default=math.inf)
        return None if due == math.inf else due - self._clock.monotonic()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it has gone again, or the listener was replaced in this turn
            sock, _ = self._listener.accept()
            self._open.append(Connection(sock, self._clock.monotonic()))
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _serve(self, connection: Connection) -> None:
        if connection.over or self._blackhole:  # since this turn began
            return
        if connection.receive(self._clock.monotonic()) < 0:
            connection.over = True
        else:
            self._digest(connection)

    def _digest(self, connection: Connection) -> None:
        try:
            for first, body in connection.packets():
                self._exchange.handle(connection, first, body)
                if self._blackhole:
                    return
        except MqttError as error:
            connection.end(error.reason)

    def _cut(self) -> None:
        for connection in self._open:
            connection.over = True
            connection.close(self._selector)
        self._open.clear()
        self._exchange.clients.clear()


class StandInBroker:
    """The broker; listens between `start` and `stop`, or within `with`.

    One thread manages it. `publish`, `connections`, `restart` and `blackhole` may also be used within `on_publish`.
    """

    def __init__(self, port: int = 0, host: str = "127.0.0.1", *, protocols: frozenset[int] = BOTH) -> None:
        """`port` 0 takes a free one, known after `start`; `protocols` {4} is a broker without MQTT 5."""
        if not ipaddress.IPv4Address(host).is_loopback or not protocols <= BOTH:
            raise ValueError(f"a stand-in serves protocols {set(BOTH)} on loopback, not {set(protocols)} on {host}")
        self.port = port
        self.on_publish: OnPublish | None = None
        """Called in the broker's thread for every PUBLISH of a client, not for wills.

        A number becomes the PUBACK's reason code; from 0x80 on, the message goes no further. None leaves both be.
        """
        self._host = host
        self._exchange = _Exchange(protocols, lambda arrived: self.on_publish(arrived) if self.on_publish else None)
        self._loop: _Loop | None = None
        self._blackhole = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; OSError where the port is taken. What was retained before a `stop` still is."""
        if self._loop is None:
            self._loop = _Loop(self._exchange, self._host, self.port, blackhole=self._blackhole)
            self.port = self._loop.port

    def stop(self) -> None:
        """Close every connection abruptly and listen no more."""
        if self._loop is not None:
            self._loop.stop()
            self._loop = None

    def restart(self, wiped: bool) -> None:
        """Close every connection abruptly, without wills, and listen at once again; `wiped` forgets what is retained.

        One that is stopped starts.
        """
        if self._loop is not None:
            self._loop.call(partial(self._loop.restart, wiped))
            return
        if wiped:
            self._exchange.retained.clear()
        self.start()

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Send a message of the broker's own, QoS 1, soon and in order; lost where the broker is stopped."""
        if not mqtt.is_topic(topic):
            raise ValueError(f"{topic!r} is no topic")
        if self._loop is not None:
            self._loop.post(partial(self._exchange.route, Message(topic, payload, 1, retain)))

    def connections(self) -> int:
        """Clients whose CONNECT was accepted; in a blackhole, those who gave up meanwhile are still among them."""
        return len(self._exchange.clients)

    @property
    def blackhole(self) -> bool:
        """While true, nothing is read, written or closed, and new connections are accepted but never answered.

        Afterwards those who still wait go on, as after TCP's repetition; who has closed, or been silent for too long,
        is closed with its will, and what it had sent into the hole is dropped.
        """
        return self._blackhole

    @blackhole.setter
    def blackhole(self, on: bool) -> None:
        self._blackhole = on
        if self._loop is not None:
            self._loop.call(partial(self._loop.set_blackhole, on))
