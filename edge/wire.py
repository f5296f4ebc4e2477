"""The wire contract, version 1: the only module that the device and the cloud share.

    topic    cg/v1/<device>/up/{data,backlog,birth,state}     device -> cloud
             cg/v1/<device>/down/committed                     cloud -> device, retained
             cg/v1/ingest/state                                cloud -> everyone, retained, last will
    payload  {"v":1,"st":stream,"seq":first,"lo":oldest held,"boot":n,"clk":"ok","h":false,"e":[SenML records]}

One SenML record (RFC 8428, units of the IANA registry) per sequence number: `e[i]` is record `seq + i` of
the stream, so a record that must be refused can be named, and everything else of its batch kept. Two labels
extend RFC 8428: `q`, the quality (absent means `ok`; without a value wherever it is not), and `k`, the SKU
(a GTIN where it exists). `bn` and `bt` in the first record keep a batch small.

Names say what a record is:
    <sensor>/<quantity>                          a reading, e.g. scale-1/weight
    slot/<slot>/level                            units on the shelf
    slot/<slot>/{sold,put_back,restocked}        a movement: facts that add up
    slot/<slot>/{in_stock,observed}              seconds within one window: facts that add up
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from edge.errors import WireError

VERSION = 1
ROOT = "cg/v1"
INGEST_STATE = f"{ROOT}/ingest/state"
ALL_UP = f"{ROOT}/+/up/+"
CONTENT_TYPE = "application/vnd.cornergrid.v1+json"
MAX_PAYLOAD = 256 * 1024
MAX_RECORDS = 1000
WINDOW_S = 900
"""Additive facts belong to windows of this length, aligned to the Unix epoch: 15 minutes."""

UNITS = {"kg": "weight", "Cel": "temperature", "%RH": "relative humidity", "count": "units", "s": "seconds",
         "/": "ratio"}
FLOW_UNITS = {"sold": "count", "put_back": "count", "restocked": "count", "in_stock": "s", "observed": "s"}
"""The facts that add up per store, SKU and window: last part of the record's name, and its unit."""

# `$` alone also matches before a final newline in Python's `re`, though not in JSON Schema's.
END = r"$(?!\n)"
Device = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}" + END,
                             description="Device id, the certificate's subject")]
Stream = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}" + END, description="UUID minted with the outbox file, hex")]
Seq = Annotated[int, Meta(ge=0, le=2**53)]
Number = Annotated[float, Meta(ge=-1e12, le=1e12)]
Quality = Annotated[str, Meta(pattern=r"^(ok|unstable|bad:[a-z0-9_]{1,60})" + END)]
Sku = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_-]{1,32}" + END)]
ABSOLUTE_TIME = 2**28  # RFC 8428 section 4.5.3: smaller times are relative to now, which a buffer makes wrong


class Record(Struct, frozen=True, omit_defaults=True, gc=False):
    """One SenML record as it stands on the wire, before its base values are resolved."""

    n: Annotated[str, Meta(max_length=200)] = ""
    t: Number = 0.0
    u: Annotated[str, Meta(max_length=16)] = ""
    v: Number | None = None
    vb: bool | None = None
    vs: Annotated[str, Meta(max_length=1000)] | None = None
    q: Quality = "ok"
    k: Sku | None = None
    bn: Annotated[str, Meta(max_length=200)] | None = None
    bt: Number | None = None


class Envelope(Struct, frozen=True, kw_only=True):
    """A batch: consecutive records of one stream."""

    v: Literal[1]
    st: Stream
    seq: Annotated[int, Meta(ge=1, le=2**53, description="Sequence of the first record")]
    lo: Annotated[int, Meta(ge=1, le=2**53, description="Oldest sequence the device still holds")]
    boot: Seq
    clk: Literal["ok", "free", "corrected"]
    h: Annotated[bool, Meta(description="Historical: sent from the backlog")] = False
    e: Annotated[list[Record], Meta(min_length=1, max_length=MAX_RECORDS)]


class _RawEnvelope(Envelope, frozen=True, kw_only=True):
    """The envelope with its records still as bytes, for a batch in which some cannot be decoded."""

    e: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_RECORDS)]  # type: ignore[assignment]


class _Base(Struct, frozen=True):
    """The base values of a record that is otherwise unusable: the rest of its batch needs them."""

    bn: str | None = None
    bt: float | None = None


class Fact(Struct, frozen=True, gc=False):
    """One resolved record: what the outbox keeps and what the cloud stores.

    `t` is event time in Unix seconds; `value` is None exactly where `quality` is not `ok`.
    """

    name: str
    t: float
    unit: str
    value: float | bool | str | None
    quality: str = "ok"
    sku: str | None = None


