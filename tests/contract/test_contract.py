"""The published contract: what devices in the field rely on must not change by accident.

Where a change is wanted, write the documents again with
`cornergrid-cloud contract schema > tests/contract/v1/schema.json`, and `asyncapi` likewise. Read the diff.
The messages (`batch.json` and the rest) are never written again: what was once sent must be readable for ever.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from msgspec import UNSET, structs
from typer.testing import CliRunner

from cloud_ingest.__main__ import app
from cloud_ingest.contract import CHANNELS, asyncapi, text
from edge import wire
from edge.wire import Fact

HERE = Path(__file__).parent / "v1"
FACTS = (
    Fact("scale-1/weight", 1772438400.0, "kg", 2.5),
    Fact("scale-1/weight", 1772438401.0, "kg", None, "bad:no_answer"),
    Fact("door-1/open", 1772438401.5, "", True),
    Fact("slot/a1/sold", 1772438460.0, "count", 1.0, "ok", "4000417025005"),
    Fact("slot/a1/observed", 1772438460.0, "s", 60.0, "ok", "4000417025005"),
)


ST = "0" * 31 + "1"
HEADS = {
    "batch-2": wire.Head(v=1, st=ST, seq=7, lo=3, boot=2, clk="ok"),
    "batch-gaps": wire.Head(v=1, st=ST, seq=7, lo=3, boot=2, clk="ok", h=True, w=1772438400.5, m=86.25, left=1200,
                            g=[(8, 9), (12, 1011)]),
    "batch-corrected": wire.Head(v=1, st=ST, seq=7, lo=3, boot=2, clk="corrected", h=True, w=1772438400.5, m=86.25),
}
SEQS = {"batch-gaps": (7, 10, 11, 1012, 1013)}
SHIFTS = {"batch-corrected": -3600.5}
"""What the writer was given beside FACTS; their sequences, where not 7 to 11; the correction of their times (s)."""

MESSAGES = {
    "birth": wire.Birth(device="shop-0001", st=ST, boot=2, t=1772438400.0, agent="0.1.0",
                        sensors={"scale-1": "toledo-8217"}, slots={"a1": "4000417025005"}),
    "state": wire.State(online=True, boot=2, t=1772438400.0, buffered=5, committed=6, sensors={"scale-1": "ok"}),
    "committed": wire.Committed(st=ST, committed=11, refused=1, t=1772438460.0),
    "ingest-state": wire.IngestState(online=False),
    "state-2": wire.State(online=True, boot=2, t=1772438400.0, buffered=5, committed=6, sensors={"scale-1": "ok"},
                          outbox=wire.OutboxState(where="memory", bytes=4096, cap=64000000, oldest=1772438390.0,
                                                  committed_to=1772438389.5, runway_s=276480.0, catch_up_s=12.5,
                                                  backlog=4, lost=3, refused=1, why="the disk is full", clk="free")),
    "committed-2": wire.Committed(st=ST, committed=11, refused=1, t=1772438460.0, ahead=[(14, 20), (31, 31)],
                                  why="record 9: bad_unit"),
    "credit": wire.Credit(n=2000),
}


@pytest.mark.parametrize("name", ["schema", "asyncapi"])
def test_the_command_writes_the_published_document(name: str) -> None:
    result = CliRunner().invoke(app, ["contract", name])
    assert result.exit_code == 0
    assert result.stdout == (HERE / f"{name}.json").read_text(encoding="utf-8")


DEVIATIONS = (
    Fact("slot/a1/sold", 1772438460.0, "count", 2.0, "ok", "4000417025005", 0.25),
    Fact("slot/a1/level", 1772438460.0, "count", 7.0, "ok", "4000417025005", 0.0),
)


def test_a_published_batch_with_deviations_is_written_and_read_as_ever() -> None:
    payload = golden("batch-sd.json")
    assert wire.join_batch("shop-0001", [wire.encode_record(fact) for fact in DEVIATIONS], HEADS["batch-2"]) == payload
    batch = wire.decode_batch("shop-0001", payload)
    assert (batch.facts, batch.refused) == (tuple(enumerate(DEVIATIONS, 7)), ())
    jsonschema.Draft202012Validator(wire.json_schema()).validate(json.loads(payload))


def golden(name: str) -> bytes:
    return (HERE / name).read_bytes().removesuffix(b"\n")


def test_the_first_published_batch_is_read_as_ever() -> None:
    batch = wire.decode_batch("shop-0001", golden("batch.json"))
    assert batch.facts == tuple(enumerate(FACTS, 7))
    assert not batch.refused


@pytest.mark.parametrize("name", sorted(HEADS))
def test_every_published_batch_is_written_and_read_as_ever(name: str) -> None:
    head, shift = HEADS[name], SHIFTS.get(name, 0.0)
    payload = golden(f"{name}.json")
    assert wire.join_batch("shop-0001", [wire.encode_record(fact) for fact in FACTS], head, shift) == payload
    batch = wire.decode_batch("shop-0001", payload)
    expected = [structs.replace(fact, t=fact.t + shift) for fact in FACTS]
    assert batch.facts == tuple(zip(SEQS.get(name, range(7, 12)), expected, strict=True))
    assert not batch.refused
    assert batch.gaps == (() if head.g is UNSET else tuple(head.g))
    assert (batch.clk, batch.historical, batch.left) == (head.clk, head.h, None if head.left is UNSET else head.left)
    jsonschema.Draft202012Validator(wire.json_schema()).validate(json.loads(payload))


def test_a_packed_batch_is_read_as_ever() -> None:
    """Only read: another version of the library may write other bytes."""
    packed = golden("batch-gaps.json.zst")
    assert packed.startswith(b"\x28\xb5\x2f\xfd")
    assert wire.decode_batch("shop-0001", packed) == wire.decode_batch("shop-0001", golden("batch-gaps.json"))
    assert wire.unpack(packed) == golden("batch-gaps.json")


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_every_other_published_message_is_written_and_read_as_ever(name: str) -> None:
    payload, message = golden(f"{name}.json"), MESSAGES[name]
    assert wire.encode(message) == payload
    assert wire.decode(payload, type(message)) == message
    jsonschema.Draft202012Validator(wire.json_schema()).validate(json.loads(payload))


def test_the_last_wills_are_the_retained_states() -> None:
    wills = [server["bindings"]["mqtt"]["lastWill"] for server in asyncapi()["servers"].values()]
    assert [will["topic"] for will in wills] == [wire.up("{device}", "state"), wire.ingest_topic("{worker}")]
    assert {channel.address for channel in CHANNELS if channel.retain} > {will["topic"] for will in wills}


def test_the_schema_judges_real_messages() -> None:
    schema = wire.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    batch = json.loads((HERE / "batch.json").read_bytes())
    check.validate(batch)
    assert not check.is_valid({**batch, "seq": 0})
    assert not check.is_valid({**batch, "e": []})


def _refs(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [ref for child in node.values() for ref in _refs(child)]
    return [ref for child in node for ref in _refs(child)] if isinstance(node, list) else []


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi()
    refs = _refs(document)
    assert len(refs) > len(CHANNELS) * 3
    for ref in refs:
        node: Any = document
        for part in ref.removeprefix("#/").split("/"):
            node = node[part]
    assert json.loads(text(document)) == document


def test_the_document_has_the_topics_that_are_used() -> None:
    assert {channel.message for channel in CHANNELS} == set(wire.MESSAGES.values())
    assert {channel.address for channel in CHANNELS if not channel.received} == {
        wire.committed_topic("{device}"), wire.credit_topic("{device}"), wire.ingest_topic("{worker}")}
    received = [channel for channel in CHANNELS if channel.received]
    assert {wire.parse_up(channel.address.replace("{device}", "shop-0001")) for channel in received} == {
        ("shop-0001", channel.name) for channel in received}
    for name, channel in asyncapi()["channels"].items():
        assert set(channel["parameters"]) == {"worker" if name == "ingest-state" else "device"}


def test_the_document_says_how_a_batch_may_be_packed_and_named() -> None:
    messages = asyncapi()["components"]["messages"]
    assert messages["Envelope"]["contentType"] == wire.CONTENT_TYPE
    assert messages["PackedEnvelope"]["contentType"] == wire.PACKED
    for name in ("data", "backlog"):
        assert set(asyncapi()["channels"][name]["messages"]) == {"Envelope", "PackedEnvelope"}
        assert len(asyncapi()["operations"][f"receive-{name}"]["messages"]) == 2
    named = messages["PackedEnvelope"]["headers"]["properties"]
    check = jsonschema.Draft202012Validator(messages["PackedEnvelope"]["headers"])
    assert set(named) == {"id", "n"}
    check.validate({"id": f"{ST}/7", "n": "5"})
    assert not check.is_valid({"id": "7"})
