"""Many records as one payload and back: join, compress, decode. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import zstandard
from msgspec import UNSET, Struct, UnsetType

from edge.errors import WireError
from edge.wire.messages import (
    MAX_PAYLOAD,
    MAX_RECORDS,
    MAX_SEQ,
    Batch,
    Clk,
    Envelope,
    Fact,
    Head,
    Identity,
    Range,
    RawEnvelope,
    Record,
    Refused,
    Stream,
    decode,
    encode,
)
from edge.wire.records import foreign, value_of, wrong

PACK_FROM = 300
"""Bytes from which on compressing pays: below, one Ethernet frame holds the message anyway."""
_MAGIC = b"\x28\xb5\x2f\xfd"  # RFC 8878 section 3.1.1
_LEVEL = 3
_NO_TEXT = re.compile(rb"\\u[dD][89a-fA-F]|NaN|Infinity")
"""What Python's JSON decoder takes and msgspec's does not."""
_record = msgspec.json.Decoder(Record)


class _Base(Struct, frozen=True):
    """The base values of a record that is otherwise unusable: the rest of its batch needs them."""

    bn: str | None = None
    bt: float | None = None


_base = msgspec.json.Decoder(_Base)


class _Named(Struct, frozen=True):
    """As much of an envelope as names its sequences, however wrong the rest is."""

    st: Stream
    seq: int
    e: list[msgspec.Raw]
    g: list[msgspec.Raw] | UnsetType = UNSET


def encode_record(fact: Fact) -> bytes:
    """One fact as a SenML record of its own, its time absolute: what the outbox keeps and `join_batch` joins."""
    value = fact.value
    return encode(Record(
        n=fact.name,
        t=round(fact.t, 3),
        u=fact.unit,
        v=value if isinstance(value, int | float) and not isinstance(value, bool) else None,
        vb=value if isinstance(value, bool) else None,
        vs=value if isinstance(value, str) else None,
        q=fact.quality,
        k=fact.sku,
        sd=fact.sd,
    ))


def join_batch(device: str, records: Sequence[bytes], head: Head, shift: float = 0.0) -> bytes:
    """Encoded records as one envelope's bytes, without reading them again.

    The first record gets the base name, and `shift` (s) as the base time that puts a stream's times right.
    """
    base = b'{"bn":"%b/",' % device.encode()
    if shift:
        base += b'"bt":%b,' % msgspec.json.encode(shift)
    return b'%b,"e":[%b%b%b]}' % (
        encode(head)[:-1], base, records[0][1:], b"".join([b"," + record for record in records[1:]]))


def encode_batch(device: str, facts: Sequence[Fact], *, st: str, seq: int, lo: int, boot: int,
                 clk: Clk = "ok", historical: bool = False) -> bytes:
    """Consecutive facts of one stream, the first with sequence `seq`, as an envelope's bytes."""
    head = Head(v=1, st=st, seq=seq, lo=lo, boot=boot, clk=clk, h=historical)
    return join_batch(device, [encode_record(fact) for fact in facts], head)


def pack(payload: bytes) -> bytes:
    """The payload as a zstd frame where that is worth it, else as it is."""
    if len(payload) < PACK_FROM:
        return payload
    return zstandard.ZstdCompressor(level=_LEVEL).compress(payload)


