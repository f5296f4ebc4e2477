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


MESSAGES = {
    "birth": wire.Birth(device="shop-0001", st="0" * 31 + "1", boot=2, t=1772438400.0, agent="0.1.0",
                        sensors={"scale-1": "toledo-8217"}, slots={"a1": "4000417025005"}),
    "state": wire.State(online=True, boot=2, t=1772438400.0, buffered=5, committed=6, sensors={"scale-1": "ok"}),
    "committed": wire.Committed(st="0" * 31 + "1", committed=11, refused=1, t=1772438460.0),
    "ingest-state": wire.IngestState(online=False),
}


@pytest.mark.parametrize("name", ["schema", "asyncapi"])
def test_the_command_writes_the_published_document(name: str) -> None:
    result = CliRunner().invoke(app, ["contract", name])
    assert result.exit_code == 0
    assert result.stdout == (HERE / f"{name}.json").read_text(encoding="utf-8")


def test_the_published_batch_is_written_and_read_as_ever() -> None:
    golden = (HERE / "batch.json").read_bytes().rstrip(b"\n")
    assert wire.encode_batch("shop-0001", FACTS, st="0" * 31 + "1", seq=7, lo=3, boot=2) == golden
    batch = wire.decode_batch("shop-0001", golden)
    assert batch.facts == tuple(enumerate(FACTS, 7))
    assert not batch.refused


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_every_other_published_message_is_written_and_read_as_ever(name: str) -> None:
    golden, message = (HERE / f"{name}.json").read_bytes().rstrip(b"\n"), MESSAGES[name]
    assert wire.encode(message) == golden
    assert wire.decode(golden, wire.MESSAGES[name]) == message
    jsonschema.Draft202012Validator(wire.json_schema()).validate(json.loads(golden))


def test_the_last_wills_are_the_retained_states() -> None:
    wills = [server["bindings"]["mqtt"]["lastWill"] for server in asyncapi()["servers"].values()]
    assert [will["topic"] for will in wills] == [wire.up("{device}", "state"), wire.INGEST_STATE]
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
    addresses = {channel.address for channel in CHANNELS}
    assert {channel.message for channel in CHANNELS} == set(wire.MESSAGES.values())
    for address in addresses - {wire.INGEST_STATE, wire.committed_topic("{device}")}:
        assert wire.parse_up(address.replace("{device}", "shop-0001"))
