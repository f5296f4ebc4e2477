"""The table of attacks on the closed broker and the enrolment server, each with where the operator sees it.

An attack is a function that fails (AssertionError) where it succeeds. `seen` is the kind of refusal in
`cornergrid-cloud broker status`; empty where the one who is attacked refuses by himself, and tells the person at the
box.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paho.mqtt.enums import MQTTProtocolVersion

from cloud_ingest.pki.broker import publish, reload
from cloud_ingest.pki.x509 import DAY_S, Leaf, Signer, issue, make_authority, new_key
from tests.cloud_ingest.pki.world import HOST, WAIT_S, Client, World, say_raw, tls_of, until

VICTIM, THIEF = "shop-a", "shop-b"
LOUD, HEAVY, MANY, CONNECTIONS = 3000, 200, 150, 50
OLD = MQTTProtocolVersion.MQTTv311


@dataclass(slots=True)
class Scene:
    """A shop that works, a device that turned bad, and the ingest that hears all that the access list lets through."""

    world: World
    victim: Client
    ingest: Client
    rogue: Signer
    fences: int = 0
    guesses: list[str] = field(default_factory=list)

    @property
    def thief(self) -> Path:
        """The bad device's own valid certificate."""
        return self.world.store(THIEF).current

    def settle(self) -> None:
        """Return once everything that was sent before has arrived, and see that the shop still works."""
        self.fences += 1
        fence = f"fence {self.fences}".encode()
        assert self.victim.publish(f"cg/v1/{VICTIM}/up/data", fence) == "Success", "the shop was disturbed"
        until(lambda: self.ingest.got(fence), "the ingest hears the shop")

    def as_thief(self, version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5) -> Client:
        """The bad device's session."""
        return Client(self.world, self.thief, THIEF, version=version)


@contextlib.contextmanager
def scene_in(world: World) -> Iterator[Scene]:
    """Everybody in place."""
    for device in (VICTIM, THIEF):
        world.enrolled(device)
    assert reload(world.broker, CONNECTIONS)  # as after any revocation: 2.0.11 forgets a limit then
    ingest = Client(world, world.broker / "cg_backend.pem", "ingest-1", world.service_port)
    with ingest, Client(world, world.store(VICTIM).current, VICTIM) as victim:
        group = (world.broker / "share-group").read_text()
        assert victim.subscribe(f"cg/v1/{VICTIM}/down/#").startswith("Granted")
        assert ingest.subscribe(f"$share/{group}/cg/v1/+/up/data").startswith("Granted")
        assert ingest.subscribe("cg/v1/+/up/state").startswith("Granted")
        assert ingest.subscribe("cg/v1/+/up/birth").startswith("Granted")
        yield Scene(world, victim, ingest, make_authority("Test issuing", world.clock.now(), DAY_S))


@dataclass(frozen=True, slots=True)
class Attack:
    """One row of the table."""

    name: str
    seen: str
    run: Callable[[Scene], None]


ATTACKS: list[Attack] = []


def attack(name: str, seen: str) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """Add a row."""
    def add(run: Callable[[Scene], None]) -> Callable[[Scene], None]:
        ATTACKS.append(Attack(name, seen, run))
        return run
    return add


def kept_out(scene: Scene, shown: Path | None, client_id: str = VICTIM, port: int | None = None) -> None:
    with Client(scene.world, shown, client_id, port) as client:
        assert client.ended.wait(WAIT_S), f"let in: {client.answer}"
        assert not client.let_in


# Without a certificate that counts.

@attack("plain MQTT without TLS", "bad_tls")
def _plain(scene: Scene) -> None:
    with socket.create_connection((HOST, scene.world.device_port), WAIT_S) as plain:
        plain.sendall(b"\x10\x12\x00\x04MQTT\x04\x02\x00\x3c\x00\x06shop-a")
        assert ends(plain)


@attack("no certificate", "no_certificate")
def _no_certificate(scene: Scene) -> None:
    kept_out(scene, None)


@attack("a certificate of another authority", "bad_certificate")
def _other_authority(scene: Scene) -> None:
    other = make_authority("Somebody else", scene.world.clock.now(), DAY_S)
    kept_out(scene, scene.world.issued("shop-x", 0, 1, other))


