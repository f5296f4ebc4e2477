"""The table of attacks on the ingest: what a device with a good certificate may say on its own topics.

An attack is a function that fails (AssertionError) where it succeeds. `seen` is the kind of refusal that
`cornergrid-cloud watch` then shows for the thief; empty where nothing is refused and nothing changes for anybody else.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cloud_ingest.store.growth import LIMITS
from cloud_ingest.watch import Fleet, read_fleet
from edge import wire
from edge.clock import SystemClock
from tests.cloud_ingest.pki.world import Client, World, until

VICTIM, THIEF, STRANGER = "shop-a", "shop-b", "shop-x"
LOUD = ("shop-again", "shop-poison", "shop-flood", "shop-birth", "shop-names", "shop-skus", "shop-bad")
SKU = "4006381333931"
MINE, YOURS = "b" * 32, "a" * 32
CLOCK = SystemClock()


@dataclass(slots=True)
class Scene:
    """An honest shop, a device that turned bad, and the ingest as a process with its database."""

    world: World
    db: Path
    pid: int
    victim: Client
    thief: Client
    sold: int = 0
    others: dict[str, Client] = field(default_factory=dict)

    def settle(self) -> None:
        """The honest shop sells one more, and hears that it is committed."""
        self.sold += 1
        fact = wire.Fact("slot/A1/sold", CLOCK.now(), "count", 1.0, "ok", SKU)
        payload = wire.encode_batch(VICTIM, [fact], st=YOURS, seq=self.sold, lo=1, boot=1)
        assert self.victim.publish(wire.up(VICTIM, "data"), payload) == "Success"
        until(lambda: self.told(self.victim, YOURS) >= self.sold, "the honest shop hears of its commit", 20)

    def told(self, client: Client, st: str) -> int:
        """How far a device heard that its stream is committed."""
        heard = [wire.decode(payload, wire.Committed) for topic, payload in list(client.messages)
                 if topic.endswith("/committed")]
        return max((each.committed for each in heard if each.st == st), default=0)

    def fleet(self) -> Fleet:
        """What the operator sees."""
        return read_fleet(self.db)

    def count(self, device: str, kind: str) -> int:
        """How often the operator sees that of a device."""
        return sum(row.n for row in self.fleet().refusals if (row.device, row.kind) == (device, kind))

    def rows(self, query: str, *values: object) -> list[Any]:
        """What the database says."""
        db = sqlite3.connect(self.db)
        try:
            return db.execute(query, values).fetchall()
        finally:
            db.close()

    def say(self, payload: bytes, channel: str = "data", qos: int = 1, properties: Properties | None = None,
            retain: bool = False) -> None:
        """The thief says something on a topic of its own, and the ingest has taken it when this returns."""
        self.thief.mqtt.publish(f"cg/v1/{THIEF}/up/{channel}", payload, qos, retain, properties).wait_for_publish(20)
        self.settle()

    def other(self, device: str) -> Client:
        """The session of another device that turned bad."""
        if device not in self.others:
            self.others[device] = Client(self.world, self.world.store(device).current, device).__enter__()
        return self.others[device]


@dataclass(frozen=True, slots=True)
class Attack:
    """One row of the table; `who` is the device at which it is seen."""

    name: str
    seen: str
    who: str
    run: Callable[[Scene], None]


ATTACKS: list[Attack] = []


def attack(name: str, seen: str, who: str = THIEF) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """Add a row."""
    def add(run: Callable[[Scene], None]) -> Callable[[Scene], None]:
        ATTACKS.append(Attack(name, seen, who, run))
        return run
    return add


def says(name: str, seen: str, make: Callable[[], bytes], channel: str = "data") -> None:
    """Add a row that is one payload."""
    ATTACKS.append(Attack(name, seen, THIEF, lambda scene: scene.say(make(), channel)))


def properties(pairs: Sequence[tuple[str, str]] = (), **named: object) -> Properties:
    made = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's is untyped
    if pairs:
        made.UserProperty = list(pairs)
    for name, value in named.items():
        setattr(made, name, value)
    return made


def record(**changes: object) -> dict[str, object]:
    """One sale of the thief's."""
    return {"n": f"{THIEF}/slot/A1/sold", "t": round(CLOCK.now(), 3), "u": "count", "v": 1.0, "k": SKU, **changes}


class Sequences:
    """Each message of the thief's own stream has the next sequence, so that none is a repeat."""

    at = 0

    @classmethod
    def take(cls, n: int = 1) -> int:
        cls.at += n
        return cls.at - n + 1


