"""An authority with a real mosquitto, a real enrolment server and the guard, and clients with any certificate."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from cryptography import x509
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from cloud_ingest.pki import broker as brokers
from cloud_ingest.pki import folder as folders
from cloud_ingest.pki.desk import Desk
from cloud_ingest.pki.guard import Guard
from cloud_ingest.pki.ledger import Ledger
from cloud_ingest.pki.server import EnrolServer
from cloud_ingest.pki.serving import try_end_session
from cloud_ingest.pki.x509 import DAY_S, Key, Leaf, Signer, issue, key_pem, new_key, pem
from edge.clock import SystemClock
from edge.identity.enrol import begin, request_for, send
from edge.identity.files import Identity, Store
from edge.identity.trust import Moment
from edge.wire.enrol import EnrolRequest, Label
from tests.conftest import free_port, wait_for_port

HOST = "127.0.0.1"
WAIT_S = 10.0


class ShiftedClock(SystemClock):
    """The system's clock, `shift` seconds off."""

    shift = 0.0

    def now(self) -> float:
        return super().now() + self.shift


def until(happened: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> None:
    """Return once it has happened."""
    clock, pause = SystemClock(), threading.Event()
    end = clock.monotonic() + timeout_s
    while not happened():
        assert clock.monotonic() < end, f"not within {timeout_s} s: {what}"
        pause.wait(0.01)


@dataclass(slots=True)
class World:
    """All parts of one authority; `path` is a folder for whatever a test writes."""

    path: Path
    clock: ShiftedClock
    folder: folders.Folder
    ledger: Ledger
    desk: Desk
    server: EnrolServer
    guard: Guard
    device_port: int
    service_port: int
    ended: list[str] = field(default_factory=list)

    @property
    def broker(self) -> Path:
        """The broker's folder."""
        return self.path / "broker"

    @property
    def address(self) -> str:
        """HOST:PORT of the enrolment server."""
        return f"{HOST}:{self.server.port}"

    def invite(self, device: str) -> Label:
        """A label with the server's address."""
        return self.desk.invite(device, "site-1", self.address)

    def moment(self) -> Moment:
        """The time, as a device without a synchronised clock knows it."""
        return Moment(self.clock.now(), False, 0.0)

    def store(self, device: str) -> Store:
        """Where a device keeps its identity."""
        return Store(self.path / device / "identity")

    def enrolled(self, device: str) -> Identity:
        """A device's identity, from a label and through the server, as in the shop."""
        store = self.store(device)
        return send(store, begin(store, self.invite(device)), self.moment())

    def given(self, device: str) -> Identity:
        """As `enrolled`, without label and server: for what does not look at how a device got its certificate."""
        with self.ledger.change() as db:
            db.execute("INSERT OR IGNORE INTO device (id, site, added) VALUES (?, 'site-1', 0)", (device,))
        key = new_key()
        made = self.desk._make(device, key.public_key(), "", self.clock.now())
        identity = Identity(self.address, key, x509.load_pem_x509_certificate(made.pem.encode()),
                            self.folder.issuing.certificate, self.folder.root)
        claim = EnrolRequest(device=device, csr=request_for(key, device), proof="0" * 128)
        self.store(device).enrolled(identity, claim)
        return identity

    def file(self, name: str, key: Key, *certificates: x509.Certificate) -> Path:
        """A file with a key and what proves it, for a client to show."""
        file = self.path / f"{name}.pem"
        file.write_bytes(key_pem(key) + "".join(map(pem, certificates)).encode())
        return file

    def issued(self, device: str, began_days: float, life_days: float, signer: Signer | None = None,
               leaf: Leaf | None = None) -> Path:
        """A certificate that never went through the desk, which began so many days from now; the file."""
        signer, key = signer or self.folder.issuing, new_key()
        made = issue(signer, key.public_key(), leaf or Leaf(device, "device", life_days * DAY_S),
                     self.clock.now() + began_days * DAY_S)
        return self.file(f"{device}-{made.serial_number:x}", key, made, signer.certificate)

    def count(self, kind: str, subject: str | None = None) -> int:
        """How often that was refused so far, as the operator sees it."""
        return sum(each.n for each in self.ledger.refusals()
                   if each.kind == kind and subject in {None, each.subject})


@contextlib.contextmanager
def world_in(path: Path, mosquitto: str | None, limits: brokers.Limits | None = None) -> Iterator[World]:
    """A whole world on free ports of loopback; without a mosquitto, the authority alone."""
    clock = ShiftedClock()
    folder = folders.create(path / "ca", "Test", clock.now())
    ledger = Ledger(folder.ledger)
    desk = Desk(folder, ledger, clock)
    desk.add_site("site-1", "")
    device_port, service_port = free_port(), free_port()
    listeners = brokers.Listeners((HOST,), device_port, service_port, HOST, HOST)
    if mosquitto is not None:  # as root, a test's folder would be closed to the user mosquitto
        brokers.configure(folder, ledger, path / "broker", listeners, limits or brokers.Limits(), clock.now(), "root")
    server = EnrolServer(folder, ledger, clock, desk, (HOST, 0), (HOST,))
    ended: list[str] = []

    def end(device: str) -> None:
        ended.append(device)
        try_end_session(ledger, device)

    guard = Guard(folder, ledger, clock, end_session=end)
    with running(mosquitto, path / "broker", device_port) if mosquitto else contextlib.nullcontext():
        server.start()
        try:
            yield World(path, clock, folder, ledger, desk, server, guard, device_port, service_port, ended)
        finally:
            server.stop()
            ledger.close()


@contextlib.contextmanager
def running(mosquitto: str, broker: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A mosquitto with the generated configuration."""
    command = [mosquitto, "-c", str(broker / "mosquitto.conf")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_port(port)
            until((broker / brokers.PID).exists, "the broker notes its process id")
            yield process
        finally:
            process.terminate()


def tls_of(world: World, shown: Path | None) -> ssl.SSLContext:
    """TLS that trusts the world's root and shows a file's certificate."""
    tls = ssl.create_default_context(cadata=pem(world.folder.root))
    if shown is not None:
        tls.load_cert_chain(shown)
    return tls


class Client:
    """One MQTT client with any certificate, id and protocol."""

    def __init__(self, world: World, shown: Path | None, client_id: str, port: int | None = None,
                 version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5) -> None:
        self.world, self.port = world, port or world.device_port
        self.messages: list[tuple[str, bytes]] = []
        self.reasons: dict[int, Any] = {}
        self.answer = ""
        self.ended = threading.Event()
        self._answered = threading.Event()
        self.mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version,
                                reconnect_on_failure=False)
        self.mqtt.tls_set_context(tls_of(world, shown))
        self.mqtt.on_connect = self._connected
        self.mqtt.on_disconnect = self._gone
        self.mqtt.on_publish = self._published
        self.mqtt.on_subscribe = self._subscribed
        self.mqtt.on_message = lambda _client, _data, message: self.messages.append(
            (message.topic, bytes(message.payload)))

    def __enter__(self) -> Client:
        try:
            self.mqtt.connect(HOST, self.port, 60)
            self.mqtt.loop_start()
            assert self._answered.wait(WAIT_S), "the broker says nothing"
        except OSError as error:
            self.answer = str(error)
            self.ended.set()
        return self

    def __exit__(self, *_: object) -> None:
        self.mqtt.disconnect()
        self.mqtt.loop_stop()

    @property
    def let_in(self) -> bool:
        """Whether the broker took the session."""
        return self.answer == "Success"

    def publish(self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False) -> str:
        """The broker's answer to a message; "" for none (QoS 0)."""
        told = self.mqtt.publish(topic, payload, qos, retain)
        if qos == 0:
            return ""
        until(lambda: told.mid in self.reasons or self.ended.is_set(), f"an answer about {topic}")
        return str(self.reasons.get(told.mid, "hung up"))

    def subscribe(self, pattern: str) -> str:
        """The broker's answer to a subscription."""
        _, mid = self.mqtt.subscribe(pattern, 1)
        assert mid is not None
        until(lambda: mid in self.reasons or self.ended.is_set(), f"an answer about {pattern}")
        return str(self.reasons.get(mid, "hung up"))

    def got(self, payload: bytes) -> bool:
        """Whether a message of that payload has come."""
        return any(said == payload for _, said in self.messages)

    def _connected(self, _client: object, _data: object, _flags: object, reason: object, _properties: object) -> None:
        self.answer = str(reason)
        self._answered.set()

    def _gone(self, _client: object, _data: object, _flags: object, reason: object, _properties: object) -> None:
        self.answer = self.answer or str(reason)
        self.ended.set()
        self._answered.set()

    def _published(self, _client: object, _data: object, mid: int, reason: object, _properties: object) -> None:
        self.reasons[mid] = reason

    def _subscribed(self, _client: object, _data: object, mid: int, reasons: list[Any], _properties: object) -> None:
        self.reasons[mid] = reasons[0]


def say_raw(world: World, *, port: int, shown: Path | None, said: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    """What the broker answers to bytes; empty where it hangs up."""
    with socket.create_connection((HOST, port), WAIT_S) as plain, contextlib.ExitStack() as stack:
        try:
            secure = stack.enter_context((tls or tls_of(world, shown)).wrap_socket(plain, server_hostname=HOST))
            secure.sendall(said)
            return secure.recv(1000)
        except OSError:
            return b""