@attack("the same device name from a rogue authority of our authority's name", "bad_certificate")
def _rogue(scene: Scene) -> None:
    kept_out(scene, scene.world.issued(VICTIM, 0, 1, scene.rogue))


@attack("a self-signed certificate of the same device name", "bad_certificate")
def _self_signed(scene: Scene) -> None:
    own = make_authority(VICTIM, scene.world.clock.now(), DAY_S)
    kept_out(scene, scene.world.file("self-signed", own.key, own.certificate))


@attack("a certificate signed by a device's own key", "bad_certificate")
def _device_as_authority(scene: Scene) -> None:
    thief = scene.world.store(THIEF).read(scene.thief)
    assert thief is not None
    key = new_key()
    made = issue(Signer(thief.certificate, thief.key), key.public_key(), Leaf(VICTIM, "device", DAY_S),
                 scene.world.clock.now())
    kept_out(scene, scene.world.file("chained", key, made, thief.certificate, thief.issuing))


@attack("an expired certificate", "bad_certificate")
def _expired(scene: Scene) -> None:
    kept_out(scene, scene.world.issued(VICTIM, -10, 9))


@attack("a certificate that is not valid yet", "bad_certificate")
def _not_yet(scene: Scene) -> None:
    kept_out(scene, scene.world.issued(VICTIM, 2, 9))


@attack("a revoked certificate", "bad_certificate")
def _revoked(scene: Scene) -> None:
    scene.world.given("shop-r")
    revoke(scene, "shop-r")
    kept_out(scene, scene.world.store("shop-r").current, "shop-r")


@attack("a server's certificate shown by a client", "bad_certificate")
def _server_as_client(scene: Scene) -> None:
    kept_out(scene, scene.world.issued("broker", 0, 1, leaf=Leaf("broker", "server", DAY_S, (HOST,))))


@attack("a device's certificate on the services' listener", "bad_certificate")
def _wrong_listener(scene: Scene) -> None:
    kept_out(scene, scene.thief, "ingest-1", scene.world.service_port)


@attack("a service's certificate on the devices' listener", "bad_certificate")
def _service_outside(scene: Scene) -> None:
    kept_out(scene, scene.world.broker / "cg_backend.pem", "ingest-1")


@attack("TLS 1.1", "bad_tls")
def _downgraded(scene: Scene) -> None:
    assert say_raw(scene.world, port=scene.world.device_port, shown=None, said=b"\x10\x00", tls=old_tls(scene)) == b""


def old_tls(scene: Scene) -> ssl.SSLContext:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        tls = tls_of(scene.world, scene.thief)
        tls.set_ciphers("ALL:@SECLEVEL=0")
        tls.minimum_version = ssl.TLSVersion.TLSv1
        tls.maximum_version = ssl.TLSVersion.TLSv1_1
    return tls


@attack("a cipher without encryption", "bad_tls")
def _no_cipher(scene: Scene) -> None:
    tls = tls_of(scene.world, scene.thief)
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    tls.set_ciphers("eNULL:@SECLEVEL=0")
    assert say_raw(scene.world, port=scene.world.device_port, shown=None, said=b"\x10\x00", tls=tls) == b""


# With a valid certificate of another device.

def cannot_say(scene: Scene, topic: str, version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5) -> None:
    payload = f"forged on {topic}".encode()
    with scene.as_thief(version) as client:
        answer = client.publish(topic, payload, retain=True)
        assert answer == ("Success" if version == OLD else "Not authorized")  # 3.1.1 has no word for it
        scene.settle()
        assert not scene.ingest.got(payload)
        assert not scene.victim.got(payload)


@attack("data in another device's name", "foreign_publish")
def _foreign_data(scene: Scene) -> None:
    cannot_say(scene, f"cg/v1/{VICTIM}/up/data")


@attack("data in another device's name, MQTT 3.1.1", "foreign_publish")
def _foreign_data_old(scene: Scene) -> None:
    cannot_say(scene, f"cg/v1/{VICTIM}/up/data", OLD)