def envelope(records: Sequence[object], **changes: object) -> bytes:
    head = {"v": 1, "st": MINE, "seq": Sequences.take(max(1, min(len(records), wire.MAX_RECORDS))), "lo": 1, "boot": 1,
            "clk": "ok"}
    return json.dumps({**head, "e": records, **changes}).encode()


def one(**changes: object) -> Callable[[], bytes]:
    return lambda: envelope([record(**changes)])


def raw(old: bytes, new: bytes, **changes: object) -> Callable[[], bytes]:
    """One record, with bytes that no encoder makes."""
    return lambda: envelope([record(**changes)]).replace(old, new)


def state(**changes: object) -> Callable[[], bytes]:
    return lambda: json.dumps({"v": 1, "online": True, "boot": 1, "t": CLOCK.now(), **changes}).encode()


def loudly(scene: Scene, device: str, channel: str, payloads: Sequence[bytes]) -> None:
    client, topic = scene.other(device), f"cg/v1/{device}/up/{channel}"
    for sent in [client.mqtt.publish(topic, payload, 1) for payload in payloads]:
        sent.wait_for_publish(30)
    scene.settle()


# In another's name.

says("a record in another device's name", "bad_name", one(n=f"{VICTIM}/slot/A1/sold"))
says("another device's base name before its own records", "bad_name",
     lambda: envelope([record(bn=f"{VICTIM}/", n="slot/A1/sold"), record(n="slot/A1/sold")]))
says("another device's stream", "foreign_stream", lambda: envelope([record()], st=YOURS, seq=1))
says("a jump in another device's stream, so that it deletes its readings", "foreign_stream",
     lambda: envelope([record()], st=YOURS, seq=10**9, lo=10**9))
says("gaps in another device's stream, so that the cloud waits for nothing", "foreign_stream",
     lambda: envelope([record()], st=YOURS, seq=1, g=[[1, 10**9]]))
says("a birth in another device's name", "foreign_birth", lambda: birth(device=VICTIM), "birth")


def birth(**changes: object) -> bytes:
    return json.dumps({"v": 1, "device": THIEF, "st": MINE, "boot": 1, "t": CLOCK.now(), "agent": "x", "sensors": {},
                       "slots": {}, **changes}).encode()


@attack("another device's sequences, refused by name in user properties", "foreign_stream")
def _foreign_claim(scene: Scene) -> None:
    scene.say(b"?", properties=properties([("id", f"{YOURS}/1"), ("n", "1000000")]))
    assert scene.told(scene.victim, YOURS) == scene.sold


@attack("a store, a place and a cell of its own choosing, in birth and records", "")
def _place(scene: Scene) -> None:
    before = scene.rows("SELECT * FROM store"), scene.rows("SELECT id, store FROM device")
    told = {"store": "store-of-shop-a", "cell": "891f1d48177ffff", "lat": 0.0, "lon": 0.0}
    scene.say(birth(**told), "birth")
    scene.say(envelope([record(**told)], **told))
    assert (scene.rows("SELECT * FROM store"), scene.rows("SELECT id, store FROM device")) == before


@attack("a device that the registry does not have", "unregistered", STRANGER)
def _unregistered(scene: Scene) -> None:
    payload = wire.encode_batch(STRANGER, [wire.Fact("a/b", CLOCK.now(), "kg", 1.0)], st="c" * 32, seq=1, lo=1, boot=1)
    scene.other(STRANGER).publish(wire.up(STRANGER, "data"), payload)
    scene.settle()
    assert scene.rows("SELECT * FROM reading WHERE device = ?", STRANGER) == []


# Watermarks and sequences.

says("a sequence of 2**63", "malformed", lambda: envelope([record()], seq=2**63))
says("a sequence below 1", "malformed", lambda: envelope([record()], seq=0))
says("more gaps than a message may name", "malformed",
     lambda: envelope([record()], st="f" * 32, g=[[i, i] for i in range(1, 2 * wire.MAX_RECORDS + 3)]))
says("gaps that lie behind their records, or overlap", "bad_gaps",
     lambda: envelope([record()], st="9" * 32, seq=1, g=[[5, 9], [3, 7]]))


says("a gap to 2**53, behind which a record lies", "bad_seq",
     lambda: envelope([record()], st="2" * 32, seq=1, g=[[1, 2**53]]))


@attack("user properties that refuse what lies behind 2**53", "malformed")
def _claim_beyond(scene: Scene) -> None:
    scene.say(b"?", properties=properties([("id", f"{'3' * 32}/{2**53}"), ("n", str(2**53))]))
    assert scene.rows("SELECT * FROM stream WHERE st = ?", "3" * 32) == []


