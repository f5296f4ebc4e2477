"""The contract's messages as types, their topics, and one JSON codec for all of them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from edge.errors import WireError

VERSION = 1
ROOT = "cg/v1"
INGEST = f"{ROOT}/ingest/state"
ALL_INGEST = f"{INGEST}/#"
ALL_UP = f"{ROOT}/+/up/"
CONTENT_TYPE = "application/vnd.cornergrid.v1+json"
PACKED = f"{CONTENT_TYPE}+zstd"
MAX_PAYLOAD = 256 * 1024
MAX_RECORDS = 1000
MAX_GAPS = 2000
MAX_SEQ = 2**53
ABSOLUTE_TIME = 2**28  # RFC 8428 section 4.5.3: smaller times are relative to now, which a buffer makes wrong

# `$` alone also matches before a final newline in Python's `re`, though not in JSON Schema's.
END = r"$(?!\n)"
Device = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}" + END,
                             description="Device id, the certificate's subject")]
Stream = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}" + END, description="UUID minted at a start, hex")]
Seq = Annotated[int, Meta(ge=0, le=MAX_SEQ)]
Number = Annotated[float, Meta(ge=-1e12, le=1e12)]
Quality = Annotated[str, Meta(pattern=r"^(ok|unstable|bad:[a-z0-9_]{1,60})" + END)]
Sku = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_-]{1,32}" + END)]
Clk = Literal["ok", "free", "corrected"]
Range = tuple[int, int]
"""First and last sequence, both included."""


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
    sd: Annotated[float, Meta(ge=0, le=1e12, description="Standard deviation of `v`, in its unit")] | None = None
    bn: Annotated[str, Meta(max_length=200)] | None = None
    bt: Number | None = None


class Head(Struct, frozen=True, kw_only=True):
    """An envelope without its records."""

    v: Literal[1]
    st: Stream
    seq: Annotated[int, Meta(ge=1, le=MAX_SEQ, description="Sequence of the first record or gap")]
    lo: Annotated[int, Meta(ge=1, le=MAX_SEQ, description="Oldest sequence the device still holds")]
    boot: Seq
    clk: Clk
    h: Annotated[bool, Meta(description="Historical: sent from the backlog")] = False
    w: Annotated[float, Meta(ge=-1e12, le=1e12, description="Event time, Unix seconds, at monotonic time `m`")] \
        | UnsetType = UNSET
    m: Annotated[float, Meta(ge=0, le=1e12, description="Monotonic seconds of this boot")] | UnsetType = UNSET
    left: Annotated[int, Meta(ge=0, le=MAX_SEQ, description="Records of the backlog that wait after this batch")] \
        | UnsetType = UNSET
    g: Annotated[list[tuple[Seq, Seq]], Meta(max_length=MAX_GAPS, description="Sequences, first and last, that will "
                                             "never come: the outbox told them in its loss records")] \
        | UnsetType = UNSET


class Envelope(Head, frozen=True, kw_only=True):
    """A batch: consecutive records of one stream."""

    e: Annotated[list[Record], Meta(min_length=1, max_length=MAX_RECORDS)]


class RawEnvelope(Head, frozen=True, kw_only=True):
    """The envelope with its records still as bytes, for a batch in which some cannot be decoded."""

    e: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_RECORDS)]


class Identity(Struct, frozen=True):
    """The sequences of a batch that cannot be read otherwise, so that it can be refused by name."""

    st: Stream
    seq: Annotated[int, Meta(ge=1, le=MAX_SEQ)]
    n: Annotated[int, Meta(ge=1, le=MAX_SEQ)] = 0


class Fact(Struct, frozen=True, gc=False):
    """One resolved record: what the outbox keeps and what the cloud stores.

    `t` is event time in Unix seconds; `value` is None exactly where `quality` is not `ok`. `sd` is the value's
    standard deviation in its own unit, None where nobody stated one; variances of additive facts add up.
    """

    name: str
    t: float
    unit: str
    value: float | bool | str | None
    quality: str = "ok"
    sku: str | None = None
    sd: float | None = None


class Refused(Struct, frozen=True):
    """A record that is not the contract's: its sequence, the reason, and its bytes as they came."""

    seq: int
    reason: str
    raw: bytes


class Batch(Struct, frozen=True):
    """A decoded envelope: `facts`, `refused` and `gaps` together are its `n` sequences, from `seq` on."""

    stream: str
    seq: int
    n: int
    lo: int
    boot: int
    clk: str
    historical: bool
    facts: tuple[tuple[int, Fact], ...]
    refused: tuple[Refused, ...]
    gaps: tuple[Range, ...] = ()
    left: int | None = None