def unpack(payload: bytes) -> bytes:
    """The JSON bytes of a payload; WireError where it is too large, also once unpacked, or no whole frame."""
    if len(payload) > MAX_PAYLOAD:
        raise WireError("too_large", f"{len(payload)} bytes, at most {MAX_PAYLOAD}")
    if not payload.startswith(_MAGIC):
        return payload
    try:
        size = zstandard.get_frame_parameters(payload).content_size
        if size > MAX_PAYLOAD:  # what the frame does not say counts as 2**64 - 1
            raise WireError("too_large", f"unpacks to {size} bytes, at most {MAX_PAYLOAD}")
        return zstandard.ZstdDecompressor().decompress(payload, max_output_size=MAX_PAYLOAD, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise WireError("malformed", f"zstd: {error}"[:300]) from error


def identify(payload: bytes) -> Identity | None:
    """The sequences of a batch that cannot be taken, or None where not even these can be read."""
    try:
        named = msgspec.json.decode(unpack(payload), type=_Named)
        gaps = msgspec.convert([msgspec.json.decode(gap) for gap in named.g] if named.g else [], list[Range])
    except (WireError, msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None
    n = len(named.e) + sum(max(0, last - first + 1) for first, last in gaps)
    if not 1 <= named.seq <= MAX_SEQ or not 1 <= n <= MAX_SEQ - named.seq + 1:
        return None
    return Identity(named.st, named.seq, n)


def decode_batch(device: str, payload: bytes) -> Batch:
    """The facts in one envelope that came on `device`'s topic.

    WireError where the envelope itself cannot be read. A record that cannot is among `refused`, and costs
    no other record of its batch.
    """
    payload = unpack(payload)
    head: Head
    try:
        head = envelope = decode(payload, Envelope)
        gaps = _gaps(head)
        records: list[tuple[int, Record | Refused]] = list(zip(_places(head.seq, gaps), envelope.e, strict=False))
    except WireError:
        head, raw = _apart(payload)
        gaps = _gaps(head)
        records = [(seq, _each(seq, each)) for seq, each in zip(_places(head.seq, gaps), raw, strict=False)]
    n = len(records) + sum(last - first + 1 for first, last in gaps)
    if gaps and gaps[-1][1] >= head.seq + n:
        raise WireError("bad_gaps", "a gap lies behind the last record")
    if head.seq + n - 1 > MAX_SEQ:  # a watermark could not say so
        raise WireError("bad_seq", f"ends behind {MAX_SEQ}")
    facts, refused = _resolve(device, records)
    return Batch(head.st, head.seq, n, min(head.lo, head.seq), head.boot, head.clk, head.h, facts, refused, gaps,
                 None if head.left is UNSET else head.left)


def _apart(payload: bytes) -> tuple[Head, list[bytes]]:
    """The envelope and the bytes of each record; WireError where even that cannot be read.

    A lone surrogate's escape (RFC 8259 section 8.2) is JSON but no text, and makes msgspec refuse the whole document.
    """
    try:
        envelope = decode(payload, RawEnvelope)
        return envelope, [bytes(each) for each in envelope.e]
    except WireError:
        if not _NO_TEXT.search(payload):  # reading it again would only cost as much again
            raise
        loose = _loose(payload)
        if not isinstance(loose, dict) or not isinstance(loose.get("e"), list):
            raise
        if not 1 <= len(loose["e"]) <= MAX_RECORDS:
            raise
        try:
            return msgspec.convert(loose, Head), [json.dumps(each).encode() for each in loose["e"]]
        except msgspec.ValidationError as error:
            raise WireError("malformed", str(error)[:300]) from error


def _loose(text: bytes) -> Any:
    """What Python's own decoder reads, which takes lone surrogates; None where it reads nothing."""
    try:
        return json.loads(text.decode())
    except (ValueError, RecursionError):
        return None


def _gaps(head: Head) -> tuple[Range, ...]:
    """The gaps, sorted and apart; WireError where they are not."""
    gaps = () if head.g is UNSET else tuple(head.g)
    before = head.seq - 1
    for first, last in gaps:
        if not before < first <= last:
            raise WireError("bad_gaps", f"{first}..{last} is not behind {before}")
        before = last
    return gaps


def _places(seq: int, gaps: Iterable[Range]) -> Iterator[int]:
    """The sequences of the records, past the gaps."""
    for first, last in gaps:
        yield from range(seq, first)
        seq = last + 1
    while True:
        yield seq
        seq += 1


def _each(seq: int, raw: bytes) -> Record | Refused:
    try:
        return _record.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return Refused(seq, f"malformed: {error}"[:300], raw[:2000])


def _resolve(device: str, records: Iterable[tuple[int, Record | Refused]],
             ) -> tuple[tuple[tuple[int, Fact], ...], tuple[Refused, ...]]:
    base_name, base_time = "", 0.0
    facts: list[tuple[int, Fact]] = []
    refused: list[Refused] = []
    for seq, record in records:
        base = _base_of(record)
        base_name = base_name if base.bn is None else base.bn
        base_time = base_time if base.bt is None else base.bt
        if isinstance(record, Refused):
            refused.append(record)
            continue
        name = base_name + record.n
        fact = Fact(name.removeprefix(f"{device}/"), round(base_time + record.t, 3), record.u,
                    value_of(record), record.q, record.k, record.sd)
        fault = foreign(device, name) or wrong(fact, record)
        if fault:
            refused.append(Refused(seq, fault, encode(record)))
        else:
            facts.append((seq, fact))
    return tuple(facts), tuple(refused)


def _base_of(record: Record | Refused) -> _Base:
    if isinstance(record, Record):
        return _Base(record.bn, record.bt)
    try:
        return _base.decode(record.raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    try:
        return msgspec.convert(_loose(record.raw), _Base)
    except msgspec.ValidationError:
        return _Base()