@attack("a jump to 2**53, and an oldest of 2**53, in a stream of its own", "")
def _jumps(scene: Scene) -> None:
    scene.say(envelope([record()], st="0" * 32, seq=2**53))
    scene.say(envelope([record()], st="1" * 32, seq=2**53, lo=2**53))
    assert scene.told(scene.thief, "1" * 32) == 2**53


@attack("the future as what the cloud has everything of", "bad_time")
def _complete(scene: Scene) -> None:
    before = scene.rows("SELECT complete_to FROM progress WHERE device = ?", VICTIM)
    scene.say(state(t=9e9, outbox={})(), "state")
    (mine,), = scene.rows("SELECT complete_to FROM progress WHERE device = ?", THIEF)
    assert mine <= CLOCK.now()
    assert scene.rows("SELECT complete_to FROM progress WHERE device = ?", VICTIM) >= before


@attack("what was complete taken back to 1990", "")
def _back(scene: Scene) -> None:
    scene.say(state(t=631152000.0, buffered=1, outbox={"oldest": 631152000.0})(), "state")
    assert scene.rows("SELECT complete_to FROM progress WHERE device = ?", VICTIM)[0][0] > 1.7e9


@attack("old messages again, 200 times", "")
def _replay(scene: Scene) -> None:
    fact = wire.Fact("slot/A1/sold", CLOCK.now(), "count", 2.0, "ok", SKU)
    payload = wire.encode_batch("shop-again", [fact], st="7" * 32, seq=1, lo=1, boot=1)
    loudly(scene, "shop-again", "data", [payload] * 200)
    assert scene.rows("SELECT sold FROM flow WHERE store = 'store-of-shop-again'") == [(2.0,)]


@attack("a last will of another shape", "malformed")
def _will(scene: Scene) -> None:
    client = Client(scene.world, scene.world.store("shop-bad").current, "shop-bad")
    client.mqtt.will_set(wire.up("shop-bad", "state"), b'{"v":1,"online":"maybe"}', 1, True)
    with client:
        sock: Any = client.mqtt.socket()
        sock.shutdown(2)  # no goodbye: the broker says the will
        assert client.ended.wait(10)
    until(lambda: scene.count("shop-bad", "malformed") > 0, "the will is seen")
    scene.say(b"{}")


# Too much, wrapped up.

