"""The wire contract, version 1: the only package that the device and the cloud share.

    topic    cg/v1/<device>/up/{data,backlog,birth,state}     device -> cloud
             cg/v1/<device>/down/committed                     cloud -> device, retained
             cg/v1/<device>/down/credit                        cloud -> device: backlog that may be sent
             cg/v1/ingest/state/<worker>                       cloud -> everyone, retained, last will
    payload  {"v":1,"st":stream,"seq":first,"lo":oldest held,"boot":n,"clk":"ok","h":false,"e":[SenML records]}
             as JSON, or the same JSON as one zstd frame (RFC 8878), told by its first four bytes

One SenML record (RFC 8428, units of the IANA registry) per sequence number: the records of `e` are those of
`seq`, `seq + 1` ... of the stream, past the sequences in the gaps `g`, which the device says will never come. So a
record that must be refused can be named, and everything else of its batch kept. Three labels extend RFC 8428: `q`,
the quality (absent means `ok`; without a value wherever it is not), `k`, the SKU (a GTIN where it exists), and `sd`,
the standard deviation of the number (absent: not stated). A reader that does not know a label ignores it (RFC 8428
section 4.4), so an older cloud takes a newer device's records, and the other way round.

A stream is one start of a device and one stretch of its clock: a wiped disk, one restored from an image, or a
restart never uses a sequence again. `w` and `m` tie the stream's event times to the monotonic clock of `boot`:
event time `t` was taken at `t - w + m`. In a stream whose clock was put right afterwards (`clk` is `corrected`) the
first record's base time `bt` is the correction.

Names say what a record is:
    <sensor>/<quantity>                          a reading, e.g. scale-1/weight
    slot/<slot>/level                            units on the shelf
    slot/<slot>/{sold,put_back,restocked}        a movement: facts that add up
    slot/<slot>/{in_stock,observed}              seconds within one window: facts that add up
    outbox/loss                                  what could not be kept: a `Loss` as text
    event/<what>                                 something a person must know, as text

`messages` has the types and topics, `records` what a record may say, `batch` the bytes of many.
"""

from edge.wire.batch import decode_batch, encode_batch, encode_record, identify, join_batch, pack, unpack
from edge.wire.messages import (
    ABSOLUTE_TIME,
    ALL_INGEST,
    ALL_UP,
    CONTENT_TYPE,
    END,
    MAX_PAYLOAD,
    MAX_RECORDS,
    MAX_SEQ,
    MESSAGES,
    PACKED,
    ROOT,
    VERSION,
    Batch,
    Birth,
    Clk,
    Committed,
    Credit,
    Device,
    Envelope,
    Fact,
    Head,
    Identity,
    IngestState,
    Loss,
    OutboxState,
    Range,
    Record,
    Refused,
    Seq,
    State,
    Stream,
    committed_topic,
    credit_topic,
    decode,
    encode,
    ingest_topic,
    json_schema,
    parse_up,
    up,
)
from edge.wire.records import FLOW_UNITS, LOSS, UNITS, WINDOW_S, flow_of, loss_fact, loss_of, window_of

__all__ = [
    "ABSOLUTE_TIME", "ALL_INGEST", "ALL_UP", "CONTENT_TYPE", "END", "FLOW_UNITS", "LOSS", "MAX_PAYLOAD",
    "MAX_RECORDS", "MAX_SEQ", "MESSAGES", "PACKED", "ROOT", "UNITS", "VERSION", "WINDOW_S", "Batch", "Birth", "Clk",
    "Committed", "Credit", "Device", "Envelope", "Fact", "Head", "Identity", "IngestState", "Loss", "OutboxState",
    "Range", "Record", "Refused", "Seq", "State", "Stream", "committed_topic", "credit_topic", "decode",
    "decode_batch", "encode", "encode_batch", "encode_record", "flow_of", "identify", "ingest_topic", "join_batch",
    "json_schema", "loss_fact", "loss_of", "pack", "parse_up", "unpack", "up", "window_of",
]