@attack("another device's name as user name", "foreign_publish")
def _user_name(scene: Scene) -> None:
    client = scene.as_thief()
    client.mqtt.username_pw_set(VICTIM, "guessed")
    with client:
        assert client.publish(f"cg/v1/{VICTIM}/up/data", b"forged by user name") == "Not authorized"
        scene.settle()
        assert not scene.ingest.got(b"forged by user name")


@attack("a forged commit, so that another device deletes its readings", "foreign_publish")
def _forged_commit(scene: Scene) -> None:
    cannot_say(scene, f"cg/v1/{VICTIM}/down/committed")


@attack("a command to oneself, retained", "foreign_publish")
def _own_down(scene: Scene) -> None:
    cannot_say(scene, f"cg/v1/{THIEF}/down/config")


@attack("the ingest's own state", "foreign_publish")
def _ingest_state(scene: Scene) -> None:
    cannot_say(scene, "cg/v1/ingest/state/ingest-1")


@attack("a forged feed", "foreign_publish")
def _feed(scene: Scene) -> None:
    cannot_say(scene, "cg/v1/feed/891f1d48177ffff")


@attack("a message on $SYS", "foreign_publish")
def _sys_publish(scene: Scene) -> None:
    cannot_say(scene, "$SYS/broker/version")


@attack("a topic that ends in another device's", "foreign_publish")
def _traversal(scene: Scene) -> None:
    cannot_say(scene, f"cg/v1/{THIEF}/../{VICTIM}/up/data")


@attack("retained messages on topics of its own making", "foreign_publish")
def _made_up(scene: Scene) -> None:
    for topic in ("data/1", "data/2", "anything"):
        cannot_say(scene, f"cg/v1/{THIEF}/up/{topic}")


def hears_nothing(scene: Scene, pattern: str) -> None:
    with scene.as_thief() as client:
        client.subscribe(pattern)
        scene.settle()
        world = scene.world
        with Client(world, world.broker / "cg_backend.pem", "ingest-2", world.service_port) as backend:
            assert backend.publish(f"cg/v1/{VICTIM}/down/credit", b"for the shop only") == "Success"
        until(lambda: scene.victim.got(b"for the shop only"), "the shop hears its own")
        assert client.messages == []


@attack("listening to another device's data", "foreign_subscribe")
def _foreign_listen(scene: Scene) -> None:
    hears_nothing(scene, f"cg/v1/{VICTIM}/up/data")


@attack("listening to what the cloud tells another device", "foreign_subscribe")
def _foreign_down(scene: Scene) -> None:
    hears_nothing(scene, f"cg/v1/{VICTIM}/down/#")


@attack("listening to everything: #", "foreign_subscribe")
def _wildcard(scene: Scene) -> None:
    hears_nothing(scene, "#")


@attack("listening to every device: cg/v1/+/up/#", "foreign_subscribe")
def _plus(scene: Scene) -> None:
    hears_nothing(scene, "cg/v1/+/up/#")


@attack("listening to $SYS", "foreign_subscribe")
def _sys_listen(scene: Scene) -> None:
    hears_nothing(scene, "$SYS/#")


@attack("joining the ingest's share, to take its messages away", "foreign_subscribe")
def _share(scene: Scene) -> None:
    with scene.as_thief() as client:
        client.subscribe("$share/ingest/cg/v1/+/up/data")
        for _ in range(6):
            scene.settle()  # each of them reaches the ingest
        assert client.messages == []


@attack("a last will in another device's name", "foreign_will")
def _will(scene: Scene) -> None:
    client = scene.as_thief()
    client.mqtt.will_set(f"cg/v1/{VICTIM}/up/state", b"forged will", 1, True)
    with client:
        sock: Any = client.mqtt.socket()
        sock.shutdown(socket.SHUT_RDWR)  # no goodbye: the broker says the will
        assert client.ended.wait(WAIT_S)
    scene.settle()
    assert not scene.ingest.got(b"forged will")


@attack("another device's client id, to end its session", "foreign_publish")
def _takeover(scene: Scene) -> None:
    with Client(scene.world, scene.thief, VICTIM) as client:
        assert client.let_in  # as itself: the broker takes the certificate's name for the client id
        assert client.publish(f"cg/v1/{VICTIM}/up/data", b"taken over") == "Not authorized"
        scene.settle()
        assert not scene.victim.ended.is_set()