class Refused(Struct, frozen=True):
    """A record that is not the contract's: its sequence, the reason, and its bytes as they came."""

    seq: int
    reason: str
    raw: bytes


class Batch(Struct, frozen=True):
    """A decoded envelope: `facts` and `refused` together are its `n` records, each with its sequence."""

    stream: str
    seq: int
    n: int
    lo: int
    boot: int
    clk: str
    historical: bool
    facts: tuple[tuple[int, Fact], ...]
    refused: tuple[Refused, ...]


class Committed(Struct, frozen=True, kw_only=True):
    """`down/committed`: the cloud's database has every record of `st` up to and including `committed`."""

    v: Literal[1] = 1
    st: Stream
    committed: Seq
    refused: Annotated[int, Meta(ge=0, description="Records of the stream in quarantine so far")] = 0
    t: Number = 0.0


class State(Struct, frozen=True, kw_only=True):
    """`up/state`, retained, and the last will (`online` false with the same `boot`; an older boot's is stale)."""

    v: Literal[1] = 1
    online: bool
    boot: Seq
    t: Number = 0.0
    buffered: Seq = 0
    committed: Seq = 0
    sensors: dict[str, str] = msgspec.field(default_factory=dict)


class Birth(Struct, frozen=True, kw_only=True):
    """`up/birth`, retained: what this device is and has, sent at every start."""

    v: Literal[1] = 1
    device: Device
    st: Stream
    boot: Seq
    t: Number
    agent: str
    sensors: dict[str, str]
    slots: dict[str, str]


class IngestState(Struct, frozen=True, kw_only=True):
    """`ingest/state`, retained, with a last will: false means that a PUBACK is worth nothing now."""

    v: Literal[1] = 1
    online: bool
    t: Number = 0.0


def up(device: str, what: Literal["data", "backlog", "birth", "state"]) -> str:
    """The topic on which `device` sends `what`."""
    return f"{ROOT}/{device}/up/{what}"


def committed_topic(device: str) -> str:
    """The topic on which `device` hears what the cloud has committed."""
    return f"{ROOT}/{device}/down/committed"


_TOPIC = re.compile(rf"^{ROOT}/([a-z0-9][a-z0-9-]{{0,62}})/up/(data|backlog|birth|state)" + END)


def parse_up(topic: str) -> tuple[str, str]:
    """The device and the channel of an `up` topic; WireError where it is none."""
    match = _TOPIC.match(topic)
    if match is None:
        raise WireError("bad_topic", topic[:200])
    return match[1], match[2]


T = TypeVar("T", bound=Struct)
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_:./-]{0,199}" + END)
_encoder = msgspec.json.Encoder()
_record = msgspec.json.Decoder(Record)
_base = msgspec.json.Decoder(_Base)


def encode(message: Struct) -> bytes:
    """Any message of the contract as JSON bytes."""
    return _encoder.encode(message)


def decode(payload: bytes, kind: type[T]) -> T:
    """One message of the contract from JSON bytes; WireError with the place where it is not one."""
    if len(payload) > MAX_PAYLOAD:
        raise WireError("too_large", f"{len(payload)} bytes, at most {MAX_PAYLOAD}")
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise WireError("malformed", str(error)[:300]) from error


def encode_batch(device: str, facts: Sequence[Fact], *, st: str, seq: int, lo: int, boot: int,
                 clk: Literal["ok", "free", "corrected"] = "ok", historical: bool = False) -> bytes:
    """Consecutive facts of one stream, the first with sequence `seq`, as an envelope's bytes."""
    base_name, base_time = f"{device}/", facts[0].t
    records = [_to_record(fact, base_time) for fact in facts]
    records[0] = msgspec.structs.replace(records[0], bn=base_name, bt=base_time)
    return encode(Envelope(v=1, st=st, seq=seq, lo=lo, boot=boot, clk=clk, h=historical, e=records))


def _to_record(fact: Fact, base_time: float) -> Record:
    value = fact.value
    return Record(
        n=fact.name,
        t=round(fact.t - base_time, 3),
        u=fact.unit,
        v=value if isinstance(value, int | float) and not isinstance(value, bool) else None,
        vb=value if isinstance(value, bool) else None,
        vs=value if isinstance(value, str) else None,
        q=fact.quality,
        k=fact.sku,
    )


