"""The stand-in broker, asked by real paho clients, and by raw sockets where paho is too polite."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any, Self

import paho.mqtt.client as mqtt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.sim import mqtt as packets
from edge.sim.broker import Arrived, StandInBroker

V311, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5
HOST = "127.0.0.1"
PATIENCE_S = 10


class Peer:
    """A paho client whose events wait in queues; it does not connect again unless told to."""

    def __init__(self, broker: StandInBroker, protocol: MQTTProtocolVersion = V5, client_id: str = "",
                 will: tuple[str, bytes, bool] | None = None, keepalive: int = 60, reconnects: bool = False) -> None:
        self.messages = messages = queue.Queue[mqtt.MQTTMessage]()
        self.welcomes = welcomes = queue.Queue[ReasonCode]()
        self.goodbyes = goodbyes = queue.Queue[ReasonCode]()
        self.granted = granted = queue.Queue[list[ReasonCode]]()
        self.taken = taken = queue.Queue[tuple[int, ReasonCode]]()
        self.client = client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol,
                                           reconnect_on_failure=reconnects)
        client.reconnect_delay_set(1, 1)
        # None refers to self: paho closes its last sockets when it is freed, which must not wait for a cycle's turn.
        client.on_connect = lambda _client, _data, _flags, reason, _properties: welcomes.put(reason)
        client.on_disconnect = lambda _client, _data, _flags, reason, _properties: goodbyes.put(reason)
        client.on_message = lambda _client, _data, message: messages.put(message)
        client.on_subscribe = lambda _client, _data, _mid, reasons, _properties: granted.put(reasons)
        client.on_unsubscribe = lambda _client, _data, _mid, reasons, _properties: granted.put(reasons)
        client.on_publish = lambda _client, _data, mid, reason, _properties: taken.put((mid, reason))
        if will is not None:
            client.will_set(will[0], will[1], 1, will[2])
        client.connect(HOST, broker.port, keepalive)
        client.loop_start()

    def __enter__(self) -> Self:
        assert self.welcomes.get(timeout=PATIENCE_S) == "Success"
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def subscribe(self, *arguments: Any, **options: Any) -> list[ReasonCode]:
        self.client.subscribe(*arguments, **options)
        return self.granted.get(timeout=PATIENCE_S)

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False,
                properties: Properties | None = None) -> ReasonCode:
        """The reason code with which the broker acknowledged it."""
        mid = self.client.publish(topic, payload, qos, retain, properties).mid
        told = self.taken.get(timeout=PATIENCE_S)
        assert told[0] == mid
        return told[1]

    def hears(self) -> tuple[str, bytes, bool]:
        message = self.messages.get(timeout=PATIENCE_S)
        return message.topic, bytes(message.payload), message.retain

    def vanish(self) -> None:
        """Break the connection without a DISCONNECT."""
        sock = self.client.socket()
        assert isinstance(sock, socket.socket)
        sock.shutdown(socket.SHUT_RDWR)


class Raw:
    """A socket that says what it is told to."""

    def __init__(self, broker: StandInBroker, *data: bytes) -> None:
        self.socket = socket.create_connection((HOST, broker.port), PATIENCE_S)
        self.socket.sendall(b"".join(data))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def answer(self, size: int) -> bytes:
        """The next bytes: fewer than `size` only where the broker has closed."""
        data = b""
        while len(data) < size:
            try:
                part = self.socket.recv(size - len(data))
            except ConnectionResetError:
                return data
            if not part:
                return data
            data += part
        return data


def connect(client: str, level: int = 4, flags: int = 2, keepalive: int = 60, rest: bytes = b"",
            name: str = "MQTT") -> bytes:
    properties = b"\0" if level >= 5 else b""
    return packets.packet(0x10, packets.text(name), bytes([level, flags]), keepalive.to_bytes(2, "big"), properties,
                          packets.text(client), rest)


def publish(topic: str, payload: bytes) -> bytes:
    return packets.packet(0x30, packets.text(topic), payload)


def properties_of(content_type: str, *user: tuple[str, str]) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's is untyped
    properties.ContentType = content_type
    properties.UserProperty = list(user)
    return properties


@pytest.fixture
def broker() -> Iterator[StandInBroker]:
    with StandInBroker() as broker:
        yield broker


@pytest.mark.parametrize("sender", [V311, V5])
@pytest.mark.parametrize("receiver", [V311, V5])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_message_arrives_as_it_was_sent(broker: StandInBroker, sender: Any, receiver: Any, qos: int) -> None:
    with Peer(broker, sender) as source, Peer(broker, receiver) as sink:
        assert [code.value for code in sink.subscribe("cg/v1/a/up/data", qos=2)] == [1]
        assert broker.connections() == 2
        properties = properties_of("application/json", ("id", "x/1"), ("id", "é")) if sender == V5 else None
        assert source.publish("cg/v1/a/up/data", bytes(range(256)) * 4, qos, properties=properties) == "Success"
        message = sink.messages.get(timeout=PATIENCE_S)
        assert (message.topic, message.payload, message.qos, message.retain) == (
            "cg/v1/a/up/data", bytes(range(256)) * 4, qos, False)
        if sender == receiver == V5:
            came: Any = message.properties
            assert (came.ContentType, came.UserProperty) == ("application/json", [("id", "x/1"), ("id", "é")])


def test_a_thousand_messages_come_in_order(broker: StandInBroker) -> None:
    with Peer(broker) as source, Peer(broker, V311) as sink:
        sink.subscribe("count", qos=1)
        for n in range(1000):
            source.client.publish("count", str(n).encode().rjust(1024), 1)
        assert [int(sink.hears()[1]) for _ in range(1000)] == list(range(1000))
        assert all(source.taken.get(timeout=PATIENCE_S)[1] == "Success" for _ in range(1000))
        assert source.taken.empty()
        assert sink.messages.empty()


@pytest.mark.parametrize("protocol", [V311, V5])
def test_what_is_retained_is_told_to_late_comers_until_it_is_cleared(broker: StandInBroker, protocol: Any) -> None:
    with Peer(broker, protocol) as source, Peer(broker, protocol) as early, Peer(broker, protocol) as late:
        early.subscribe("s/#", qos=1)
        source.publish("s/1", b"old", retain=True)
        source.publish("s/1", b"new", retain=True)
        assert [early.hears(), early.hears()] == [("s/1", b"old", False), ("s/1", b"new", False)]
        late.subscribe("s/+", qos=1)
        assert late.hears() == ("s/1", b"new", True)
        source.publish("s/1", b"", retain=True)
        assert late.hears() == ("s/1", b"", False)
        late.subscribe("s/1", qos=1)
        late.subscribe([("end", 0)])
        source.publish("end", b"end")
        assert late.hears() == ("end", b"end", False)


def test_subscription_options_of_version_5(broker: StandInBroker) -> None:
    with Peer(broker) as peer:
        peer.publish("o/1", b"kept", retain=True)
        for handling, told in ((2, False), (1, False), (0, True)):
            options = SubscribeOptions(1, True, True, handling)
            peer.subscribe("o/1", options=options)
            broker.publish("o/1", bytes([handling]), retain=True)
            assert [peer.hears() for _ in range(1 + told)][-1] == ("o/1", bytes([handling]), True)
        assert peer.publish("o/1", b"own") == "No matching subscribers"
        assert peer.messages.empty()


def test_a_subscription_is_refused_where_it_cannot_be_served(broker: StandInBroker) -> None:
    asked = [("a/#/b", 1), ("a+", 1), ("$share/group/a", 1), ("a/+", 2)]
    with Raw(broker, connect("old")) as old, Raw(broker, connect("new", 5)) as new:
        body = b"\0\7", *(packets.text(name) + bytes([qos]) for name, qos in asked)
        old.socket.sendall(packets.packet(0x82, *body))
        assert old.answer(4 + 8)[4:] == b"\x90\6\0\7\x80\x80\1\1"
        new.socket.sendall(packets.packet(0x82, body[0], b"\0", *body[1:]))
        assert new.answer(5 + len(packets.ABILITIES) + 9)[-9:] == b"\x90\7\0\7\0\x8f\x8f\x9e\1"


def test_two_subscriptions_bring_a_message_once_and_none_brings_it_no_more(broker: StandInBroker) -> None:
    with Peer(broker) as source, Peer(broker) as sink:
        sink.subscribe([("t/#", 0), ("t/1", 1)])
        source.publish("t/1", b"both")
        message = sink.messages.get(timeout=PATIENCE_S)
        assert (message.payload, message.qos) == (b"both", 1)
        sink.client.unsubscribe(["t/1", "t/2"])
        assert [code.value for code in sink.granted.get(timeout=PATIENCE_S)] == [0, 0x11]
        source.publish("t/1", b"one")
        assert (sink.hears()[1], sink.messages.empty()) == (b"one", True)


LEVEL = st.sampled_from(["", "a", "b", "$SYS"])


@given(st.lists(LEVEL | st.sampled_from(["+", "#"]), min_size=1, max_size=4), st.lists(LEVEL, min_size=1, max_size=4))
def test_wildcards_match_as_paho_says(levels: list[str], topic: list[str]) -> None:
    if packets.is_filter("/".join(levels)) and packets.is_topic("/".join(topic)):
        assert packets.matches(levels, topic) == mqtt.topic_matches_sub("/".join(levels), "/".join(topic))


@pytest.mark.parametrize("protocol", [V311, V5])
def test_a_will_is_published_when_the_connection_breaks(broker: StandInBroker, protocol: Any) -> None:
    with Peer(broker, protocol) as watcher, Peer(broker, protocol, will=("w", b"gone", True)) as mortal:
        watcher.subscribe("w", qos=1)
        mortal.vanish()
        assert watcher.hears() == ("w", b"gone", False)
        watcher.subscribe("w", qos=1)
        assert watcher.hears() == ("w", b"gone", True)


def test_a_goodbye_takes_the_will_back_unless_it_says_otherwise(broker: StandInBroker) -> None:
    with Peer(broker) as watcher, Peer(broker, will=("w", b"1", False)) as polite, \
            Peer(broker, will=("w", b"2", False)) as warning:
        watcher.subscribe("w", qos=1)
        polite.client.disconnect()
        polite.goodbyes.get(timeout=PATIENCE_S)
        warning.client.disconnect(ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message"))
        assert watcher.hears() == ("w", b"2", False)
        assert watcher.messages.empty()


def test_silence_longer_than_the_keep_alive_ends_a_client(broker: StandInBroker) -> None:
    will = packets.text("w") + packets.text("silent")
    with Peer(broker) as watcher, Raw(broker, connect("mute", 4, 0x02 | 0x04 | 0x08, 1, will)) as mute:
        watcher.subscribe("w", qos=1)
        assert watcher.hears() == ("w", b"silent", False)
        assert mute.answer(5) == b"\x20\2\0\0"


def test_a_ping_keeps_a_client(broker: StandInBroker) -> None:
    with Raw(broker, connect("alive"), b"\xc0\0") as alive:
        assert alive.answer(6) == b"\x20\2\0\0\xd0\0"


def test_the_second_of_a_name_takes_over(broker: StandInBroker) -> None:
    with Peer(broker) as watcher, Peer(broker, client_id="box", will=("w", b"first", False)) as first:
        watcher.subscribe("w", qos=1)
        with Peer(broker, client_id="box") as second:
            assert first.goodbyes.get(timeout=PATIENCE_S) == "Session taken over"
            assert watcher.hears() == ("w", b"first", False)
            assert second.publish("w", b"second") == "Success"
            assert broker.connections() == 2


def test_a_publisher_is_told_that_nobody_listens_where_its_protocol_can_say_so(broker: StandInBroker) -> None:
    with Peer(broker) as new, Peer(broker, V311) as old:
        assert new.publish("nobody", b"x") == "No matching subscribers"
        assert old.publish("nobody", b"x") == "Success"


def test_the_hook_sees_and_refuses(broker: StandInBroker) -> None:
    arrived: queue.Queue[Arrived] = queue.Queue()

    def judge(message: Arrived) -> int | None:
        arrived.put(message)
        if message.payload == b"broken":
            raise ZeroDivisionError
        if message.payload == b"odd":
            return 0x100
        return 0x87 if message.payload == b"bad" else None

    broker.on_publish = judge
    with Peer(broker, client_id="box") as peer, Peer(broker, V311, "old") as old:
        peer.subscribe("t", qos=1)
        assert peer.publish("t", b"bad", properties=properties_of("text/plain", ("a", "b"))) == "Not authorized"
        assert peer.publish("t", b"broken") == peer.publish("t", b"odd") == "Implementation specific error"
        assert old.publish("t", b"bad") == "Success"
        assert peer.publish("t", b"good") == "Success"
        assert peer.hears() == ("t", b"good", False)
        seen = [arrived.get_nowait() for _ in range(5)]
        assert seen[0] == Arrived("box", "t", b"bad", "text/plain", (("a", "b"),))
        assert seen[3] == Arrived("old", "t", b"bad")


def test_the_hook_may_answer_with_a_message_and_restart_the_broker(broker: StandInBroker) -> None:
    def cloud(message: Arrived) -> None:
        if message.topic == "up":
            broker.publish("down", message.payload, retain=True)
        elif message.topic == "die":
            broker.restart(wiped=False)

    broker.on_publish = cloud
    with Peer(broker, client_id="box", reconnects=True) as peer:
        peer.subscribe("down", qos=1)
        peer.publish("up", b"7")
        assert peer.hears() == ("down", b"7", False)
        peer.client.publish("die", b"", 0)
        assert peer.goodbyes.get(timeout=PATIENCE_S) == "Unspecified error"
        assert peer.welcomes.get(timeout=PATIENCE_S) == "Success"
        peer.subscribe("down", qos=1)
        assert peer.hears() == ("down", b"7", True)


def test_a_blackhole_is_noticed_by_the_client_alone(broker: StandInBroker) -> None:
    with Peer(broker) as watcher, Peer(broker, client_id="box", will=("w", b"lost", False), keepalive=1,
                                       reconnects=True) as box, Raw(broker, connect("mute", keepalive=1)) as mute:
        watcher.subscribe("w", qos=1)
        assert mute.answer(4) == b"\x20\2\0\0"
        broker.blackhole = True
        with Raw(broker, connect("late")) as late:
            broker.publish("w", b"held")
            mute.socket.sendall(publish("w", b"too late"))
            assert box.goodbyes.get(timeout=PATIENCE_S) == "Keep alive timeout"
            late.socket.settimeout(0.2)
            with pytest.raises(TimeoutError):
                late.answer(1)
            assert watcher.messages.empty()
            assert broker.blackhole
            broker.blackhole = False
            late.socket.settimeout(PATIENCE_S)
            assert late.answer(4) == b"\x20\2\0\0"
        assert mute.answer(1) == b""
        assert {watcher.hears()[1], watcher.hears()[1]} == {b"held", b"lost"}
        assert box.welcomes.get(timeout=PATIENCE_S) == "Success"
        assert box.publish("w", b"back") == "Success"
        assert watcher.hears()[1] == b"back"


def test_the_hook_may_begin_a_blackhole(broker: StandInBroker) -> None:
    heard: queue.Queue[bytes] = queue.Queue()

    def fall(message: Arrived) -> None:
        heard.put(message.payload)
        broker.blackhole = True

    broker.on_publish = fall
    with Raw(broker, connect("x")) as raw:
        assert raw.answer(4) == b"\x20\2\0\0"
        raw.socket.sendall(b"\x32\6\0\1t\0\1a\x32\6\0\1t\0\2b")
        assert heard.get(timeout=PATIENCE_S) == b"a"
        raw.socket.settimeout(0.1)
        with pytest.raises(TimeoutError):
            raw.answer(1)
        assert heard.empty()
        broker.on_publish = None
        broker.blackhole = False
        raw.socket.settimeout(PATIENCE_S)
        assert raw.answer(8) == b"\x40\2\0\1\x40\2\0\2"


def test_a_slow_hook_makes_nobody_late(broker: StandInBroker) -> None:
    pause = threading.Event()
    broker.on_publish = lambda _arrived: None if pause.wait(1.8) else 0
    with Raw(broker, connect("brisk", keepalive=1)) as brisk, Raw(broker, connect("slow")) as slow:
        assert brisk.answer(4) == slow.answer(4) == b"\x20\2\0\0"
        slow.socket.sendall(publish("t", b""))
        brisk.socket.sendall(b"\xc0\0")
        assert brisk.answer(2) == b"\xd0\0"


def test_what_a_client_that_gave_up_sent_into_the_blackhole_has_vanished(broker: StandInBroker) -> None:
    with Peer(broker) as watcher, Raw(broker, connect("a")) as a, Raw(broker, connect("b")) as b:
        assert a.answer(4) == b.answer(4) == b"\x20\2\0\0"
        watcher.subscribe("t")
        broker.blackhole = True
        a.socket.sendall(publish("t", b"given up"))
        a.socket.close()
        b.socket.sendall(publish("t", b"still here"))
        broker.blackhole = False
        assert watcher.hears()[1] == b"still here"
        assert (watcher.messages.empty(), broker.connections()) == (True, 2)


@pytest.mark.parametrize("wiped", [False, True])
def test_a_restart_breaks_every_connection_and_forgets_what_it_is_told_to(broker: StandInBroker, wiped: bool) -> None:
    port = broker.port
    with Peer(broker, will=("kept", b"will", True)) as before:
        before.publish("kept", b"1", retain=True)
        broker.restart(wiped)
        assert before.goodbyes.get(timeout=PATIENCE_S) == "Unspecified error"
    assert broker.port == port
    with Peer(broker) as after:
        after.subscribe([("kept", 1), ("end", 1)])
        after.publish("end", b"end")
        if not wiped:
            assert after.hears() == ("kept", b"1", True)
        assert after.hears() == ("end", b"end", False)


def test_a_stopped_broker_is_away_until_it_starts_again(broker: StandInBroker) -> None:
    broker.publish("kept", b"1", retain=True)
    with Peer(broker, reconnects=True) as peer:
        broker.stop()
        broker.stop()
        broker.blackhole = False
        broker.publish("kept", b"lost", retain=True)
        assert peer.goodbyes.get(timeout=PATIENCE_S) == "Unspecified error"
        with pytest.raises(ConnectionRefusedError):
            Raw(broker)
        broker.start()
        broker.start()
        assert peer.welcomes.get(timeout=PATIENCE_S) == "Success"
        peer.subscribe("kept")
        assert peer.hears() == ("kept", b"1", True)
        broker.stop()
        broker.restart(wiped=True)
        assert peer.welcomes.get(timeout=PATIENCE_S) == "Success"
        peer.subscribe([("kept", 1), ("end", 1)])
        peer.publish("end", b"")
        assert peer.hears() == ("end", b"", False)


def test_a_broker_without_mqtt_5_refuses_it_in_its_own_words() -> None:
    with StandInBroker(protocols=frozenset({4})) as broker:
        refused = Peer(broker)
        assert refused.welcomes.get(timeout=PATIENCE_S) == "Unsupported protocol version"
        refused.close()
        with Peer(broker, V311) as peer:
            assert peer.publish("t", b"x") == "Success"


@pytest.mark.parametrize(("sent", "answer"), [
    (connect("x", 6), b"\x20\3\0\x84\0"),
    (connect("x", 3), b"\x20\2\0\1"),
    (connect("x", 3, name="MQIsdp"), b"\x20\2\0\1"),
    (connect("", 4, flags=0), b"\x20\2\0\2"),
    (connect("x", 5, flags=2 | 4 | 2 << 3, rest=b"\0" + packets.text("w") + packets.text("")), b"\x20\3\0\x9b\0"),
    (connect("x", 5, flags=3), b"\x20\3\0\x81\0"),
    (connect("x", name="MQTX"), b""),
    (connect("x", rest=b"more"), b""),
    (b"\xc0\0", b""),
    (b"\x10\xff\xff\xff\xff", b""),
    (b"\x10\xff\xff\xff\x7f", b""),
])
def test_a_connect_is_refused_properly(broker: StandInBroker, sent: bytes, answer: bytes) -> None:
    with Raw(broker, sent) as raw:
        assert raw.answer(100) == answer


@pytest.mark.parametrize(("sent", "reason"), [
    (connect("x", 5), 0x82),
    (b"\x34\7\0\1t\0\1\0x", 0x9B),
    (b"\x36\7\0\1t\0\1\0x", 0x81),
    (b"\x38\5\0\1t\0x", 0x81),
    (b"\x32\7\0\1t\0\0\0x", 0x82),
    (b"\x30\5\0\1+\0x", 0x90),
    (b"\x30\5\0\1\xff\0x", 0x81),
    (b"\x30\5\0\1\0\0x", 0x81),
    (b"\x30\x08\0\1t\3\x23\0\1x", 0x82),
    (b"\x30\x09\0\1t\4\1\0\1\0x", 0x82),
    (b"\x30\5\0\1t\x09x", 0x81),
    (b"\x80\7\0\1\0\0\1t\0", 0x81),
    (b"\x82\7\0\1\0\0\1t\3", 0x81),
    (b"\x82\3\0\1\0", 0x82),
    (b"\xa2\3\0\1\0", 0x82),
    (b"\x50\2\0\1", 0x81),
    (b"\xf0\0", 0x81),
    (b"\x30\xff\xff\x7f", 0x95),
])
def test_a_broken_packet_ends_its_connection_with_the_reason(broker: StandInBroker, sent: bytes, reason: int) -> None:
    with Raw(broker, connect("x", 5)) as raw:
        raw.answer(5 + len(packets.ABILITIES))
        raw.socket.sendall(sent)
        assert raw.answer(100) == bytes([0xE0, 1, reason])


@pytest.fixture(scope="module")
def long_lived() -> Iterator[tuple[StandInBroker, Peer]]:
    with StandInBroker() as broker, Peer(broker) as peer:
        peer.subscribe("echo", qos=1)
        yield broker, peer


PACKET = st.builds(packets.packet, st.integers(0, 255), st.binary(max_size=60))


@given(st.binary(max_size=80) | PACKET, st.lists(st.binary(max_size=40) | PACKET, max_size=3), st.sampled_from([4, 5]))
def test_random_bytes_harm_nobody_else(long_lived: tuple[StandInBroker, Peer], first: bytes, later: list[bytes],
                                       level: int) -> None:
    broker, peer = long_lived
    with Raw(broker, first), Raw(broker, connect("", level), *later):
        assert peer.publish("echo", b"still here") == "Success"
        while peer.hears()[1] != b"still here":  # chance may publish, too
            pass


def test_a_subscriber_that_reads_nothing_is_cut_off(broker: StandInBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "MAX_UNSENT", 100_000)
    with Raw(broker, connect("lazy"), packets.packet(0x82, b"\0\1", packets.text("t"), b"\0")) as lazy, \
            Peer(broker) as source:
        assert lazy.answer(9) == b"\x20\2\0\0\x90\3\0\1\0"
        for _ in range(200):
            if source.publish("t", bytes(90_000)) == "No matching subscribers":
                break
        assert broker.connections() == 1


def test_it_keeps_to_loopback_and_to_what_it_speaks() -> None:
    with pytest.raises(ValueError, match=r"0\.0\.0\.0"):
        StandInBroker(host="0.0.0.0")
    with pytest.raises(ValueError, match="protocols"):
        StandInBroker(protocols=frozenset({3}))
    with pytest.raises(ValueError, match="no topic"):
        StandInBroker().publish("a/#", b"")


def test_a_taken_port_is_an_error_and_nothing_stays_behind(broker: StandInBroker) -> None:
    with pytest.raises(OSError, match="in use"):
        StandInBroker(broker.port).start()
    broker.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == f"broker {broker.port}"]