@attack("an ingest worker's client id, to end its session", "foreign_publish")
def _takeover_ingest(scene: Scene) -> None:
    with Client(scene.world, scene.thief, "ingest-1") as client:
        assert client.publish("cg/v1/ingest/state/ingest-1", b"{}") == "Not authorized"
        scene.settle()
        assert not scene.ingest.ended.is_set()


@attack("the copied identity of a device, beside it", "taken_over")
def _copied(scene: Scene) -> None:
    scene.world.given("shop-copied")
    shown = scene.world.store("shop-copied").current
    with Client(scene.world, shown, "shop-copied") as first, Client(scene.world, shown, "shop-copied") as second:
        assert first.ended.wait(WAIT_S), "both may be connected at once"
        assert second.let_in


# Too much, or nonsense.

@attack("a payload of more than 256 KiB", "oversized")
def _oversized(scene: Scene) -> None:
    topic = f"cg/v1/{THIEF}/up/data"
    with scene.as_thief(OLD) as client:
        client.publish(topic, b"x" * (256 * 1024 + 1))
        scene.settle()
        assert not any(heard == topic for heard, _ in scene.ingest.messages)


@attack("a packet that says it has 200 MB", "oversized")
def _huge(scene: Scene) -> None:
    connect = b"\x10\x12\x00\x04MQTT\x04\x02\x00\x3c\x00\x06shop-b"
    with socket.create_connection((HOST, scene.world.device_port), WAIT_S) as plain, tls_of(
            scene.world, scene.thief).wrap_socket(plain, server_hostname=HOST) as secure:
        secure.sendall(connect)
        assert secure.recv(4) == b"\x20\x02\x00\x00"
        secure.sendall(b"\x30\x80\x88\xde\x5f" + b"x" * 4096)
        assert ends(secure)


def ends(secure: socket.socket) -> bool:
    """Whether the broker hangs up."""
    try:
        return secure.recv(100) == b""
    except OSError:
        return True


@attack("a flood of messages", "flood")
def _flood(scene: Scene) -> None:
    world, topic = scene.world, "cg/v1/shop-loud/up/data"
    world.given("shop-loud")
    with Client(world, world.store("shop-loud").current, "shop-loud") as client:
        for _ in range(LOUD):
            client.publish(topic, b"flood", 0)
        until(lambda: stepped(world) and "shop-loud" in world.ended, "the guard silences it")
        assert client.ended.wait(WAIT_S), "its session goes on"
    with Client(world, world.store("shop-loud").current, "shop-loud") as again:
        assert again.publish(topic, b"flood again") == "Not authorized"
    scene.settle()
    assert not scene.ingest.got(b"flood again")


@attack("a flood of bytes in few messages", "flood")
def _heavy(scene: Scene) -> None:
    world, topic = scene.world, "cg/v1/shop-heavy/up/data"
    world.given("shop-heavy")
    with Client(world, world.store("shop-heavy").current, "shop-heavy") as client:
        for _ in range(HEAVY):
            client.publish(topic, b"x" * 250_000, 0)
        until(lambda: stepped(world) and "shop-heavy" in world.ended, "the guard silences it", 30)
        assert client.ended.wait(WAIT_S), "its session goes on"


@attack("thousands of subscriptions, to fill the broker's memory", "flood")
def _subscriptions(scene: Scene) -> None:
    world = scene.world
    world.given("shop-greedy")
    with Client(world, world.store("shop-greedy").current, "shop-greedy") as client:
        client.mqtt.subscribe([(f"cg/v1/shop-greedy/down/{i}", 1) for i in range(LOUD)])
        until(lambda: stepped(world) and "shop-greedy" in world.ended, "the guard silences it")
        assert client.ended.wait(WAIT_S), "its session goes on"


def stepped(world: World) -> bool:
    world.guard.step()
    return True