def decode_batch(device: str, payload: bytes) -> Batch:
    """The facts in one envelope that came on `device`'s topic.

    WireError where the envelope itself cannot be read. A record that cannot is among `refused`, and costs
    no other record of its batch.
    """
    try:
        envelope: Envelope = decode(payload, Envelope)
        records: list[Record | Refused] = list(envelope.e)
    except WireError:
        envelope = decode(payload, _RawEnvelope)
        records = [_each(envelope.seq + i, bytes(raw)) for i, raw in enumerate(envelope.e)]
    facts, refused = _resolve(device, envelope.seq, records)
    return Batch(envelope.st, envelope.seq, len(records), min(envelope.lo, envelope.seq), envelope.boot,
                 envelope.clk, envelope.h, facts, refused)


def _each(seq: int, raw: bytes) -> Record | Refused:
    try:
        return _record.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return Refused(seq, f"malformed: {error}"[:300], raw[:2000])


def _resolve(device: str, first: int, records: Iterable[Record | Refused],
             ) -> tuple[tuple[tuple[int, Fact], ...], tuple[Refused, ...]]:
    base_name, base_time = "", 0.0
    facts: list[tuple[int, Fact]] = []
    refused: list[Refused] = []
    for seq, record in enumerate(records, first):
        base = _base_of(record)
        base_name = base_name if base.bn is None else base.bn
        base_time = base_time if base.bt is None else base.bt
        if isinstance(record, Refused):
            refused.append(record)
            continue
        name = base_name + record.n
        fact = Fact(name.removeprefix(f"{device}/"), round(base_time + record.t, 3), record.u,
                    _value(record), record.q, record.k)
        wrong = _foreign(device, name) or _wrong(fact, record)
        if wrong:
            refused.append(Refused(seq, wrong, encode(record)))
        else:
            facts.append((seq, fact))
    return tuple(facts), tuple(refused)


def _base_of(record: Record | Refused) -> _Base:
    if isinstance(record, Record):
        return _Base(record.bn, record.bt)
    try:
        return _base.decode(record.raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _Base()


def _value(record: Record) -> float | bool | str | None:
    given = [value for value in (record.v, record.vb, record.vs) if value is not None]
    return given[0] if len(given) == 1 else None


def _foreign(device: str, name: str) -> str | None:
    if not name.startswith(f"{device}/"):
        return f"bad_name: {name[:100]!r} is not under {device}/"
    return None


def _wrong(fact: Fact, record: Record) -> str | None:
    """Why a record's values contradict the contract, or None."""
    if not _NAME.match(fact.name):
        return f"bad_name: {fact.name[:100]!r}"
    if fact.t < ABSOLUTE_TIME:
        return f"bad_time: {fact.t} is before 1978-07: no absolute time (RFC 8428 section 4.5.3)"
    if sum(value is not None for value in (record.v, record.vb, record.vs)) > 1:
        return "bad_value: more than one of v, vb, vs"
    if (fact.value is None) == (fact.quality == "ok"):
        return f"bad_value: a value and quality {fact.quality!r} do not go together"
    if isinstance(fact.value, float) and fact.unit not in UNITS:
        return f"bad_unit: {fact.unit!r} is none of {', '.join(UNITS)}"
    return _wrong_flow(fact)


def _wrong_flow(fact: Fact) -> str | None:
    flow = flow_of(fact.name)
    if flow is None:
        return None
    column = flow[1]
    if fact.unit != FLOW_UNITS[column]:
        return f"bad_unit: {column} is in {FLOW_UNITS[column]!r}, not {fact.unit!r}"
    if fact.sku is None:
        return f"bad_value: {column} without a SKU"
    limit = WINDOW_S if FLOW_UNITS[column] == "s" else 10_000
    if not isinstance(fact.value, float) or not 0 <= fact.value <= limit:
        return f"bad_value: {column} of {fact.value!r} is not within 0..{limit}"
    return None


def flow_of(name: str) -> tuple[str, str] | None:
    """The slot and the flow column of an additive fact's name, or None for any other name."""
    head, _, rest = name.partition("/")
    slot, _, column = rest.rpartition("/")
    return (slot, column) if head == "slot" and slot and column in FLOW_UNITS else None


def window_of(t: float) -> int:
    """The start, Unix seconds, of the window that event time `t` belongs to."""
    return int(t // WINDOW_S) * WINDOW_S


MESSAGES: dict[str, type[Struct]] = {
    "envelope": Envelope, "committed": Committed, "state": State, "birth": Birth, "ingest-state": IngestState,
}


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of every message, from the types themselves."""
    refs, definitions = msgspec.json.schema_components(MESSAGES.values(), ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Cornergrid wire contract, version {VERSION}",
        "anyOf": list(refs),  # a State is an IngestState too: what it may be, the topic says
        "$defs": definitions,
    }
