"""The wire contract as documents for other programs: JSON Schema and AsyncAPI, generated from `edge.wire`'s types."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import Any

import msgspec
import typer

from edge import wire


@dataclass(frozen=True, slots=True)
class Channel:
    """One topic, the type of its messages, and whether the ingest receives or sends them. All are QoS 1."""

    name: str
    address: str
    message: type[msgspec.Struct]
    received: bool
    retain: bool
    summary: str


_DEVICE = "{device}"
_PACKED = "PackedEnvelope"
_NAMED = {
    "type": "object",
    "description": "MQTT 5 user properties: they name the sequences of a batch that cannot be read, so that it can be "
                   "refused without holding up what follows",
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9a-f]{32}/[1-9][0-9]*$", "description": "<st>/<seq>"},
        "n": {"type": "string", "pattern": "^[1-9][0-9]*$", "description": "How many sequences, gaps included"},
    },
}
CHANNELS = (
    Channel("data", wire.up(_DEVICE, "data"), wire.Envelope, True, False, "New records, as they come"),
    Channel("backlog", wire.up(_DEVICE, "backlog"), wire.Envelope, True, False, "Records from the outbox"),
    Channel("birth", wire.up(_DEVICE, "birth"), wire.Birth, True, True, "What the device is and has"),
    Channel("state", wire.up(_DEVICE, "state"), wire.State, True, True, "How the device is; also its last will"),
    Channel("committed", wire.committed_topic(_DEVICE), wire.Committed, False, True, "The watermark of a stream"),
    Channel("credit", wire.credit_topic(_DEVICE), wire.Credit, False, False, "How much of its backlog may be sent"),
    Channel("ingest-state", wire.ingest_topic("{worker}"), wire.IngestState, False, True,
            "Whether the ingest listens; also its last will"),
)


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document, from the ingest's side: it receives `up`, and sends the rest."""
    _, schemas = msgspec.json.schema_components(wire.MESSAGES.values(), ref_template="#/components/schemas/{name}")
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Cornergrid wire contract", "version": str(wire.VERSION),
                 "description": inspect.getdoc(wire)},
        "defaultContentType": "application/json",
        "servers": {"device": _server("a device", wire.up(_DEVICE, "state")),
                    "ingest": _server("the ingest", wire.ingest_topic("{worker}"))},
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": {f"{_action(channel)}-{channel.name}": _operation(channel) for channel in CHANNELS},
        "components": {"schemas": schemas, "messages": _messages()},
    }


def _server(who: str, will: str) -> dict[str, Any]:
    """The one broker as `who` connects to it: a connection's last will is part of the contract."""
    return {
        "host": "{broker}",
        "protocol": "mqtt",
        "protocolVersion": "5.0",
        "description": f"The broker, as {who} connects to it; 3.1.1 works too, without user properties",
        "variables": {"broker": {"description": "HOST:PORT"}},
        "bindings": {"mqtt": {
            "lastWill": {"topic": will, "qos": 1, "retain": True, "message": "the state with `online` false"},
            "bindingVersion": "0.2.0",
        }},
    }


def _channel(channel: Channel) -> dict[str, Any]:
    document: dict[str, Any] = {
        "address": channel.address,
        "summary": channel.summary,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _names(channel.message)},
    }
    parameters = {"device": {"description": "Device id, the subject of its certificate"},
                  "worker": {"description": "One of the ingest's processes"}}
    if used := {name: told for name, told in parameters.items() if f"{{{name}}}" in channel.address}:
        document["parameters"] = used
    return document


def _action(channel: Channel) -> str:
    return "receive" if channel.received else "send"


def _operation(channel: Channel) -> dict[str, Any]:
    place = f"#/channels/{channel.name}"
    return {
        "action": _action(channel),
        "channel": {"$ref": place},
        "messages": [{"$ref": f"{place}/messages/{name}"} for name in _names(channel.message)],
        "bindings": {"mqtt": {"qos": 1, "retain": channel.retain, "bindingVersion": "0.2.0"}},
    }


def _names(kind: type[msgspec.Struct]) -> list[str]:
    """The forms in which a message may come: a batch also as a zstd frame."""
    return [kind.__name__, *([_PACKED] if kind is wire.Envelope else [])]


def _messages() -> dict[str, Any]:
    found = {kind.__name__: _message(kind) for kind in wire.MESSAGES.values()}
    plain = found[wire.Envelope.__name__] | {"contentType": wire.CONTENT_TYPE, "headers": _NAMED}
    packed = {"name": _PACKED, "contentType": wire.PACKED,
              "summary": "A batch as one zstd frame (RFC 8878), told by its first four bytes; inside, it is this JSON."}
    return found | {wire.Envelope.__name__: plain, _PACKED: plain | packed}


def _message(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"name": kind.__name__, "summary": inspect.getdoc(kind),
            "payload": {"$ref": f"#/components/schemas/{kind.__name__}"}}


def text(document: dict[str, Any]) -> str:
    """A document as JSON for people and diffs: the same types give the same bytes."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def register(app: typer.Typer) -> None:
    """Add the commands `contract schema` and `contract asyncapi`."""
    contract = typer.Typer(no_args_is_help=True, help="The wire contract as documents for other programs.")
    contract.command("schema")(_schema)
    contract.command("asyncapi")(_asyncapi)
    app.add_typer(contract, name="contract")


def _schema() -> None:
    """JSON Schema (2020-12) of every message.

    Example: `cornergrid-cloud contract schema > schema.json`
    """
    typer.echo(text(wire.json_schema()), nl=False)


def _asyncapi() -> None:
    """The AsyncAPI 3.0 document: topics, messages, QoS, what is retained, and the last wills.

    Example: `cornergrid-cloud contract asyncapi > asyncapi.json`
    """
    typer.echo(text(asyncapi()), nl=False)