@attack("more connections than are allowed, while another device is revoked", "too_many_connections")
def _connections(scene: Scene) -> None:
    world = scene.world
    world.given("shop-busy")
    with Client(world, world.store("shop-busy").current, "shop-busy") as busy, contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection((HOST, world.device_port), WAIT_S))
                  for _ in range(MANY)]
        assert ends(opened[-1])
        revoke(scene, "shop-busy")
        until(lambda: busy.publish("cg/v1/shop-busy/up/data", b"busy") != "Success", "its session is silenced")
        scene.settle()


@attack("a topic with a line feed, to forge a line of the log", "malformed")
def _line_feed(scene: Scene) -> None:
    with scene.as_thief() as client:
        client.mqtt.publish(f"cg/v1/{THIEF}/up/data\n2026-01-01T00:00:00: Denied PUBLISH from {VICTIM} (d0", b"x", 1)
        assert client.ended.wait(WAIT_S)
    assert scene.world.count("foreign_publish", VICTIM) == 0


@attack("a topic with a Unicode line separator, to forge a line of the log", "foreign_publish")
def _line_separator(scene: Scene) -> None:
    forged = f"cg/v1/x\u20282026-01-01T00:00:00: Denied PUBLISH from {VICTIM} (d0, q1, r0, m1, 'x', ... (1 bytes))"
    cannot_say(scene, forged)
    scene.world.guard.step()
    assert scene.world.count("foreign_publish", VICTIM) == 0


@attack("bytes that are no MQTT, after a good handshake", "malformed")
def _nonsense(scene: Scene) -> None:
    connect = b"\x10\x12\x00\x04MQTT\x04\x02\x00\x3c\x00\x06shop-b"
    with socket.create_connection((HOST, scene.world.device_port), WAIT_S) as plain, tls_of(
            scene.world, scene.thief).wrap_socket(plain, server_hostname=HOST) as secure:
        secure.sendall(connect)
        assert secure.recv(4) == b"\x20\x02\x00\x00"
        secure.sendall(b"\x00\x02hi")
        assert ends(secure)


# On a live session of a device that is revoked.

def revoke(scene: Scene, device: str) -> None:
    scene.world.desk.revoke(device, "attack")
    assert publish(scene.world.folder, scene.world.ledger, scene.world.clock.now()).told


@attack("a revoked device goes on talking on its live session", "foreign_publish")
def _live(scene: Scene) -> None:
    scene.world.given("shop-live")
    with Client(scene.world, scene.world.store("shop-live").current, "shop-live") as client:
        topic = "cg/v1/shop-live/up/data"
        assert client.publish(topic, b"before") == "Success"
        revoke(scene, "shop-live")
        until(lambda: client.publish(topic, b"after") != "Success", "its session is silenced")
        scene.ingest.messages.clear()
        client.publish(topic, b"long after")
        scene.settle()
        assert not scene.ingest.got(b"long after")


@attack("a revoked device goes on listening on its live session", "bad_certificate")
def _live_ears(scene: Scene) -> None:
    world = scene.world
    world.given("shop-ears")
    shown = world.store("shop-ears").current
    with Client(world, shown, "shop-ears") as client:
        client.subscribe("cg/v1/shop-ears/down/#")
        revoke(scene, "shop-ears")
        until(lambda: stepped(world) and "shop-ears" in world.ended, "the guard sees it")
        assert client.ended.wait(WAIT_S), "its session goes on"
        with Client(world, world.broker / "cg_backend.pem", "ingest-2", world.service_port) as backend:
            backend.publish("cg/v1/shop-ears/down/credit", b"secret")
        assert not client.got(b"secret")
    kept_out(scene, shown, "shop-ears")


@attack("the old session of a device that was revoked and enrolled anew", "taken_over")
def _revived(scene: Scene) -> None:
    world = scene.world
    world.given("shop-anew")
    old = world.path / "old.pem"
    old.write_bytes(world.store("shop-anew").current.read_bytes())
    with Client(world, old, "shop-anew") as before:
        world.enrolled("shop-anew")
        publish(world.folder, world.ledger, world.clock.now())
        with Client(world, world.store("shop-anew").current, "shop-anew") as after:
            assert after.let_in
            assert before.ended.wait(WAIT_S), "the old session goes on"
    kept_out(scene, old, "shop-anew")