def frame(content: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(content)


def lying(content: bytes, size: int) -> bytes:
    """A frame whose header says another size than it has: RFC 8878 section 3.1.1.1, with 8 bytes of content size."""
    honest = zstandard.ZstdCompressor(write_content_size=False).compress(content)
    assert honest[4] & 0xE3 == 0, "neither content size, single segment nor dictionary"
    return honest[:4] + bytes((honest[4] | 0xC0, honest[5])) + struct.pack("<Q", size) + honest[6:]


def trained() -> bytes:
    samples: list[Any] = [json.dumps(record(v=float(i))).encode() for i in range(1000)]
    return frame(envelope([record()]), dict_data=zstandard.train_dictionary(4096, samples))


BOMB = b" " * 100_000_000
says("a zstd bomb of 10,000 to 1", "too_large", lambda: frame(BOMB))
says("a zstd bomb that does not say its size", "too_large", lambda: frame(BOMB, write_content_size=False))
says("a zstd bomb that says 100 bytes", "malformed", lambda: lying(BOMB, 100))
says("a zstd frame that says 2**62 bytes", "too_large", lambda: lying(envelope([record()]), 2**62))
says("a zstd frame that says more than it has", "malformed", lambda: lying(envelope([record()]), 200_000))
says("ten thousand zstd frames, one behind the other", "malformed", lambda: frame(b" ") * 10_000)
says("a zstd frame with a window of 2 GiB", "too_large",
     lambda: b"\x28\xb5\x2f\xfd\x00\xa8" + frame(b"x" * 500, write_content_size=False)[6:])
says("a zstd frame that wants a dictionary", "malformed", trained)
says("a torn zstd frame", "malformed", lambda: frame(envelope([record()]))[:-4])
says("a zstd frame within a zstd frame", "malformed", lambda: frame(frame(envelope([record()]))))
says("ten million records in one batch", "too_large", lambda: frame(b'{"v":1,"e":[' + b"{}," * 10_000_000 + b"{}]}"))
says("87,000 records in one batch", "malformed", lambda: envelope([], st="8" * 32)[:-2] + b"{}," * 86_999 + b"{}]}")
says("no record in a batch", "malformed", lambda: envelope([]))


# Nested, endless, or no text.

def nested(opening: bytes, closing: bytes, deep: int = 40_000) -> bytes:
    return opening * deep + b"1" + closing * deep


says("lists 100,000 deep", "malformed", lambda: b'{"v":1,"x":' + nested(b"[", b"]", 100_000) + b"}")
says("objects 40,000 deep, packed", "malformed", lambda: frame(nested(b'{"a":', b"}")))
says("lists 40,000 deep within a record", "malformed", raw(b'"v": 1.0', b'"v": ' + nested(b"[", b"]")))
says("lists 40,000 deep in a field that nobody knows", "malformed",
     raw(b'"lo": 1', b'"lo": 1, "x": ' + nested(b"[", b"]")))
says("a sequence of 250,000 digits", "malformed", raw(b'"lo": 1', b'"lo": ' + b"9" * 250_000))
says("a value of 250,000 digits", "malformed", raw(b'"v": 1.0', b'"v": ' + b"9" * 250_000))
says("a SKU of 200,000 characters", "malformed", one(k="4" * 200_000))
says("a SKU with control characters", "malformed", one(k="400\x1b[2J638"))
says("a SKU that is written from right to left", "malformed", one(k="\u202e4006"))
says("a name that is written from right to left", "bad_name", one(n=f"{THIEF}/slot/\u202eA1/sold"))
says("a name with a zero byte", "bad_name", one(n=f"{THIEF}/slot/\0/sold"))
says("bytes that are no UTF-8", "malformed", raw(SKU.encode(), b"\xff\xfe\xc0\x80"))
says("half a surrogate pair", "malformed", raw(SKU.encode(), b"\\ud800"))
says("no bytes at all", "malformed", lambda: b"")
says("noise", "malformed", lambda: bytes(range(256)) * 100)


@attack("empty keys, and every key twice", "")
def _twice(scene: Scene) -> None:
    seq = Sequences.take()
    payload = envelope([record()], seq=seq)
    scene.say(b'{"":1,"":2,"seq":9007199254740992,' + payload[1:])
    assert scene.told(scene.thief, MINE) <= Sequences.at


# Values that cannot be.

for shown, text in (("NaN", b"NaN"), ("Infinity", b"-Infinity"), ("1e308", b"1e308"), ("1e999", b"1e999")):
    says(f"a count of {shown}", "malformed", raw(b'"v": 1.0', b'"v": ' + text))
says("a count of 1e18", "malformed", one(v=1e18))
says("a count below 0", "bad_value", one(v=-5.0))
says("20,000 units in one record", "bad_value", one(v=20_000.0))
says("30,000 units in one window, 9,999 in each record", "impossible",
     lambda: envelope([record(v=9999.0, k="20000001")] * 3))
says("a day in stock within a quarter of an hour", "bad_value",
     one(n=f"{THIEF}/slot/A1/in_stock", u="s", v=86_400.0))
says("300 degrees below zero", "impossible", one(n=f"{THIEF}/fridge/temperature", u="Cel", v=-300.0, k=None))
says("a shelf of a million tonnes", "impossible", one(n=f"{THIEF}/scale/weight", u="kg", v=1e9, k=None))
says("a sale in 1970", "bad_time", one(t=3600.0))
says("a sale in 2005", "bad_time", one(t=1.1e9))
says("a sale in 2100", "bad_time", one(t=4.1e9))
says("a sale in 30,000 years", "bad_time", one(t=1e12))
says("a loss of more records than there are", "bad_value",
     one(n=f"{THIEF}/outbox/loss", u="", v=None, k=None, vs='{"why":"cap","what":"x","n":9223372036854775807}'))
says("a state with a number of 4,000 digits", "bad_state",
     lambda: b'{"v":1,"online":true,"boot":1,"outbox":{"cap":' + b"9" * 4000 + b"}}", "state")
says("a state with 10,000 sensors", "bad_state", state(sensors={f"s{i}": "ok" for i in range(10_000)}), "state")
says("a birth with a slot name of 100,000 characters", "bad_state", lambda: birth(slots={"x" * 100_000: SKU}), "birth")


@attack("commands for the operator's terminal in a text", "")
def _terminal(scene: Scene) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202e[/red]"
    scene.say(envelope([record(n=f"{THIEF}/event/evil", u="\x1b[31m", v=None, k=None, vs=evil)]))
    scene.say(state(sensors={"\x1b[2J": evil}, outbox={"why": evil})(), "state")
    assert any(each.value == evil for each in scene.fleet().telemetry)


# Properties and flags of the message.

@attack("user properties by the thousand", "bad_properties")
def _properties(scene: Scene) -> None:
    scene.say(envelope([record()]), properties=properties([("", "")] * 50_000))


@attack("a user property with U+FEFF, for which paho ends its connection", "")
def _bom(scene: Scene) -> None:
    payload, before = envelope([record()]), scene.rows("SELECT count(*) FROM reading WHERE device = ?", THIEF)
    scene.say(payload, properties=properties([("\ufeff", "\ufeff")]))
    assert scene.rows("SELECT count(*) FROM reading WHERE device = ?", THIEF) != before


@attack("another device's topic as response topic, and an unknown content type", "")
def _response(scene: Scene) -> None:
    before = scene.told(scene.victim, YOURS)
    scene.say(envelope([record()]), properties=properties(
        ResponseTopic=f"cg/v1/{VICTIM}/down/committed", CorrelationData=b"x" * 1000, ContentType="image/png"))
    assert scene.told(scene.victim, YOURS) == before + 1


@attack("a message that wants no acknowledgement", "bad_qos")
def _qos(scene: Scene) -> None:
    scene.say(envelope([record()]), qos=0)


@attack("data that the broker is to keep and repeat", "")
def _retained(scene: Scene) -> None:
    scene.say(envelope([record()]), retain=True)


@attack("the same poison 30 times", "malformed", "shop-poison")
def _poison(scene: Scene) -> None:
    poison = json.dumps({"v": 9, "st": "6" * 32, "seq": 1, "lo": 1, "boot": 1, "clk": "ok", "e": [{}]}).encode()
    loudly(scene, "shop-poison", "data", [poison] * 30)
    assert scene.rows("SELECT refused, missing FROM stream WHERE device = 'shop-poison'") == [(1, 0)]


# Too many, by a device of its own each: its allowance is used up.

@attack("a flood of good messages", "too_fast", "shop-flood")
def _flood(scene: Scene) -> None:
    loudly(scene, "shop-flood", "data", [
        wire.encode_batch("shop-flood", [wire.Fact("a/b", CLOCK.now(), "kg", 1.0)], st="d" * 32, seq=i, lo=1, boot=1)
        for i in range(1, 3001)])


@attack("a flood of births", "too_fast", "shop-birth")
def _births(scene: Scene) -> None:
    loudly(scene, "shop-birth", "birth", [birth(device="shop-birth", boot=i) for i in range(3000)])


@attack("a flood of messages that cannot be read, each another", "too_fast", "shop-bad")
def _bad(scene: Scene) -> None:
    loudly(scene, "shop-bad", "data", [b"noise %d" % i for i in range(1000)])
    assert scene.rows("SELECT count(*) FROM quarantine WHERE device = 'shop-bad'")[0][0] <= 500
    assert scene.rows("SELECT count(*) FROM quarantine WHERE device = ?", THIEF)[0][0] > 20


def many(device: str, make: Callable[[int], wire.Fact], n: int) -> list[bytes]:
    facts = [make(i) for i in range(n)]
    return [wire.pack(wire.encode_batch(device, facts[at:at + 1000], st="e" * 31 + str(len(device) % 10), seq=at + 1,
                                        lo=1, boot=1)) for at in range(0, n, 1000)]


@attack("thousands of names", "too_many_names", "shop-names")
def _names(scene: Scene) -> None:
    most = int(LIMITS["names"].most)
    loudly(scene, "shop-names", "data", many(
        "shop-names", lambda i: wire.Fact(f"n{i}/weight", CLOCK.now(), "kg", 1.0), most + 1000))
    assert scene.rows("SELECT count(*) FROM latest WHERE device = 'shop-names'")[0][0] <= most + 1
    assert len([each for each in scene.fleet().telemetry if each.device == "shop-names"]) <= 200


@attack("thousands of SKUs", "too_many_skus", "shop-skus")
def _skus(scene: Scene) -> None:
    most = int(LIMITS["skus"].most)
    loudly(scene, "shop-skus", "data", many(
        "shop-skus", lambda i: wire.Fact("slot/A1/sold", CLOCK.now(), "count", 1.0, "ok", str(10_000_000 + i)),
        most + 1000))
    assert scene.rows("SELECT count(*) FROM flow WHERE store = 'store-of-shop-skus'")[0][0] <= most + 1