class Loss(Struct, frozen=True, kw_only=True):
    """What could not be kept or sent, told in the record `outbox/loss`.

    `n` records of the kind `what` are gone for the reason `why`; their event times, where known, lay within
    `t0` .. `t1` (Unix seconds).
    """

    why: Annotated[str, Meta(pattern=r"^[a-z_]{1,40}" + END)]
    what: Annotated[str, Meta(pattern=r"^[a-z_]{1,40}" + END)]
    n: Annotated[int, Meta(ge=1, le=MAX_SEQ)]
    t0: Number | None = None
    t1: Number | None = None


class Committed(Struct, frozen=True, kw_only=True):
    """`down/committed`: the cloud's database has every record of `st` up to and including `committed`.

    What it has above that is in `ahead`; of these the device need not send any again, and may delete none.
    """

    v: Literal[1] = 1
    st: Stream
    committed: Seq
    refused: Annotated[int, Meta(ge=0, description="Records of the stream in quarantine so far")] = 0
    t: Annotated[float, Meta(ge=-1e12, le=1e12, description="Event time up to which the stream is complete")] = 0.0
    ahead: list[tuple[Seq, Seq]] | UnsetType = UNSET
    why: Annotated[str, Meta(max_length=500, description="Why the newest refused record or batch was refused")] \
        | UnsetType = UNSET


class Credit(Struct, frozen=True, kw_only=True):
    """`down/credit`: so many more records of the backlog may be sent on this connection."""

    v: Literal[1] = 1
    n: Annotated[int, Meta(ge=1, le=1_000_000)]


class OutboxState(Struct, frozen=True, kw_only=True):
    """What the device holds, as `cornergrid-edge status` shows it. Times are Unix seconds, rates per real second."""

    where: Annotated[Literal["disk", "memory"], Meta(description="`memory`: the disk does not take records")] = "disk"
    bytes: Annotated[int, Meta(ge=0, description="Of the file that are in use")] = 0
    cap: Annotated[int, Meta(ge=0, description="Bytes from which on the least important is evicted")] = 0
    oldest: Annotated[float | None, Meta(description="Event time of the oldest record that may be uncommitted")] = None
    committed_to: Annotated[float | None, Meta(description="The cloud has everything up to here")] = None
    runway_s: Annotated[float | None, Meta(description="Until the cap, at the present rate; null: no rate yet")] = None
    catch_up_s: Annotated[float | None, Meta(description="Until the backlog is sent; null: not known")] = None
    backlog: Annotated[int, Meta(ge=0, description="Records that wait for credit or their turn")] = 0
    lost: Annotated[int, Meta(ge=0, description="Records told in loss records since the file was made")] = 0
    refused: Annotated[int, Meta(ge=0, description="Records in the cloud's quarantine")] = 0
    why: Annotated[str, Meta(max_length=500, description="What is wrong now; empty where nothing is")] = ""
    clk: Clk = "ok"


class State(Struct, frozen=True, kw_only=True):
    """`up/state`, retained, and the last will (`online` false with the same `boot`; an older boot's is stale)."""

    v: Literal[1] = 1
    online: bool
    boot: Seq
    t: Number = 0.0
    buffered: Seq = 0
    committed: Seq = 0
    sensors: dict[str, str] = msgspec.field(default_factory=dict)
    outbox: OutboxState | UnsetType = UNSET


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
    """`ingest/state/<worker>`, retained, with a last will: where none is online, a PUBACK is worth nothing now."""

    v: Literal[1] = 1
    online: bool
    t: Number = 0.0


def up(device: str, what: Literal["data", "backlog", "birth", "state"]) -> str:
    """The topic on which `device` sends `what`."""
    return f"{ROOT}/{device}/up/{what}"


def committed_topic(device: str) -> str:
    """The topic on which `device` hears what the cloud has committed."""
    return f"{ROOT}/{device}/down/committed"


def credit_topic(device: str) -> str:
    """The topic on which `device` hears how much of its backlog it may send."""
    return f"{ROOT}/{device}/down/credit"


def ingest_topic(worker: str) -> str:
    """The topic on which the ingest's `worker` says whether it listens."""
    return f"{INGEST}/{worker}"


_TOPIC = re.compile(rf"^{ROOT}/([a-z0-9][a-z0-9-]{{0,62}})/up/(data|backlog|birth|state)" + END)


def parse_up(topic: str) -> tuple[str, str]:
    """The device and the channel of an `up` topic; WireError where it is none."""
    match = _TOPIC.match(topic)
    if match is None:
        raise WireError("bad_topic", topic[:200])
    return match[1], match[2]


T = TypeVar("T", bound=Struct)
_encoder = msgspec.json.Encoder()


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


MESSAGES: dict[str, type[Struct]] = {
    "envelope": Envelope, "committed": Committed, "credit": Credit, "state": State, "birth": Birth,
    "ingest-state": IngestState,
}


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of every message, from the types themselves."""
    refs, definitions = msgspec.json.schema_components([*MESSAGES.values(), Loss], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Cornergrid wire contract, version {VERSION}",
        "anyOf": list(refs),  # a State is an IngestState too: what it may be, the topic says
        "$defs": definitions,
    }
